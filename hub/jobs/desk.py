"""What sessions ask of jobs and store, and what they bring: all of it durable when it returns."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from chain.client import NodeError
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.types import Address, Amount
from chain.primitives.worker_fields import PictureRun
from hub.artifacts import ArtifactFolder
from hub.chain_view import ChainView
from hub.jobs.checking import Checking
from hub.jobs.granting import lease_for, message_for, picture_run, remaining_s
from hub.jobs.judging import Judged, Judging, check_likeness, expected_picture_s, look_at, slots_of
from hub.jobs.live import Glimpse, LiveBoard
from hub.jobs.queueing import Queue, run_of
from hub.jobs.roster import Roster, keep_speeds
from hub.metrics import HubMetrics
from hub.scheduling.assignment import Scheduler
from hub.scheduling.leases import Assignment
from hub.scheduling.leases import Lease as LeaseUnderWay
from hub.scheduling.stragglers import reissues
from hub.scheduling.workers import Worker
from hub.store import events, jobs, leases, providers, results, sessions, shards, waiting
from hub.store.errors import AlreadyServed, AlreadyUsed, WrongState
from hub.store.jobs import Job
from hub.store.leases import Lease, LeaseState, NewLease
from hub.store.providers import Provider
from hub.store.results import NewResult
from hub.store.shards import Shard
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader, Transaction
from hub.verification.errors import AnswerRefused
from hub.workers.desk import Delivery, Grant, GrantedAnswer, LeaseProgress, SpooledFile, WorkerView
from hub.workers.errors import ResultRefused

_PAGE: Final = 256
_MOST_PAGES: Final = 8
_EVENT_INTERVAL_S: Final = 1.0
"""How often at most a job's progress becomes an event that is kept."""

_MOST_TOLD: Final = 10_000
_HELP_INTERVAL_S: Final = 0.5
"""How often it is looked whether somebody who is late can be helped."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.desk")


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What the desk works with."""

    store: Store
    artifacts: ArtifactFolder
    chain: ChainView
    roster: Roster
    queue: Queue
    scheduler: Scheduler
    board: LiveBoard
    checking: Checking
    judging: Judging
    metrics: HubMetrics
    process: str


@dataclass(frozen=True, slots=True)
class Place:
    """A lease, and what it is of."""

    lease: Lease
    shard: Shard
    job: Job


class Desk:
    """`hub.workers.desk.ShardDesk`. On the event loop's thread."""

    def __init__(self, parts: DeskParts, on_news: Callable[[str], None]) -> None:
        """`on_news` gets the id of each job of which something was delivered or given back."""
        self._parts = parts
        self._on_news = on_news
        self._views: dict[Address, WorkerView] = {}
        self._told_at_s: dict[str, float] = {}
        self._helped_at_s = float("-inf")
        self._jobs_of: dict[str, tuple[str, int]] = {}
        """By lease: the job, and the shard's first picture."""

    @property
    def process(self) -> str:
        """The name of this process among those that share the database."""
        return self._parts.process

    # Giving out

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
            grants += await self.seconds(workers)
            crew = {worker.address: worker for worker in parts.roster.workers(workers)}
        for number in range(_MOST_PAGES):
            if not any(worker.free_slots for worker in crew.values()):
                break
            page = await parts.queue.page(number, _PAGE, models)
            decided = parts.scheduler.assign(
                crew.values(), [parts.queue.run_of(item) for item in page], time.monotonic()
            )
            grants += await self._take(decided, views, crew, {item.job.job_id: item.job for item in page})
            if len(page) < _PAGE:
                break
        return grants

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
        now = now_ms()
        wanted = [lease_for(each, views[each.worker], now) for each in decided]
        taken = await self._parts.store.write(
            lambda t: waiting.take(t, wanted, process=self._parts.process, now_ms=now)
        )
        grants: list[Grant] = []
        for assignment, item in zip(decided, taken, strict=True):
            worker = crew[assignment.worker]
            if item is None:
                self._parts.scheduler.undo(assignment, worker)
                continue
            ends_at_s = time.monotonic() + assignment.expected_s
            crew[worker.address] = msgspec.structs.replace(worker, busy_until_s=(*worker.busy_until_s, ends_at_s))
            self._parts.roster.expect(item.lease.lease_id, worker.address, ends_at_s)
            grants.append(self._grant(waiting_jobs[item.lease.job_id], item.shard, item.lease, assignment.lease_s))
        self._parts.metrics.leases.labels("given").inc(len(grants))
        return grants

    def _grant(self, job: Job, shard: Shard, lease: NewLease | Lease, lease_s: float) -> Grant:
        self._jobs_of[lease.lease_id] = (job.job_id, shard.first_picture)
        provider = Address(bytes.fromhex(lease.provider[2:]))
        message = message_for(job, shard, lease.lease_id, lease_s, int(job.facts["most_atoms"]))
        return Grant(provider, message, message.deadline_s)

    async def give_second(self, assignment: Assignment, shard: Shard, job: Job) -> Grant | None:
        """A straggler's twin; None where the shard has got its result, or was cut otherwise, meanwhile."""
        view = self._views.get(assignment.worker)
        if view is None:
            return None
        now = now_ms()
        lease = lease_for(assignment, view, now)
        process = self._parts.process
        is_there = await self._parts.store.write(
            lambda t: leases.add_second(t, lease, number=shard.number, process=process, now_ms=now)
        )
        if not is_there:
            return None
        self._parts.roster.expect(lease.lease_id, assignment.worker, time.monotonic() + assignment.expected_s)
        self._parts.metrics.leases.labels("second").inc()
        return self._grant(job, shard, lease, assignment.lease_s)

    async def seconds(self, views: Sequence[WorkerView]) -> list[Grant]:
        """Help for whoever is late, where somebody has nothing to do."""
        parts = self._parts
        workers = parts.roster.workers([view for view in views if not view.is_draining])
        if not any(worker.free_slots for worker in workers):
            return []
        places, waiting_runs = await self._under_way(), await parts.queue.look()
        now_s, now = time.monotonic(), now_ms()
        under_way = [_under_way(place, places, parts.queue, now_s, now) for place in places]
        decided = reissues(under_way, workers, waiting_runs, now_s)
        grants: list[Grant] = []
        for assignment in decided:
            key = (assignment.run.job_id, assignment.run.first)
            place = next(each for each in places if (each.job.job_id, each.shard.first_picture) == key)
            grant = await self.give_second(assignment, place.shard, place.job)
            if grant is not None:
                grants.append(grant)
        return grants

    async def _under_way(self) -> list[Place]:
        return await self._parts.store.read(
            lambda r: [
                place for place in (_place_of(r, lease) for lease in leases.active(r, limit=2_048)) if place is not None
            ]
        )

    # Coming and going

    async def open_grants(self, provider: Address) -> Sequence[Grant]:
        """Leases that it had when its connection ended, or when this hub was stopped."""
        name, now = to_checksum_address(provider), now_ms()
        places = await self._parts.store.read(
            lambda r: [_place_of(r, lease) for lease in leases.active(r, provider=name)]
        )
        grants: list[Grant] = []
        for place in places:
            if place is None or place.job.prompts is None or place.shard.state != shards.ShardState.LEASED:
                continue
            left_s = remaining_s(place.lease, now)
            ends_in_s = (
                float(place.lease.attributes.get("expected_s", left_s)) - (now - place.lease.started_at_ms) / 1000
            )
            self._parts.roster.expect(place.lease.lease_id, provider, time.monotonic() + max(0.0, ends_in_s))
            grants.append(self._grant(place.job, place.shard, place.lease, left_s))
        return grants

    async def opened(self, view: WorkerView) -> None:
        """Its leases are this session's from here on."""
        parts, now = self._parts, now_ms()
        name = to_checksum_address(view.address)
        try:
            entry = await parts.chain.provider(view.address)
        except NodeError:
            entry = None  # It was asked a moment ago; what it declares counts until the chain answers again.
        if entry is not None:
            parts.roster.register(entry)
        self._views[view.address] = view
        declared = declared_by(view)

        def keep(transaction: Transaction) -> Provider:
            sessions.open_session(
                transaction, view.session_id, provider=name, process=parts.process, declared=declared, now_ms=now
            )
            for lease in leases.active(transaction, provider=name):
                leases.rehome(transaction, lease.lease_id, session=view.session_id, process=parts.process)
            return providers.change(
                transaction, name, lambda known: replace(known, declared=declared, last_seen_at_ms=now), now
            )

        await parts.store.write(keep)
        parts.roster.forget()

    async def closed(self, session_id: str) -> None:
        """Its leases run on until they lapse: it may come back."""
        for address, view in list(self._views.items()):
            if view.session_id == session_id:
                del self._views[address]
        await self._parts.store.write(lambda t: sessions.close(t, session_id))

    # What they bring

    async def progress(self, lease_id: str, progress: LeaseProgress) -> None:
        """To who watches; once in a second it is written down as well."""
        known = self._jobs_of.get(lease_id)
        if known is None:
            return
        job_id, first = known
        picture = first + progress.picture
        glimpse = Glimpse(picture, progress.step, progress.steps, progress.fraction, progress.preview)
        self._parts.board.show(job_id, glimpse)
        if time.monotonic() < self._told_at_s.get(job_id, 0.0) + _EVENT_INTERVAL_S:
            return
        if len(self._told_at_s) > _MOST_TOLD:
            self._told_at_s.clear()
        self._told_at_s[job_id] = time.monotonic()
        now, data = now_ms(), glimpse.to_object()
        await self._parts.store.write(lambda t: events.append(t, job_id, "progress", data, now))

    async def delivered(self, delivery: Delivery) -> None:
        """Looks at it, keeps the pictures, then the result; raises ResultRefused for what is not wanted or false."""
        place = await self._place(delivery.lease_id)
        run = picture_run(place.job, place.shard.first_picture, place.shard.pictures)
        octets = await asyncio.to_thread(lambda: [file.path.read_bytes() for file in delivery.pictures])
        try:
            judged = await self._look(delivery, octets, place, run)
            await self._parts.artifacts.keep(octets)
            superseded = await self._keep(delivery, place, judged, run)
        except AnswerRefused as refused:
            await self._turn_down(place, refused)
            raise ResultRefused(refused.detail, reason=str(refused.reason)) from None
        except AlreadyServed:
            raise ResultRefused("another result of these pictures was taken", reason="already_served") from None
        except (WrongState, AlreadyUsed) as error:
            raise ResultRefused(str(error), reason="not_wanted") from None
        self._forget(delivery.lease_id)
        for lease in superseded:
            self._forget(lease.lease_id)
        self._parts.metrics.leases.labels("delivered").inc()
        self._on_news(place.job.job_id)

    async def _place(self, lease_id: str) -> Place:
        place = await self._parts.store.read(lambda r: _place_of(r, leases.get(r, lease_id)))
        if place is None:
            raise ResultRefused("there is no such lease", reason="unknown_lease")
        if place.job.ended_at_ms is not None or place.job.prompts is None:
            raise ResultRefused("the job has ended", reason="not_wanted")
        if place.lease.pictures != place.shard.pictures:
            raise ResultRefused("these pictures are others' by now", reason="not_wanted")
        return place

    async def _look(self, delivery: Delivery, octets: Sequence[bytes], place: Place, run: PictureRun) -> Judged:
        parts = self._parts
        snapshot = parts.chain.snapshot
        most_atoms = int(place.job.facts["most_atoms"])
        need = parts.queue.need_of(place.job)
        return await asyncio.to_thread(
            look_at,
            delivery,
            octets,
            run,
            ceiling=Amount(most_atoms) if snapshot is None else snapshot.receipt_ceiling_atoms,
            seconds_per_picture=expected_picture_s(parts.roster.speeds(delivery.provider), need),
            slots=slots_of(self._views.get(delivery.provider)),
            judging=parts.judging,
        )

    async def _keep(self, delivery: Delivery, place: Place, judged: Judged, run: PictureRun) -> list[Lease]:
        """The result, its checks, and what the provider has shown of its speed: one unit."""
        parts, now = self._parts, now_ms()
        result = result_of(delivery, place.job)
        rows = judged.rows(place.shard.first_picture)
        need = parts.queue.need_of(place.job)
        if delivery.wall_s and place.lease.attributes.get("is_warm", True):
            book = parts.roster.speeds(delivery.provider)
            book.record(need.model, need.pixels, need.work * run.count, delivery.wall_s)
            parts.roster.measured(delivery.provider, book)
        name = to_checksum_address(delivery.provider)
        book = parts.roster.speeds(delivery.provider)

        def unit(transaction: Transaction) -> list[Lease]:
            superseded = results.deliver(transaction, result, rows, now)
            suspicions = judged.suspicions + check_likeness(
                transaction,
                judged,
                job_id=place.job.job_id,
                first_picture=place.shard.first_picture,
                provider=delivery.provider,
                now_ms=now,
            )
            keep_speeds(transaction, name, book, now)
            parts.checking.plan(transaction, place.job, place.shard, result, name, suspicions, now)
            return superseded

        return await parts.store.write(unit)

    async def _turn_down(self, place: Place, refused: AnswerRefused) -> None:
        now = now_ms()

        def unit(transaction: Transaction) -> None:
            leases.fail(
                transaction,
                place.lease.lease_id,
                outcome=str(refused.reason),
                detail=refused.detail,
                excludes=True,
                now_ms=now,
            )
            self._parts.checking.note_lie(transaction, place.lease.provider, str(refused.reason), refused.detail, now)

        await self._parts.store.write(unit)
        self._forget(place.lease.lease_id)
        self._parts.metrics.leases.labels("refused").inc()
        _log.warning(
            "result_refused",
            job_id=place.job.job_id,
            provider=place.lease.provider,
            reason=str(refused.reason),
            detail=refused.detail,
        )
        self._on_news(place.job.job_id)

    async def answered(self, lease_id: str, answer: GrantedAnswer, files: Sequence[SpooledFile]) -> None:
        """This hub asks for checks as orders, never under leases."""
        raise ResultRefused("no answer of this kind is awaited", reason="unknown_lease")

    async def returned(self, lease_id: str, reason: str, detail: str, *, is_fault: bool) -> None:
        """The shard waits again; for others, where it was the provider's fault."""
        now = now_ms()

        def unit(transaction: Transaction) -> str | None:
            lease = leases.get(transaction, lease_id)
            if lease is None:
                return None
            ended = leases.fail(
                transaction, lease_id, outcome=reason, detail=detail[:500], excludes=is_fault, now_ms=now
            )
            if ended and is_fault:
                self._parts.checking.note_failure(transaction, lease.provider, reason, now)
            return lease.job_id

        job_id = await self._parts.store.write(unit)
        self._forget(lease_id)
        self._parts.metrics.leases.labels("lapsed" if reason == "lapsed" else "returned").inc()
        if job_id is not None:
            self._on_news(job_id)

    def _forget(self, lease_id: str) -> None:
        self._parts.roster.release(lease_id)
        self._jobs_of.pop(lease_id, None)


def _place_of(reader: Reader, lease: Lease | None) -> Place | None:
    if lease is None:
        return None
    job = jobs.get(reader, lease.job_id)
    shard = next((each for each in shards.of_job(reader, lease.job_id) if each.number == lease.number), None)
    return None if job is None or shard is None else Place(lease, shard, job)


def _under_way(place: Place, places: Sequence[Place], queue: Queue, now_s: float, now: int) -> LeaseUnderWay:
    twins = [each for each in places if each.shard == place.shard and each.lease.state == LeaseState.ACTIVE]
    return LeaseUnderWay(
        run=run_of(place.shard, place.job, queue.need_of(place.job)),
        worker=Address(bytes.fromhex(place.lease.provider[2:])),
        started_s=now_s - (now - place.lease.started_at_ms) / 1000,
        expected_s=float(place.lease.attributes.get("expected_s", 1.0)),
        is_reissued=len(twins) > 1,
    )


def result_of(delivery: Delivery, job: Job) -> NewResult:
    """As it is kept."""
    receipt = delivery.receipt
    return NewResult(
        lease_id=delivery.lease_id,
        receipt_hash=to_hex(receipt.hash),
        receipt_json=receipt.canonical_bytes().decode(),
        provider_signature=to_hex(delivery.provider_signature),
        prompt_salt=job.request_salt,
        micro_units=receipt.micro_units,
        amount=receipt.amount,
        facts={
            "profiles": [profile.to_object() for profile in delivery.profiles],
            "seeds": list(delivery.seeds),
            "gpu": delivery.gpu,
            "duration_ms": delivery.duration_ms,
            "compute_microseconds": delivery.compute_microseconds,
            "wall_s": round(delivery.wall_s, 3),
        },
    )


def declared_by(view: WorkerView) -> dict[str, object]:
    """What a provider says of itself, as it is shown."""
    return {
        "models": {
            name: {"price_per_unit": str(model.price_per_unit), "vram_mib": model.vram_mib}
            for name, model in view.models.items()
        },
        "unit_type": view.unit_type,
        "device": view.device,
        "device_class": view.device_class,
        "vram_mib": view.vram_mib,
        "slots": view.slots,
        "concurrency": view.concurrency,
        "max_pictures": view.max_pictures,
        "software": view.software,
    }
