"""A job's whole way: accepted into the bounded queue, dispatched, attested, answered; and taken up again after a crash.

A job runs in a task of its own. Whoever waits for it may go away; the job ends all the same.
"""

import asyncio
import secrets
import time
from datetime import UTC, datetime
from typing import Final
from weakref import WeakValueDictionary

import structlog
from sqlalchemy.exc import IntegrityError

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import SignerUnavailable
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from hub.artifacts import ArtifactFolder
from hub.dispatch import Dispatcher, Served
from hub.errors import NoProvider
from hub.metrics import HubMetrics
from hub.request import MAX_SEED, SALT_BYTES, JobRequest
from hub.settings import HubSettings
from hub.store import Store, now_ms
from hub.tables import ClientNonceRow, JobRow, JobState, ReceiptRow
from wallet.attestation_log import AttestationLogError
from wallet.attester import AttesterSigner

_ATTESTATION_RETRY_S: Final = 5.0
_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 60.0
_FIRST_GUESS_JOB_S: Final = 5.0  # How long a job takes, for Retry-After, before one has been measured.

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.jobs")


class QueueFull(Exception):
    """As many jobs wait as may; `retry_after_s` says when a place is likely."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("as many jobs are waiting as this hub takes; try again later")
        self.retry_after_s = retry_after_s


class Conflict(Exception):
    """The request contradicts an earlier one: `field` says what was used before."""

    def __init__(self, reason: str, message: str, field: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class JobRunner:
    """Takes jobs, runs at most `max_concurrent_jobs` at a time, and knows every job that has not ended."""

    def __init__(
        self,
        settings: HubSettings,
        *,
        store: Store,
        dispatcher: Dispatcher,
        signer: AttesterSigner,
        artifacts: ArtifactFolder,
        metrics: HubMetrics,
        on_attested: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._store = store
        self._dispatcher = dispatcher
        self._signer = signer
        self._artifacts = artifacts
        self._metrics = metrics
        self._on_attested = on_attested
        self._places = asyncio.Semaphore(settings.max_concurrent_jobs)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._accepting = 0
        self._key_locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._average_job_s = _FIRST_GUESS_JOB_S
        self._drain_until_monotonic_s: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether no job is taken any more."""
        return self._drain_until_monotonic_s is not None

    async def submit(self, owner: str, request: JobRequest, idempotency_key: str | None) -> str:
        """Accepts a job durably and starts it; its id, or that of the same request sent before.

        Raises Rejected for a wrong client signature, NoProvider, QueueFull, or Conflict.
        """
        if idempotency_key is None:
            return await self._accept(owner, request, None)
        # One at a time for each key, so that whoever finds the row also finds the task.
        lock = self._key_locks.setdefault((owner, idempotency_key), asyncio.Lock())
        async with lock:
            known = await asyncio.to_thread(self._store.job_of_idempotency_key, owner, idempotency_key)
            if known is None:
                return await self._accept(owner, request, idempotency_key)
        if known.fingerprint != request.fingerprint():
            raise Conflict(
                "idempotency_key_reused", "this Idempotency-Key was sent with another request", "Idempotency-Key"
            )
        return known.job_id

    async def _accept(self, owner: str, request: JobRequest, idempotency_key: str | None) -> str:
        if self.is_stopping:
            raise NoProvider("shutting_down", "the hub is shutting down")
        self._dispatcher.check_servable(request)
        job = self._new_job(owner, request, idempotency_key)
        claim = request.claim
        nonce = (
            None if claim is None else ClientNonceRow(client=job.client, nonce=to_hex(claim.nonce), expiry=claim.expiry)
        )
        if len(self._tasks) + self._accepting >= self._settings.max_concurrent_jobs + self._settings.max_waiting_jobs:
            raise QueueFull(self._retry_after_s())
        # Counted while the row is written, so that many at once cannot all find the last place.
        self._accepting += 1
        try:
            await asyncio.to_thread(self._store.add_job, job, nonce)
        except IntegrityError:
            message = "this client's nonce was used before; sign the request again with a new one"
            raise Conflict("request_used", message, "client_request.nonce") from None
        finally:
            self._accepting -= 1
        _log.info("job_accepted", job_id=job.job_id, owner=owner, width=request.width, steps=request.steps)
        self._start(job.job_id)
        return job.job_id

    def _new_job(self, owner: str, request: JobRequest, idempotency_key: str | None) -> JobRow:
        claim = request.claim
        salt = secrets.token_bytes(SALT_BYTES) if claim is None else claim.salt
        to_sign = request.to_sign(hub_id=self._settings.hub_id, chain_id=self._signer.network.chain_id, salt=salt)
        request.check_client_signature(to_sign, now_s=int(time.time()))
        return JobRow(
            job_id=f"{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(8)}",
            owner=owner,
            client=request.client or owner,
            idempotency_key=idempotency_key,
            fingerprint=request.fingerprint(),
            prompt=request.prompt,
            request=request.model_dump(exclude={"prompt"}),
            seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
            request_salt=to_hex(salt),
            request_hash=to_hex(to_sign.hash),
            client_signature=None if claim is None else to_hex(claim.signature),
            state=JobState.QUEUED,
            created_at_ms=now_ms(),
            attempts=[],
        )

    async def resume(self) -> None:
        """Takes up what an earlier process left; call once, before serving."""
        for job in await asyncio.to_thread(self._store.unfinished_jobs):
            _log.info("job_resumed", job_id=job.job_id, state=job.state)
            self._start(job.job_id)

    async def wait(self, job_id: str) -> None:
        """Returns when the job has ended; at once where it is none of those under way. Cancelling leaves it running."""
        task = self._tasks.get(job_id)
        if task is not None:
            await asyncio.wait((task,))

    def stop(self) -> None:
        """Takes no more jobs; the grace for those under way begins. Returns at once; safe to call again."""
        if self._drain_until_monotonic_s is None:
            self._drain_until_monotonic_s = time.monotonic() + self._settings.shutdown_grace_s

    async def drain(self) -> None:
        """Stops, and waits for jobs under way until the grace is over; the next start takes up what is left then."""
        self.stop()
        assert self._drain_until_monotonic_s is not None
        tasks = list(self._tasks.values())
        if not tasks:
            return
        timeout_s = max(0.0, self._drain_until_monotonic_s - time.monotonic())
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    @property
    def counts(self) -> tuple[int, int]:
        """Jobs that have their turn, and jobs that wait for it."""
        running = min(len(self._tasks), self._settings.max_concurrent_jobs)
        return running, len(self._tasks) - running

    def _start(self, job_id: str) -> None:
        task = asyncio.create_task(self._run(job_id), name=f"job-{job_id}")
        self._tasks[job_id] = task
        task.add_done_callback(lambda _ended: self._forget(job_id))
        self._show_counts()

    def _forget(self, job_id: str) -> None:
        del self._tasks[job_id]
        self._show_counts()

    def _show_counts(self) -> None:
        running, waiting = self.counts
        self._metrics.running.set(running)
        self._metrics.waiting.set(waiting)

    async def _run(self, job_id: str) -> None:
        """To the job's end. What nobody foresaw (a full disk, say) only delays it: it goes on from where it stands."""
        pause_s = _FIRST_RETRY_S
        while True:
            try:
                async with self._places:
                    await self._go_on(job_id)
                return
            except Exception:  # noqa: BLE001 - whatever it is, the job must end some day; the log has the traceback
                _log.exception("job_interrupted", job_id=job_id, retry_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_RETRY_S)

    async def _go_on(self, job_id: str) -> None:
        started = time.monotonic()
        job = await self._stored(job_id)
        try:
            if job.state == JobState.QUEUED:
                await self._keep(job, await self._dispatch(job))
            await self._attest(job_id)
        except NoProvider as failure:
            await self._fail(job_id, failure)
        else:
            self._metrics.jobs.labels("done").inc()
        duration_s = time.monotonic() - started
        self._average_job_s += 0.2 * (duration_s - self._average_job_s)
        self._metrics.job_seconds.observe(duration_s)

    async def _stored(self, job_id: str) -> JobRow:
        job = await asyncio.to_thread(self._store.job, job_id)
        assert job is not None
        return job

    async def _dispatch(self, job: JobRow) -> Served:
        assert job.prompt is not None
        # An older version's row may have fields that there are no more; what they said stands in other columns.
        known = {name: value for name, value in job.request.items() if name in JobRequest.model_fields}
        request = JobRequest.model_validate({**known, "prompt": job.prompt})
        return await self._dispatcher.run(job, request)

    async def _keep(self, job: JobRow, served: Served) -> None:
        """The picture first, then the receipt: a receipt in the database always has its picture."""
        answer = served.answer
        artifact = await asyncio.to_thread(self._artifacts.keep, answer.png)
        receipt = ReceiptRow(
            job_id=job.job_id,
            receipt_hash=to_hex(answer.receipt.hash),
            provider=to_checksum_address(served.offer.address),
            endpoint=served.offer.endpoint,
            receipt_json=answer.receipt.canonical_bytes().decode(),
            provider_signature=to_hex(answer.provider_signature),
            prompt_salt=to_hex(answer.prompt_salt),
            artifact_sha256=artifact,
        )
        await asyncio.to_thread(self._store.keep_verified, served.attempt_sequence, receipt)

    async def _attest(self, job_id: str) -> None:
        """Signs, and ends the job. The same receipt gives the same signature, so doing it again is harmless."""
        job = await self._stored(job_id)
        assert job.receipt is not None
        receipt = Receipt.from_json(job.receipt.receipt_json)
        signature = await self._sign(job_id, receipt)
        await asyncio.to_thread(self._store.keep_attestation, job_id, to_hex(signature))
        self._metrics.attestations.inc()
        self._on_attested.set()
        _log.info(
            "job_done",
            job_id=job_id,
            provider=job.receipt.provider,
            receipt_hash=job.receipt.receipt_hash,
            amount=str(receipt.amount),
        )

    async def _sign(self, job_id: str, receipt: Receipt) -> bytes:
        while True:
            try:
                return await asyncio.to_thread(self._signer.sign_mint, receipt)
            except AttestationLogError as error:
                # Nothing may be signed without the log; the job waits until the operator has made room.
                _log.error("attestation_log_unusable", job_id=job_id, detail=str(error))
                await asyncio.sleep(_ATTESTATION_RETRY_S)
            except SignerUnavailable as error:
                # The entry in the log stays: when the signer is back, it signs the same.
                _log.error("signer_away", job_id=job_id, detail=str(error))
                await asyncio.sleep(_ATTESTATION_RETRY_S)
            except Rejected as error:
                raise NoProvider("attestation_refused", error.message, status=500) from None

    async def _fail(self, job_id: str, failure: NoProvider) -> None:
        self._metrics.jobs.labels(failure.reason).inc()
        _log.warning("job_failed", job_id=job_id, reason=failure.reason, detail=failure.message)
        await asyncio.to_thread(self._store.fail_job, job_id, reason=failure.reason, detail=failure.message)

    def _retry_after_s(self) -> int:
        """When a place should be free: one job's time over the places, at least a second."""
        return max(1, round(self._average_job_s / self._settings.max_concurrent_jobs))
