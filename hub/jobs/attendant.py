"""Moves jobs on: closes those that are cancelled, late or hopeless; composes receipts of those that are complete.

Nothing is remembered here: a job is looked at when there is news of it and every few seconds anyhow, and what is to be
done follows from its rows alone. So it may be done by any process, again, and after a kill -9 at any point.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from chain.primitives.hexadecimal import parse_address, to_checksum_address, to_hex
from chain.primitives.receipt import Receipt, kept_receipt
from chain.primitives.rejection import Rejected
from hub.jobs.composing import composed, is_whole, signable_since_ms, signers
from hub.jobs.ending import CLOSING, Endings
from hub.jobs.keeping import BEFORE_CHECKS, Keeping, accept, set_verifying
from hub.jobs.queueing import Queue
from hub.jobs.roster import Roster
from hub.scheduling.filters import Obstacle, obstacle
from hub.store import checks, jobs, receipts, results, shards
from hub.store.announcements import Changes
from hub.store.jobs import Job, JobState
from hub.store.leases import Lease
from hub.store.locks import hold_open_job
from hub.store.locks import job as job_row
from hub.store.results import Result
from hub.store.shards import Shard, ShardState
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader, Transaction
from hub.workers.errors import WorkerError
from hub.workers.workers import Workers

_SWEEP_S: Final = 3.0
_AT_ONE_TIME: Final = 32
_MOST_SWEPT: Final = 2_000
UNSIGNED_S: Final = 600.0
"""How long providers that must sign a whole job's receipt may stay away, before the job has failed."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.attendant")


@dataclass(frozen=True, slots=True)
class Sight:
    """A job with all that decides what is next."""

    job: Job
    shards: Sequence[Shard]
    """Of its work."""
    results: Sequence[Result]
    open_checks: int
    has_receipt: bool

    @property
    def is_under_way(self) -> bool:
        """Whether any of its work waits or is with providers."""
        return any(shard.state in (ShardState.WAITING, ShardState.LEASED) for shard in self.shards)


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a job ends before all of it is there."""

    state: JobState
    reason: str
    detail: str


class Attendant:
    """On the event loop's thread."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        roster: Roster,
        queue: Queue,
        endings: Endings,
        keeping: Keeping,
        *,
        max_attempts: int,
    ) -> None:
        self._store = store
        self._workers = workers
        self._roster = roster
        self._queue = queue
        self._endings = endings
        self._keeping = keeping
        self._max_attempts = max_attempts
        self._news: set[str] = set()
        self._is_news = asyncio.Event()
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_AT_ONE_TIME)

    def news(self, job_id: str) -> None:
        """Something of this job has changed."""
        self._news.add(job_id)
        self._is_news.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with self._store.announcements.subscribe("cancel") as cancels:
                await asyncio.gather(self._follow_news(), self._sweep(cancels))
        finally:
            for task in self._tasks:
                task.cancel()

    async def _follow_news(self) -> None:
        while True:
            await self._is_news.wait()
            self._is_news.clear()
            waiting, self._news = self._news, set()
            for job_id in waiting:
                self._begin(job_id)

    async def _sweep(self, cancels: Changes) -> None:
        """What nobody told of; and cancellations at once, whoever of several processes took them."""
        while True:
            for job_id in await self._store.read(lambda r: jobs.to_attend(r, now_ms(), limit=_MOST_SWEPT)):
                self._begin(job_id)
            await cancels.wait(_SWEEP_S)

    def _begin(self, job_id: str) -> None:
        if job_id in self._busy:
            self._news.add(job_id)  # Looked at again by the next sweep at the latest.
            return
        self._busy.add(job_id)
        task = asyncio.create_task(self._attend(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, job_id: str) -> None:
        try:
            async with self._room:
                await self._look(job_id)
        except Exception:  # noqa: BLE001 - the last resort of a background task; the log has the traceback
            _log.exception("job_not_moved_on", job_id=job_id)
        finally:
            self._busy.discard(job_id)
            if job_id in self._news:
                self._is_news.set()

    # One job

    async def _look(self, job_id: str) -> None:
        await self._roster.refresh()
        sight = await self._store.read(lambda r: _sight(r, job_id))
        if sight is None or sight.job.ended_at_ms is not None or sight.has_receipt:
            return
        if CLOSING not in sight.job.facts:
            closing = self._closing(sight)
            if closing is not None:
                await self._close(sight, closing)
                self.news(job_id)
                return
            if sight.is_under_way:
                return
        elif sight.is_under_way:  # A check has refused a part of it meanwhile.
            await self._call_off(sight, sight.job.facts[CLOSING])
            self.news(job_id)
            return
        if not sight.results:
            await self._end_empty(sight.job)
        elif sight.open_checks:
            await self._verify(sight)
        else:
            await self._compose(sight)

    def _closing(self, sight: Sight) -> Closing | None:
        job, now = sight.job, now_ms()
        if job.cancel_requested_at_ms is not None and sight.is_under_way:
            return Closing(JobState.CANCELLED, "cancelled", "its client wants no more of it")
        if job.cancel_requested_at_ms is not None and job.pictures_done < job.images:
            return Closing(JobState.CANCELLED, "cancelled", "its client wants no more of it")
        if not sight.is_under_way:
            return None
        if job.deadline_ms is not None and job.deadline_ms <= now:
            return Closing(JobState.FAILED, "deadline_passed", "not all of it was there by its deadline")
        waiting = [shard for shard in sight.shards if shard.state == ShardState.WAITING]
        if any(shard.attempts >= self._max_attempts for shard in waiting):
            return Closing(
                JobState.FAILED, "providers_failed", f"{self._max_attempts} providers failed at a part of it"
            )
        need, workers = self._queue.need_of(job), self._roster.everyone(self._workers.views())
        for shard in waiting:
            excluded = frozenset(parse_address(text) for text in shard.excluded)
            if excluded and obstacle(workers, need, excluded) == Obstacle.ALL_EXCLUDED:
                return Closing(
                    JobState.FAILED, "providers_failed", "every provider that could serve it has failed at it"
                )
        return None

    async def _close(self, sight: Sight, closing: Closing) -> None:
        """What waits or is under way is called off; what was delivered goes on to its receipt."""
        await self._call_off(sight, {"state": str(closing.state), "reason": closing.reason, "detail": closing.detail})

    async def _call_off(self, sight: Sight, told: dict[str, str]) -> None:
        job_id, now = sight.job.job_id, now_ms()

        def unit(transaction: Transaction) -> list[Lease]:
            if not hold_open_job(transaction, job_id) or receipts.get(transaction, job_id) is not None:
                return []  # Whole since it was looked at.
            jobs.keep_facts(transaction, job_id, **{CLOSING: told})
            return jobs.call_off(transaction, job_id, told["reason"], now)

        for lease in await self._store.write(unit, first=job_row(job_id)):
            self._roster.release(lease.lease_id)  # Whoever has it is told by `recalling`.

    async def _end_empty(self, job: Job) -> None:
        """Nothing of it is there, so there is nothing to attest."""
        closing = job.facts.get(CLOSING) or {
            "state": "failed",
            "reason": "providers_failed",
            "detail": "no picture of it was accepted",
        }
        now, state = now_ms(), JobState(closing["state"])
        await self._store.write(
            lambda t: self._endings.finish(t, job, state, closing["reason"], closing["detail"], now),
            first=job_row(job.job_id),
        )

    async def _verify(self, sight: Sight) -> None:
        """All of it is there; its checks are under way."""
        now = now_ms()
        if sight.job.state in BEFORE_CHECKS:
            await self._store.write(lambda t: set_verifying(t, sight.job.job_id, now), first=job_row(sight.job.job_id))

    async def _compose(self, sight: Sight) -> None:
        parts = [kept_receipt(result.receipt_json) for result in sight.results]
        if is_whole(sight.job, parts):
            await self._keep(sight.job, parts[0], sight.results[0].provider_signature, sight)
            return
        now = now_ms()
        job_id = sight.job.job_id
        await self._store.write(lambda t: accept(t, job_id, sight.results, now), first=job_row(job_id))
        for provider in signers(parts):
            try:
                whole = composed(sight.job, parts, provider=provider)
                signature = await self._workers.orders.sign_receipt(provider, whole)
            except WorkerError as error:
                name = to_checksum_address(provider)
                _log.info("receipt_not_signed", job_id=sight.job.job_id, provider=name, reason=error.reason)
                continue
            except Rejected as rejected:
                await self._give_up(sight, "no_receipt", rejected.message)
                return
            await self._keep(sight.job, whole, to_hex(signature), sight)
            return
        if signable_since_ms(sight.results, now) + UNSIGNED_S * 1000 < now:
            await self._give_up(sight, "no_signature", "no provider of it was there to sign its receipt")

    async def _give_up(self, sight: Sight, reason: str, detail: str) -> None:
        now = now_ms()

        def unit(transaction: Transaction) -> None:
            if _is_as_seen(transaction, sight):
                self._endings.finish(transaction, sight.job, JobState.FAILED, reason, detail, now)

        await self._store.write(unit, first=job_row(sight.job.job_id))

    async def _keep(self, job: Job, receipt: Receipt, signature: str, sight: Sight) -> None:
        """From here on it is `hub.attestation`'s."""
        now = now_ms()

        def unit(transaction: Transaction) -> None:
            if _is_as_seen(transaction, sight):
                self._keeping.keep(transaction, job, sight.results, receipt, signature, now)

        await self._store.write(unit, first=job_row(sight.job.job_id))


def _is_as_seen(transaction: Transaction, sight: Sight) -> bool:
    """Holds the job's row. False where it has ended, another process was quicker with its receipt, or a check has begun
    or refused a part of it meanwhile: asking providers for a signature takes its time."""
    job_id = sight.job.job_id
    if not hold_open_job(transaction, job_id) or checks.open_of_job(transaction, job_id):
        return False
    if {result.lease_id for result in results.of_job(transaction, job_id)} != {each.lease_id for each in sight.results}:
        return False
    return receipts.get(transaction, job_id) is None


def _sight(reader: Reader, job_id: str) -> Sight | None:
    job = jobs.get(reader, job_id)
    if job is None:
        return None
    return Sight(
        job=job,
        shards=shards.of_job(reader, job_id),
        results=results.of_job(reader, job_id),
        open_checks=checks.open_of_job(reader, job_id),
        has_receipt=receipts.get(reader, job_id) is not None,
    )
