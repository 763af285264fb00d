"""How often each client may ask for what costs the hub processor time and the client nothing. Reads no clock."""

from collections import OrderedDict
from typing import Final

_MOST_REMEMBERED: Final = 10_000
"""Clients: of more, whoever asked longest ago is forgotten. Those without a key are bounded together as well."""


class TooFast(Exception):
    """Asked more often than this hub answers; `after_s` from now it will answer again."""

    def __init__(self, after_s: float) -> None:
        super().__init__("you have asked for more estimates in a minute than this hub answers")
        self.after_s = after_s


class Pace:
    """So many a minute for each, all at once or spread over it; of one process."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._free_at_s: OrderedDict[str, float] = OrderedDict()
        """When all that the client has asked for will have been worth its time."""

    def check(self, client: str, now_s: float, *, times: int = 1) -> None:
        """Counts one more; `times` as many are allowed of this one. Raises TooFast, and counts nothing then."""
        each_s = 60 / (self._per_minute * times)
        free_at_s = max(now_s, self._free_at_s.get(client, now_s)) + each_s
        if free_at_s - now_s > 60 + each_s / 2:
            raise TooFast(free_at_s - now_s - 60)
        self._free_at_s[client] = free_at_s
        self._free_at_s.move_to_end(client)
        if len(self._free_at_s) > _MOST_REMEMBERED:
            self._free_at_s.popitem(last=False)
