"""Blocks at work: built, executed and committed one after another on a worker thread; what was executed is kept.

A task waits in a queue until its turn and finds its parent then. Only the event loop touches the candidates and the
mempool; the worker thread touches the ledger alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import structlog

from chain.consensus.effects import (
    BlockBuilt,
    BlockCommitted,
    BlockExecuted,
    BuildBlock,
    CommitBlock,
    Event,
    ExecuteBlock,
    NothingToBuild,
    Verdict,
)
from chain.node.clock import monotonic_ms, now_ms
from chain.node.ledger import Candidate, Ledger, UnboundBody
from chain.node.mempool import Mempool
from chain.node.metrics import NodeMetrics
from chain.node.waiting import Entry
from chain.primitives.block import PROTOCOL_VERSION
from chain.primitives.hexadecimal import to_hex
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32
from chain.rules.state import State
from chain.storage.errors import StalePending

T = TypeVar("T")
BlockTask = BuildBlock | ExecuteBlock | CommitBlock

_RECHECKS_PER_TURN: Final = 200
"""Transactions re-checked before other work on the event loop gets its turn: some milliseconds."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node")


class BlockWork:
    """The queue of tasks, the candidates, and the mempool's view of both."""

    def __init__(
        self,
        ledger: Ledger,
        pool: Mempool,
        *,
        proposer: Address | None,
        metrics: NodeMetrics,
        on_event: Callable[[Event], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """`on_event` takes each task's result, `on_error` what the node cannot go on after."""
        self._ledger = ledger
        self._pool = pool
        self._proposer = proposer
        self._metrics = metrics
        self._on_event = on_event
        self._on_error = on_error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blocks")
        self._queue: deque[BlockTask] = deque()
        self._running: asyncio.Task[None] | None = None
        self._candidates: dict[Hash32, Candidate] = {}
        self._executed_at_ms: dict[Hash32, int] = {}
        self._tip = ledger.head.block_hash
        self._tip_nonces: dict[Address, int] = {}
        self._unsynced: frozenset[Hash32] = frozenset()
        self._is_stopping = False
        self.is_head_synced = True
        """Whether the head would survive a loss of power."""

    # What waits

    @property
    def is_waiting(self) -> bool:
        """Whether a transaction could be executed now that is in no block between the head and the tip."""
        return len(self._pool) > self._pool.covered_by(self._tip_nonces)

    def is_new(self, entry: Entry) -> bool:
        """Whether a waiting transaction is in no block between the head and the tip; cheaper than `is_waiting`."""
        return entry.transaction.nonce >= self._tip_nonces.get(entry.sender, 0)

    def set_tip(self, block_hash: Hash32) -> bool:
        """Tells on which block the next one would stand; returns whether that is news."""
        if block_hash == self._tip:
            return False
        self._tip = block_hash
        self._tip_nonces = self._nonces_after(block_hash)
        return True

    def _nonces_after(self, block_hash: Hash32) -> dict[Address, int]:
        """With which nonce each sender of an uncommitted ancestor, or of the block itself, goes on."""
        nonces: dict[Address, int] = {}
        candidate = self._candidates.get(block_hash)
        while candidate is not None:
            outcome = candidate.outcome
            for sender, transaction in zip(outcome.senders, outcome.transactions, strict=True):
                nonces[sender] = max(nonces.get(sender, 0), transaction.nonce + 1)
            candidate = self._candidates.get(candidate.block.header.parent_hash)
        return nonces

    # Tasks

    def add(self, task: BlockTask) -> None:
        """Executes after what was added before; commits and builds first, since blocks that are final must not pile up
        in memory, and a proposal is waited for."""
        if isinstance(task, ExecuteBlock):
            self._queue.append(task)
        else:
            self._queue.appendleft(task)
        if self._running is None and not self._is_stopping:
            self._running = asyncio.create_task(self._run())

    def forget(self, block_hashes: tuple[Hash32, ...]) -> None:
        """Drops candidates that the engine keeps no longer, and what was still to be executed of them.

        What a kept one stands on is kept with it: executed anew, it would be another state, on which that one is not.
        """
        forgotten = frozenset(block_hashes)
        for block_hash in forgotten - self._ancestors(self._candidates.keys() - forgotten):
            self._drop(block_hash)
        self._queue = deque(
            task for task in self._queue if not (isinstance(task, ExecuteBlock) and task.block.header.hash in forgotten)
        )

    def _ancestors(self, block_hashes: Collection[Hash32]) -> set[Hash32]:
        """The candidates that these candidates stand on."""
        ancestors: set[Hash32] = set()
        for block_hash in block_hashes:
            parent_hash = self._candidates[block_hash].block.header.parent_hash
            while parent_hash in self._candidates and parent_hash not in ancestors:
                ancestors.add(parent_hash)
                parent_hash = self._candidates[parent_hash].block.header.parent_hash
        return ancestors

    def expect_more(self, block_hashes: frozenset[Hash32]) -> None:
        """These final blocks are followed by others that are here already: the last one's sync is enough for them."""
        self._unsynced = block_hashes

    async def close(self) -> None:
        """Waits for the task in hand."""
        self._is_stopping = True
        if self._running is not None:
            await asyncio.wait([self._running])
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            while self._queue and not self._is_stopping:
                event = await self._do(self._queue.popleft())
                if event is not None:
                    self._on_event(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the node must stop in good order and say so
            self._on_error(error)
        finally:
            self._running = None

    async def _do(self, task: BlockTask) -> Event | None:
        match task:
            case BuildBlock():
                return await self._build(task)
            case ExecuteBlock():
                return await self._execute(task)
            case CommitBlock():
                return await self._commit(task)

    def _has_parent(self, parent_hash: Hash32) -> bool:
        return parent_hash == self._ledger.head.block_hash or parent_hash in self._candidates

    def _needs_unknown_rules(self, parent_hash: Hash32) -> bool:
        """Whether what follows this block is beyond this software, which then says nothing: committing the parent will
        stop it with a message."""
        parent = self._candidates.get(parent_hash)
        if parent is None:
            return False  # The head, which was checked when it was committed.
        next_height = parent.block.header.height + 1
        return State(parent.pending).upgrade().version_at(next_height) > PROTOCOL_VERSION

    async def _build(self, task: BuildBlock) -> BlockBuilt | NothingToBuild:
        if not self._has_parent(task.parent_hash):  # Another block has become final meanwhile.
            return NothingToBuild(task.parent_hash, self.is_waiting)
        if self._needs_unknown_rules(task.parent_hash):
            return NothingToBuild(task.parent_hash, is_waiting=False)
        assert self._proposer is not None
        parent, proposer = self._candidates.get(task.parent_hash), self._proposer
        self._pool.expire()
        transactions = [] if task.must_be_empty else self._pool.select(self._nonces_after(task.parent_hash))
        if not transactions and not task.may_be_empty and not (parent is None and len(self._pool)):
            return NothingToBuild(task.parent_hash, self.is_waiting)  # All that waited is in the parent.
        try:
            with self._metrics.build_seconds.time():
                candidate = await self._in_thread(
                    lambda: self._ledger.propose(transactions, proposer=proposer, time_ms=task.time_ms, on=parent)
                )
        except StalePending:  # The parent is a block beside the final one.
            return NothingToBuild(task.parent_hash, self.is_waiting)
        if parent is None and not task.must_be_empty:
            self._drop_impossible(candidate)
        if not candidate.outcome.transactions and not task.may_be_empty:
            return NothingToBuild(task.parent_hash, self.is_waiting)
        self._keep(candidate)
        return BlockBuilt(candidate.block)

    def _keep(self, candidate: Candidate) -> None:
        block_hash = candidate.block.header.hash
        self._candidates[block_hash] = candidate
        self._executed_at_ms[block_hash] = monotonic_ms()

    def _drop(self, block_hash: Hash32) -> None:
        self._candidates.pop(block_hash, None)
        self._executed_at_ms.pop(block_hash, None)

    def _drop_impossible(self, candidate: Candidate) -> None:
        """What a block on the committed head cannot take, no later one will; on another one, that may be its parent's
        fault, which may never be final."""
        self._pool.drop_rejected(candidate.rejected)
        if not candidate.outcome.transactions:
            self._pool.drop_firsts(candidate.rejected)

    async def _execute(self, task: ExecuteBlock) -> BlockExecuted | None:
        block, header = task.block, task.block.header
        known = self._candidates.get(header.hash)
        if known is not None and known.block.transactions == block.transactions:
            return BlockExecuted(header.hash, Verdict.VALID)
        if not self._has_parent(header.parent_hash):
            _log.debug("block_without_parent", height=header.height, hash=to_hex(header.hash))
            return None  # The engine has forgotten it with its parent.
        if self._needs_unknown_rules(header.parent_hash):
            return None
        parent = self._candidates.get(header.parent_hash)
        try:
            with self._metrics.execute_seconds.time():
                candidate = await self._in_thread(lambda: self._ledger.execute(block, on=parent))
        except StalePending:
            return None
        except UnboundBody as rejected:
            return BlockExecuted(header.hash, Verdict.UNBOUND, str(rejected))
        except Rejected as rejected:
            return BlockExecuted(header.hash, Verdict.INVALID, str(rejected))
        self._keep(candidate)
        return BlockExecuted(header.hash, Verdict.VALID)

    async def _commit(self, task: CommitBlock) -> BlockCommitted:
        candidate = self._candidates[task.block_hash]
        is_synced = task.block_hash not in self._unsynced
        with self._metrics.commit_seconds.time():
            await self._in_thread(lambda: self._write(candidate, task, sync=is_synced))
        self.is_head_synced = is_synced
        self._metrics.finality_seconds.observe((monotonic_ms() - self._executed_at_ms[task.block_hash]) / 1000)
        height = candidate.block.header.height
        for each in [each.block.header for each in self._candidates.values()]:
            if each.height <= height:
                self._drop(each.hash)
        await self._after_commit(candidate)
        self._ledger.check_protocol_version()
        return BlockCommitted(task.block_hash, self.is_waiting, self._ledger.settings())

    def _write(self, candidate: Candidate, task: CommitBlock, *, sync: bool) -> None:
        self._ledger.commit(candidate, task.certificate, task.floor, sync=sync)
        self._metrics.market.count(candidate.outcome.results)

    async def _after_commit(self, candidate: Candidate) -> None:
        """Brings the mempool onto the new head."""
        head = self._ledger.head
        self._pool.rebase(self._ledger.view(), head)
        included = {transaction.hash for transaction in candidate.outcome.transactions}
        await self._recheck(self._pool.senders_touched(candidate.outcome.changes), included)
        self._tip_nonces = self._nonces_after(self._tip)
        self._metrics.transactions.inc(len(included))
        _log.info(
            "block",
            height=head.height,
            hash=to_hex(head.block_hash),
            transactions=len(included),
            failed=sum(failure is not None for failure in candidate.outcome.failures),
            waiting=len(self._pool),
        )

    async def recheck_pool(self) -> None:
        """Drops whatever cannot be executed on the head any more.

        After a commit only those are looked at whom the block has touched. What has become impossible otherwise, as
        when a quota of all newcomers is used up, its next proposer finds out; until then the others would hold each
        view against a leader that rightly proposes nothing.
        """
        await self._recheck(self._pool.senders())

    async def _recheck(self, senders: list[Address], included: Collection[Hash32] = ()) -> None:
        rechecked = 0
        for sender in senders:
            rechecked += self._pool.recheck(sender, now_ms(), included)
            if rechecked >= _RECHECKS_PER_TURN:
                rechecked = 0
                await asyncio.sleep(0)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
