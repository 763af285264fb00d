"""What is said over the WebSocket: JSON objects with a `type`, checked as strictly as request bodies.

    client:  authenticate, generate, watch, cancel
    server:  authenticated, accepted, queued, step, preview, log, finished, failed, error

Every message about a job names it by `job_id`, and by the `request_id` that its client gave it, where there is one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from provider.errors import ProviderError
from provider.http.plan import data_url, plan_answer
from provider.http.problems import problem_of
from provider.http.schemas import ClientRequestBody, PictureFields, Strict
from provider.jobs.running import Accepted, Failed, Finished, JobEvent, Logged, Previewed, Queued, Stepped

RequestId = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,64}$")]
JobIdText = Annotated[str, Field(pattern=r"^[0-9A-Za-z._:\-]{1,64}$")]


class Authenticate(Strict):
    """The first message, unless the opening request had the header."""

    type: Literal["authenticate"]
    api_key: str = Field(min_length=1, max_length=256)


class Generate(PictureFields):
    """Asks for pictures; the plan's fields."""

    type: Literal["generate"]
    request_id: RequestId | None = None
    idempotency_key: str | None = Field(None, pattern=r"^[\x21-\x7e]{1,255}$")
    preview_every: int = Field(5, ge=0, le=100, description="A preview after every so many steps; 0 for none.")
    client_request: ClientRequestBody | None = None


class Watch(Strict):
    """Asks for the events of a job that was ordered elsewhere, or on a connection that broke."""

    type: Literal["watch"]
    job_id: JobIdText
    request_id: RequestId | None = None


class Cancel(Strict):
    """Ends a queued or running job."""

    type: Literal["cancel"]
    job_id: JobIdText
    request_id: RequestId | None = None


Command = Generate | Watch | Cancel
AUTHENTICATE: Final = TypeAdapter(Authenticate)
COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(Annotated[Command, Field(discriminator="type")])


def event_message(event: JobEvent, job_id: str, request_id: str | None) -> dict[str, Any]:
    """What a client is told of an event."""
    return _named({**_facts(event), "job_id": job_id}, request_id)


def error_message(
    reason: str,
    detail: str,
    *,
    field: str | None = None,
    request_id: str | None = None,
    retry_after_s: int | None = None,
) -> dict[str, Any]:
    """What a client is told of a message that led to nothing."""
    said: dict[str, Any] = {"type": "error", "reason": reason, "detail": detail, "field": field}
    if retry_after_s is not None:
        said["retry_after_s"] = retry_after_s
    return _named(said, request_id)


def refusal_message(error: ProviderError, request_id: str | None) -> dict[str, Any]:
    """As `error_message`, for an error of ours."""
    problem = problem_of(error)
    retry_after = (problem.headers or {}).get("Retry-After")
    return error_message(
        problem.reason,
        problem.detail,
        field=problem.field,
        request_id=request_id,
        retry_after_s=None if retry_after is None else int(retry_after),
    )


def _named(said: dict[str, Any], request_id: str | None) -> dict[str, Any]:
    return said if request_id is None else {**said, "request_id": request_id}


def _facts(event: JobEvent) -> Mapping[str, Any]:
    match event:
        case Accepted():
            return {"type": "accepted"}
        case Queued(pictures_ahead):
            return {"type": "queued", "position": pictures_ahead}
        case Stepped(pictures, step, steps):
            return {"type": "step", "step": step, "steps": steps, "pictures": list(pictures)}
        case Previewed(picture, jpeg):
            return {"type": "preview", "picture": picture, "image_base64": data_url(jpeg, "image/jpeg")}
        case Logged(line):
            return {"type": "log", "line": line}
        case Finished(answer):
            return {**plan_answer(answer).model_dump(exclude_none=True), "type": "finished"}
        case Failed(error):
            return {"type": "failed", "reason": error.reason, "detail": error.message}
