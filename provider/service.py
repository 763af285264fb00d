"""The provider's HTTP application: who asks, how often, and which part answers."""

import asyncio
import math
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Final

import limits
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address

from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.types import Address
from chain.web.application import create_application, create_router
from chain.web.problems import Problem, not_found
from provider.api_keys import MAX_SECRET_CHARACTERS, ApiKeys, Caller
from provider.attestations import Attestations
from provider.chain_identity import ChainIdentity
from provider.engine import Engine, EngineState
from provider.jobs import Jobs
from provider.metrics import ProviderMetrics
from provider.outbox import MAX_PAGE, Outbox
from provider.outbox_rows import ReceiptState
from provider.receipts import Offer
from provider.schemas import (
    AttestationAnswer,
    AttestationRequest,
    GenerateAnswer,
    GenerateRequest,
    Health,
    QueueReport,
    ReceiptEntry,
    ReceiptPage,
    receipt_entry,
)
from provider.settings import ProviderSettings

_STATUS_NAMES: Final = {
    EngineState.LOADING: "loading",
    EngineState.READY: "ok",
    EngineState.FAILED: "failed",
    EngineState.STOPPING: "stopping",
}


@dataclass(frozen=True)
class ProviderParts:
    """What the application is made of; built in `provider.process`."""

    settings: ProviderSettings
    address: Address
    api_keys: ApiKeys
    engine: Engine
    outbox: Outbox
    chain: ChainIdentity
    jobs: Jobs
    attestations: Attestations
    metrics: ProviderMetrics

    def status(self) -> str:
        """`ok` when jobs are served, else what is missing."""
        if self.engine.state is EngineState.READY and self.chain.chain_id is None:
            return "waiting_for_node"
        return _STATUS_NAMES[self.engine.state]

    def fault(self) -> str | None:
        """A sentence on why no job is served, or None."""
        status = self.status()
        if status == "ok":
            return None
        if self.engine.failure is not None:
            return self.engine.failure.message
        return {
            "loading": "the model is loading",
            "waiting_for_node": "the chain node has not answered yet",
        }.get(status, "the provider is shutting down")


def current_offer(settings: ProviderSettings, chain: ChainIdentity) -> Offer:
    """What is sold on the chain that is served; raises Problem while that is unknown."""
    if chain.chain_id is None:
        detail = "the chain node has not answered yet, so no receipt can be signed"
        raise Problem(503, "waiting_for_node", detail, headers={"Retry-After": "2"})
    return Offer(settings.public_model_name, settings.unit_type, settings.price_per_unit, chain.chain_id)


def create_provider_application(parts: ProviderParts) -> FastAPI:
    """The application; its parts are started and stopped by `provider.process`."""
    application = create_application(
        title="AITBC provider",
        version=version("aitbc"),
        description="Serves images for AIT: every picture comes with a signed receipt that the chain can mint.",
        registry=parts.metrics.registry,
        max_body_bytes=parts.settings.body_max_bytes,
        health=parts.fault,
    )
    limiter = Limiter(key_func=_caller_name)
    application.state.limiter = limiter
    application.add_exception_handler(RateLimitExceeded, _rate_limited)
    guard = _Guard(parts, limiter)
    application.include_router(_picture_routes(parts, guard, limiter))
    application.include_router(_receipt_routes(parts, guard))
    return application


class _Guard:
    """Finds out who asks; wrong keys are counted per network address."""

    def __init__(self, parts: ProviderParts, limiter: Limiter) -> None:
        self._api_keys = parts.api_keys
        self._limiter = limiter
        self._failed_logins = limits.parse(parts.settings.failed_login_limit)

    async def by_body(self, request: Request) -> None:
        """The plan's way: `api_key` in the JSON body. Checked before the other fields are looked at."""
        body: Any = await request.json()
        secret = body.get("api_key") if isinstance(body, dict) else None
        if isinstance(secret, str):
            request.state.caller = self._find(secret, request, "api_key")
        # Whatever else stands there is for the schema to refuse.

    async def by_header(
        self, request: Request, authorization: Annotated[str | None, Header(max_length=1024)] = None
    ) -> Caller:
        """`Authorization: Bearer <api key>`."""
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            headers = {"WWW-Authenticate": "Bearer"}
            detail = "send the header Authorization: Bearer <api key>"
            raise Problem(401, "missing_api_key", detail, field="Authorization", headers=headers)
        return self._find(secret.strip(), request, "Authorization")

    def _find(self, secret: str, request: Request, field: str) -> Caller:
        caller = self._api_keys.find(secret) if len(secret) <= MAX_SECRET_CHARACTERS else None
        if caller is not None:
            return caller
        address = get_remote_address(request)
        if not self._limiter.limiter.hit(self._failed_logins, "failed-login", address):
            raise Problem(429, "rate_limited", "too many wrong API keys", field=field, headers={"Retry-After": "60"})
        raise Problem(401, "invalid_api_key", "this API key is not known", field=field)


def _caller_name(request: Request) -> str:
    """What pictures are counted by."""
    caller: Caller = request.state.caller
    return caller.name


async def _rate_limited(request: Request, _error: Exception) -> Response:
    limit, names = request.state.view_rate_limit
    limiter: Limiter = request.app.state.limiter
    reset_at_s, _ = limiter.limiter.get_window_stats(limit, *names)
    retry_after_s = max(1, math.ceil(reset_at_s - time.time()))
    detail = f"this API key may ask for {limit} pictures"
    return Problem(429, "rate_limited", detail, headers={"Retry-After": str(retry_after_s)}).response()


def _picture_routes(parts: ProviderParts, guard: _Guard, limiter: Limiter) -> APIRouter:
    router = create_router(prefix="/v1", tag="pictures")
    settings = parts.settings

    @router.post("/generate-image", dependencies=[Depends(guard.by_body)], summary="Make a picture")
    @limiter.limit(settings.rate_limit)
    async def generate_image(request: Request, body: GenerateRequest) -> GenerateAnswer:
        if len(body.prompt) > settings.prompt_max_characters:
            detail = f"prompt: at most {settings.prompt_max_characters} characters here"
            raise Problem(422, "too_large", detail, field="prompt")
        return await parts.jobs.serve(body, request.state.caller, request.is_disconnected)

    @router.get("/health", summary="What this provider is and whether it takes jobs")
    async def health() -> Health:
        engine, device = parts.engine, parts.engine.device
        return Health(
            status=parts.status(),
            gpu=None if device is None else device.name,
            model=settings.public_model_name,
            device=None if device is None else device.kind,
            vram_mib=None if device is None else device.vram_mib,
            provider=to_checksum_address(parts.address),
            chain_id=parts.chain.chain_id,
            unit_type=settings.unit_type,
            price_per_unit=str(settings.price_per_unit),
            queue=QueueReport(waiting=engine.queue_length, limit=settings.queue_limit, busy=engine.is_busy),
            version=version("aitbc"),
            detail=parts.fault(),
        )

    return router


def _receipt_routes(parts: ProviderParts, guard: _Guard) -> APIRouter:
    router = create_router(prefix="/v1", tag="receipts")
    by_header = Depends(guard.by_header)

    @router.post("/attestations", summary="Bring an attestation; the provider then mints")
    async def attest(body: AttestationRequest, _caller: Annotated[Caller, by_header]) -> AttestationAnswer:
        receipt_hash = parse_hash(body.receipt_hash, "receipt_hash")
        state = await parts.attestations.accept(receipt_hash, parse_hex(body.attestation, field="attestation"))
        return AttestationAnswer(receipt_hash=to_hex(receipt_hash), state=state)

    @router.get("/receipts", summary="Receipts of the jobs that this API key brought")
    async def receipts(
        caller: Annotated[Caller, by_header],
        cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> ReceiptPage:
        before = None if cursor is None else int(cursor)
        page = await asyncio.to_thread(parts.outbox.page, caller.name, before=before, limit=limit)
        next_cursor = str(page[-1].sequence) if len(page) == limit else None
        return ReceiptPage(items=[receipt_entry(stored) for stored in page], next_cursor=next_cursor)

    @router.get("/receipts/{receipt_hash}", summary="One receipt")
    async def receipt(receipt_hash: str, caller: Annotated[Caller, by_header]) -> ReceiptEntry:
        stored = await asyncio.to_thread(parts.outbox.get, parse_hash(receipt_hash, "receipt_hash"))
        if stored is None or stored.key_name != caller.name:
            raise not_found("no receipt of this API key's jobs has this hash", "receipt_hash")
        return receipt_entry(stored)

    return router


def watch_parts(parts: ProviderParts) -> None:
    """Metrics that are read when somebody asks."""
    parts.metrics.watch("queue_length", "Jobs that wait.", lambda: parts.engine.queue_length)
    parts.metrics.watch("busy", "1 while a job is at work.", lambda: int(parts.engine.is_busy))
    parts.metrics.watch("vram_used_mib", "Memory held on the GPU.", lambda: parts.engine.vram_used_mib)
    parts.metrics.watch("ready", "1 while jobs are served.", lambda: int(parts.status() == "ok"))
    parts.metrics.watch_states(lambda: {state.value: parts.outbox.counts()[state] for state in ReceiptState})
