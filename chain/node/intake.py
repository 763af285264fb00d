"""Transactions on their way in: from clients one by one, from peers in batches; and on their way to other peers.

A batch from a peer may be large: its signatures are recovered in a thread, some at a time, and the mempool takes them
in slices, so that votes and requests do not wait long. What waits for long is told to the peers again, since one that
was away or full when it came may be the next leader.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Final

from chain.consensus.effects import PeerId
from chain.node.clock import monotonic_ms, now_ms
from chain.node.ledger import Ledger
from chain.node.mempool import Mempool
from chain.node.waiting import Entry
from chain.primitives.hashing import keccak256
from chain.primitives.rejection import Rejected, RejectionReason

SLICE: Final = 25
"""Transactions that are admitted before others get their turn: some milliseconds."""
REPEAT_AFTER_MS: Final = 3_000
_MAX_REPEATED: Final = 256

# An honest node sends nothing on that shows one of these, whatever state it is at.
_FORGED: Final = frozenset(
    {
        RejectionReason.MALFORMED,
        RejectionReason.NON_CANONICAL,
        RejectionReason.TOO_LARGE,
        RejectionReason.BAD_SIGNATURE,
        RejectionReason.HIGH_S,
        RejectionReason.UNSUPPORTED_TRANSACTION_TYPE,
        RejectionReason.UNPROTECTED_TRANSACTION,
        RejectionReason.WRONG_CHAIN_ID,
    }
)


class Forged(Exception):
    """A peer has sent what is no transaction of this network."""


class Intake:
    """See the module. `share` passes on what was admitted; `on_admitted` is told of each entry."""

    def __init__(
        self,
        ledger: Ledger,
        pool: Mempool,
        *,
        thread: Executor,
        share: Callable[[Iterable[bytes], PeerId | None], None],
        on_admitted: Callable[[Entry], None],
        age_clock_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._thread = thread
        self._share = share
        self._on_admitted = on_admitted
        self._age_clock_ms = age_clock_ms
        self._repeated_to = 0

    def submit(self, raw: bytes) -> Entry:
        """A client's transaction; raises Rejected. The same bytes again change nothing."""
        known = self._pool.get(keccak256(raw))
        if known is not None:
            return known
        entry = self._pool.add(raw, now_ms())
        self._on_admitted(entry)
        self._share((raw,), None)
        return entry

    async def take(self, peer: PeerId, raws: tuple[bytes, ...]) -> None:
        """A peer's transactions: those that can be admitted are, the others are none of its fault, unless it raises
        Forged."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(raws), SLICE):
            unknown = [raw for raw in raws[start : start + SLICE] if self._pool.get(keccak256(raw)) is None]
            if not unknown:
                continue
            forged = await loop.run_in_executor(self._thread, self._recover, unknown)
            admitted: list[bytes] = []
            for raw in unknown:
                try:
                    self._on_admitted(self._pool.add(raw, now_ms()))
                    admitted.append(raw)
                except Rejected:  # Stale, early, or no room; what no node passes on was found before.
                    continue
            if admitted:
                self._share(admitted, peer)
            if forged is not None:
                raise Forged(forged)
            await asyncio.sleep(0)

    def _recover(self, raws: list[bytes]) -> str | None:
        """Fills the caches; returns what is wrong with one that no honest node passes on. In a thread."""
        chain_id = self._ledger.network.chain_id
        for raw in raws:
            try:
                transaction = self._ledger.transactions.decode(raw)
                if transaction.chain_id != chain_id:
                    return f"a transaction of chain {transaction.chain_id}"
                transaction.recover_sender(self._ledger.signatures.recover)
            except Rejected as rejected:
                if rejected.reason in _FORGED:
                    return f"a transaction that no node passes on: {rejected}"
        return None

    def repeat(self) -> None:
        """Tells peers again of some that have waited for a while, others each time."""
        latest_ms = self._age_clock_ms() - REPEAT_AFTER_MS
        waiting = self._pool.page(self._repeated_to, _MAX_REPEATED)
        overdue = [entry.transaction.raw for entry in waiting if entry.added_at_ms <= latest_ms]
        self._repeated_to = self._repeated_to + len(overdue) if len(overdue) == _MAX_REPEATED else 0
        if overdue:
            self._share(overdue, None)
