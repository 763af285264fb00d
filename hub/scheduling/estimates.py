"""How long a new job will take, given what waits before it; and when a client that was turned away should come back."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chain.primitives.types import Address
from hub.scheduling.filters import is_eligible
from hub.scheduling.runs import DEFAULT_PRIORITY, Need, Run
from hub.scheduling.timeline import Share, Timeline, lay_out
from hub.scheduling.workers import NOMINAL_WORK_PER_S, Worker

LATE: Final = 2.0
"""Nine of ten jobs of the simulated fleets end before so many times the expected time (docs/hub.md)."""
LATE_AT_LOW_PRIORITY: Final = 3.5
"""The same for those below the default priority, which later jobs may overtake."""
_LONGEST_RETRY_AFTER_S: Final = 600


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from now."""

    starts_s: float
    """When its first picture is begun."""
    ends_s: float
    """When its last one is there."""
    ends_late_s: float
    """By then, nine times of ten."""
    workers: int
    """How many would have a part in it."""


def estimate(
    workers: Sequence[Worker],
    waiting: Iterable[Run],
    need: Need,
    pictures: int,
    now_s: float,
    *,
    rank_s: float = math.inf,
    priority: int = DEFAULT_PRIORITY,
    excluded: frozenset[Address] = frozenset(),
) -> Estimate | None:
    """For a job whose place in the queue would be `rank_s`, behind everything by default; None where nobody can serve.

    What has a better place is laid out before it, in proportion to speeds.
    """
    able = _able(workers, need, excluded)
    if not able:
        return None
    timeline = Timeline(now_s)
    _pour(timeline, workers, (run for run in waiting if run.rank_s <= rank_s))
    shares = timeline.shares(able, need)
    starts_s = min(share.begins_s for share in shares) - now_s
    late = LATE if priority >= DEFAULT_PRIORITY else LATE_AT_LOW_PRIORITY
    if pictures == 1:
        ends_s = starts_s + _whoever_is_first_s(shares)
        return Estimate(starts_s=starts_s, ends_s=ends_s, ends_late_s=late * ends_s, workers=1)
    ends_s = lay_out(shares, pictures) - now_s
    served_by = {share.worker.address for share in shares if share.pictures}
    return Estimate(starts_s=starts_s, ends_s=ends_s, ends_late_s=late * ends_s, workers=len(served_by))


def fleet_seconds(workers: Iterable[Worker], need: Need, pictures: int) -> float:
    """How long the job would take everybody who may serve it, were they idle and warm: what `FairClock.admit` charges.

    One picture's time at the nominal speed where nobody may.
    """
    able = _able(workers, need, frozenset())
    pictures_per_s = sum(max(1, worker.concurrency) / worker.picture_seconds(need) for worker in able)
    return pictures / pictures_per_s if able else pictures * need.work / NOMINAL_WORK_PER_S


def retry_after_s(workers: Sequence[Worker], waiting: Sequence[Run], now_s: float, *, room: int) -> int:
    """Whole seconds, 1 to 600, until so many of the runs that wait will have been begun."""
    timeline = Timeline(now_s)
    first = sorted(waiting, key=lambda run: (run.rank_s, run.job_id, run.first))[: max(1, room)]
    reached_s = _pour(timeline, workers, first)
    return max(1, min(_LONGEST_RETRY_AFTER_S, math.ceil(reached_s - now_s)))


def _able(workers: Iterable[Worker], need: Need, excluded: frozenset[Address]) -> list[Worker]:
    """Who would serve it: doubted workers only where there is nobody else."""
    eligible = [worker for worker in workers if is_eligible(worker, need, excluded)]
    return [worker for worker in eligible if not worker.is_doubted] or eligible


def _whoever_is_first_s(shares: Sequence[Share]) -> float:
    """How long a single picture takes whoever has the next turn: any of those that are free now, else whose turn ends.

    Fast workers end their turns more often than slow ones, in proportion to speed.
    """
    free = [share.picture_s for share in shares if share.is_free]
    if free:
        return sum(free) / len(free)
    return len(shares) / sum(1 / share.picture_s for share in shares)


def _pour(timeline: Timeline, workers: Sequence[Worker], runs: Iterable[Run]) -> float:
    """Lays the runs out, those with equal needs together; when the last would end."""
    pictures: dict[Need, int] = {}
    for run in runs:
        pictures[run.need] = pictures.get(run.need, 0) + run.count
    reached_s = timeline.now_s
    for need, count in pictures.items():
        able = _able(workers, need, frozenset())
        if able:
            reached_s = max(reached_s, timeline.pour(able, need, count))
    return reached_s
