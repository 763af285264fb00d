"""Accepts orders and sees them through: the one path that every way in takes.

A row of the job log is durable before anything is computed, and the receipt before anybody hears of it. The same order
again, by its Idempotency-Key or as the same job of a hub, gets the same answer; no second picture is made or charged.
"""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from chain.primitives.types import Address
from provider.api_keys import Caller
from provider.engine import jobs as engine_jobs
from provider.engine.engine import Engine
from provider.errors import GenerationCancelled, ProviderError, StorageError
from provider.generation import OUTPUT_FORMATS
from provider.jobs.allowances import Allowances
from provider.jobs.answers import FinishedAnswer
from provider.jobs.commission import Commission, check_order
from provider.jobs.completion import Completion
from provider.jobs.ends import JobEnd, JobEnds
from provider.jobs.errors import ArtifactGone, JobInProgress, JobNotFound, NotServing, OrderRefused
from provider.jobs.offers import Offers, agreed_offer
from provider.jobs.order import JobOrder
from provider.jobs.pictures import KeptPictures
from provider.jobs.running import RunningJob
from provider.monitoring.logs import log_job
from provider.monitoring.metrics import ProviderMetrics
from provider.monitoring.tracing import JobSpans, Tracing
from provider.receipts.issuing import Offer
from provider.storage.job_log import JobLog
from provider.storage.rows import ClientNonce, JobRecord, JobState, NewJob

T = TypeVar("T")

_DRAIN_RETRY_S: Final = 10
"""By then another process is likely to serve in this one's place."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.jobs")


@dataclass(frozen=True)
class OrderBounds:
    """What the operator allows, whichever way an order comes in."""

    prompt_characters: int
    pictures: int


@dataclass(frozen=True)
class JobTools:
    """What serving jobs needs."""

    address: Address
    engine: Engine
    offers: Offers
    allowances: Allowances
    job_log: JobLog
    pictures: KeptPictures
    completion: Completion
    metrics: ProviderMetrics
    tracing: Tracing
    bounds: OrderBounds
    records_trajectories: bool


@dataclass(frozen=True)
class Artifact:
    """A kept picture."""

    content: bytes
    media_type: str


class JobService:
    """All jobs of one provider. On the event loop's thread."""

    def __init__(self, tools: JobTools) -> None:
        self._tools = tools
        self._ends = JobEnds(tools.job_log)
        self._running: dict[str, RunningJob] = {}
        self._doors: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_draining = False
        """Whether new orders are refused."""

    # Orders

    async def start(self, order: JobOrder) -> RunningJob:
        """The job that this order became, now or before; raises ProviderError where there is none.

        Whoever is cancelled while waiting for it leaves the job, as a client that hangs up does.
        """
        self._tools.metrics.count_request(order.way_in)
        admission = self._spawn(self._admit(order, time.monotonic_ns()))
        try:
            return await asyncio.shield(admission)
        except asyncio.CancelledError:
            admission.add_done_callback(_leave)
            raise
        except ProviderError as error:
            self._tools.metrics.count_job(order.way_in, error.reason)
            raise

    async def _admit(self, order: JobOrder, received_ns: int) -> RunningJob:
        self._check_bounds(order)
        offer = self._tools.offers.of(order.request.model)
        if order.lease is not None:
            offer = agreed_offer(offer, order.lease)
        # One order of a caller at a time: what it may have at once and what it has ordered before must not change.
        async with self._doors.setdefault(order.caller.name, asyncio.Lock()):
            earlier = await self._find_repeat(order) if order.is_named else None
            if earlier is None:
                return await self._accept(order, offer, received_ns)
        if isinstance(earlier, RunningJob):
            return earlier
        # Outside of the door: while the store of pictures does not answer, the caller's other orders go on.
        answer = await self._tools.pictures.restore(earlier)
        self._tools.metrics.count_job(order.way_in, "repeated")
        return RunningJob.already_ended(earlier.job_id, order, answer)

    async def _accept(self, order: JobOrder, offer: Offer, received_ns: int) -> RunningJob:
        """A new job; whatever refuses it does so before anything is written, but for a race."""
        if self.is_draining:
            message = "the provider finishes the jobs that it has and takes no more"
            raise NotServing(message, _DRAIN_RETRY_S, reason="draining")
        commission = check_order(order, offer, self._tools.address, received_ns=received_ns, now_s=int(time.time()))
        self._tools.engine.check_room(order.request, caller=order.caller.name)
        await self._check_allowances(order)
        new = _new_job(order, commission.client_nonce)
        accepted = await asyncio.to_thread(self._tools.job_log.accept, new, time.time())
        return await self._begin(commission, accepted.record)

    def _check_bounds(self, order: JobOrder) -> None:
        request, bounds = order.request, self._tools.bounds
        prompts = (("prompt", prompt) for prompt in request.every_prompt)
        for field, text in (*prompts, ("negative_prompt", request.negative_prompt)):
            if len(text) > bounds.prompt_characters:
                message = f"{field}: at most {bounds.prompt_characters} characters here"
                raise OrderRefused(message, reason="too_large", field=field)
        if request.count > bounds.pictures:
            message = f"at most {bounds.pictures} pictures in one request here"
            raise OrderRefused(message, reason="too_large", field="count")

    async def _check_allowances(self, order: JobOrder) -> None:
        if order.lease is not None:
            return  # This provider has dialled the hub, and says itself how much it takes.
        allowances, pictures = self._tools.allowances, order.request.count
        allowances.check_jobs(order.caller, len(self.running(order.caller)))
        await asyncio.to_thread(allowances.check_day, order.caller, pictures)
        allowances.check_rate(order.caller, pictures)

    async def _begin(self, commission: Commission, record: JobRecord) -> RunningJob:
        """Hands the accepted job to the engine; a job that finds no place there never was."""
        order = commission.order
        job = RunningJob(record.job_id, order, on_begun=lambda: self._spawn(self._mark_running(record.job_id)))
        try:
            engine_job = self._tools.engine.submit(
                order.request,
                caller=order.caller.name,
                preview_every=order.preview_every,
                records_trajectory=self._tools.records_trajectories,
                on_event=job.on_engine_event,
                budget_microseconds=commission.budget_microseconds,
            )
        except ProviderError as error:
            await self._discard(record.job_id, error)
            raise
        if order.lease is None:
            self._tools.allowances.charge(order.caller, order.request.count)
        job.attach(engine_job)
        job.log("accepted", way_in=order.way_in, count=order.request.count, steps=order.request.steps)
        self._running[record.job_id] = job
        self._spawn(self._carry_out(commission, job, engine_job))
        return job

    async def _discard(self, job_id: str, error: ProviderError) -> None:
        """Others took the last places since there was room."""
        try:
            await asyncio.to_thread(self._tools.job_log.discard, job_id)
        except StorageError:
            await self._ends.store(JobEnd(job_id, error.reason))

    async def _find_repeat(self, order: JobOrder) -> RunningJob | JobRecord | None:
        """The job that the same order became before: at work, or done. None where there is none, or it came to nothing.

        Raises JobConflict for another order under the same name.
        """
        while True:
            record = await asyncio.to_thread(self._tools.job_log.find_repeat, _new_job(order, None))
            if record is None:
                return None
            at_work = self._running.get(record.job_id)
            if at_work is not None and order.hub_job is not None:
                retry_after_s = self._tools.engine.retry_after_s()
                raise JobInProgress("this job is at work already", retry_after_s)
            if at_work is not None:
                return at_work
            if record.state is JobState.DONE:
                return record
            # It has ended since it was looked up, or its end could not be stored: now it can, or this raises.
            await self._ends.store_again(record.job_id)

    # Work

    async def _carry_out(self, commission: Commission, job: RunningJob, engine_job: engine_jobs.EngineJob) -> None:
        order = commission.order
        try:
            with self._tools.tracing.job(job.job_id, way_in=order.way_in, pictures=order.request.count) as spans:
                answer, record = await self._compute(commission, job, engine_job, spans)
        except ProviderError as error:
            await self._end_without_picture(commission, job, error)
        except Exception:  # noqa: BLE001 - a fault of ours: the log gets the traceback, the client an answer
            _log.exception("job_broke", job_id=job.job_id)
            fault = ProviderError("a fault in this provider; its log names the job", reason="internal_error")
            await self._end_without_picture(commission, job, fault)
        else:
            self._tools.metrics.count_job(
                order.way_in,
                "ok",
                pictures=order.request.count,
                compute_microseconds=answer.compute_microseconds,
                duration_s=answer.duration_ms / 1000,
                bytes_out=answer.bytes_out,
            )
            log_job(record)
            job.log("finished", duration_ms=answer.duration_ms, gpu_seconds=answer.gpu_seconds, exit_code=0)
            job.finish(answer)
        finally:
            del self._running[job.job_id]

    async def _compute(
        self, commission: Commission, job: RunningJob, engine_job: engine_jobs.EngineJob, spans: JobSpans
    ) -> tuple[FinishedAnswer, JobRecord]:
        computed = await asyncio.wrap_future(engine_job.future)
        moments = (computed.submitted_at, computed.started_at, computed.finished_at)
        submitted_ns, started_ns, finished_ns = (round(moment * 1e9) for moment in moments)
        spans.record("queue", submitted_ns, started_ns)
        spans.record("batch", started_ns, finished_ns)
        # Pictures are stored before: without a receipt they are nobody's, and go with the clean-up.
        with spans.part("store"):
            encoding = commission.order.request.encoding
            names = await self._tools.pictures.keep([row.picture for row in computed.pictures], encoding.format)
        return await asyncio.to_thread(
            self._tools.completion.complete, commission, job.job_id, computed, artifacts=names, spans=spans
        )

    async def _end_without_picture(self, commission: Commission, job: RunningJob, error: ProviderError) -> None:
        is_cancelled = isinstance(error, GenerationCancelled)
        duration_ms = (time.monotonic_ns() - commission.received_ns) // 1_000_000
        end = JobEnd(
            job.job_id,
            error.reason,
            JobState.CANCELLED if is_cancelled else JobState.FAILED,
            duration_ms=duration_ms,
            prompt_hash=commission.prompt_hash,
        )
        await self._ends.store(end)
        self._tools.metrics.count_job(commission.order.way_in, error.reason)
        job.log("failed", reason=error.reason, duration_ms=duration_ms)
        job.fail(error)

    async def _mark_running(self, job_id: str) -> None:
        try:
            await asyncio.to_thread(self._tools.job_log.mark_running, job_id)
        except StorageError as error:
            _log.warning("job_start_not_stored", job_id=job_id, reason=error.reason)

    # Looking

    def running(self, caller: Caller) -> list[RunningJob]:
        """This caller's jobs that wait or are at work, oldest first."""
        return [job for job in self._running.values() if job.order.caller == caller]

    def running_job(self, caller: Caller, job_id: str) -> RunningJob | None:
        """One of them."""
        job = self._running.get(job_id)
        return job if job is not None and job.order.caller == caller else None

    async def record(self, caller: Caller, job_id: str) -> JobRecord:
        """What the log says of a job of this caller; raises JobNotFound."""
        record = await asyncio.to_thread(self._tools.job_log.get, job_id)
        if record is None or record.key_name != caller.name:
            raise JobNotFound("no job of this API key has this id", "job_id")
        return self._ends.seen(record)

    async def answer(self, caller: Caller, job_id: str) -> FinishedAnswer:
        """What a job of this caller was answered with; raises JobNotFound where it was not, or ArtifactGone."""
        record = await self.record(caller, job_id)
        if record.answer_json is None:
            raise JobNotFound("this job has no answer (any more)", "job_id")
        return await self._tools.pictures.restore(record)

    async def page(self, caller: Caller, *, before: int | None, limit: int) -> list[JobRecord]:
        """This caller's jobs, newest first."""
        records = await asyncio.to_thread(self._tools.job_log.page, caller.name, before=before, limit=limit)
        return [self._ends.seen(record) for record in records]

    async def artifact(self, job_id: str, index: int, caller: Caller | None = None) -> Artifact:
        """A picture of a job, the caller's where one is given; raises JobNotFound, ArtifactGone and StorageError."""
        record = await asyncio.to_thread(self._tools.job_log.get, job_id)
        if record is None or (caller is not None and record.key_name != caller.name):
            raise JobNotFound("no job of this API key has this id", "job_id")
        if index >= len(record.artifacts):
            raise JobNotFound("this job has no picture of this index", "index")
        name = record.artifacts[index]
        content = await self._tools.pictures.get(name)
        if content is None:
            raise ArtifactGone("this picture is no longer kept")
        return Artifact(content, OUTPUT_FORMATS[name.rpartition(".")[2]])

    # The end

    def refuse_new(self) -> None:
        """From here on only repeated orders are answered; what was accepted goes on."""
        self.is_draining = True

    def cancel_all(self) -> None:
        """Ends every job at its next step."""
        for job in self._running.values():
            job.cancel()

    @property
    def jobs_under_way(self) -> int:
        """Accepted and not ended."""
        return len(self._running)

    async def wait_until_idle(self) -> None:
        """Returns when every job has ended and its end is stored; new ones must have been refused before."""
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)  # For the tasks' own callbacks, which take them off the set.

    async def keep_storing_ends(self) -> None:
        """In the background, for ever: ends of jobs that a full disk has kept from the log."""
        await self._ends.keep_storing()

    async def close(self) -> None:
        """After the last job; an end that still cannot be stored is called interrupted by the next start."""
        await self._ends.store_waiting()
        self._tools.pictures.close()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task that is held until it has ended: asyncio itself would forget it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _leave(admission: "asyncio.Task[RunningJob]") -> None:
    if not admission.cancelled() and admission.exception() is None:
        admission.result().leave()


def _new_job(order: JobOrder, client_nonce: ClientNonce | None) -> NewJob:
    hub_job = order.hub_job
    return NewJob(
        key_name=order.caller.name,
        way_in=order.way_in,
        model=order.request.model,
        pictures=order.request.count,
        request_body=order.asked,
        hub_id="" if hub_job is None else hub_job.hub_id,
        hub_job_id=None if hub_job is None else hub_job.job_id,
        lease_id="" if order.lease is None else order.lease.lease_id,
        idempotency_key=order.idempotency_key,
        client_nonce=client_nonce,
    )
