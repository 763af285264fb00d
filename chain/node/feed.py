"""News of a node for whoever wants them: blocks as they are committed, transactions as the mempool admits them.

Everything is on the event loop. A listener is told and returns at once; what it does with the news, and how much of
them it keeps, is its own affair. Blocks come one by one and in order, also those that are fetched while catching up.
"""

from typing import Final, Protocol

import structlog

from chain.node.waiting import Entry
from chain.primitives.types import BlockHeight

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node")


class Listener(Protocol):
    """Somebody who wants news. Must not wait."""

    def on_block(self, height: BlockHeight) -> None:
        """A block has been committed; it is in the store."""

    def on_transaction(self, entry: Entry) -> None:
        """A transaction has been admitted; in a moment it may be in a block, or dropped."""


class Feed:
    """All listeners of one node."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """From now on it hears of everything."""
        self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """It hears of nothing more; one that does not listen is no fault."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def tell_block(self, height: BlockHeight) -> None:
        """From the node."""
        for listener in tuple(self._listeners):
            try:
                listener.on_block(height)
            except Exception:  # noqa: BLE001 - a listener's fault must not become one of the node's
                self._drop(listener)

    def tell_transaction(self, entry: Entry) -> None:
        """From the node."""
        for listener in tuple(self._listeners):
            try:
                listener.on_transaction(entry)
            except Exception:  # noqa: BLE001 - as above
                self._drop(listener)

    def _drop(self, listener: Listener) -> None:
        _log.exception("listener_failed", listener=type(listener).__name__)
        self.forget(listener)
