"""Feeds the engine one event at a time, and carries out what it wants in the order that `effects` demands.

What waits for a vote's sync in the journal: the messages of an event, those of all later events, and `CommitBlock`. A
commit puts a certificate with this node's own vote into the store, and a store that shows votes which the journal does
not know would look like a lost journal after a crash. Timers, building and executing do not wait: nobody outside sees
them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from chain.consensus.effects import (
    Ask,
    Blame,
    BlockCommitted,
    BuildBlock,
    ChainReceived,
    CommitBlock,
    Effects,
    Event,
    ExecuteBlock,
    FetchFinal,
    ForgetBlocks,
    Halt,
    KeepEvidence,
    NothingToBuild,
    PruneJournal,
    Send,
    Task,
    TimerFired,
    WaitingChanged,
)
from chain.consensus.pace import LEADER, VIEW
from chain.consensus.simplex import SimplexEngine
from chain.node.blocks import BlockWork
from chain.node.clock import now_ms
from chain.node.outbox import Outbox
from chain.node.timers import Timers

_DEADLINES: Final = (LEADER, VIEW)


class Halted(Exception):
    """The engine has found that nothing sensible can follow; `str(error)` tells the operator why."""


class Messenger(Protocol):
    """Whoever speaks with peers and keeps evidence."""

    def send(self, send: Send | Ask) -> None:
        """Says something to peers."""

    def on_task(self, task: FetchFinal | KeepEvidence | Blame) -> None:
        """Fetches, keeps, or disconnects."""

    def after_commit(self, committed: BlockCommitted) -> None:
        """The engine knows of this commit now."""


class Driver:
    """See the module. Everything here runs on the event loop."""

    def __init__(
        self,
        engine: SimplexEngine,
        blocks: BlockWork,
        outbox: Outbox,
        messenger: Messenger,
        on_error: Callable[[Exception], None],
    ) -> None:
        """`on_error` is told, once or more, what the node cannot go on after."""
        self.engine = engine
        self._blocks = blocks
        self._outbox = outbox
        self._messenger = messenger
        self._on_error = on_error
        self._timers = Timers(lambda name: self.dispatch(TimerFired(name)))
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._is_stopped = False
        self._is_waiting = False
        self._doubting: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """No event reaches the engine from now on, and no effect is begun."""
        self._is_stopped = True
        self._events.clear()
        self._timers.cancel()
        if self._doubting is not None:
            self._doubting.cancel()

    def dispatch(self, event: Event) -> None:
        """Hands an event to the engine, after those that are there already. Never raises."""
        if self._is_stopped:
            return
        self._events.append(event)
        if self._is_handling:
            return  # The engine is at work further down this very stack.
        self._is_handling = True
        try:
            while self._events and not self._is_stopped:
                self._handle(self._events.popleft())
        except Exception as error:  # noqa: BLE001 - in a timer's callback it would only be logged
            self._on_error(error)
        finally:
            self._is_handling = False

    def tell_waiting(self) -> None:
        """Tells the engine whether a transaction waits that could be executed now, if that is news."""
        is_waiting = self._blocks.is_waiting
        if is_waiting != self._is_waiting:
            self.dispatch(WaitingChanged(is_waiting))

    @property
    def is_waiting(self) -> bool:
        """What the engine was told last."""
        return self._is_waiting

    def _handle(self, event: Event) -> None:
        match event:
            case WaitingChanged() | BlockCommitted() | NothingToBuild():
                self._is_waiting = event.is_waiting
            case ChainReceived():
                self._blocks.expect_more(frozenset(block.header.hash for block, _ in event.links[:-1]))
        self._carry_out(self.engine.handle(event, now_ms()))
        if isinstance(event, BlockCommitted):
            self._messenger.after_commit(event)
        if self._blocks.set_tip(self.engine.tip):
            self.tell_waiting()
        if isinstance(event, TimerFired) and event.name in _DEADLINES and self._is_waiting:
            self._doubt_pool()

    def _doubt_pool(self) -> None:
        """A view has led to nothing although a transaction waits: perhaps none can be executed any more."""
        if self._doubting is None:
            self._doubting = asyncio.create_task(self._blocks.recheck_pool())
            self._doubting.add_done_callback(self._on_doubted)

    def _on_doubted(self, doubting: asyncio.Task[None]) -> None:
        self._doubting = None
        error = None if doubting.cancelled() else doubting.exception()
        if isinstance(error, Exception):
            self._on_error(error)
        elif not self._is_stopped:
            self.tell_waiting()

    def _carry_out(self, effects: Effects) -> None:
        commits = tuple(task for task in effects.tasks if isinstance(task, CommitBlock))
        if effects.records or effects.sends or commits:
            self._outbox.put(effects.records, partial(self._when_recorded, effects.sends, commits))
        for timer in effects.timers:
            self._timers.set(timer)
        for task in effects.tasks:
            if not isinstance(task, CommitBlock):
                self._begin(task)

    def _when_recorded(self, sends: tuple[Send | Ask, ...], commits: tuple[CommitBlock, ...]) -> None:
        if self._is_stopped:
            return
        for send in sends:
            self._messenger.send(send)
        for commit in commits:
            self._blocks.add(commit)

    def _begin(self, task: Task) -> None:
        match task:
            case BuildBlock() | ExecuteBlock() | CommitBlock():
                self._blocks.add(task)
            case ForgetBlocks(block_hashes):
                self._blocks.forget(block_hashes)
            case PruneJournal():
                self._prune_journal(task)
            case Halt(reason):
                raise Halted(reason)
            case _:
                self._messenger.on_task(task)

    def _prune_journal(self, task: PruneJournal) -> None:
        """After a commit that was not synced the store could still fall back behind it: then the next one prunes."""
        if self._blocks.is_head_synced:
            self._outbox.prune(task.epoch, task.view)
