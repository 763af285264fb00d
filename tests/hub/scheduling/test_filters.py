"""Who may serve a run, and why nobody may."""

import pytest

from hub.scheduling.filters import Obstacle, is_eligible, obstacle
from hub.scheduling.runs import Need
from hub.scheduling.workers import Worker
from tests.hub.scheduling.machines import need
from tests.hub.scheduling.workers_of import address, worker

CASES = [
    (worker(1), need(model="other"), Obstacle.MODEL_NOT_OFFERED),
    (worker(1, unit_type="gpu_seconds"), need(unit_type="images"), Obstacle.UNIT_TYPE_DIFFERS),
    (worker(1, price=11), need(price_per_unit=10), Obstacle.PRICE_TOO_LOW),
    (worker(1, vram_mib=8_191), need(min_vram_mib=8_192), Obstacle.TOO_LITTLE_VRAM),
    (worker(1, profile="b"), need(profile="a"), Obstacle.OTHER_PROFILE),
    (worker(1), need(profile="a"), Obstacle.OTHER_PROFILE),
    (worker(1, is_paused=True), need(), Obstacle.ALL_PAUSED),
    (worker(1, is_draining=True), need(), Obstacle.ALL_PAUSED),
]


@pytest.mark.parametrize(("candidate", "demand", "expected"), CASES)
def test_each_demand_excludes(candidate: Worker, demand: Need, expected: Obstacle) -> None:
    assert not is_eligible(candidate, demand)
    assert obstacle([candidate], demand) is expected


@pytest.mark.parametrize(
    "demand",
    [need(unit_type="images"), need(price_per_unit=10), need(min_vram_mib=8_192), need(profile="a")],
)
def test_limits_are_inclusive(demand: Need) -> None:
    assert is_eligible(worker(1, profile="a"), demand)


def test_a_busy_worker_is_eligible_and_an_excluded_one_is_not() -> None:
    assert is_eligible(worker(1, busy_until_s=(5.0,)), need())
    assert not is_eligible(worker(1), need(), frozenset((address(1),)))
    assert obstacle([worker(1)], need(), frozenset((address(1),))) is Obstacle.ALL_EXCLUDED


def test_obstacle_is_that_of_those_who_came_nearest() -> None:
    demand = need(price_per_unit=10, min_vram_mib=9_000)
    assert obstacle([], demand) is Obstacle.NO_WORKER
    assert obstacle([worker(1), worker(2, price=11)], demand) is Obstacle.TOO_LITTLE_VRAM
    assert obstacle([worker(1), worker(2, vram_mib=9_000)], demand) is None
