"""Transactions on their way in, from clients and from peers, one by one or in batches; and on their way to other peers.

A batch may be large: a thread reads it and recovers its signatures, and the mempool takes it, slice after slice, so
that votes and requests do not wait long. What waits for long is told to the peers again, since one that
was away or full when it came may be the next leader.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Final

from chain.consensus.effects import PeerId
from chain.node.clock import monotonic_ms, now_ms
from chain.node.ledger import Ledger
from chain.node.mempool import Mempool
from chain.node.waiting import Entry
from chain.primitives.hashing import keccak256
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction

SLICE: Final = 40
"""Transactions that are admitted before others get their turn: a millisecond or two."""
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
        transaction = self._ledger.transactions.decode(raw)
        known = self._pool.get(transaction.hash)
        if known is not None:
            return known
        entry = self._admit(transaction)
        self._share((raw,), None)
        return entry

    async def submit_all(self, raws: Sequence[bytes]) -> list[Entry | Rejected]:
        """A client's transactions, each as `submit` would take it, in this order."""
        results: list[Entry | Rejected] = []
        for start in range(0, len(raws), SLICE):
            slice_results, admitted = self._admit_all(await self._read(raws[start : start + SLICE]))
            results += slice_results
            if admitted:
                self._share(admitted, None)
        return results

    async def take(self, peer: PeerId, raws: Sequence[bytes]) -> None:
        """A peer's transactions: those that can be admitted are, the others are none of its fault, unless it raises
        Forged."""
        for start in range(0, len(raws), SLICE):
            unknown = [raw for raw in raws[start : start + SLICE] if self._pool.get(keccak256(raw)) is None]
            if not unknown:
                continue
            read = await self._read(unknown)
            _, admitted = self._admit_all(read)  # The others are stale, early, or have no room, unless they are forged.
            if admitted:
                self._share(admitted, peer)
            for each in read:
                self._check_not_forged(each)
            await asyncio.sleep(0)

    def _admit(self, transaction: Transaction) -> Entry:
        entry = self._pool.admit(transaction, now_ms())
        self._on_admitted(entry)
        return entry

    def _admit_all(self, read: Iterable[Transaction | Rejected]) -> tuple[list[Entry | Rejected], list[bytes]]:
        """What has become of each, and the raw bytes of those that were not here before."""
        results: list[Entry | Rejected] = []
        admitted: list[bytes] = []
        for transaction in read:
            if isinstance(transaction, Rejected):
                results.append(transaction)
                continue
            known = self._pool.get(transaction.hash)
            try:
                results.append(known or self._admit(transaction))
            except Rejected as rejected:
                results.append(rejected)
            else:
                if known is None:
                    admitted.append(transaction.raw)
        return results, admitted

    async def _read(self, raws: Sequence[bytes]) -> list[Transaction | Rejected]:
        """Each decoded, with its sender in the cache."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_now, raws)

    def _read_now(self, raws: Sequence[bytes]) -> list[Transaction | Rejected]:
        chain_id = self._ledger.network.chain_id
        read: list[Transaction | Rejected] = []
        for raw in raws:
            try:
                transaction = self._ledger.transactions.decode(raw)
                if transaction.chain_id == chain_id:  # Else it is not worth it.
                    transaction.recover_sender(self._ledger.signatures.recover)
                read.append(transaction)
            except Rejected as rejected:
                read.append(rejected)
        return read

    def _check_not_forged(self, read: Transaction | Rejected) -> None:
        """Raises Forged for what no honest node passes on."""
        if isinstance(read, Rejected):
            if read.reason in _FORGED:
                raise Forged(f"a transaction that no node passes on: {read}")
        elif read.chain_id != self._ledger.network.chain_id:
            raise Forged(f"a transaction of chain {read.chain_id}")

    def repeat(self) -> None:
        """Tells peers again of some that have waited for a while, others each time."""
        latest_ms = self._age_clock_ms() - REPEAT_AFTER_MS
        waiting = self._pool.page(self._repeated_to, _MAX_REPEATED)
        overdue = [entry.transaction.raw for entry in waiting if entry.added_at_ms <= latest_ms]
        self._repeated_to = self._repeated_to + len(overdue) if len(overdue) == _MAX_REPEATED else 0
        if overdue:
            self._share(overdue, None)
