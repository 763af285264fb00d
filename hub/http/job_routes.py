"""Jobs: send, list, look, cancel, and what one would cost."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query, Response

from chain.web.application import create_router
from chain.web.problems import not_found
from hub.http.answers import EstimateAnswer, JobAnswer, JobPage
from hub.http.describing import describe, describe_offer, summarise, view_of
from hub.http.following import wait_for
from hub.http.guard import Reader, at_once
from hub.http.parts import HubParts
from hub.http.refusals import check_takes_jobs, refusing
from hub.jobs.accepting import Client
from hub.orders.request import JobRequest
from hub.store import jobs, locks
from hub.store.jobs import Job
from hub.store.store import now_ms

MAX_PAGE: Final = 200
MOST_INLINE: Final = 16
"""Pictures in one answer; the others have their links."""
_MAX_CURSOR: Final = 2**63 - 1
_MAX_ID_CHARACTERS: Final = 64

Cursor = Annotated[str | None, Query(max_length=20, pattern=r"^[0-9]+$", description="From the previous page.")]
Form = Annotated[Literal["links", "inline"], Query(description="Pictures by links alone, or in the answer as well.")]
IdempotencyKey = Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,128}$")]


def job_routes(parts: HubParts) -> APIRouter:
    """Under /v1; all of it needs an API key, or a signed request and then its job's token."""
    router = create_router(prefix="/v1", tag="jobs")
    Owner = Annotated[Client, Depends(at_once(parts.guard.client_of))]  # noqa: N806 - types
    Sender = Annotated[Client | None, Depends(at_once(parts.guard.sender_of))]  # noqa: N806
    Opener = Annotated[Reader, Depends(at_once(parts.guard.reader_of))]  # noqa: N806

    @router.post(
        "/jobs",
        summary="Send a job",
        status_code=202,
        responses={200: {"model": JobAnswer | EstimateAnswer, "description": "It has ended, or was a dry run."}},
    )
    async def create_job(
        request: JobRequest,
        sender: Sender,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        images: Form = "links",
    ) -> JobAnswer | EstimateAnswer:
        check_takes_jobs(parts)
        client = sender or parts.guard.signer_of(request, idempotency_key)
        async with refusing(parts.metrics):
            if request.dry_run:
                response.status_code = 200
                return describe_offer(await parts.acceptance.offer(client, request))
            job_id = await parts.acceptance.accept(client, request, idempotency_key)
        parts.metrics.accepted.inc()
        parts.metrics.pictures.inc(request.pictures)
        if request.wait_s:
            await wait_for(parts, job_id, request.wait_s)
        answer = await answer_of(parts, job_id, images)
        if sender is None:
            answer.job_token = parts.links.token(job_id)
        response.headers["Location"] = f"/v1/jobs/{job_id}"
        if answer.ended_at_ms is not None:
            response.status_code = 200
        return answer

    @router.post("/estimate", summary="What a job would cost, and when it would be done")
    async def estimate(request: JobRequest, sender: Sender) -> EstimateAnswer:
        client = sender or parts.guard.signer_of(request, None)
        async with refusing(parts.metrics):
            return describe_offer(await parts.acceptance.offer(client, request))

    @router.get("/jobs", summary="Your jobs, newest first")
    async def list_jobs(
        client: Owner, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50
    ) -> JobPage:
        before = None if cursor is None else min(int(cursor), _MAX_CURSOR)
        found = await parts.store.read(lambda r: jobs.of_owner(r, client.owner, before=before, limit=limit + 1))
        next_cursor = str(found[limit - 1].sequence) if len(found) > limit else None
        return JobPage(items=[summarise(job) for job in found[:limit]], next_cursor=next_cursor)

    @router.get("/jobs/{job_id}", summary="A job, its pictures, receipt, attestation and mint")
    async def get_job(
        job_id: str,
        reader: Opener,
        images: Form = "links",
        wait_s: Annotated[float, Query(ge=0, le=600, allow_inf_nan=False, description="For its end.")] = 0,
    ) -> JobAnswer:
        await own_job(parts, job_id, reader)
        if wait_s:
            await wait_for(parts, job_id, wait_s)
        return await answer_of(parts, job_id, images)

    @router.post("/jobs/{job_id}/cancel", summary="Take a job back; what was delivered of it stays")
    async def cancel_job(job_id: str, reader: Opener) -> JobAnswer:
        return await _cancel(parts, job_id, reader)

    @router.delete("/jobs/{job_id}", summary="The same")
    async def delete_job(job_id: str, reader: Opener) -> JobAnswer:
        return await _cancel(parts, job_id, reader)

    return router


async def _cancel(parts: HubParts, job_id: str, reader: Reader) -> JobAnswer:
    await own_job(parts, job_id, reader)
    now = now_ms()
    await parts.store.write(lambda t: jobs.request_cancel(t, job_id, now), first=locks.job(job_id))
    parts.on_cancelled(job_id)
    return await answer_of(parts, job_id, "links")


async def own_job(parts: HubParts, job_id: str, reader: Reader) -> Job:
    """Raises Problem (404) for what is not there, or another client's."""
    is_id = len(job_id) <= _MAX_ID_CHARACTERS and job_id.isascii() and job_id.isalnum()
    job = await parts.store.read(lambda r: jobs.get(r, job_id)) if is_id else None
    if job is None or not reader.may_open(job):
        raise not_found("no job of yours has this id", field="job_id")
    return job


async def answer_of(parts: HubParts, job_id: str, images: str) -> JobAnswer:
    """The job as it is now."""
    view = await parts.store.read(lambda r: view_of(r, job_id))
    assert view is not None
    inline: dict[str, Any] | None = None
    if images == "inline":
        digests = [row.sha256 for row in view.pictures[:MOST_INLINE]]
        contents = await parts.artifacts.read_all(digests)
        inline = {name: content for name, content in zip(digests, contents, strict=True) if content is not None}
    return describe(view, parts.links, inline)
