"""One job from request to answer: picture, receipt, outbox, and only then the reply.

A receipt is durable before anybody hears of it. A hub that repeats a job (its connection broke, say) gets the same
answer and the same receipt; no second picture is made or charged.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from chain.primitives.hexadecimal import parse_hash, parse_hex, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.rejection import Rejected
from chain.web.problems import Problem
from provider.api_keys import Caller
from provider.artifacts import Artifacts
from provider.engine import Engine, FinishedImage, Job
from provider.errors import EngineNotReady, GenerationFailed, QueueFull
from provider.generation import MAX_CHOSEN_SEED, ImageRequest
from provider.metrics import ProviderMetrics
from provider.outbox import DuplicateJobError, Outbox
from provider.outbox_rows import NewReceipt, StoredReceipt
from provider.receipts import (
    SALT_BYTES,
    JobOrigin,
    Offer,
    SignedReceipt,
    check_origin,
    direct_origin,
    issue_receipt,
)
from provider.schemas import GenerateAnswer, GenerateRequest, HubJob

_DISCONNECT_POLL_S: Final = 0.5
_STATUS_OF_FAILURE: Final = {
    "generation_timed_out": 504,
    "generation_cancelled": 503,
    "out_of_memory": 507,
    "shutting_down": 503,
}

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.jobs")

IsDisconnected = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class JobTools:
    """What serving a job needs; `offer` raises Problem while the chain is not known yet."""

    key: PrivateKey
    engine: Engine
    outbox: Outbox
    artifacts: Artifacts
    metrics: ProviderMetrics
    offer: Callable[[], Offer]


class Jobs:
    """Serves jobs, each at most once."""

    def __init__(self, tools: JobTools) -> None:
        self._tools = tools
        self._at_work: set[tuple[str, str]] = set()

    async def serve(self, body: GenerateRequest, caller: Caller, is_disconnected: IsDisconnected) -> GenerateAnswer:
        """The answer to an authenticated request; raises Problem."""
        started_ns = time.monotonic_ns()
        offer = self._tools.offer()
        if body.job is None:
            job_id = await asyncio.to_thread(self._tools.outbox.next_job_id, time.time())
            return await self._make(_Work(body, caller, offer, job_id, started_ns), is_disconnected)
        if not caller.is_hub:
            raise Problem(403, "not_a_hub", "only the API key of a hub may pass on jobs of others", field="job")
        work = _Work(body, caller, offer, body.job.job_id, started_ns)
        self._check(work)
        async with self._only_once(body.job):
            stored = await asyncio.to_thread(self._tools.outbox.find_job, body.job.hub_id, body.job.job_id)
            if stored is not None:
                return await self._repeat(stored, body, caller)
            return await self._make(work, is_disconnected)

    def _check(self, work: "_Work") -> None:
        """Refuses what a hub says where no receipt could hold it, above all a wrong signature of its client."""
        try:
            check_origin(self._tools.key.address, work.offer, work.origin(prompt_hash=""))
        except Rejected as rejected:
            field = f"job.{rejected.values.get('field', 'client_signature')}"
            raise Problem(422, rejected.reason.value, rejected.message, field=field) from None

    async def _make(self, work: "_Work", is_disconnected: IsDisconnected) -> GenerateAnswer:
        """Makes the picture, signs and stores its receipt."""
        request = work.request
        try:
            job = self._tools.engine.submit(request)
        except QueueFull as error:
            self._tools.metrics.count_job(error.reason)
            raise _unavailable(error.reason, error.message, error.retry_after_s) from None
        except EngineNotReady as error:
            self._tools.metrics.count_job(error.reason)
            raise _unavailable(error.reason, error.message, 5) from None
        try:
            finished = await _await_picture(job, is_disconnected)
        except GenerationFailed as error:
            self._tools.metrics.count_job(error.reason)
            _log.warning("job_failed", job_id=work.job_id, caller=work.caller.name, reason=error.reason)
            status = _STATUS_OF_FAILURE.get(error.reason, 500)
            headers = {"Retry-After": "5"} if status == 503 else None
            raise Problem(status, error.reason, error.message, headers=headers) from None
        return await asyncio.to_thread(self._finish, work, finished)

    def _finish(self, work: "_Work", finished: FinishedImage) -> GenerateAnswer:
        """Signs the receipt, stores it, and builds the answer. Blocking."""
        salt = secrets.token_bytes(SALT_BYTES)
        prompt_hash = salted_prompt_hash(salt, work.request.prompt)
        signed = issue_receipt(self._tools.key, work.offer, work.origin(prompt_hash), finished, prompt_hash=prompt_hash)
        self._tools.artifacts.put(finished.image.png)
        answer = self._answer(work, finished, signed, salt)
        try:
            self._tools.outbox.add(
                NewReceipt(
                    receipt_hash=signed.receipt_hash,
                    hub_id=signed.receipt.hub_id,
                    job_id=signed.receipt.job_id,
                    key_name=work.caller.name,
                    request_fingerprint=_fingerprint(work.body, salt),
                    receipt_json=signed.receipt.canonical_bytes(),
                    provider_signature=signed.signature,
                    prompt_salt=salt,
                    answer_json=answer.model_dump_json(exclude={"image_base64"}),
                )
            )
        except DuplicateJobError as error:
            raise Problem(409, "duplicate_job", str(error), field="job") from None
        self._tools.metrics.count_job("ok", answer.gpu_seconds, answer.duration_ms / 1000)
        _log.info(
            "job_served",
            job_id=answer.job_id,
            caller=work.caller.name,
            duration_ms=answer.duration_ms,
            gpu_seconds=answer.gpu_seconds,
            bytes_out=len(finished.image.png),
            prompt_hash=prompt_hash,
            receipt_hash=answer.receipt_hash,
            amount_atoms=str(signed.receipt.amount),
        )
        return answer

    def _answer(self, work: "_Work", finished: FinishedImage, signed: SignedReceipt, salt: bytes) -> GenerateAnswer:
        device = self._tools.engine.device
        assert device is not None
        return GenerateAnswer(
            job_id=work.job_id,
            image_base64=_data_url(finished.image.png),
            duration_ms=(time.monotonic_ns() - work.started_ns) // 1_000_000,
            gpu_seconds=finished.image.compute_microseconds / 1_000_000,
            seed=work.request.seed,
            device=device.kind,
            gpu=device.name,
            model=work.offer.model,
            receipt=signed.receipt.to_object(),
            receipt_hash=to_hex(signed.receipt_hash),
            provider_signature=to_hex(signed.signature),
            prompt_salt=to_hex(salt),
        )

    async def _repeat(self, stored: StoredReceipt, body: GenerateRequest, caller: Caller) -> GenerateAnswer:
        """The answer that was given before, if this is the same request by the same hub."""
        fingerprint = _fingerprint(body, stored.prompt_salt)
        if stored.key_name != caller.name or stored.request_fingerprint != fingerprint:
            raise Problem(409, "duplicate_job", "this hub_id and job_id stand for another request", field="job")
        answer: dict[str, Any] = json.loads(stored.answer_json)
        png = await asyncio.to_thread(self._tools.artifacts.get, str(answer["receipt"]["artifact_sha256"]))
        if png is None:
            raise Problem(410, "artifact_gone", "this job was served; its picture is no longer kept", field="job")
        self._tools.metrics.count_job("repeated")
        return GenerateAnswer.model_validate({**answer, "image_base64": _data_url(png)})

    @contextlib.asynccontextmanager
    async def _only_once(self, job: HubJob) -> AsyncIterator[None]:
        """Refuses a job that is at work already."""
        name = (job.hub_id, job.job_id)
        if name in self._at_work:
            headers = {"Retry-After": str(self._tools.engine.retry_after_s())}
            raise Problem(409, "job_in_progress", "this job is at work already", field="job", headers=headers)
        self._at_work.add(name)
        try:
            yield
        finally:
            self._at_work.discard(name)


class _Work:
    """A request on its way, with the seed that is used."""

    def __init__(self, body: GenerateRequest, caller: Caller, offer: Offer, job_id: str, started_ns: int) -> None:
        self.body = body
        self.caller = caller
        self.offer = offer
        self.job_id = job_id
        self.started_ns = started_ns
        self.request = ImageRequest(
            prompt=body.prompt,
            steps=body.steps,
            guidance=body.guidance,
            width=body.width,
            height=body.height,
            seed=secrets.randbelow(MAX_CHOSEN_SEED + 1) if body.seed is None else body.seed,
        )

    def origin(self, prompt_hash: str) -> JobOrigin:
        """Whose job it is: the hub's word, or the API key's name."""
        job = self.body.job
        if job is None:
            return direct_origin(self.job_id, self.caller.name, self.request, prompt_hash, self.offer.model)
        signature = job.client_signature
        return JobOrigin(
            hub_id=job.hub_id,
            job_id=job.job_id,
            client=job.client,
            request_hash=parse_hash(job.request_hash, "job.request_hash"),
            client_signature=None if signature is None else parse_hex(signature, length=65),
            nonce=job.nonce,
        )


async def _await_picture(job: Job, is_disconnected: IsDisconnected) -> FinishedImage:
    """Waits for the worker; tells it to stop when the client has gone or the server gives up."""
    future = asyncio.wrap_future(job.future)
    try:
        while True:
            done, _ = await asyncio.wait([future], timeout=_DISCONNECT_POLL_S)
            if done:
                return future.result()
            if await is_disconnected():
                job.cancel()
    finally:
        job.cancel()


def _unavailable(reason: str, detail: str, retry_after_s: int) -> Problem:
    return Problem(503, reason, detail, headers={"Retry-After": str(retry_after_s)})


def _fingerprint(body: GenerateRequest, salt: bytes) -> bytes:
    """Recognises a repeated request without keeping its prompt."""
    return hashlib.sha256(salt + body.model_dump_json(exclude={"api_key"}).encode()).digest()


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
