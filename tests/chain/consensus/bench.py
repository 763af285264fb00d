"""One engine with a tiny driver. The test plays all other validators, and says when a block is executed or built."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, TypeVar

from chain.consensus.effects import (
    Ask,
    BlockBuilt,
    BlockCommitted,
    BlockExecuted,
    BuildBlock,
    CommitBlock,
    Effects,
    Event,
    ExecuteBlock,
    Floor,
    MessageReceived,
    Record,
    Recovered,
    Send,
    Settings,
    Started,
    Task,
    TimerFired,
    Verdict,
    WaitingChanged,
)
from chain.consensus.messages import BlockMessage, CertificateMessage, Message, Proposal, VoteMessage
from chain.consensus.simplex import SimplexEngine
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate, Vote, VoteKind
from chain.primitives.keys import Signer
from chain.primitives.types import Hash32
from tests.chain.consensus.cast import FINALIZE, GENESIS_HASH, NOTARIZE, NULLIFY, START_MS, Cast

T = TypeVar("T")


class Bench:
    """One engine, and a driver that does what a test tells it to.

    `records` is the synced journal; `sends` and `tasks` are what the engine has wanted since the last `clear`.
    """

    def __init__(self, cast: Cast, index: int | None = 0, *, key: Signer | None = None, **recovered: Any) -> None:
        self.cast = cast
        self.key = key or (cast.keys[index] if index is not None else None)
        self.now_ms = START_MS
        self.records: list[Record] = []
        self.sends: list[Send | Ask] = []
        self.tasks: list[Task] = []
        self.timers: dict[str, int] = {}
        self.verdicts: dict[Hash32, Verdict] = {}
        """Of blocks that are not valid."""
        self.next_settings: dict[Hash32, Settings] = {}
        """After blocks that change them."""
        self.settings = cast.settings
        self.floor = Floor(cast.epoch, 0, cast.genesis.height, cast.genesis.hash)
        self.head = cast.genesis
        self.is_waiting = False
        self._blocks: dict[Hash32, Block] = {}
        self._queue: deque[Task] = deque()
        self.start(**recovered)

    # The process

    def start(self, **recovered: Any) -> None:
        """(Re)starts the engine from what is on the disk."""
        self._queue.clear()
        self.timers.clear()
        self.engine = SimplexEngine(
            genesis_hash=GENESIS_HASH,
            key=self.key,
            settings=self.settings,
            recovered=Recovered(
                floor=self.floor, head=self.head, records=tuple(each.encoded for each in self.records), **recovered
            ),
        )
        self.clear()
        self.handle(Started())

    def clear(self) -> None:
        """Forgets what has been wanted so far."""
        self.sends.clear()
        self.tasks.clear()

    def handle(self, event: Event) -> Effects:
        """One event; tasks wait for `work`."""
        effects = self.engine.handle(event, self.now_ms)
        self.records += effects.records
        self.sends += effects.sends
        self.tasks += effects.tasks
        self._queue += effects.tasks
        for timer in effects.timers:
            if timer.delay_ms is None:
                self.timers.pop(timer.name, None)
            else:
                self.timers[timer.name] = timer.delay_ms
        return effects

    def handle_message(self, message: Message, peer: str = "peer") -> Effects:
        """A peer says something."""
        return self.handle(MessageReceived(peer, message))

    def hear(self, message: Message, peer: str = "peer") -> Effects:
        """A peer says something; then all work is done."""
        effects = self.handle_message(message, peer)
        self.work()
        return effects

    def hear_votes(self, votes: Iterable[Vote]) -> None:
        """One after another."""
        for vote in votes:
            self.hear(VoteMessage(vote))

    def hear_certificate(self, *arguments: Any, **more: Any) -> Certificate:
        """A certificate that the cast makes; returns it."""
        certificate = self.cast.certificate(*arguments, **more)
        self.hear(CertificateMessage(certificate))
        return certificate

    def fire_only(self, name: str) -> Effects:
        """A timer that is set runs out."""
        del self.timers[name]
        return self.handle(TimerFired(name))

    def fire(self, name: str) -> Effects:
        """A timer that is set runs out; then all work is done."""
        effects = self.fire_only(name)
        self.work()
        return effects

    def wait_for(self, is_waiting: bool = True) -> Effects:
        """A transaction waits, or none does."""
        self.is_waiting = is_waiting
        return self.handle(WaitingChanged(is_waiting))

    def work(self) -> None:
        """Executes and commits; building is for the test to answer."""
        while self._queue:
            match self._queue.popleft():
                case ExecuteBlock(block):
                    self._blocks[block.header.hash] = block
                    verdict = self.verdicts.get(block.header.hash, Verdict.VALID)
                    self.handle(BlockExecuted(block.header.hash, verdict, verdict.value))
                case CommitBlock(block_hash, _, floor):
                    self.floor, self.head = floor, self._blocks[block_hash].header
                    self.settings = self.next_settings.get(block_hash, self.settings)
                    self.handle(BlockCommitted(block_hash, self.is_waiting, self.settings))
                case _:
                    pass

    def build(self, **changes: Any) -> Block:
        """Answers the newest BuildBlock with a block."""
        task = self.wanted(BuildBlock)[-1]
        parent = self.head if task.parent_hash == self.head.hash else self._blocks[task.parent_hash].header
        transactions = () if task.must_be_empty else (b"transaction",)
        block = self.cast.block(parent, **{"time_ms": task.time_ms, "transactions": transactions, **changes})
        self._blocks[block.header.hash] = block
        self.handle(BlockBuilt(block))
        self.work()
        return block

    # What it has wanted

    def wanted(self, kind: type[T]) -> list[T]:
        """Tasks of one kind."""
        return [task for task in self.tasks if isinstance(task, kind)]

    def said(self, kind: type[T], peer: str | None = None) -> list[T]:
        """Messages of one kind, to all or to one peer."""
        return [each.message for each in self.sends if isinstance(each.message, kind) and each.peer == peer]

    def votes(self, kind: VoteKind | None = None) -> list[Vote]:
        """Own votes that were sent to all, also with a proposal."""
        messages = [each.message for each in self.sends if each.peer is None]
        votes = [each.vote for each in messages if isinstance(each, VoteMessage | Proposal)]
        return [vote for vote in votes if kind is None or vote.kind is kind]

    # Shortcuts

    def enter(self, view: int) -> None:
        """All views before this one have been given up."""
        for each in range(self.engine.view, view):
            self.hear_certificate(NULLIFY, each)
        assert self.engine.view == view

    def finalize(self, view: int, parent_view: int, block: Block) -> Certificate:
        """This node gets a block that the others notarize and finalize."""
        self.hear(self.cast.proposal(view, block, parent_view))
        self.hear_certificate(NOTARIZE, view, parent_view, block)
        certificate = self.hear_certificate(FINALIZE, view, parent_view, block)
        self.hear(BlockMessage(block))  # Where the proposal came too early, it was asked for.
        return certificate
