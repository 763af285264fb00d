"""Promises about time."""

import pytest

from hub.scheduling.estimates import estimate, fleet_seconds, retry_after_s
from hub.scheduling.workers import NOMINAL_WORK_PER_S
from tests.hub.scheduling.machines import REFERENCE_WORK, need
from tests.hub.scheduling.workers_of import address, run, worker


def test_nobody_no_promise() -> None:
    assert estimate([], [], need(), 1, 0.0) is None
    assert estimate([worker(1)], [], need(model="other"), 1, 0.0) is None
    assert estimate([worker(1)], [], need(), 1, 0.0, excluded=frozenset((address(1),))) is None


def test_an_idle_fleet() -> None:
    expected = estimate([worker(1, picture_s=1.0), worker(2, picture_s=3.0)], [], need(), 8, 50.0)
    assert expected is not None
    assert (expected.starts_s, expected.ends_s, expected.workers) == pytest.approx((0.0, 6.0, 2))
    assert expected.ends_late_s == pytest.approx(12.0)


def test_one_picture_goes_to_whoever_has_the_turn() -> None:
    free = estimate([worker(1, picture_s=1.0), worker(2, picture_s=3.0)], [], need(), 1, 0.0)
    assert free is not None
    assert free.ends_s == pytest.approx(2.0)
    busy = [worker(1, picture_s=1.0, busy_until_s=(4.0,)), worker(2, picture_s=3.0, busy_until_s=(9.0,))]
    later = estimate(busy, [], need(), 1, 0.0)
    assert later is not None
    # The fast one's turn ends three times as often.
    assert later.ends_s == pytest.approx(4.0 + 0.75 * 1.0 + 0.25 * 3.0)


def test_what_waits_before_it_comes_first_and_what_waits_behind_does_not_count() -> None:
    fleet = [worker(1), worker(2)]
    waiting = [run("a", 10, rank_s=1.0), run("b", 100, rank_s=9.0), run("c", 50, need=need(model="none"), rank_s=1.0)]
    between = estimate(fleet, waiting, need(), 4, 0.0, rank_s=5.0)
    assert between is not None
    assert (between.starts_s, between.ends_s) == pytest.approx((5.0, 7.0))
    behind = estimate(fleet, waiting, need(), 4, 0.0)
    assert behind is not None
    assert behind.starts_s == pytest.approx(55.0)


def test_loading_counts_and_doubted_workers_do_not() -> None:
    cold = estimate([worker(1, loaded=frozenset(), load_s=8.0)], [], need(), 2, 0.0)
    assert cold is not None
    assert (cold.starts_s, cold.ends_s) == pytest.approx((8.0, 10.0))
    doubted = estimate([worker(1), worker(2, reputation=0.1)], [], need(), 4, 0.0)
    assert doubted is not None
    assert (doubted.workers, doubted.ends_s) == pytest.approx((1, 4.0))


def test_low_priorities_may_be_overtaken() -> None:
    usual, low = (estimate([worker(1)], [], need(), 4, 0.0, priority=priority) for priority in (5, 4))
    assert usual is not None
    assert low is not None
    assert usual.ends_s == low.ends_s
    assert usual.ends_late_s < low.ends_late_s


def test_seconds_of_the_whole_fleet() -> None:
    fleet = [worker(1, picture_s=1.0, concurrency=2), worker(2, picture_s=2.0, busy_until_s=(99.0,))]
    assert fleet_seconds(fleet, need(), 10) == pytest.approx(4.0)
    assert fleet_seconds([], need(), 2) == pytest.approx(2 * REFERENCE_WORK / NOMINAL_WORK_PER_S)


def test_retry_after_is_when_room_will_have_been_made() -> None:
    fleet = [worker(1, busy_until_s=(4.0,)), worker(2, busy_until_s=(4.0,))]
    waiting = [run(str(number), 2, rank_s=float(number)) for number in range(10)]
    assert retry_after_s(fleet, waiting, 0.0, room=1) == 5
    assert retry_after_s(fleet, waiting, 0.0, room=10) == 14
    assert retry_after_s(fleet, [], 0.0, room=1) == 1
    assert retry_after_s([], waiting, 0.0, room=1) == 1
    assert retry_after_s(fleet, [run(count=10_000)], 0.0, room=1) == 600
