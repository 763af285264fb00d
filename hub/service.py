"""The hub's HTTP face: jobs for clients with an API key; providers, health and metrics for everybody."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Response
from prometheus_client import CollectorRegistry

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.web.application import create_application, create_router
from chain.web.problems import Problem, not_found
from hub.answers import (
    FinishedJobAnswer,
    HubAnswer,
    JobAnswer,
    JobPage,
    ProviderList,
    describe_finished_job,
    describe_job,
    describe_provider,
)
from hub.errors import NoProvider
from hub.hub import Hub
from hub.jobs import Conflict, QueueFull
from hub.request import JobRequest
from hub.tables import JobRow, JobState

MAX_BODY_BYTES: Final = 64 * 1024
MAX_PAGE: Final = 200
_MAX_CURSOR: Final = 2**63 - 1
_RETRY: Final = {"Retry-After": "5"}

_DESCRIPTION: Final = """Send a job; the hub finds a provider, checks all that comes back, and attests the receipt.

Jobs need `Authorization: Bearer <API key>`."""

Cursor = Annotated[str | None, Query(max_length=20, pattern=r"^[0-9]+$", description="From the previous page.")]


def create_service(hub: Hub, *, version: str, registry: CollectorRegistry) -> FastAPI:
    """The application around a hub that is open; running and closing it is `run.py`'s part."""
    application = create_application(
        title="AITBC hub",
        version=version,
        description=_DESCRIPTION,
        registry=registry,
        max_body_bytes=MAX_BODY_BYTES,
        health=hub.fault,
        lifespan=hub.lifespan,
    )
    application.include_router(_job_routes(hub))
    application.include_router(_public_routes(hub, version))
    return application


def _job_routes(hub: Hub) -> APIRouter:
    router = create_router(prefix="/v1/jobs", tag="jobs")

    def owner_of(authorization: Annotated[str | None, Header()] = None) -> str:
        scheme, _, key = (authorization or "").partition(" ")
        owner = hub.clients.name_of(key.strip()) if scheme.lower() == "bearer" and key else None
        if owner is None:
            raise Problem(
                401,
                "invalid_api_key",
                "send Authorization: Bearer and an API key of this hub",
                field="Authorization",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return owner

    Owner = Annotated[str, Depends(owner_of)]  # noqa: N806 - a type

    async def own_job(job_id: str, owner: str) -> JobRow:
        job = await asyncio.to_thread(hub.store.job, job_id) if len(job_id) <= 64 else None
        if job is None or job.owner != owner:
            raise not_found("no job of yours has this id", field="job_id")
        return job

    @router.post("", summary="Send a job and wait for its picture")
    async def create_job(
        request: JobRequest,
        owner: Owner,
        idempotency_key: Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,128}$")] = None,
    ) -> FinishedJobAnswer:
        try:
            job_id = await hub.jobs.submit(owner, request, idempotency_key)
        except NoProvider as failure:
            headers = _RETRY if failure.status == 503 else None
            raise Problem(
                failure.status, failure.reason, failure.message, field=failure.field, headers=headers
            ) from None
        except QueueFull as full:
            raise Problem(503, "queue_full", str(full), headers={"Retry-After": str(full.retry_after_s)}) from None
        except Conflict as conflict:
            raise Problem(409, conflict.reason, str(conflict), field=conflict.field) from None
        await hub.jobs.wait(job_id)
        return await _finished(hub, await own_job(job_id, owner))

    @router.get("", summary="Your jobs, newest first")
    async def list_jobs(
        owner: Owner, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50
    ) -> JobPage:
        before = None if cursor is None else min(int(cursor), _MAX_CURSOR)
        jobs = await asyncio.to_thread(hub.store.jobs_of_owner, owner, before=before, limit=limit + 1)
        next_cursor = str(jobs[limit - 1].sequence) if len(jobs) > limit else None
        return JobPage(items=[describe_job(job) for job in jobs[:limit]], next_cursor=next_cursor)

    @router.get("/{job_id}", summary="A job, its receipt, attestation and mint")
    async def get_job(job_id: str, owner: Owner) -> JobAnswer:
        job = await own_job(job_id, owner)
        if job.receipt is not None and job.receipt.next_mint_check_ms is not None:
            await hub.mint_watch.look(job.receipt)
            job = await own_job(job_id, owner)
        return describe_job(job)

    @router.get(
        "/{job_id}/image",
        summary="A job's picture",
        response_class=Response,
        responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def get_image(job_id: str, owner: Owner) -> Response:
        return Response(await _picture(hub, await own_job(job_id, owner)), media_type="image/png")

    return router


async def _finished(hub: Hub, job: JobRow) -> FinishedJobAnswer:
    """The answer to whoever waited for a job; raises Problem where it has no picture."""
    if job.state == JobState.FAILED:
        raise Problem(502, job.failure_reason or "failed", f"{job.failure_detail} (job {job.job_id})")
    if job.state != JobState.DONE:
        detail = f"the hub stops before job {job.job_id} has ended; it goes on when the hub is back"
        raise Problem(503, "interrupted", detail, headers=_RETRY)
    return describe_finished_job(job, await _picture(hub, job))


async def _picture(hub: Hub, job: JobRow) -> bytes:
    if job.receipt is None or job.receipt.attestation is None:
        raise not_found("this job has no picture", field="job_id")
    png = await asyncio.to_thread(hub.artifacts.read, job.receipt.artifact_sha256)
    if png is None:
        raise Problem(410, "picture_gone", "the picture is not in this hub's folder any more", field="job_id")
    return png


def _public_routes(hub: Hub, version: str) -> APIRouter:
    router = create_router(prefix="/v1", tag="hub")

    @router.get("/hub", summary="Who this hub is")
    async def get_hub() -> HubAnswer:
        snapshot = hub.chain.snapshot
        running, waiting = hub.jobs.counts
        return HubAnswer(
            hub_id=hub.settings.hub_id,
            chain_id=hub.signer.network.chain_id,
            genesis_hash=to_hex(hub.signer.network.genesis_hash),
            attester=to_checksum_address(hub.signer.address),
            version=version,
            providers=0 if snapshot is None else len(snapshot.offers),
            jobs_running=running,
            jobs_waiting=waiting,
        )

    @router.get("/providers", summary="The providers that this hub may ask")
    async def get_providers() -> ProviderList:
        snapshot = hub.chain.snapshot
        if snapshot is None:
            raise Problem(503, "chain_unreachable", "the hub's node does not answer", headers={"Retry-After": "1"})
        offers = sorted(snapshot.offers, key=lambda offer: offer.address)
        return ProviderList(items=[describe_provider(offer, hub.dispatcher.bench) for offer in offers])

    return router
