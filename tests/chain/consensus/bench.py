"""A committee whose keys the test holds, and one engine with a tiny driver.

The test plays all other validators: it signs their votes, and says when a block is executed, built or committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import cache
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
from chain.consensus.messages import BlockMessage, CertificateMessage, GetBlock, Message, Proposal, VoteMessage
from chain.consensus.simplex import SimplexEngine
from chain.primitives.block import Block, Header
from chain.primitives.certificate import (
    NO_BLOCK,
    Certificate,
    Vote,
    VoteKind,
    assemble_certificate,
    quorum,
    sign_vote,
    validators_hash,
)
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address, BlockHeight, Hash32

GENESIS_HASH = keccak256(b"genesis of the engine's tests")
START_MS = 1_700_000_000_000
DELAY_MS, INTERVAL_MS, HEARTBEAT_MS = 1_000, 500, 60_000
NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
NO_ROOT = Hash32(bytes(32))

T = TypeVar("T")


@cache
def key_of(name: object) -> PrivateKey:
    """The same key for the same name."""
    return PrivateKey(keccak256(b"validator " + str(name).encode()))


class Cast:
    """n validators of one epoch, on a block that all of them have committed; what they sign, and their blocks."""

    def __init__(self, size: int, *, epoch: int = 0, first_key: int = 0) -> None:
        self.size, self.epoch = size, epoch
        self.quorum = quorum(size)
        self.keys = [key_of(first_key + index) for index in range(size)]
        self.validators: tuple[Address, ...] = tuple(key.address for key in self.keys)
        self.set_hash = validators_hash(epoch, self.validators)
        self.genesis = Header(
            protocol_version=1,
            chain_id=1,
            epoch=epoch,
            height=BlockHeight(10),
            parent_hash=NO_ROOT,
            time_ms=START_MS - HEARTBEAT_MS,
            proposer=self.validators[0],
            transactions_root=NO_ROOT,
            results_root=NO_ROOT,
            state_root=NO_ROOT,
            next_validators_hash=self.set_hash,
        )

    @property
    def settings(self) -> Settings:
        """Of the state that this set reigns from."""
        return Settings(
            epoch=self.epoch,
            validators=self.validators,
            network_delay_ms=DELAY_MS,
            block_interval_ms=INTERVAL_MS,
            heartbeat_ms=HEARTBEAT_MS,
        )

    def leader(self, view: int) -> int:
        """Index of the view's leader."""
        return (view + self.epoch) % self.size

    def block(
        self,
        parent: Block | Header,
        *,
        time_ms: int | None = None,
        transactions: Sequence[bytes] = (b"transaction",),
        next_set: Cast | None = None,
        **changes: Any,
    ) -> Block:
        """A block on another one; `next_set` makes it the epoch's last."""
        header = parent.header if isinstance(parent, Block) else parent
        fields: dict[str, Any] = {
            "protocol_version": 1,
            "chain_id": 1,
            "epoch": self.epoch,
            "height": header.height + 1,
            "parent_hash": header.hash,
            "time_ms": max(START_MS, header.time_ms + 1) if time_ms is None else time_ms,
            "proposer": self.validators[0],
            "transactions_root": keccak256(b"".join(transactions)),
            "results_root": NO_ROOT,
            "state_root": NO_ROOT,
            "next_validators_hash": self.set_hash if next_set is None else next_set.set_hash,
        }
        return Block(Header(**{**fields, **changes}), tuple(transactions))

    def vote(self, signer: int, kind: VoteKind, view: int, parent_view: int = 0, block: Block | None = None) -> Vote:
        """One validator's vote."""
        return sign_vote(
            self.keys[signer],
            genesis_hash=GENESIS_HASH,
            signer=signer,
            kind=kind,
            epoch=self.epoch,
            view=view,
            parent_view=parent_view,
            block_hash=NO_BLOCK if block is None else block.header.hash,
        )

    def certificate(
        self,
        kind: VoteKind,
        view: int,
        parent_view: int = 0,
        block: Block | None = None,
        signers: Iterable[int] | None = None,
    ) -> Certificate:
        """Of a quorum: the last validators, unless others are named."""
        chosen = range(self.size - self.quorum, self.size) if signers is None else signers
        return assemble_certificate([self.vote(each, kind, view, parent_view, block) for each in chosen])

    def proposal(
        self,
        view: int,
        block: Block,
        parent_view: int = 0,
        parent_certificate: Certificate | None = None,
        nullified: Iterable[int] = (),
    ) -> Proposal:
        """What the view's leader sends."""
        vote = self.vote(self.leader(view), NOTARIZE, view, parent_view, block)
        return Proposal(block, vote, parent_certificate, tuple(self.certificate(NULLIFY, each) for each in nullified))


class Bench:
    """One engine, and a driver that does what a test tells it to.

    `records` is the synced journal; `sends` and `tasks` are what the engine has wanted since the last `clear`.
    """

    def __init__(self, cast: Cast, index: int | None = 0, *, key: PrivateKey | None = None, **recovered: Any) -> None:
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


class Table:
    """All validators of a cast but the dead ones; what one says the others hear, in order, and nothing is lost."""

    def __init__(self, size: int, *, dead: Sequence[int] = ()) -> None:
        self.cast = Cast(size)
        self.benches = {index: Bench(self.cast, index) for index in range(size) if index not in dead}
        self.run()

    def run(self) -> None:
        """Until nobody has anything to say. Blocks are built at once; timers run out when the test says so."""
        is_quiet = False
        while not is_quiet:
            is_quiet = True
            for index, bench in self.benches.items():
                sends, builds = list(bench.sends), bench.wanted(BuildBlock)
                bench.clear()
                is_quiet = is_quiet and not sends and not builds
                for send in sends:
                    self._deliver(index, send)
                if builds:
                    bench.tasks += builds
                    bench.build()
                    bench.tasks = [task for task in bench.tasks if task not in builds]

    def _deliver(self, sender: int, send: Send | Ask) -> None:
        for index, bench in self.benches.items():
            if index == sender or (send.peer is not None and send.peer != f"n{index}"):
                continue
            if isinstance(send.message, GetBlock):
                block = bench.engine.block(send.message.block_hash)
                if block is not None:
                    self.benches[sender].hear(BlockMessage(block), f"n{index}")
            else:
                bench.hear(send.message, f"n{sender}")

    def fire(self, name: str) -> None:
        """This timer of everybody who has set it."""
        for bench in self.benches.values():
            if name in bench.timers:
                bench.fire(name)
        self.run()

    def wait_for(self, is_waiting: bool = True) -> None:
        """Everybody knows a transaction, or none."""
        for bench in self.benches.values():
            bench.wait_for(is_waiting)
        self.run()
