"""The thread of a simulated node that executes, builds and commits, one block after another."""

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
    NothingToBuild,
)
from chain.primitives.types import Hash32
from tests.simulation.parts import Crash

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode

Work = BuildBlock | ExecuteBlock | CommitBlock


class Worker:
    """Of one life of a node; every piece of work takes its time. Commits and builds go before executions, as they do in
    the real driver."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._waiting: deque[Work] = deque()
        self._current: Work | None = None
        self._forgotten: dict[Hash32, None] = {}

    def start(self, task: Work) -> None:
        """Queues it."""
        underway = [*self._waiting, *([] if self._current is None else [self._current])]
        self._node.parts.oracles.started_task(self._node, task, sum(type(each) is type(task) for each in underway))
        if isinstance(task, ExecuteBlock):
            self._waiting.append(task)
        else:
            self._waiting.appendleft(task)
        self._next()

    def forget(self, block_hashes: tuple[Hash32, ...]) -> None:
        """Drops what was executed of these blocks, and what was to be."""
        self._forgotten.update(dict.fromkeys(block_hashes))
        self._node.ledger.forget(block_hashes)
        self._waiting = deque(
            task
            for task in self._waiting
            if not (isinstance(task, ExecuteBlock) and task.block.header.hash in self._forgotten)
        )

    def _next(self) -> None:
        if self._waiting and self._current is None:
            self._current = self._waiting.popleft()
            self._node.later(self._node.parts.random.randrange(self._node.parts.work_ms + 1), self._finish)

    def _finish(self) -> None:
        task = self._current
        assert task is not None
        try:
            event = self._done(task)
        except Crash:
            self._node.crash()
            return
        self._current = None
        self._next()
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
        is_synced = task.block_hash not in self._node.unsynced
        block = self._node.ledger.commit(task.block_hash, task.certificate, task.floor, sync=is_synced)
        self._node.parts.oracles.committed(self._node, block, task.certificate)
        self._node.point()
        return BlockCommitted(task.block_hash, self._node.ledger.is_waiting(), self._node.ledger.settings())
