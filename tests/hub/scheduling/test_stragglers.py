"""Shards for a second worker."""

from typing import Any

import pytest

from hub.scheduling.leases import Lease
from hub.scheduling.stragglers import reissues, remaining_s
from tests.hub.scheduling.machines import need
from tests.hub.scheduling.workers_of import address, run, worker


def lease(number: int = 1, *, count: int = 2, expected_s: float = 2.0, **fields: Any) -> Lease:
    """Since 0."""
    job = run(fields.pop("job", "job"), count)
    return Lease(run=job, worker=address(number), started_s=0.0, expected_s=expected_s, **fields)


@pytest.mark.parametrize(
    ("progress", "now_s", "expected"),
    [
        (None, 0.5, 1.5),  # As it was expected.
        (None, 2.5, 0.0),  # A little late is not late.
        (None, 3.1, 3.1),  # As long again.
        (0.05, 3.1, 3.1),  # Too little to tell.
        (0.5, 4.0, 4.0),
        (0.8, 4.0, 1.0),
        (1.0, 4.0, 0.0),
        (0.99, 6.1, 6.1),  # Nearly done for too long.
    ],
)
def test_remaining_time(progress: float | None, now_s: float, expected: float) -> None:
    assert remaining_s(lease(progress=progress), now_s) == pytest.approx(expected)


def test_a_late_shard_goes_to_who_is_done_with_it_soonest() -> None:
    fleet = [worker(1, busy_until_s=(2.0,)), worker(2, picture_s=1.4), worker(3, picture_s=0.2), worker(4, price=99)]
    (second,) = reissues([lease()], fleet, [], 5.0)
    assert (second.worker, second.run, second.count) == (address(3), lease().run, 2)
    assert second.expected_s == pytest.approx(0.4)


def test_not_while_it_may_be_in_time_and_not_where_nothing_is_gained() -> None:
    fleet = [worker(1, busy_until_s=(2.0,)), worker(2, picture_s=1.0)]
    assert reissues([lease()], fleet, [], 2.9) == []
    assert len(reissues([lease()], fleet, [], 3.1)) == 1
    assert reissues([lease(progress=0.7)], fleet, [], 5.0) == []
    assert len(reissues([lease(progress=0.3)], fleet, [], 5.0)) == 1


def test_once_and_never_to_its_own_worker() -> None:
    assert reissues([lease(is_reissued=True)], [worker(2)], [], 100.0) == []
    assert reissues([lease()], [worker(1, concurrency=2, busy_until_s=(2.0,))], [], 100.0) == []


def test_not_to_busy_doubted_excluded_or_small_workers() -> None:
    late = lease(count=9)
    for helper in (worker(2, busy_until_s=(1.0,)), worker(2, reputation=0.1), worker(2, most_pictures=8)):
        assert reissues([late], [helper], [], 100.0) == []
    excluded = Lease(run=run(excluded=frozenset((address(2),))), worker=address(1), started_s=0, expected_s=1)
    assert reissues([excluded], [worker(2)], [], 100.0) == []
    assert len(reissues([late], [worker(2)], [], 100.0)) == 1


def test_not_while_another_job_waits_that_the_helper_could_do() -> None:
    assert reissues([lease()], [worker(2)], [run("waiting")], 100.0) == []
    assert reissues([lease()], [worker(2)], [run("waiting"), run("job", 9, first=2)], 100.0) == []
    assert len(reissues([lease()], [worker(2)], [run("waiting", need=need(model="other"))], 100.0)) == 1


def test_a_late_shard_goes_before_the_rest_of_its_own_job_and_a_slow_one_does_not() -> None:
    rest = run("job", 9, first=2)
    assert len(reissues([lease()], [worker(2)], [rest], 3.1)) == 1
    # Expected to take long from the start, and not late: only where there is nothing else to do for the job.
    slow = lease(expected_s=100.0)
    assert reissues([slow], [worker(2)], [rest], 3.1) == []
    assert len(reissues([slow], [worker(2)], [], 3.1)) == 1


def test_the_latest_first_and_each_helper_once() -> None:
    leases = [lease(1, job="a", progress=0.5), lease(2, job="b", progress=0.2), lease(3, job="c", progress=0.4)]
    made = reissues(leases, [worker(8), worker(9)], [], 5.0)
    assert [second.run.job_id for second in made] == ["b", "c"]
    assert len({second.worker for second in made}) == 2
