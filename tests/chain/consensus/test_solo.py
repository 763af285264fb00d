"""The engine of one validator: when it asks for a block, and what it signs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.consensus.engine import (
    BlockBuilt,
    BlockCommitted,
    BlockName,
    BuildBlock,
    CommitBlock,
    Effects,
    Event,
    Floor,
    NothingToBuild,
    SetTimer,
    Started,
    TimerFired,
    WaitingChanged,
)
from chain.consensus.solo import PROPOSE_TIMER, SoloEngine
from chain.primitives.certificate import verify_certificate
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.types import BlockHeight, Hash32

KEY = PrivateKey(keccak256(b"validator"))
GENESIS_HASH = keccak256(b"genesis")
NOW_MS = 1_000_000
INTERVAL_MS, HEARTBEAT_MS = 500, 60_000


def block_name(height: int, time_ms: int) -> BlockName:
    return BlockName(BlockHeight(height), keccak256(b"block %d" % height), time_ms)


def engine_at(head: BlockName, view: int = 7) -> SoloEngine:
    return SoloEngine(
        genesis_hash=GENESIS_HASH,
        validators=[KEY.address],
        key=KEY,
        floor=Floor(0, view, head.height, head.block_hash),
        head=head,
        block_interval_ms=INTERVAL_MS,
        heartbeat_ms=HEARTBEAT_MS,
    )


def started(head_age_ms: int = 0, now_ms: int = NOW_MS) -> tuple[SoloEngine, Effects]:
    engine = engine_at(block_name(3, now_ms - head_age_ms))
    return engine, engine.handle(Started(), now_ms)


def test_idle_chain_sets_the_heartbeats_timer_and_builds_nothing() -> None:
    _, effects = started(head_age_ms=1_000)
    assert effects == Effects(timers=(SetTimer(PROPOSE_TIMER, HEARTBEAT_MS - 1_000),))


def test_heartbeat_that_is_due_builds_a_block_that_may_be_empty() -> None:
    _, effects = started(head_age_ms=HEARTBEAT_MS)
    (task,) = effects.tasks
    assert task == BuildBlock(block_name(3, 0).block_hash, NOW_MS, may_be_empty=True)


def test_waiting_transaction_gets_a_block_at_once_when_the_interval_has_passed() -> None:
    engine, _ = started(head_age_ms=INTERVAL_MS)
    (task,) = engine.handle(WaitingChanged(is_waiting=True), NOW_MS).tasks
    assert isinstance(task, BuildBlock)
    assert not task.may_be_empty


def test_waiting_transaction_waits_out_the_interval() -> None:
    engine, _ = started(head_age_ms=100)
    assert engine.handle(WaitingChanged(is_waiting=True), NOW_MS) == Effects(timers=(SetTimer(PROPOSE_TIMER, 400),))
    assert engine.handle(TimerFired(PROPOSE_TIMER), NOW_MS + 399).tasks == ()
    assert engine.handle(TimerFired(PROPOSE_TIMER), NOW_MS + 400).tasks


def test_block_time_follows_a_parent_from_the_future_by_one_millisecond() -> None:
    engine, _ = started(head_age_ms=-5_000)
    engine.handle(WaitingChanged(is_waiting=True), NOW_MS)
    (task,) = engine.handle(TimerFired(PROPOSE_TIMER), NOW_MS + INTERVAL_MS).tasks
    assert isinstance(task, BuildBlock)
    assert task.time_ms == NOW_MS + 5_001


def test_clock_set_back_by_an_hour_does_not_hold_up_blocks() -> None:
    engine, _ = started(head_age_ms=0)
    earlier_ms = NOW_MS - 3_600_000
    effects = engine.handle(WaitingChanged(is_waiting=True), earlier_ms)
    assert effects.timers == (SetTimer(PROPOSE_TIMER, INTERVAL_MS),)
    assert engine.handle(TimerFired(PROPOSE_TIMER), earlier_ms + INTERVAL_MS).tasks


def test_built_block_gets_a_certificate_that_anybody_can_check() -> None:
    engine, _ = started(head_age_ms=HEARTBEAT_MS)
    built = block_name(4, NOW_MS)
    (task,) = engine.handle(BlockBuilt(built), NOW_MS).tasks
    assert isinstance(task, CommitBlock)
    assert task.floor == Floor(0, 8, built.height, built.block_hash)
    assert (task.certificate.view, task.certificate.parent_view) == (8, 7)
    verify_certificate(task.certificate, genesis_hash=GENESIS_HASH, validators=[KEY.address])
    with pytest.raises(Rejected):
        verify_certificate(task.certificate, genesis_hash=Hash32(bytes(32)), validators=[KEY.address])


def test_nothing_to_build_goes_back_to_waiting() -> None:
    engine, _ = started(head_age_ms=INTERVAL_MS)
    engine.handle(WaitingChanged(is_waiting=True), NOW_MS)
    assert engine.handle(NothingToBuild(is_waiting=False), NOW_MS).tasks == ()
    assert engine.handle(WaitingChanged(is_waiting=True), NOW_MS).tasks
    assert engine.handle(NothingToBuild(is_waiting=True), NOW_MS).tasks  # Others have come in meanwhile.


def test_heartbeat_follows_governance() -> None:
    engine, _ = started(head_age_ms=HEARTBEAT_MS)
    built = block_name(4, NOW_MS)
    engine.handle(BlockBuilt(built), NOW_MS)
    effects = engine.handle(BlockCommitted(built, is_waiting=False, heartbeat_ms=5_000), NOW_MS)
    assert effects.timers == (SetTimer(PROPOSE_TIMER, 5_000),)


@given(st.lists(st.tuples(st.sampled_from(["wait", "idle", "timer", "done"]), st.integers(-2_000, 40_000))))
def test_any_history_keeps_the_promises(steps: list[tuple[str, int]]) -> None:
    """One task at a time, each view used once, intervals kept, no empty block before the heartbeat; and no chance."""
    first, second = (engine_at(block_name(0, 0), view=0) for _ in range(2))
    now_ms, height, view = NOW_MS, 0, 0
    outstanding: BuildBlock | CommitBlock | None = None
    event: Event = Started()
    for step, elapsed_ms in [("start", 0), *steps]:
        now_ms += elapsed_ms
        match step, outstanding:
            case "wait", _:
                event = WaitingChanged(is_waiting=True)
            case "idle", _:
                event = WaitingChanged(is_waiting=False)
            case "timer", _:
                event = TimerFired(PROPOSE_TIMER)
            case "done", BuildBlock():
                height += 1
                event = BlockBuilt(block_name(height, outstanding.time_ms))
                outstanding = None
            case "done", CommitBlock():
                event = BlockCommitted(block_name(height, now_ms), is_waiting=False, heartbeat_ms=HEARTBEAT_MS)
                outstanding = None
            case "done", None:
                continue
        effects = first.handle(event, now_ms)
        assert effects == second.handle(event, now_ms)
        assert len(effects.tasks) <= 1
        assert len(effects.tasks) + len(effects.timers) <= 1
        if effects.tasks:
            assert outstanding is None
            outstanding = effects.tasks[0]
        if isinstance(outstanding, CommitBlock) and effects.tasks:
            view += 1
            assert outstanding.certificate.view == outstanding.floor.view == view
        assert all(timer.delay_ms > 0 for timer in effects.timers)
