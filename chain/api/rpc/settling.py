"""Receipts of transactions that were handed in a moment ago: asked for at once, they are answered a moment later.

On a quiet chain a transaction is final within a fraction of a second, which ethers, of all clients, does not expect: it
answers from a cache of its own for 250 ms. When a block comes and it still believes that there is no receipt, it waits
for the block after. And where it hears of the receipt sooner than that, it signs its next transaction with the nonce
of the last. So the answer waits until that cache is old, and then for the block, while that is worth waiting for.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from chain.node.clock import monotonic_ms
from chain.node.runner import Node
from chain.node.waiting import Entry
from chain.primitives.types import BlockHeight, Hash32

HOLD_MS: Final = 250
"""No sooner than this after a transaction came is its receipt given: how long ethers believes its cache."""
PATIENCE_MS: Final = 1_000
"""So long after it came there is no more waiting for its block, however often it is asked for."""
_MAX_REMEMBERED: Final = 10_000


class Settling:
    """The youngest transactions of one node, a listener of its feed. On the event loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._came_ms: OrderedDict[Hash32, int] = OrderedDict()
        """By the clock that never jumps."""
        self._wakers: set[asyncio.Event] = set()
        node.feed.listen(self)

    def on_transaction(self, entry: Entry) -> None:
        """As in Listener: one more is young, and others are no longer."""
        self._came_ms[entry.transaction.hash] = entry.added_at_ms
        while len(self._came_ms) > _MAX_REMEMBERED or self._oldest_ms() < entry.added_at_ms - PATIENCE_MS:
            self._came_ms.popitem(last=False)

    def _oldest_ms(self) -> int:
        return next(iter(self._came_ms.values()))

    def on_block(self, height: BlockHeight) -> None:
        """As in Listener: some may have settled."""
        for waker in self._wakers:
            waker.set()

    def is_young(self, transaction_hash: Hash32) -> bool:
        """Whether its receipt is worth a moment's wait."""
        return self._wait_ms(transaction_hash) > 0

    def _wait_ms(self, transaction_hash: Hash32) -> int:
        """At most so long; 0 or less where there is nothing to wait for."""
        came_ms = self._came_ms.get(transaction_hash)
        if came_ms is None:
            return 0
        patience_ms = HOLD_MS if self._node.pool.get(transaction_hash) is None else PATIENCE_MS
        return came_ms + patience_ms - monotonic_ms()

    async def wait(self, transaction_hash: Hash32) -> None:
        """Until it has settled one way or the other, and is not all too young."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while (wait_ms := self._wait_ms(transaction_hash)) > 0:
                waker.clear()
                await _wait_for(waker, wait_ms)
        finally:
            self._wakers.discard(waker)


async def _wait_for(waker: asyncio.Event, timeout_ms: int) -> None:
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            await waker.wait()
    except TimeoutError:
        return
