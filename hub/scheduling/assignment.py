"""One pass over what waits: the runs in the order of their places, each to workers that are free."""

import heapq
import math
from collections.abc import Iterable

import msgspec

from chain.primitives.types import Address
from hub.scheduling.cutting import ShardBudget, pictures_to_take
from hub.scheduling.fairness import FairClock
from hub.scheduling.fleet import Fleet
from hub.scheduling.leases import Assignment, lease_s
from hub.scheduling.newcomers import DEFAULT_NEWCOMER_SHARE, Tiers
from hub.scheduling.policies import reputation
from hub.scheduling.policies.memory import Memory
from hub.scheduling.policies.policy import PLACES, Policy
from hub.scheduling.runs import Run
from hub.scheduling.timeline import Share, lay_out
from hub.scheduling.warmth import warm_ones, worth_waiting_for
from hub.scheduling.workers import Worker


class SchedulingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sets."""

    policy: Policy = Policy.ROUND_ROBIN
    newcomer_share: float = DEFAULT_NEWCOMER_SHARE
    """Of the work, above 0 and at most 0.5."""


class Scheduler:
    """Keeps whose turn it is; everything else is handed to it anew each time."""

    def __init__(self, options: SchedulingOptions, clock: FairClock) -> None:
        self._place = PLACES[options.policy]
        self._clock = clock
        self._memory = Memory()
        self._tiers = Tiers(options.newcomer_share)

    def assign(self, workers: Iterable[Worker], runs: Iterable[Run], now_s: float) -> list[Assignment]:
        """What to send now. Nobody is given more than it has slots for; a run may be cut for several workers.

        Each assignment's run begins where the one before it has cut the job's run.
        """
        fleet = Fleet(workers, now_s)
        queue = [(run.rank_s, run.job_id, run.first, run) for run in runs]
        pictures = sum(run.count for *_, run in queue)
        heapq.heapify(queue)
        budget = ShardBudget(run for *_, run in queue)
        assignments: list[Assignment] = []
        while queue and fleet.has_free_slots:
            run = heapq.heappop(queue)[-1]
            made, again = self._serve(run, fleet, budget, before_s=queue[0][0] if queue else math.inf)
            assignments += made
            if again is not None:
                heapq.heappush(queue, (again.rank_s, again.job_id, again.first, again))
        self._clock.note_waiting(sum(assignment.count for assignment in assignments) < pictures)
        return assignments

    def undo(self, assignment: Assignment, worker: Worker) -> None:
        """It did not come to anything, because another process had the run first: turn and share are given back."""
        work = assignment.count * assignment.run.need.work
        self._memory.turns.take_back(worker.address, assignment.previous_turn)
        self._memory.strides.give_back(worker.address, work, reputation.weight(worker))
        self._tiers.give_back(worker, work)

    def _serve(
        self, run: Run, fleet: Fleet, budget: ShardBudget, before_s: float
    ) -> tuple[list[Assignment], Run | None]:
        """What is assigned of a run, and its rest where another run's turn comes before that could be."""
        if run.deadline_s is not None and fleet.now_s >= run.deadline_s:
            return [], None
        free = fleet.free(run)
        if not free:
            return [], None
        if run.is_part:
            return self._cut(run, free, fleet, budget, before_s)
        worker = self._choose_for_whole(run, free, fleet)
        return ([] if worker is None else [self._give(run, worker, run.count, fleet)]), None

    def _choose_for_whole(self, run: Run, free: list[Worker], fleet: Fleet) -> Worker | None:
        """For a single picture: by warmth, class and policy; None where it had better wait."""
        candidates = warm_ones(free, run.need)
        if not candidates:
            awaited = worth_waiting_for(free, fleet.eligible(run), run.need, fleet.timeline)
            if awaited is not None:
                fleet.timeline.occupy(awaited, awaited.picture_seconds(run.need))
                return None
            candidates = free
        return self._choose(run, candidates, fleet)

    def _cut(
        self, run: Run, free: list[Worker], fleet: Fleet, budget: ShardBudget, before_s: float
    ) -> tuple[list[Assignment], Run | None]:
        """Several pictures, or a job's last ones: laid out over everybody who may serve them, so that all end together.

        A free worker that would only delay the job gets none: another one will be done with them sooner.
        """
        eligible = fleet.eligible(run)
        shares = fleet.timeline.shares([worker for worker in eligible if not worker.is_doubted] or eligible, run.need)
        lay_out(shares, run.count)
        planned: dict[Address, list[Share]] = {}
        for share in shares:
            if share.is_free and share.pictures:
                planned.setdefault(share.worker.address, []).append(share)
        made: list[Assignment] = []
        rest: Run | None = run
        while rest is not None:
            if rest.rank_s > before_s:
                return made, rest
            ready = [worker for worker in free if planned.get(worker.address) and fleet.has_slot(worker)]
            worker = self._choose(rest, ready, fleet)
            if worker is None:
                break
            share = planned[worker.address].pop()
            count = pictures_to_take(rest, share, budget.left(rest))
            made.append(self._give(rest, worker, count, fleet))
            budget.note_cut(rest)
            share.pictures -= count
            rest = rest.rest(count) if count < rest.count else None
        # So that runs behind this one do not count on the same time of the same workers.
        for share in shares:
            if share.pictures > 0:
                fleet.timeline.occupy(share.worker, share.pictures * share.picture_s)
        return made, None

    def _choose(self, run: Run, candidates: list[Worker], fleet: Fleet) -> Worker | None:
        """By class, deadline and policy."""
        candidates = self._tiers.choose(candidates, run, lambda: fleet.eligible(run))
        if run.deadline_s is not None:
            left_s = run.deadline_s - fleet.now_s
            in_time = [w for w in candidates if w.load_seconds(run.need) + w.picture_seconds(run.need) <= left_s]
            candidates = in_time or candidates
        return min(
            candidates, key=lambda worker: (*self._place(worker, run, self._memory), worker.address), default=None
        )

    def _give(self, run: Run, worker: Worker, count: int, fleet: Fleet) -> Assignment:
        expected_s = worker.load_seconds(run.need) + count * worker.picture_seconds(run.need)
        work = count * run.need.work
        self._memory.strides.charge(worker.address, work, reputation.weight(worker))
        self._tiers.charge(worker, work)
        self._clock.note_served(run)
        fleet.take_slot(worker, expected_s)
        return Assignment(
            run=run,
            worker=worker.address,
            count=count,
            expected_s=expected_s,
            lease_s=lease_s(expected_s),
            is_warm=worker.is_warm(run.need),
            previous_turn=self._memory.turns.give(worker.address),
        )
