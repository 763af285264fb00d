"""A node at work: the engine's effects carried out with asyncio, a worker thread, and a clock.

The event loop holds the engine and the mempool; one worker thread executes blocks and waits for the disk, so that
requests are answered meanwhile. Whatever moment the process dies at, the folder holds the last whole block, and a start
goes on from there: nothing else is remembered.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import structlog

from chain.consensus.engine import (
    BlockBuilt,
    BlockCommitted,
    BlockName,
    BuildBlock,
    CommitBlock,
    Engine,
    Event,
    NothingToBuild,
    SetTimer,
    Started,
    Task,
    TimerFired,
    WaitingChanged,
)
from chain.consensus.solo import SoloEngine
from chain.node.folder import SetupError
from chain.node.ledger import Candidate, Ledger, UnknownProtocolVersion
from chain.node.mempool import Entry, Mempool
from chain.node.metrics import NodeMetrics
from chain.node.pool_limits import PoolLimits
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Hash32
from chain.rules.state import State
from chain.storage.errors import StorageError

T = TypeVar("T")

_RECHECKS_PER_TURN: Final = 200
"""Transactions re-checked before other work on the event loop gets its turn: some milliseconds."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node")


def settle_garbage_collector() -> None:
    """Call once when everything is loaded: executing a block makes many objects and hardly any cycles.

    With Python's defaults the collector took 5 to 8% of the time that importing a block takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def now_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Node:
    """A validator (with a key) or a follower (without). `start` and `stop` once each, on one event loop."""

    def __init__(self, ledger: Ledger, *, key: PrivateKey | None, limits: PoolLimits, metrics: NodeMetrics) -> None:
        """Takes over the ledger, to close it in `stop`.

        Raises SetupError where the key cannot run this network, and UnknownProtocolVersion.
        """
        self.ledger = ledger
        self.pool = Mempool(
            limits,
            chain_id=ledger.network.chain_id,
            recover=ledger.signatures.recover,
            decode=ledger.transactions.decode,
        )
        self.pool.rebase(ledger.view(), ledger.head)
        self.fault: str | None = None
        """What has gone wrong for good, None while all is well."""
        self._key = key
        self._engine = _engine_for(ledger, key)
        self._metrics = metrics
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="blocks")
        self._candidates: dict[Hash32, Candidate] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self.on_fault: Callable[[], None] = lambda: None
        """Called once when the node cannot go on; `fault` says why."""
        metrics.observe(self)

    async def start(self) -> None:
        """Begins to work."""
        _log.info(
            "node_started",
            network=self.ledger.network.name,
            chain_id=self.ledger.network.chain_id,
            genesis_hash=to_hex(self.ledger.network.genesis_hash),
            height=self.ledger.head.height,
            validator=to_checksum_address(self._key.address) if self._key is not None else None,
        )
        self._dispatch(Started())

    async def stop(self) -> None:
        """Ends after the block in hand, and closes the ledger."""
        self._is_stopping = True
        for timer in self._timers.values():
            timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._worker.shutdown()
        self.ledger.close()
        _log.info("node_stopped", height=self.ledger.head.height)

    def submit(self, raw: bytes) -> Entry:
        """Takes a transaction into the mempool, or finds it there; raises Rejected. On the event loop's thread."""
        entry = self.pool.add(raw, now_ms())
        self._tell_waiting()
        return entry

    def _tell_waiting(self) -> None:
        self._dispatch(WaitingChanged(is_waiting=len(self.pool) > 0))

    # The engine's effects

    def _dispatch(self, event: Event) -> None:
        if self._is_stopping or self._engine is None:
            return
        effects = self._engine.handle(event, now_ms())
        assert not effects.records and not effects.sends, "an engine with peers and a journal has its own driver"
        for timer in effects.timers:
            self._set_timer(timer)
        for task in effects.tasks:
            running = asyncio.create_task(self._run(task))
            self._tasks.add(running)
            running.add_done_callback(self._tasks.discard)

    def _set_timer(self, timer: SetTimer) -> None:
        previous = self._timers.get(timer.name)
        if previous is not None:
            previous.cancel()
        loop = asyncio.get_running_loop()
        self._timers[timer.name] = loop.call_later(
            timer.delay_ms / 1000, lambda: self._dispatch(TimerFired(timer.name))
        )

    async def _run(self, task: Task) -> None:
        try:
            match task:
                case BuildBlock():
                    self._dispatch(await self._build(task))
                case CommitBlock():
                    self._dispatch(await self._commit(task))
        except Exception as error:  # noqa: BLE001 - whatever it is, the node must stop in good order and say so
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.fault = str(error) or type(error).__name__
        is_explained = isinstance(error, StorageError | UnknownProtocolVersion)
        _log.critical("node_failed", fault=self.fault, exc_info=None if is_explained else error)
        self._is_stopping = True
        self.on_fault()

    async def _build(self, task: BuildBlock) -> BlockBuilt | NothingToBuild:
        assert self._key is not None
        assert task.parent_hash == self.ledger.head.block_hash
        self.pool.expire(now_ms())
        transactions, proposer = self.pool.select(), self._key.address
        with self._metrics.build_seconds.time():
            candidate = await self._in_worker(
                lambda: self.ledger.propose(transactions, proposer=proposer, time_ms=task.time_ms)
            )
        self.pool.drop_rejected(candidate.rejected)
        if not candidate.outcome.transactions and not task.may_be_empty:
            return NothingToBuild(is_waiting=len(self.pool) > 0)
        header = candidate.block.header
        self._candidates = {header.hash: candidate}
        return BlockBuilt(BlockName(header.height, header.hash, header.time_ms))

    async def _commit(self, task: CommitBlock) -> BlockCommitted:
        candidate = self._candidates.pop(task.block_hash)
        with self._metrics.commit_seconds.time():
            head = await self._in_worker(lambda: self.ledger.commit(candidate, task.certificate, task.floor))
        await self._after_block(candidate)
        self.ledger.check_protocol_version()
        heartbeat_ms = State(self.ledger.view()).parameters().heartbeat_ms
        name = BlockName(head.height, head.block_hash, head.time_ms)
        return BlockCommitted(name, is_waiting=len(self.pool) > 0, heartbeat_ms=heartbeat_ms)

    async def _after_block(self, candidate: Candidate) -> None:
        """Brings the mempool onto the new head."""
        head = self.ledger.head
        self.pool.rebase(self.ledger.view(), head)
        included = {transaction.hash for transaction in candidate.outcome.transactions}
        rechecked = 0
        for sender in self.pool.senders_touched(candidate.outcome.changes):
            rechecked += self.pool.recheck(sender, now_ms(), included)
            if rechecked >= _RECHECKS_PER_TURN:
                rechecked = 0
                await asyncio.sleep(0)
        self._metrics.transactions.inc(len(included))
        _log.info(
            "block",
            height=head.height,
            hash=to_hex(head.block_hash),
            transactions=len(included),
            failed=sum(failure is not None for failure in candidate.outcome.failures),
            waiting=len(self.pool),
        )

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def _engine_for(ledger: Ledger, key: PrivateKey | None) -> Engine | None:
    """The engine that this key takes part with; None for a follower. Raises SetupError, UnknownProtocolVersion."""
    if key is None:
        return None
    ledger.check_protocol_version()
    state = State(ledger.view())
    validators = state.validators()
    if key.address not in validators:
        raise SetupError(
            f"the key of {to_checksum_address(key.address)} is no validator's of this network: use the right key "
            "file, or run without one to follow"
        )
    if len(validators) > 1:
        raise SetupError(
            f"this network has {len(validators)} validators, and this version of aitbc runs networks of one"
        )
    head = ledger.head
    return SoloEngine(
        genesis_hash=ledger.network.genesis_hash,
        validators=validators,
        key=key,
        floor=ledger.floor(),
        head=BlockName(head.height, head.block_hash, head.time_ms),
        block_interval_ms=ledger.network.block_interval_ms,
        heartbeat_ms=state.parameters().heartbeat_ms,
    )
