"""Who gets what: the scheduler's decisions made durable, help for who is late, and what somebody had before."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address
from hub.jobs.granting import lease_for, message_for, remaining_s
from hub.jobs.places import DeskParts, Present
from hub.jobs.queueing import Queue, run_of
from hub.scheduling.leases import Assignment
from hub.scheduling.leases import Lease as LeaseUnderWay
from hub.scheduling.stragglers import reissues
from hub.scheduling.workers import Worker
from hub.store import leases, places, waiting
from hub.store.jobs import Job
from hub.store.leases import Lease, LeaseState, NewLease
from hub.store.places import Place
from hub.store.shards import Shard, ShardState
from hub.store.store import now_ms
from hub.store.waiting import WaitingShard
from hub.workers.desk import Grant, WorkerView

_PAGE: Final = 256
_MOST_PAGES: Final = 8
_HELP_INTERVAL_S: Final = 0.5
"""How often it is looked whether somebody who is late can be helped."""
_MOST_UNDER_WAY: Final = 2_048
_MOST_LOOKS: Final = 4
_LOOK_AGAIN_S: Final = 0.02
"""After another process was quicker, or is at work on the same jobs: its commit takes some milliseconds."""
_LEFT_TO_OTHERS_MS: Final = 3_000
"""How long pictures are left to providers at other processes, who would be done with them sooner."""


class HandingOut:
    """Of one desk. On the event loop's thread."""

    def __init__(self, parts: DeskParts, present: Present) -> None:
        self._parts = parts
        self._present = present
        self._helped_at_s = float("-inf")

    async def assign(self, workers: Sequence[WorkerView]) -> Sequence[Grant]:
        """What the scheduler decides, once the rows are this hub's."""
        parts = self._parts
        await parts.roster.refresh()
        views = {view.address: view for view in workers}
        crew = {worker.address: worker for worker in parts.roster.workers(workers)}
        models = sorted({name for worker in crew.values() for name in worker.offers})
        grants: list[Grant] = []
        if time.monotonic() >= self._helped_at_s + _HELP_INTERVAL_S:
            self._helped_at_s = time.monotonic()
            grants += await self._help(workers)
            crew = {worker.address: worker for worker in parts.roster.workers(workers)}
        for _ in range(_MOST_LOOKS):
            given, is_lost = await self._look(views, crew, models)
            grants += given
            if grants or not is_lost:  # Whoever got something is asked again at once.
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        return grants

    async def _look(
        self, views: dict[Address, WorkerView], crew: dict[Address, Worker], models: Sequence[str]
    ) -> tuple[list[Grant], bool]:
        """Goes through what waits; and whether another process had any of it first."""
        parts = self._parts
        grants: list[Grant] = []
        wanted = 0
        for number in range(_MOST_PAGES):
            if not any(worker.free_slots for worker in crew.values()):
                break
            page = await parts.queue.page(number, _PAGE, models)
            others = [] if _has_waited(page) else parts.roster.taken_elsewhere()
            decided = parts.scheduler.assign(
                [*crew.values(), *others], [parts.queue.run_of(item) for item in page], time.monotonic()
            )
            wanted += len(decided)
            grants += await self._take(decided, views, crew, {item.job.job_id: item.job for item in page})
            if len(page) < _PAGE:
                break
        return grants, len(grants) < wanted

    async def _take(
        self,
        decided: Sequence[Assignment],
        views: dict[Address, WorkerView],
        crew: dict[Address, Worker],
        waiting_jobs: dict[str, Job],
    ) -> list[Grant]:
        """Leases them; those that another process had first are given back to the scheduler."""
        if not decided:
            return []
        parts, now = self._parts, now_ms()
        wanted = [lease_for(each, views[each.worker], now) for each in decided]
        taken = await parts.store.write(lambda t: waiting.take(t, wanted, process=parts.process, now_ms=now))
        grants: list[Grant] = []
        for assignment, item in zip(decided, taken, strict=True):
            worker = crew[assignment.worker]
            if item is None:
                parts.scheduler.undo(assignment, worker)
                continue
            ends_at_s = time.monotonic() + assignment.expected_s
            crew[worker.address] = msgspec.structs.replace(worker, busy_until_s=(*worker.busy_until_s, ends_at_s))
            parts.roster.expect(item.lease.lease_id, worker.address, ends_at_s)
            parts.metrics.waited_seconds.observe(max(0, now - item.shard.waiting_since_ms) / 1000)
            grants.append(self._grant(waiting_jobs[item.lease.job_id], item.shard, item.lease, assignment.lease_s))
        parts.metrics.leases.labels("given").inc(len(grants))
        return grants

    def _grant(self, job: Job, shard: Shard, lease: NewLease | Lease, lease_s: float) -> Grant:
        self._present.pictures_of[lease.lease_id] = (job.job_id, shard.first_picture, shard.pictures)
        provider = Address(bytes.fromhex(lease.provider[2:]))
        message = message_for(job, shard, lease.lease_id, lease_s, int(job.facts["most_atoms"]))
        return Grant(provider, message, message.deadline_s)

    # Help

    async def _help(self, views: Sequence[WorkerView]) -> list[Grant]:
        """For whoever is late, where somebody has nothing to do."""
        parts = self._parts
        workers = parts.roster.workers([view for view in views if not view.is_draining])
        if not any(worker.free_slots for worker in workers):
            return []
        found = await parts.store.read(lambda r: places.under_way(r, limit=_MOST_UNDER_WAY))
        waiting_runs = await parts.queue.look()
        now_s, now = time.monotonic(), now_ms()
        under_way = [_under_way(place, found, parts.queue, now_s, now) for place in found]
        grants: list[Grant] = []
        for assignment in reissues(under_way, workers, waiting_runs, now_s):
            key = (assignment.run.job_id, assignment.run.first)
            place = next(each for each in found if (each.job.job_id, each.shard.first_picture) == key)
            grant = await self._give_second(assignment, place.shard, place.job)
            if grant is not None:
                grants.append(grant)
        return grants

    async def _give_second(self, assignment: Assignment, shard: Shard, job: Job) -> Grant | None:
        """A straggler's twin; None where the shard has got its result, or was cut otherwise, meanwhile."""
        view = self._present.views.get(assignment.worker)
        if view is None:
            return None
        parts, now = self._parts, now_ms()
        lease = lease_for(assignment, view, now)
        is_there = await parts.store.write(
            lambda t: leases.add_second(t, lease, number=shard.number, process=parts.process, now_ms=now)
        )
        if not is_there:
            return None
        parts.roster.expect(lease.lease_id, assignment.worker, time.monotonic() + assignment.expected_s)
        parts.metrics.leases.labels("second").inc()
        return self._grant(job, shard, lease, assignment.lease_s)

    # Again

    async def open_grants(self, provider: Address) -> Sequence[Grant]:
        """Leases that it had when its connection ended, or when this hub was stopped."""
        name, now = to_checksum_address(provider), now_ms()
        grants: list[Grant] = []
        for place in await self._parts.store.read(lambda r: places.of_provider(r, name)):
            if place.job.prompts is None or place.shard.state != ShardState.LEASED:
                continue
            left_s = remaining_s(place.lease, now)
            since_s = (now - place.lease.started_at_ms) / 1000
            ends_in_s = float(place.lease.attributes.get("expected_s", left_s)) - since_s
            self._parts.roster.expect(place.lease.lease_id, provider, time.monotonic() + max(0.0, ends_in_s))
            grants.append(self._grant(place.job, place.shard, place.lease, left_s))
        return grants


def _has_waited(page: Sequence[WaitingShard]) -> bool:
    """Whether other processes had time to take what would be theirs: nothing is left to them any longer."""
    return min((item.shard.waiting_since_ms for item in page), default=0) < now_ms() - _LEFT_TO_OTHERS_MS


def _under_way(place: Place, among: Sequence[Place], queue: Queue, now_s: float, now: int) -> LeaseUnderWay:
    twins = [each for each in among if each.shard == place.shard and each.lease.state == LeaseState.ACTIVE]
    return LeaseUnderWay(
        run=run_of(place.shard, place.job, queue.need_of(place.job)),
        worker=Address(bytes.fromhex(place.lease.provider[2:])),
        started_s=now_s - (now - place.lease.started_at_ms) / 1000,
        expected_s=float(place.lease.attributes.get("expected_s", 1.0)),
        is_reissued=len(twins) > 1,
    )
