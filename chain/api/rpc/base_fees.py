"""The base fee that held for each block: a parameter that governance may change, so its changes tell it all."""

from bisect import bisect_left
from threading import Lock
from typing import Final

from chain.api.log_search import LogFilter, TooMuch, search_logs
from chain.primitives.modules import GOVERNANCE, PARAMETER_CHANGED_EVENT
from chain.storage.view import StateView

_NAME: Final = "base_fee_atoms"


class BaseFees:
    """Remembers every change that it has found, and looks for new ones alone. Any thread."""

    def __init__(self, genesis_base_fee: int) -> None:
        self._heights = [-1]
        self._fees = [genesis_base_fee]
        """From the block after each height on."""
        self._searched_to = 0
        self._lock = Lock()

    def at(self, view: StateView, height: int) -> int:
        """Atoms per gas in the block of a height: what the state before it says."""
        assert view.head is not None
        with self._lock:
            while self._searched_to < min(height - 1, view.head.height):
                self._search(view, view.head.height)
            return self._fees[bisect_left(self._heights, height) - 1]

    def _search(self, view: StateView, to_height: int) -> None:
        wanted = LogFilter(
            from_height=self._searched_to + 1,
            to_height=to_height,
            addresses=frozenset((GOVERNANCE,)),
            topics=(frozenset((PARAMETER_CHANGED_EVENT.topic,)),),
        )
        try:
            found = search_logs(view, wanted)
        except TooMuch as too_much:
            to_height = too_much.to_height
            found = search_logs(view, LogFilter(wanted.from_height, to_height, wanted.addresses, wanted.topics))
        for each in found:
            change = PARAMETER_CHANGED_EVENT.decode(each.log.topics, each.log.data)
            if change["name"] == _NAME:
                self._heights.append(each.height)
                self._fees.append(change["value"])
        self._searched_to = to_height
