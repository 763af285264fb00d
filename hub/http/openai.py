"""`/v1/images/generations` and `/v1/models` as OpenAI's SDK speaks them: the same jobs, waited for."""

import base64
import re
import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chain.primitives.rejection import Rejected
from chain.web.application import create_router
from chain.web.problems import PROBLEM_RESPONSES, Problem, problem_of_rejection
from hub.http.describing import view_of
from hub.http.following import wait_for
from hub.http.guard import at_once
from hub.http.parts import HubParts
from hub.http.refusals import check_takes_jobs, refusing
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
"""In the SDK's form, but for a missing key and a body of another shape, which are refused before."""


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

    def job(self) -> JobRequest:
        """The job that it means; raises Rejected and ValidationError."""
        fields: dict[str, Any] = {"prompt": self.prompt, "n": self.n or 1, "model": self.model, "seed": self.seed}
        if self.steps is not None:
            fields["steps"] = self.steps
        if self.size not in (None, "auto"):
            width, _, height = (self.size or "").partition("x")
            fields["width"], fields["height"] = int(width), int(height)
        return JobRequest(**fields)


def openai_routes(parts: HubParts) -> APIRouter:
    """Under /v1."""
    router = create_router(prefix="/v1", tag="openai")
    Owner = Annotated[Client, Depends(at_once(parts.guard.client_of))]  # noqa: N806 - a type

    @router.get("/models", summary="What the providers that are connected can be asked for")
    async def list_models(client: Owner) -> dict[str, Any]:
        await parts.roster.refresh()
        names = sorted({name for worker in parts.roster.everyone(parts.workers.views()) for name in worker.offers})
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 0, "owned_by": parts.hub_id} for name in names],
        }

    @router.post("/images/generations", summary="Pictures, waited for", response_model=None, responses=_ERRORS)
    async def generate(
        body: ImagesRequest,
        request: Request,
        client: Owner,
        idempotency_key: Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,128}$")] = None,
    ) -> dict[str, Any] | Response:
        try:
            base_url = _base_url(request)
            job = body.job()
            check_takes_jobs(parts)
            async with refusing(parts.metrics):
                job_id = await parts.acceptance.accept(client, job, idempotency_key)
        except Rejected as rejected:
            return openai_error(problem_of_rejection(rejected))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            field = "size" if first["loc"] and first["loc"][0] in ("width", "height") else str(first["loc"][0])
            return openai_error(Problem(422, "out_of_range", f"{field}: {first['msg']}", field=field))
        except Problem as problem:
            return openai_error(problem)
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


async def _pictures(
    parts: HubParts, job_id: str, asked: int, response_format: str, base_url: str
) -> dict[str, Any] | Response:
    view = await parts.store.read(lambda r: view_of(r, job_id))
    assert view is not None
    if len(view.pictures) < asked:
        reason = view.job.failure_reason or "not_in_time"
        detail = view.job.failure_detail or "not all pictures were there in time"
        return openai_error(Problem(502, reason, f"{detail} (job {job_id})"))
    if response_format == "url":
        data = [{"url": base_url + parts.links.picture(job_id, row.picture)} for row in view.pictures]
        return {"created": int(time.time()), "data": data}
    contents = await parts.artifacts.read_all([row.sha256 for row in view.pictures])
    return {
        "created": int(time.time()),
        "data": [{"b64_json": base64.b64encode(content or b"").decode()} for content in contents],
    }


def openai_error(problem: Problem) -> Response:
    """In the form that the SDK raises its exceptions from."""
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    error = {"message": problem.detail, "type": kind, "param": problem.field, "code": problem.reason}
    return JSONResponse({"error": error}, status_code=problem.status, headers=dict(problem.headers or {}))
