"""Deadlines: armed while a view is worth it, longer with each failure, short again when something is final."""

from __future__ import annotations

import msgspec
import pytest

from chain.consensus.draft import Draft
from chain.consensus.pace import (
    GRACE,
    HEARTBEAT,
    HOLD,
    INTERVAL,
    LEADER,
    MAX_CLOCK_DRIFT_MS,
    RETRY,
    VIEW,
    Pace,
    latest_time_ms,
)
from tests.chain.consensus.cast import DELAY_MS, HEARTBEAT_MS, INTERVAL_MS, Cast


class Clock:
    """A pace and its timers."""

    def __init__(self, cast: Cast) -> None:
        self.draft, self.pace = Draft(), Pace(cast.settings)

    def timers(self) -> dict[str, int | None]:
        return {each.name: each.delay_ms for each in self.draft.finish().timers}

    def hurry(self, *, is_active: bool = True, has_proposal: bool = False) -> dict[str, int | None]:
        self.pace.hurry(self.draft, is_active=is_active, has_proposal=has_proposal)
        return self.timers()

    def enter(self, *, after_nullification: bool = False) -> dict[str, int | None]:
        self.pace.enter_view(self.draft, after_nullification=after_nullification)
        return self.timers()

    def fire(self, name: str, *, has_proposal: bool = False) -> dict[str, int | None]:
        self.pace.fired(name, self.draft, has_proposal=has_proposal)
        return self.timers()


@pytest.fixture
def clock(cast: Cast) -> Clock:
    clock = Clock(cast)
    clock.enter()
    return clock


def test_deadlines_are_two_and_three_delays_and_the_interval(clock: Clock) -> None:
    assert clock.hurry() == {LEADER: 2 * DELAY_MS + INTERVAL_MS, VIEW: 3 * DELAY_MS + INTERVAL_MS, RETRY: 2 * DELAY_MS}


def test_deadlines_are_armed_once_a_view(clock: Clock) -> None:
    clock.hurry()
    assert clock.hurry() == {}
    clock.enter()
    assert LEADER in clock.hurry()


def test_with_a_proposal_only_the_view_has_a_deadline(clock: Clock) -> None:
    assert LEADER not in clock.hurry(has_proposal=True)


def test_an_idle_view_has_no_deadline(clock: Clock) -> None:
    assert clock.hurry(is_active=False) == {}
    clock.hurry()
    assert clock.hurry(is_active=False) == {LEADER: None, VIEW: None, RETRY: None}
    assert clock.hurry()[VIEW] is not None, "armed anew when there is something to do again"


@pytest.mark.parametrize(("failures", "factor"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 8), (100, 8), (100_000, 8)])
def test_timeouts_double_with_each_nullified_view_up_to_eightfold(clock: Clock, failures: int, factor: int) -> None:
    clock.pace.consecutive_nullified = failures
    timers = clock.hurry()
    assert timers[LEADER] == 2 * DELAY_MS * factor + INTERVAL_MS
    assert timers[VIEW] == 3 * DELAY_MS * factor + INTERVAL_MS
    assert timers[RETRY] == 2 * DELAY_MS, "what is lost is said again as often as ever"


def test_finality_makes_timeouts_short_and_the_heartbeat_far(clock: Clock) -> None:
    clock.pace.consecutive_nullified = 3
    clock.fire(HEARTBEAT)
    assert clock.pace.is_heartbeat_due
    clock.pace.finalized(clock.draft, HEARTBEAT_MS)
    assert clock.timers()[HEARTBEAT] == HEARTBEAT_MS
    assert (clock.pace.consecutive_nullified, clock.pace.is_heartbeat_due) == (0, False)


@pytest.mark.parametrize(
    ("interval_ms", "heartbeat_ms", "expected_ms"), [(0, 60_000, 1_000), (3_000, 60_000, 3_000), (0, 800, 800)]
)
def test_after_transactions_an_idle_chain_makes_one_block_soon(
    clock: Clock, interval_ms: int, heartbeat_ms: int, expected_ms: int
) -> None:
    clock.pace.settings = msgspec.structs.replace(
        clock.pace.settings, block_interval_ms=interval_ms, heartbeat_ms=heartbeat_ms
    )
    assert clock.pace.heartbeat_after_ms(holds_transactions=True) == expected_ms
    assert clock.pace.heartbeat_after_ms(holds_transactions=False) == heartbeat_ms


def test_finality_shortens_the_deadline_of_the_view_that_runs(clock: Clock) -> None:
    """It mostly comes a moment after the view has begun; a lying leader would else have eight times its time."""
    clock.pace.consecutive_nullified = 3
    clock.hurry()
    clock.pace.finalized(clock.draft, HEARTBEAT_MS)
    assert clock.timers() == {LEADER: None, VIEW: None, RETRY: None, HEARTBEAT: HEARTBEAT_MS}
    assert clock.hurry()[VIEW] == 3 * DELAY_MS + INTERVAL_MS
    clock.pace.finalized(clock.draft, HEARTBEAT_MS)
    assert VIEW not in clock.hurry(), "but they do not begin anew with every block that becomes final"


@pytest.mark.parametrize(
    ("name", "has_proposal", "is_over"),
    [(VIEW, True, True), (VIEW, False, True), (LEADER, False, True), (LEADER, True, False), (HOLD, True, False)],
)
def test_which_timers_end_a_view(clock: Clock, name: str, has_proposal: bool, is_over: bool) -> None:
    clock.fire(name, has_proposal=has_proposal)
    assert clock.pace.is_deadline_over == is_over
    clock.enter()
    assert not clock.pace.is_deadline_over


def test_retries_go_on_while_the_view_is_worth_it(clock: Clock) -> None:
    clock.hurry()
    assert clock.fire(RETRY) == {RETRY: 2 * DELAY_MS}
    clock.hurry(is_active=False)
    assert clock.fire(RETRY) == {}


def test_a_block_follows_another_after_the_interval(clock: Clock) -> None:
    timers = clock.enter()
    assert (timers[INTERVAL], clock.pace.is_interval_over) == (INTERVAL_MS, False)
    clock.fire(INTERVAL)
    assert clock.pace.is_interval_over


def test_after_a_nullification_nobody_waits_for_interval_or_grace(clock: Clock) -> None:
    timers = clock.enter(after_nullification=True)
    assert (timers[INTERVAL], timers[GRACE]) == (None, None)
    assert clock.pace.is_interval_over
    assert clock.pace.is_grace_over


def test_the_parent_has_some_time_to_become_final_by_itself(clock: Clock) -> None:
    assert clock.enter()[GRACE] == max(INTERVAL_MS, DELAY_MS)
    assert not clock.pace.is_grace_over
    clock.fire(GRACE)
    assert clock.pace.is_grace_over


@pytest.mark.parametrize("is_short", [False, True])
def test_a_build_that_brought_nothing_is_not_repeated_at_once(clock: Clock, is_short: bool) -> None:
    clock.enter(after_nullification=True)
    clock.pace.pause(clock.draft, is_short=is_short)
    delay_ms = clock.timers()[INTERVAL]
    assert delay_ms == (20 if is_short else INTERVAL_MS)
    assert clock.pace.is_pausing
    clock.fire(INTERVAL)
    assert not clock.pace.is_pausing


def test_entering_a_view_cancels_what_was_armed_for_the_last_one(clock: Clock) -> None:
    clock.hurry()
    clock.pace.hold(clock.draft, 700)
    timers = clock.enter()
    assert {timers[name] for name in (LEADER, VIEW, RETRY, HOLD)} == {None}


def test_the_latest_time_of_a_block_is_a_drift_ahead_or_just_after_its_parent(cast: Cast) -> None:
    parent_ms = cast.genesis.time_ms
    assert latest_time_ms(parent_ms, cast.genesis) == parent_ms + MAX_CLOCK_DRIFT_MS
    assert latest_time_ms(parent_ms - 3_600_000, cast.genesis) == parent_ms + 1
