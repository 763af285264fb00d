"""Shards that keep their job waiting, given to a second worker as well: once, and not while other jobs wait."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hub.scheduling.filters import is_eligible
from hub.scheduling.leases import Assignment, Lease, lease_s
from hub.scheduling.runs import Need, Run
from hub.scheduling.workers import Worker

PATIENCE: Final = 1.5
"""Times the expected time, before a worker that reports no progress is taken to be late."""
TELLING_PROGRESS: Final = 0.1
"""Below it, the speed that progress shows is too uncertain, because loading and the first step weigh too much."""
BELIEVED: Final = 3.0
"""Times the expected time: whoever is nearly done for longer than that is not believed any more."""
GAIN: Final = 0.7
"""The second worker must be expected to need less than this part of what the first is expected to need still."""


def remaining_s(lease: Lease, now_s: float) -> float:
    """How long the shard will take its worker from now, as expected.

    By its progress where it reports any; else what is left of the expected time, and, once it is late, as long again as
    it has taken: who is late for an unknown reason is likely to be very late.
    """
    elapsed_s = now_s - lease.started_s
    is_believed = elapsed_s <= BELIEVED * lease.expected_s
    if lease.progress is not None and lease.progress >= TELLING_PROGRESS and is_believed:
        return elapsed_s * (1 - lease.progress) / lease.progress
    if elapsed_s <= PATIENCE * lease.expected_s:
        return max(0.0, lease.expected_s - elapsed_s)
    return elapsed_s


def reissues(
    leases: Iterable[Lease], workers: Sequence[Worker], waiting: Iterable[Run], now_s: float
) -> list[Assignment]:
    """Whole shards for a second worker, latest first; whichever result comes first counts. Each lease at most once.

    Asked before each assignment: a free worker had better see to its job's late shard than to the job's next one. It
    does not where another job waits that it could serve.
    """
    jobs_waiting: dict[Need, set[str]] = {}
    for run in waiting:
        jobs_waiting.setdefault(run.need, set()).add(run.job_id)
    free = [worker for worker in workers if worker.free_slots and not worker.is_doubted]
    late = [(remaining_s(lease, now_s), lease) for lease in leases if not lease.is_reissued]
    late.sort(key=lambda entry: (-entry[0], entry[1].run.job_id, entry[1].run.first))
    made: list[Assignment] = []
    for left_s, lease in late:
        if not free:
            break
        helper = _helper(lease, free, left_s, now_s, jobs_waiting)
        if helper is not None:
            made.append(_second(lease, helper))
            free.remove(helper)
    return made


def _helper(
    lease: Lease, free: Sequence[Worker], left_s: float, now_s: float, jobs_waiting: Mapping[Need, set[str]]
) -> Worker | None:
    """Who would be done with it soonest, if that is worth the work."""
    run = lease.run
    excluded = run.excluded | {lease.worker}
    is_late = now_s - lease.started_s + left_s > PATIENCE * lease.expected_s
    others = [need for need, jobs in jobs_waiting.items() if jobs != {run.job_id} or not is_late]
    able = [
        worker
        for worker in free
        if _expected_s(run, worker) < GAIN * left_s
        and worker.most_pictures >= run.count
        and is_eligible(worker, run.need, excluded)
        and not any(is_eligible(worker, need) for need in others)
    ]
    return min(able, key=lambda worker: (_expected_s(run, worker), worker.address), default=None)


def _expected_s(run: Run, worker: Worker) -> float:
    return worker.load_seconds(run.need) + run.count * worker.picture_seconds(run.need)


def _second(lease: Lease, helper: Worker) -> Assignment:
    expected_s = _expected_s(lease.run, helper)
    return Assignment(
        run=lease.run,
        worker=helper.address,
        count=lease.run.count,
        expected_s=expected_s,
        lease_s=lease_s(expected_s),
        is_warm=helper.is_warm(lease.run.need),
    )
