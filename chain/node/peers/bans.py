"""Who is kept away, and for how long: longer each time, never for ever.

An identity is banned for what it has sent after proving itself. An address is banned for what came from it, proven or
not; validators still get in from there, since others may share the address. Loopback is never banned: a reverse proxy
may stand there.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_MAX_ENTRIES: Final = 4_096
_FORGOTTEN_AFTER_S: Final = 3_600.0


@dataclass(slots=True)
class _Ban:
    until_s: float
    count: int


class Bans:
    """Bans by name: an identity's or an address group's. Clocks are passed in: monotonic seconds."""

    def __init__(self, first_s: float, last_s: float) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._bans: OrderedDict[str, _Ban] = OrderedDict()

    def ban(self, name: str, now_s: float, *, last_s: float | None = None) -> float:
        """Bans a name for twice as long as the time before, at most `last_s`; gives the seconds."""
        previous = self._bans.pop(name, None)
        is_remembered = previous is not None and now_s < previous.until_s + _FORGOTTEN_AFTER_S
        count = previous.count + 1 if previous is not None and is_remembered else 1
        seconds = min(self._first_s * 2.0 ** min(count - 1, 30), self._last_s, last_s or self._last_s)
        self._bans[name] = _Ban(now_s + seconds, count)
        if len(self._bans) > _MAX_ENTRIES:
            self._bans.popitem(last=False)  # The one that was banned longest ago.
        return seconds

    def is_banned(self, name: str, now_s: float) -> bool:
        """Whether a name is kept away now."""
        ban = self._bans.get(name)
        return ban is not None and now_s < ban.until_s

    def __len__(self) -> int:
        return len(self._bans)


def address_group(host: str) -> str:
    """Whom an address stands for: itself, or its /64 with IPv6; anything unreadable stands for itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_loopback(group: str) -> bool:
    """Whether an address group is this machine."""
    try:
        return ipaddress.ip_address(group).is_loopback
    except ValueError:
        return False
