"""A worker's slots, warmth and speed."""

import pytest

from hub.scheduling.work import SizeClass
from hub.scheduling.workers import NOMINAL_WORK_PER_S
from tests.hub.scheduling.machines import MODEL, need
from tests.hub.scheduling.workers_of import worker


def test_slots_are_never_negative() -> None:
    assert worker(1, concurrency=3, busy_until_s=(1.0,)).free_slots == 2
    assert worker(1, concurrency=1, busy_until_s=(1.0, 2.0)).free_slots == 0


def test_loading_takes_time_only_where_the_model_is_not_loaded() -> None:
    assert worker(1, load_s=7.0).load_seconds(need()) == 0
    assert worker(1, load_s=7.0, loaded=frozenset()).load_seconds(need()) == 7.0


def test_speed_is_the_nearest_that_was_measured() -> None:
    speeds = {(MODEL, SizeClass.SMALL): 1.0, (MODEL, SizeClass.LARGE): 3.0, ("n", SizeClass.MEDIUM): 9.0}
    assert worker(1, speeds=speeds).work_per_s(need(pixels=10**9)) == 3.0
    assert worker(1, speeds=speeds).work_per_s(need(pixels=10)) == 1.0
    assert worker(1, speeds={("n", SizeClass.SMALL): 9.0}).work_per_s(need()) == 9.0
    assert worker(1, speeds={}).work_per_s(need()) == NOMINAL_WORK_PER_S


@pytest.mark.parametrize(("reputation", "is_doubted"), [(1.0, False), (0.5, False), (0.499, True), (0.0, True)])
def test_who_fails_at_more_than_half_is_doubted(reputation: float, is_doubted: bool) -> None:
    assert worker(1, reputation=reputation).is_doubted is is_doubted
