"""Jobs: how far they are, what they left, and their end before time."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.web.application import create_router
from chain.web.problems import Problem, not_found
from provider.api_keys import Caller
from provider.generation import OUTPUT_FORMATS
from provider.http.guard import Guard
from provider.http.parts import ProviderParts
from provider.http.plan import plan_answer
from provider.http.problems import problem_responses
from provider.http.schemas import GenerateAnswer, JobEntry, JobPage, Progress
from provider.jobs.answers import MICROSECONDS, FinishedAnswer
from provider.storage.outbox import MAX_PAGE
from provider.storage.rows import JobRecord

_MAX_INDEX: Final = 2**31 - 1
_ENDED_AGO: Final = 409

JobId = Annotated[str, Path(pattern=r"^[0-9A-Za-z._:\-]{1,64}$", description="As `job_id` in answers.")]
Index = Annotated[int, Path(ge=0, le=_MAX_INDEX)]
_PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture.",
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in OUTPUT_FORMATS.values()},
    }
}


def create_job_router(parts: ProviderParts, guard: Guard) -> APIRouter:
    """The routes under /v1/jobs."""
    router = create_router(prefix="/v1/jobs", tag="jobs")
    _add_looking(router, parts, guard)
    _add_ending(router, parts, guard)
    _add_results(router, parts, guard)
    return router


def _add_looking(router: APIRouter, parts: ProviderParts, guard: Guard) -> None:
    by_bearer = Depends(guard.by_bearer)

    @router.get("", summary="Jobs of this API key, newest first", responses=problem_responses(401, 422, 429))
    async def jobs(
        request: Request,
        caller: Annotated[Caller, by_bearer],
        cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> JobPage:
        before = None if cursor is None else int(cursor)
        page = await parts.jobs.page(caller, before=before, limit=limit)
        next_cursor = str(page[-1].sequence) if len(page) == limit else None
        return JobPage(items=[_entry(parts, request, caller, record) for record in page], next_cursor=next_cursor)

    @router.get("/{job_id}", summary="One job", responses=problem_responses(401, 404, 422, 429))
    async def job(request: Request, job_id: JobId, caller: Annotated[Caller, by_bearer]) -> JobEntry:
        return _entry(parts, request, caller, await parts.jobs.record(caller, job_id))


def _add_ending(router: APIRouter, parts: ProviderParts, guard: Guard) -> None:
    by_bearer = Depends(guard.by_bearer)
    responses = problem_responses(401, 404, 409, 422, 429)

    async def end(request: Request, job_id: str, caller: Caller) -> JobEntry:
        running = parts.jobs.running_job(caller, job_id)
        if running is None:
            record = await parts.jobs.record(caller, job_id)
            raise Problem(_ENDED_AGO, "job_not_under_way", f"this job is {record.state} already", field="job_id")
        running.cancel()
        await running.ended()
        return _entry(parts, request, caller, await parts.jobs.record(caller, job_id))

    @router.post("/{job_id}/cancel", summary="End a queued or running job", responses=responses)
    async def cancel(request: Request, job_id: JobId, caller: Annotated[Caller, by_bearer]) -> JobEntry:
        return await end(request, job_id, caller)

    @router.delete("/{job_id}", summary="End a queued or running job", responses=responses)
    async def delete(request: Request, job_id: JobId, caller: Annotated[Caller, by_bearer]) -> JobEntry:
        return await end(request, job_id, caller)


def _add_results(router: APIRouter, parts: ProviderParts, guard: Guard) -> None:
    by_bearer = Depends(guard.by_bearer)

    @router.get(
        "/{job_id}/answer",
        summary="What a finished job was answered with",
        response_model=GenerateAnswer,
        response_model_exclude_none=True,
        responses=problem_responses(401, 404, 410, 422, 429, 503),
    )
    async def answer(job_id: JobId, caller: Annotated[Caller, by_bearer]) -> GenerateAnswer:
        return plan_answer(await parts.jobs.answer(caller, job_id))

    @router.get(
        "/{job_id}/artifacts/{index}",
        summary="A picture, by API key or by a signed link",
        response_class=Response,
        responses=_PICTURES | problem_responses(401, 403, 404, 410, 422, 429, 503),
    )
    async def artifact(
        job_id: JobId,
        index: Index,
        caller: Annotated[Caller | None, Depends(guard.by_bearer_if_any)],
        expires: Annotated[int | None, Query(ge=0, le=2**40)] = None,
        signature: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")] = None,
    ) -> Response:
        if expires is not None and signature is not None:
            parts.links.check(job_id, index, expires, signature)
            caller = None
        elif caller is None:
            headers = {"WWW-Authenticate": "Bearer"}
            detail = "send Authorization: Bearer <api key>, or use a signed link"
            raise Problem(401, "missing_api_key", detail, field="Authorization", headers=headers)
        found = await parts.jobs.artifact(job_id, index, caller)
        # Whoever has the link may keep the picture; what lies between must not.
        headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    @router.get(
        "/{job_id}/steps/{step}",
        summary="The latents after a step, with the proof that the receipt's trajectory_root holds them",
        responses=problem_responses(401, 404, 410, 422, 429),
    )
    async def opening(
        job_id: JobId,
        step: Index,
        caller: Annotated[Caller, by_bearer],
        picture: Annotated[int, Query(ge=0, le=_MAX_INDEX)] = 0,
    ) -> dict[str, Any]:
        record = await parts.jobs.record(caller, job_id)
        if record.answer_json is None:
            raise not_found("this job has no receipt (any more)", "job_id")
        root = FinishedAnswer.from_stored(record.answer_json).receipt.get("trajectory_root")
        if root is None:
            raise not_found("this job's receipt commits to no trajectory", "job_id")
        found = await asyncio.to_thread(parts.trajectories.open, parse_hash(str(root)), step, picture)
        return dict(found.to_object())


def _entry(parts: ProviderParts, request: Request, caller: Caller, record: JobRecord) -> JobEntry:
    running = parts.jobs.running_job(caller, record.job_id)
    seen = None if running is None else running.progress
    ended = record.ended_ms is not None
    return JobEntry(
        job_id=record.job_id,
        state=record.state if seen is None else seen.state,
        way_in=record.way_in,
        model=record.model,
        count=record.pictures,
        reason=record.reason,
        created_at_ms=record.created_ms,
        started_at_ms=record.started_ms,
        ended_at_ms=record.ended_ms,
        duration_ms=record.duration_ms if ended else None,
        gpu_seconds=record.compute_microseconds / MICROSECONDS if ended else None,
        receipt_hash=None if record.receipt_hash is None else to_hex(record.receipt_hash),
        progress=None
        if seen is None
        else Progress(
            pictures_ahead=seen.pictures_ahead,
            step=seen.step,
            steps=seen.steps,
            fraction=seen.fraction,
            remaining_s=seen.remaining_s,
        ),
        artifacts=[parts.link(request, record.job_id, index) for index in range(len(record.artifacts))],
    )
