"""Transactions that arrive before those that go first.

Many libraries send without waiting for the answers, over several connections or in several batches, so that nonces come
in any order. A node of Ethereum's queues what is early. Here the call is answered a moment later: it waits until the
mempool has what was missing, and is refused as before where that does not come.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from chain.node.runner import Node
from chain.node.waiting import Entry
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, BlockHeight
from chain.rules.state import State

PATIENCE_S: Final = 2.0
"""Whoever has the wrong nonce learns of it after so long; what is on its way is here long before."""
MAX_EARLY: Final = 256
"""Early transactions of all clients together: 8 MiB at most."""


class NonceOrder:
    """The early transactions of one node, a listener of its feed. On the event loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._early_count = 0
        self._wakers: dict[Address, list[asyncio.Event]] = {}
        node.feed.listen(self)

    def on_transaction(self, entry: Entry) -> None:
        """As in Listener: others of this sender may be next."""
        for waker in self._wakers.get(entry.sender, ()):
            waker.set()

    def on_block(self, height: BlockHeight) -> None:
        """As in Listener: what was missing may be in a block that another node has made of it."""
        for wakers in self._wakers.values():
            for waker in wakers:
                waker.set()

    def is_early(self, raw: bytes) -> bool:
        """Whether something is missing before this transaction; False too where it is none."""
        try:
            sender, nonce = self._read(raw)
        except Rejected:
            return False
        return nonce > self._node.pool.next_nonce(sender) and self._may_wait(sender)

    async def wait(self, raw: bytes) -> None:
        """Until it is early no longer, within bounds of time and room."""
        sender, _ = self._read(raw)
        deadline = _deadline()
        with self._heard([sender], 1) as waker:
            while waker is not None and self.is_early(raw) and await _is_woken(waker, deadline):
                pass

    async def submit_all(self, raws: Sequence[bytes]) -> list[Entry | Rejected]:
        """As `Node.submit_all`; what is early is judged again when it is no longer."""
        outcomes = await self._node.submit_all(raws)
        read = {index: self._read(raws[index]) for index in _too_high(range(len(raws)), outcomes)}
        early = {index: each for index, each in read.items() if self._may_wait(each[0])}
        if early:
            with self._heard({sender for sender, _ in early.values()}, len(early)) as waker:
                if waker is not None:
                    await self._submit_early(raws, outcomes, early, waker)
        return outcomes

    async def _submit_early(
        self,
        raws: Sequence[bytes],
        outcomes: list[Entry | Rejected],
        early: Mapping[int, tuple[Address, int]],
        waker: asyncio.Event,
    ) -> None:
        """Each as soon as nothing is missing before it; what becomes of it replaces its outcome."""
        deadline = _deadline()
        left = early
        while left:
            ready = self._ready(left)
            for index, outcome in zip(ready, await self._node.submit_all([raws[each] for each in ready]), strict=True):
                outcomes[index] = outcome
            left = {index: early[index] for index in _too_high(left, outcomes)}
            if left and not await _is_woken(waker, deadline):
                return

    def _may_wait(self, sender: Address) -> bool:
        """Keys that nobody has used cost nothing: with enough of them, one client would take all the room there is."""
        return self._node.pool.next_nonce(sender) > 0 or State(self._node.ledger.view()).account(sender).balance > 0

    @contextmanager
    def _heard(self, senders: Collection[Address], count: int) -> Iterator[asyncio.Event | None]:
        """An event that is set whenever something of these senders may be next; None where too many wait already."""
        if self._early_count + count > MAX_EARLY:
            yield None
            return
        self._early_count += count
        waker = asyncio.Event()
        for sender in senders:
            self._wakers.setdefault(sender, []).append(waker)
        try:
            yield waker
        finally:
            self._early_count -= count
            for sender in senders:
                self._wakers[sender].remove(waker)
                if not self._wakers[sender]:
                    del self._wakers[sender]

    def _ready(self, early: Mapping[int, tuple[Address, int]]) -> list[int]:
        """Those that the mempool or one another no longer lack, in the order of their nonces."""
        ready: list[int] = []
        expected: dict[Address, int] = {}
        for index, (sender, nonce) in sorted(early.items(), key=lambda item: item[1][1]):
            following = expected.get(sender)
            if following is None:
                following = self._node.pool.next_nonce(sender)
            if nonce <= following:
                ready.append(index)
                following = max(following, nonce + 1)
            expected[sender] = following
        return ready

    def _read(self, raw: bytes) -> tuple[Address, int]:
        """Sender and nonce; raises Rejected. The ledger remembers both, for when the transaction is judged."""
        ledger = self._node.ledger
        transaction = ledger.transactions.decode(raw)
        return transaction.recover_sender(ledger.signatures.recover), transaction.nonce


def _deadline() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_S


async def _is_woken(waker: asyncio.Event, deadline: float) -> bool:
    """Waits for the event, and makes it ready for the next; False where that takes too long."""
    try:
        async with asyncio.timeout_at(deadline):
            await waker.wait()
    except TimeoutError:
        return False
    waker.clear()
    return True


def _too_high(indices: Iterable[int], outcomes: Sequence[Entry | Rejected]) -> list[int]:
    """Those of the indices whose outcome is that something is missing."""
    return [
        index
        for index in indices
        if isinstance(outcome := outcomes[index], Rejected) and outcome.reason is RejectionReason.NONCE_TOO_HIGH
    ]
