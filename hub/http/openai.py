"""`/v1/images/generations` and `/v1/models` as OpenAI's SDK speaks them: the same jobs, waited for."""

import base64
import re
import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chain.web.problems import PROBLEM_RESPONSES, Problem
from chain.web.translated_route import TranslatedRoute
from hub.http.describing import view_of
from hub.http.following import wait_for
from hub.http.guard import at_once
from hub.http.parts import HubParts
from hub.http.refusals import check_takes_jobs, problem_of_outage, refusing
from hub.jobs.accepting import Client
from hub.orders.request import JobRequest

_WAIT_S: Final = 570.0
"""The SDK gives up after 600 s."""
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_SIZES: Final = r"^(auto|[0-9]{2,4}x[0-9]{2,4})$"
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {**response, "content": {**response["content"], "application/json": {"schema": {"type": "object"}}}}
    for status, response in PROBLEM_RESPONSES.items()
}
"""In the SDK's form, but for what is refused before these routes see it: too large a body."""
_RETRIED_STATUSES: Final = frozenset({408, 409, 429})
_LONGEST_RETRY_AFTER_S: Final = 60
"""What the SDK waits for; it asks again after less than a second where it should wait for longer."""


class OpenAIRoute(TranslatedRoute):
    """A route of this API."""

    @staticmethod
    def translate(problem: Problem) -> Response:
        """In the form that the SDK raises its exceptions from."""
        return _error(problem)

    @staticmethod
    def problem_of_own(error: Exception) -> Problem | None:
        """A database, or a store of pictures, that is away."""
        return problem_of_outage(error)


class ImagesRequest(BaseModel):
    """What the SDK sends; its names for things that this hub does not have are taken and mean nothing."""

    model_config = ConfigDict(extra="ignore", strict=True)

    prompt: Annotated[str, Field(min_length=1, max_length=1_000)]
    model: Annotated[str | None, Field(max_length=128)] = None
    n: Annotated[int | None, Field(ge=1, le=10)] = None
    size: Annotated[str | None, Field(pattern=_SIZES, description="Such as 512x512.")] = None
    response_format: Literal["url", "b64_json"] | None = None
    quality: Annotated[str | None, Field(max_length=32)] = None
    style: Annotated[str | None, Field(max_length=32)] = None
    user: Annotated[str | None, Field(max_length=256)] = None
    seed: Annotated[int | None, Field(ge=0, le=2**53 - 1)] = None
    steps: Annotated[int | None, Field(ge=5, le=100)] = None
    stream: Annotated[bool | None, Field(description="Only false: there is no stream here.")] = None

    def check_is_no_stream(self) -> None:
        """Raises Problem (400): the SDK would make a stream without a single picture of an answer that is none."""
        if self.stream:
            detail = (
                "this hub does not stream pictures on this route: ask without stream; or send the job to "
                "POST /v1/jobs and follow GET /v1/jobs/{id}/events"
            )
            raise Problem(400, "unsupported_parameter", detail, field="stream")

    def job(self) -> JobRequest:
        """The job that it means; raises Rejected, and Problem (422) where that has narrower bounds."""
        fields: dict[str, Any] = {"prompt": self.prompt, "n": self.n or 1, "model": self.model, "seed": self.seed}
        if self.steps is not None:
            fields["steps"] = self.steps
        if self.size not in (None, "auto"):
            width, _, height = (self.size or "").partition("x")
            fields["width"], fields["height"] = int(width), int(height)
        try:
            return JobRequest(**fields)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            name = str(next(iter(first["loc"]), "body"))
            field = "size" if name in ("width", "height") else name
            raise Problem(422, "out_of_range", f"{field}: {first['msg']}", field=field) from None


def openai_routes(parts: HubParts) -> APIRouter:
    """Under /v1."""
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute, responses=_ERRORS)
    Owner = Annotated[Client, Depends(at_once(parts.guard.client_of))]  # noqa: N806 - a type

    @router.get("/models", summary="What the providers that are connected can be asked for")
    async def list_models(client: Owner) -> dict[str, Any]:
        await parts.roster.refresh()
        names = sorted({name for worker in parts.roster.everyone(parts.workers.views()) for name in worker.offers})
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 0, "owned_by": parts.hub_id} for name in names],
        }

    @router.post("/images/generations", summary="Pictures, waited for", response_model=None)
    async def generate(
        body: ImagesRequest,
        request: Request,
        client: Owner,
        idempotency_key: Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,128}$")] = None,
    ) -> dict[str, Any]:
        body.check_is_no_stream()
        base_url = _base_url(request)
        job = body.job()
        check_takes_jobs(parts)
        async with refusing(parts.metrics):
            job_id = await parts.acceptance.accept(client, job, idempotency_key)
        await wait_for(parts, job_id, _WAIT_S, pictures=job.pictures)
        return await _pictures(parts, job_id, job.pictures, body.response_format or "url", base_url)

    return router


def _base_url(request: Request) -> str:
    """How the client reached this hub: a proxy on this machine says whether that was by TLS. Raises Problem (400)."""
    host, scheme = request.headers.get("host", ""), request.url.scheme
    if not _HOST.fullmatch(host):
        raise Problem(400, "malformed", "the Host header is no host", field="Host")
    if request.client is not None and request.client.host in ("127.0.0.1", "::1"):
        told = request.headers.get("x-forwarded-proto", scheme)
        scheme = told if told in ("http", "https") else scheme
    return f"{scheme}://{host}"


async def _pictures(parts: HubParts, job_id: str, asked: int, response_format: str, base_url: str) -> dict[str, Any]:
    """Raises Problem (502) where not all of them were made."""
    view = await parts.store.read(lambda r: view_of(r, job_id))
    assert view is not None
    if len(view.pictures) < asked:
        reason = view.job.failure_reason or "not_in_time"
        detail = view.job.failure_detail or "not all pictures were there in time"
        raise Problem(502, reason, f"{detail} (job {job_id})")
    if response_format == "url":
        data = [{"url": base_url + parts.links.picture(job_id, row.picture)} for row in view.pictures]
        return {"created": int(time.time()), "data": data}
    contents = await parts.artifacts.read_all([row.sha256 for row in view.pictures])
    return {
        "created": int(time.time()),
        "data": [{"b64_json": base64.b64encode(content or b"").decode()} for content in contents],
    }


def _error(problem: Problem) -> Response:
    """The SDK asks again by itself where that may help only, for each time would make the pictures anew."""
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    error = {"message": problem.detail, "type": kind, "param": problem.field, "code": problem.reason}
    headers = dict(problem.headers or {})
    is_soon = int(headers.get("Retry-After", _LONGEST_RETRY_AFTER_S + 1)) <= _LONGEST_RETRY_AFTER_S
    if (problem.status in _RETRIED_STATUSES or problem.status >= 500) and not is_soon:
        headers["x-should-retry"] = "false"
    return JSONResponse({"error": error}, status_code=problem.status, headers=headers)
