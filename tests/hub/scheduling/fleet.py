"""A fleet in simulated time: jobs come in, `Scheduler` decides, machines do what they do. Seeded, no clock.

Whatever must hold at every moment is asserted here after every pass; what must hold in the end, by the tests.
"""

import bisect
import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import msgspec

from chain.primitives.shards import MAX_SHARDS
from chain.primitives.types import Address
from hub.scheduling.assignment import Scheduler, SchedulingOptions
from hub.scheduling.estimates import Estimate, estimate, fleet_seconds
from hub.scheduling.fairness import FairClock
from hub.scheduling.filters import is_eligible
from hub.scheduling.leases import Assignment, Lease
from hub.scheduling.runs import DEFAULT_PRIORITY, Need, Run
from hub.scheduling.stragglers import reissues
from hub.scheduling.workers import Worker
from tests.hub.scheduling.machines import Machine, Outcome, need

TICK_S: Final = 0.5
"""How often the hub looks for stragglers, beside each time that something happens."""
WINDOW: Final = 256
"""Runs that a pass sees, as many as the store hands out at most."""


@dataclass(frozen=True)
class Order:
    """A job that a client will send."""

    at_s: float
    pictures: int = 1
    client: str = "client"
    need: Need = field(default_factory=need)
    priority: int = DEFAULT_PRIORITY
    deadline_s: float | None = None


@dataclass
class Job:
    """One that has come in."""

    number: int
    order: Order
    estimate: Estimate | None
    first_start_s: float = math.inf
    ends_s: float = math.inf
    shards: int = 0
    done: set[int] = field(default_factory=set)
    makers: dict[int, Address] = field(default_factory=dict)

    @property
    def took_s(self) -> float:
        """From coming in to the last picture."""
        return self.ends_s - self.order.at_s

    @property
    def waited_s(self) -> float:
        """Until anybody began."""
        return self.first_start_s - self.order.at_s


@dataclass
class Shard:
    """An attempt under way."""

    lease: Lease
    machine: Machine
    expected_end_s: float
    load_s: float
    ends_s: float
    outcome: Outcome
    is_open: bool = True


@dataclass(frozen=True)
class Leaving:
    """Of a machine."""

    machine: Address


class FleetSimulation:
    """One hub process, its machines and its clients."""

    def __init__(
        self,
        seed: int,
        machines: Sequence[Machine],
        orders: Sequence[Order],
        options: SchedulingOptions = SchedulingOptions(),  # noqa: B008 - frozen
        *,
        with_reissues: bool = True,
    ) -> None:
        self.rng = random.Random(seed)
        self.machines = {machine.address: machine for machine in machines}
        self.now_s = 0.0
        self.jobs: list[Job] = []
        self.waiting: list[Run] = []
        self.open: list[Shard] = []
        self.given: list[tuple[float, Assignment]] = []
        self.work_by: dict[Address, float] = dict.fromkeys(self.machines, 0.0)
        self.reissued = self.reissues_won = self.lapsed = self.passes = 0
        self.honest_lapses = self.honest_shards = 0
        self.time_ratios: list[float] = []
        """Of each shard that was done: its time over what was expected."""
        self._with_reissues = with_reissues
        self._clock = FairClock()
        self._scheduler = Scheduler(options, self._clock)
        self._numbers = count()
        self._events: list[tuple[float, int, object]] = []
        for order in orders:
            self._at(order.at_s, order)

    def run(self, until_s: float = math.inf) -> None:
        """Until everything that has come in is done, or until then."""
        self._at(TICK_S, "tick")
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, event = heapq.heappop(self._events)
            if isinstance(event, Order):
                self._admit(event)
            elif isinstance(event, Shard):
                self._end(event)
            elif isinstance(event, Machine):
                self.machines[event.address] = event
                self.work_by.setdefault(event.address, 0.0)
            elif isinstance(event, Leaving):
                self._lose(self.machines[event.machine])
            elif self._events:
                self._at(self.now_s + TICK_S, "tick")
            self._reissue()
            self._assign()
            if not self.waiting and not self.open and all(event == "tick" for *_, event in self._events):
                return

    def join(self, at_s: float, machine: Machine) -> None:
        """A provider that comes later."""
        self._at(at_s, machine)

    def leave(self, at_s: float, machine: Machine) -> None:
        """A provider whose connection is lost then, with everything that it has under way."""
        self._at(at_s, Leaving(machine.address))

    # What happens

    def _at(self, time_s: float, event: object) -> None:
        heapq.heappush(self._events, (time_s, next(self._numbers), event))

    def _workers(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if not machine.is_gone]

    def _admit(self, order: Order) -> None:
        workers = [machine.worker() for machine in self._workers()]
        rank = self._clock.admit(
            order.client,
            priority=order.priority,
            pictures=order.pictures,
            fleet_s=fleet_seconds(workers, order.need, order.pictures),
            now_s=self.now_s,
        )
        expected = estimate(
            workers,
            self.waiting,
            order.need,
            order.pictures,
            self.now_s,
            rank_s=rank.rank_s,
            priority=order.priority,
        )
        job = Job(len(self.jobs), order, expected)
        self.jobs.append(job)
        self._wait(
            Run(
                job_id=str(job.number),
                client=order.client,
                need=order.need,
                first=0,
                count=order.pictures,
                rank_s=rank.rank_s,
                rank_step_s=rank.rank_step_s,
                priority=order.priority,
                deadline_s=order.deadline_s,
            )
        )

    def _assign(self) -> None:
        workers = [machine.worker() for machine in self._workers()]
        if not self.waiting:
            self._clock.note_waiting(False)
            return
        self.passes += 1
        window = [self._with_budget(run) for run in self.waiting[:WINDOW]]
        self.rng.shuffle(window)
        assignments = self._scheduler.assign(workers, window, self.now_s)
        for assignment in assignments:
            run = self._take(assignment.run)
            assert run.count == assignment.run.count
            if assignment.count < run.count:
                self._wait(run.rest(assignment.count))
            self._begin(assignment, is_second=False)
        seen = {worker.address: worker for worker in workers}
        self._check_nobody_idles(seen)
        self._check_order(assignments, seen)

    def _wait(self, run: Run) -> None:
        bisect.insort(self.waiting, run, key=lambda known: known.rank_s)

    def _take(self, run: Run) -> Run:
        place = next(
            place for place, known in enumerate(self.waiting) if (known.job_id, known.first) == (run.job_id, run.first)
        )
        return self.waiting.pop(place)

    def _with_budget(self, run: Run) -> Run:
        """Told how many shards its job may still become."""
        job = self.jobs[int(run.job_id)]
        if job.order.pictures == 1:
            return run
        others = sum(other.job_id == run.job_id for other in self.waiting) - 1
        return msgspec.structs.replace(run, shards_left=MAX_SHARDS - job.shards - others)

    def _begin(self, assignment: Assignment, *, is_second: bool) -> None:
        machine = self.machines[assignment.worker]
        run = msgspec.structs.replace(assignment.run, count=assignment.count)
        assert is_eligible(machine.worker(), run.need, run.excluded)
        assert machine.worker().free_slots > 0
        job = self.jobs[int(run.job_id)]
        job.first_start_s = min(job.first_start_s, self.now_s)
        if not is_second:
            job.shards += 1
            assert job.shards <= MAX_SHARDS, "more shards than a receipt holds"
            self.given.append((self.now_s, assignment))
            self.work_by[assignment.worker] += run.need.work * run.count
        outcome, load_s, seconds = machine.begin(run.need, run.count, self.rng)
        expected_end_s = self.now_s + assignment.expected_s
        machine.busy_until_s.append(expected_end_s)
        lease = Lease(
            run=run,
            worker=machine.address,
            started_s=self.now_s,
            expected_s=assignment.expected_s,
            is_reissued=is_second,
        )
        lapses_s = self.now_s + assignment.lease_s
        ends_s = self.now_s + load_s + seconds
        shard = Shard(lease, machine, expected_end_s, load_s, min(ends_s, lapses_s), outcome)
        if ends_s > lapses_s:
            self.honest_lapses += outcome is Outcome.DONE
            shard.outcome = Outcome.SILENT
        self.honest_shards += outcome is Outcome.DONE
        self.open.append(shard)
        self._at(shard.ends_s, shard)

    def _end(self, shard: Shard) -> None:
        if not shard.is_open:
            return
        run, job = shard.lease.run, self.jobs[int(shard.lease.run.job_id)]
        pictures = range(run.first, run.first + run.count)
        self._close(shard)
        shard.machine.learn(shard.outcome is Outcome.DONE)
        rivals = [
            other for other in self.open if (other.lease.run.job_id, other.lease.run.first) == (run.job_id, run.first)
        ]
        if shard.outcome is not Outcome.DONE:
            self.lapsed += shard.outcome is Outcome.SILENT
            if not rivals:
                job.shards -= 1
                excluded = run.excluded | {shard.machine.address}
                self._wait(msgspec.structs.replace(run, attempt=run.attempt + 1, excluded=excluded))
            return
        seconds = self.now_s - shard.lease.started_s
        self.time_ratios.append(seconds / shard.lease.expected_s)
        shard.machine.book.record(run.need.model, run.need.pixels, run.need.work * run.count, seconds - shard.load_s)
        for rival in rivals:
            self.reissues_won += not rival.lease.is_reissued or rival.lease.started_s < shard.lease.started_s
            self._close(rival)
        assert job.done.isdisjoint(pictures), "a picture was taken twice"
        job.done.update(pictures)
        job.makers.update(dict.fromkeys(pictures, shard.machine.address))
        if len(job.done) == job.order.pictures:
            job.ends_s = self.now_s

    def _lose(self, machine: Machine) -> None:
        machine.is_gone = True
        for shard in [shard for shard in self.open if shard.machine is machine]:
            shard.outcome = Outcome.FAILED
            self._end(shard)

    def _close(self, shard: Shard) -> None:
        shard.is_open = False
        self.open.remove(shard)
        shard.machine.busy_until_s.remove(shard.expected_end_s)

    def _reissue(self) -> None:
        if not self._with_reissues:
            return
        workers = [machine.worker() for machine in self._workers()]
        for second in reissues([shard.lease for shard in self.open], workers, self.waiting, self.now_s):
            first = next(
                shard
                for shard in self.open
                if (shard.lease.run.job_id, shard.lease.run.first) == (second.run.job_id, second.run.first)
            )
            assert not first.lease.is_reissued, "a shard was given away a third time"
            first.lease = msgspec.structs.replace(first.lease, is_reissued=True)
            self.reissued += 1
            self._begin(second, is_second=True)

    def _waiting_whole(self) -> list[Run]:
        """Jobs of one picture that could have been given away in this pass."""
        return [
            run
            for run in self.waiting[:WINDOW]
            if not run.is_part and (run.deadline_s is None or run.deadline_s > self.now_s)
        ]

    def _check_nobody_idles(self, workers: Mapping[Address, Worker]) -> None:
        """Work conserving: nobody that is warm and not doubted is idle while a whole job waits that it may serve."""
        idle = [workers[machine.address] for machine in self._workers() if machine.worker().free_slots]
        for run in self._waiting_whole():
            for worker in idle:
                assert not _suits(worker, run), f"{worker.address.hex()} idles at {self.now_s} s, {run.job_id} waits"

    def _check_order(self, assignments: Sequence[Assignment], workers: Mapping[Address, Worker]) -> None:
        """Nobody who could have served a whole job that still waits was given one with a worse place."""
        for run in self._waiting_whole():
            for given in assignments:
                overtook = given.run.rank_s > run.rank_s and _suits(workers[given.worker], run)
                assert not overtook, f"{given.run.job_id} overtook {run.job_id} at {self.now_s} s"


def _suits(worker: Worker, run: Run) -> bool:
    return is_eligible(worker, run.need, run.excluded) and worker.is_warm(run.need) and not worker.is_doubted
