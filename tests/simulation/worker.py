"""The thread of a simulated node that executes, builds, commits, forgets and prunes, one after another."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from chain.consensus.effects import (
    BlockBuilt,
    BlockCommitted,
    BlockExecuted,
    BuildBlock,
    CommitBlock,
    Event,
    ExecuteBlock,
    ForgetBlocks,
    NothingToBuild,
    PruneJournal,
)
from chain.primitives.types import Hash32
from tests.simulation.parts import Crash

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode

Work = BuildBlock | ExecuteBlock | CommitBlock | ForgetBlocks | PruneJournal


class Worker:
    """Of one life of a node; every piece of work takes its time."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._work: deque[Work] = deque()
        self._is_working = False
        self._forgotten: dict[Hash32, None] = {}

    def start(self, task: Work) -> None:
        """Queues it."""
        underway = sum(type(each) is type(task) for each in self._work)
        self._node.parts.oracles.started_task(self._node, task, underway)
        self._work.append(task)
        self._next_work()

    def _next_work(self) -> None:
        if self._work and not self._is_working:
            self._is_working = True
            is_quick = isinstance(self._work[0], ForgetBlocks | PruneJournal)
            delay_ms = 0 if is_quick else self._node.parts.random.randrange(self._node.parts.work_ms + 1)
            self._node.later(delay_ms, self._do_work)

    def _do_work(self) -> None:
        task = self._work.popleft()
        try:
            event = self._done(task)
        except Crash:
            self._node.crash()
            return
        self._is_working = False
        self._next_work()
        self._node.worked(task, event)

    def _done(self, task: Work) -> Event | None:
        match task:
            case ExecuteBlock(block):
                if not self._has_parent(block.header.parent_hash, block.header.height):
                    return None
                verdict, reason = self._node.ledger.execute(block)
                return BlockExecuted(block.header.hash, verdict, reason)
            case BuildBlock():
                return self._build(task)
            case CommitBlock():
                return self._commit(task)
            case ForgetBlocks(block_hashes):
                self._forgotten.update(dict.fromkeys(block_hashes))
                self._node.ledger.forget(block_hashes)
            case PruneJournal(epoch, view):
                self._node.point()
                if self._node.parts.random.random() < self._node.parts.prune_share:
                    self._node.parts.oracles.synced(self._node, self._node.journal.written)
                    self._node.journal.prune(epoch, view)
        return None

    def _has_parent(self, parent_hash: Hash32, height: int) -> bool:
        """Whether the parent is executed or the head; only a forgotten one, or one of the past, may be missing."""
        if self._node.ledger.is_executed(parent_hash):
            return True
        if parent_hash not in self._forgotten and height > self._node.ledger.head.height:
            self._node.parts.oracles.misdriven(self._node, f"a parent of height {height - 1} has not been executed")
        return False

    def _build(self, task: BuildBlock) -> Event:
        assert self._node.key is not None
        if not self._node.ledger.is_executed(task.parent_hash):
            return NothingToBuild(task.parent_hash, self._node.ledger.is_waiting())
        block = self._node.ledger.build(
            task.parent_hash,
            proposer=self._node.key.address,
            time_ms=task.time_ms,
            may_be_empty=task.may_be_empty,
            must_be_empty=task.must_be_empty,
        )
        return NothingToBuild(task.parent_hash, self._node.ledger.is_waiting()) if block is None else BlockBuilt(block)

    def _commit(self, task: CommitBlock) -> Event:
        self._node.point()
        block = self._node.ledger.commit(task.block_hash, task.certificate, task.floor)
        self._node.parts.oracles.committed(self._node, block, task.certificate)
        self._node.point()
        return BlockCommitted(task.block_hash, self._node.ledger.is_waiting(), self._node.ledger.settings())
