"""Laying pictures out over slots."""

import itertools
import random

import pytest

from hub.scheduling.timeline import Share, Timeline, common_end, lay_out, slot_times
from tests.hub.scheduling.machines import Machine, need
from tests.hub.scheduling.optimum import optimum_s
from tests.hub.scheduling.workers_of import worker


def shares_of(*slots: tuple[float, float]) -> list[Share]:
    """From (begins, seconds per picture)."""
    return [Share(worker(number), begins, each, begins <= 0) for number, (begins, each) in enumerate(slots, 1)]


def best_end(slots: list[tuple[float, float]], pictures: int) -> float:
    """By trying every way to give them out."""
    ways = (way for way in itertools.product(range(pictures + 1), repeat=len(slots)) if sum(way) == pictures)
    return min(
        max(begins + count * each for count, (begins, each) in zip(way, slots, strict=True) if count) for way in ways
    )


@pytest.mark.parametrize("seed", range(30))
def test_no_way_to_give_out_pictures_ends_sooner(seed: int) -> None:
    rng = random.Random(seed)
    slots = [(rng.choice((0.0, rng.uniform(0, 5))), rng.uniform(0.5, 5)) for _ in range(3)]
    shares = shares_of(*slots)
    pictures = rng.randrange(1, 9)
    assert lay_out(shares, pictures) == pytest.approx(best_end(slots, pictures))
    assert sum(share.pictures for share in shares) == pictures


@pytest.mark.parametrize("pictures", [1, 64, 1_000, 5_000])
def test_agrees_with_the_optimum_of_the_benchmark(pictures: int) -> None:
    rng = random.Random(pictures)
    machines = [Machine(number, picture_s=rng.uniform(1, 8)) for number in range(1, 9)]
    shares = shares_of(*((0.0, machine.picture_s) for machine in machines))
    assert lay_out(shares, pictures) == pytest.approx(optimum_s(machines, pictures))
    assert sum(share.pictures for share in shares) == pictures


def test_common_end_leaves_out_who_comes_too_late() -> None:
    assert common_end(shares_of((0.0, 1.0), (0.0, 1.0)), 10) == 5.0
    assert common_end(shares_of((0.0, 1.0), (4.0, 1.0)), 2) == 2.0
    assert common_end(shares_of((0.0, 1.0), (4.0, 1.0)), 10) == 7.0


def test_overdue_work_is_expected_to_take_as_long_again() -> None:
    busy = worker(1, concurrency=3, busy_until_s=(12.0, 7.0))
    assert slot_times(busy, 10.0) == [10.0, 12.0, 13.0]


def test_pouring_makes_everybody_busy_until_the_same_time() -> None:
    timeline = Timeline(100.0)
    two = [worker(1), worker(2, busy_until_s=(104.0,)), worker(3, busy_until_s=(200.0,))]
    assert timeline.pour(two, need(), 10) == 107.0
    assert [timeline.first_free_s(each) for each in two] == [107.0, 107.0, 200.0]
    timeline.occupy(two[0], 5.0)
    assert timeline.first_free_s(two[0]) == 112.0
