"""What is left of a run."""

import msgspec
import pytest

from tests.hub.scheduling.workers_of import run


def test_rest_follows_on_and_stands_further_back() -> None:
    whole = run(count=10, first=5, rank_s=100.0, rank_step_s=2.0, shards_left=7)
    rest = whole.rest(4)
    assert (rest.first, rest.count, rest.rank_s, rest.shards_left) == (9, 6, 108.0, 6)
    assert rest.rest(1) == msgspec.structs.replace(whole.rest(5), shards_left=5)


@pytest.mark.parametrize("taken", [0, 10, -1])
def test_nothing_and_everything_leave_no_rest(taken: int) -> None:
    with pytest.raises(AssertionError):
        run(count=10).rest(taken)


def test_a_part_is_what_its_job_may_have_to_wait_for() -> None:
    assert not run(count=1).is_part
    assert run(count=2).is_part
    assert run(count=1, first=1).is_part
