"""The engine of a network of one validator: when it asks for a block, what it signs; one pass makes a block final."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.consensus.effects import (
    BlockBuilt,
    BlockCommitted,
    BuildBlock,
    CommitBlock,
    Effects,
    Event,
    Floor,
    ForgetBlocks,
    NothingToBuild,
    Recovered,
    Settings,
    Started,
    TimerFired,
    WaitingChanged,
)
from chain.consensus.messages import JournalEntry
from chain.consensus.pace import HEARTBEAT, INTERVAL, MAX_CLOCK_DRIFT_MS
from chain.consensus.simplex import SimplexEngine
from chain.primitives.block import Block, Header
from chain.primitives.certificate import VoteKind, validators_hash, verify_certificate
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.message_pack import decode
from chain.primitives.rejection import Rejected
from chain.primitives.types import BlockHeight, Hash32

KEY = PrivateKey(keccak256(b"validator"))
GENESIS_HASH = keccak256(b"genesis")
NOW_MS = 1_000_000
INTERVAL_MS, HEARTBEAT_MS = 500, 60_000
NOTHING = Hash32(bytes(32))


def settings(**changes: int) -> Settings:
    values = {"epoch": 0, "network_delay_ms": 1_000, "block_interval_ms": INTERVAL_MS, "heartbeat_ms": HEARTBEAT_MS}
    return Settings(validators=(KEY.address,), **{**values, **changes})


def block(height: int, parent_hash: Hash32, time_ms: int, transactions: tuple[bytes, ...] = ()) -> Block:
    header = Header(
        protocol_version=1,
        chain_id=7,
        epoch=0,
        height=BlockHeight(height),
        parent_hash=parent_hash,
        time_ms=time_ms,
        proposer=KEY.address,
        transactions_root=NOTHING,
        results_root=NOTHING,
        state_root=NOTHING,
        next_validators_hash=validators_hash(0, [KEY.address]),
    )
    return Block(header, transactions)


class Solo:
    """An engine, what it stands on, and the block that the driver would have built last."""

    def __init__(self, *, head_age_ms: int = 0, view: int = 7, records: tuple[bytes, ...] = (), **changes: int) -> None:
        self.head = block(3, keccak256(b"parent"), NOW_MS - head_age_ms).header
        self.settings = settings(**changes)
        self.engine = SimplexEngine(
            genesis_hash=GENESIS_HASH,
            key=KEY,
            settings=self.settings,
            recovered=Recovered(
                floor=Floor(0, view, self.head.height, self.head.hash), head=self.head, records=records
            ),
        )
        self.timers: dict[str, int | None] = {}

    def handle(self, event: Event, now_ms: int = NOW_MS) -> Effects:
        effects = self.engine.handle(event, now_ms)
        self.timers.update({timer.name: timer.delay_ms for timer in effects.timers})
        return effects

    def start(self) -> Solo:
        self.handle(Started())
        return self

    def build(self, task: BuildBlock) -> BlockBuilt:
        """What the driver would answer."""
        assert task.parent_hash == self.head.hash
        transactions = () if task.may_be_empty else (b"transaction",)
        return BlockBuilt(block(self.head.height + 1, task.parent_hash, task.time_ms, transactions))

    def commit(self, built: BlockBuilt, *, is_waiting: bool = False, **changes: int) -> BlockCommitted:
        """What the driver would answer."""
        self.head = built.block.header
        return BlockCommitted(self.head.hash, is_waiting, settings(**changes))


def only_build(effects: Effects) -> BuildBlock:
    (task,) = effects.tasks
    assert isinstance(task, BuildBlock)
    return task


def only_commit(effects: Effects) -> CommitBlock:
    (task,) = effects.tasks
    assert isinstance(task, CommitBlock)
    return task


def test_idle_chain_sets_the_heartbeats_timer_and_builds_nothing() -> None:
    solo = Solo(head_age_ms=1_000)
    assert solo.handle(Started()).tasks == ()
    assert solo.timers[HEARTBEAT] == HEARTBEAT_MS - 1_000
    assert solo.handle(TimerFired(INTERVAL)).tasks == ()


def test_heartbeat_that_is_due_builds_a_block_that_may_be_empty() -> None:
    solo = Solo(head_age_ms=HEARTBEAT_MS).start()
    assert solo.timers[HEARTBEAT] == 0
    task = only_build(solo.handle(TimerFired(HEARTBEAT)))
    assert task == BuildBlock(solo.head.hash, NOW_MS, may_be_empty=True, must_be_empty=False)


def test_waiting_transaction_waits_out_the_interval() -> None:
    solo = Solo().start()
    assert solo.timers[INTERVAL] == INTERVAL_MS
    assert solo.handle(WaitingChanged(is_waiting=True)).tasks == ()
    assert not only_build(solo.handle(TimerFired(INTERVAL), NOW_MS + INTERVAL_MS)).may_be_empty


def test_without_an_interval_a_waiting_transaction_gets_its_block_at_once() -> None:
    solo = Solo(block_interval_ms=0).start()
    assert not only_build(solo.handle(WaitingChanged(is_waiting=True))).may_be_empty


def test_block_time_follows_a_parent_from_the_future_by_one_millisecond() -> None:
    solo = Solo(head_age_ms=-5_000).start()
    solo.handle(WaitingChanged(is_waiting=True))
    assert only_build(solo.handle(TimerFired(INTERVAL))).time_ms == NOW_MS + 5_001


def test_clock_set_back_by_an_hour_does_not_hold_up_blocks() -> None:
    solo = Solo().start()
    earlier_ms = NOW_MS - 3_600_000
    solo.handle(WaitingChanged(is_waiting=True), earlier_ms)
    assert only_build(solo.handle(TimerFired(INTERVAL), earlier_ms)).time_ms == NOW_MS + 1
    late = Solo(head_age_ms=-3_600_000).start()
    assert late.timers[HEARTBEAT] == HEARTBEAT_MS


def test_one_pass_makes_a_certificate_that_anybody_can_check() -> None:
    solo = Solo().start()
    solo.handle(WaitingChanged(is_waiting=True))
    built = solo.build(only_build(solo.handle(TimerFired(INTERVAL))))
    effects = solo.handle(built)
    task = only_commit(effects)
    assert task.floor == Floor(0, 8, BlockHeight(4), built.block.header.hash)
    assert task.certificate is not None
    assert (task.certificate.kind, task.certificate.view, task.certificate.parent_view) == (VoteKind.FINALIZE, 8, 7)
    verify_certificate(task.certificate, genesis_hash=GENESIS_HASH, validators=[KEY.address])
    with pytest.raises(Rejected):
        verify_certificate(task.certificate, genesis_hash=NOTHING, validators=[KEY.address])
    votes = [entry.vote for record in effects.records if (entry := decode(record.encoded, JournalEntry)).vote]
    assert [vote.kind for vote in votes] == [VoteKind.NOTARIZE, VoteKind.FINALIZE]


def test_nothing_to_build_goes_back_to_waiting() -> None:
    solo = Solo(block_interval_ms=0).start()
    only_build(solo.handle(WaitingChanged(is_waiting=True)))
    # Whether others have come in meanwhile or come in later: soon, but not in a loop.
    for is_waiting in (True, False):
        assert solo.handle(NothingToBuild(solo.head.hash, is_waiting)).tasks == ()
        assert 0 < (solo.timers[INTERVAL] or 0) <= 20
        assert solo.handle(WaitingChanged(is_waiting=True)).tasks == ()
        only_build(solo.handle(TimerFired(INTERVAL)))
    assert solo.handle(NothingToBuild(solo.head.hash, is_waiting=False)).tasks == ()
    assert solo.handle(TimerFired(INTERVAL)).tasks == ()


def test_heartbeat_follows_governance() -> None:
    solo = Solo(head_age_ms=HEARTBEAT_MS).start()
    built = solo.build(only_build(solo.handle(TimerFired(HEARTBEAT))))
    solo.handle(built)
    solo.handle(solo.commit(built, heartbeat_ms=5_000))
    solo.handle(solo.build(only_build(solo.handle(TimerFired(HEARTBEAT)))))
    assert solo.timers[HEARTBEAT] == 5_000


def test_votes_of_the_journal_are_not_contradicted_after_a_crash() -> None:
    """The block was voted for, and nothing of it was committed: the same block is committed, in the same view."""
    solo = Solo(head_age_ms=HEARTBEAT_MS).start()
    built = solo.build(only_build(solo.handle(TimerFired(HEARTBEAT))))
    effects = solo.handle(built)
    restarted = Solo(head_age_ms=HEARTBEAT_MS, records=tuple(record.encoded for record in effects.records))
    tasks = restarted.handle(Started()).tasks
    assert [type(task).__name__ for task in tasks] == ["ExecuteBlock"]
    assert restarted.engine.view == 9


STEPS = st.sampled_from(["wait", "idle", "interval", "heartbeat", "grace", "built", "committed"])


@given(st.lists(st.tuples(STEPS, st.integers(-2_000, 40_000))))
def test_any_history_keeps_the_promises(steps: list[tuple[str, int]]) -> None:
    """One build and one commit at a time, commits in the order of heights, each view used once; and no chance."""
    first, second = (Solo(view=0) for _ in range(2))
    now_ms, view, built, parent = NOW_MS, 0, first.head, first.head
    building: BuildBlock | None = None
    committing: CommitBlock | None = None
    event: Event = Started()
    for step, elapsed_ms in [("start", 0), *steps]:
        now_ms += elapsed_ms
        match step:
            case "wait" | "idle":
                event = WaitingChanged(is_waiting=step == "wait")
            case "interval" | "heartbeat" | "grace":
                event = TimerFired(step)
            case "built" if building is not None:
                assert building.parent_hash == built.hash
                event = BlockBuilt(block(built.height + 1, built.hash, building.time_ms))
                parent, built, building = built, event.block.header, None
            case "committed" if committing is not None:
                event = BlockCommitted(committing.block_hash, False, settings())
                committing = None
            case "built" | "committed":
                continue
        effects = first.handle(event, now_ms)
        assert effects == second.handle(event, now_ms)
        for task in effects.tasks:
            if isinstance(task, ForgetBlocks):  # The clock has gone back while it was built: it is built anew.
                assert task.block_hashes == (built.hash,)
                assert built.time_ms > now_ms + MAX_CLOCK_DRIFT_MS
                built = parent
            elif isinstance(task, BuildBlock):
                assert building is None
                assert task.parent_hash == built.hash
                building = task
            elif isinstance(task, CommitBlock):
                assert committing is None
                view += 1
                assert task.floor.view == view
                assert task.floor.height == first.head.height + view
                committing = task
        assert all(timer.delay_ms is None or timer.delay_ms >= 0 for timer in effects.timers)
