"""The status and problem body of every error, and how the OpenAPI document describes them."""

from collections.abc import Mapping
from typing import Any, Final

from chain.web.problems import PROBLEM_RESPONSES, Problem
from provider.errors import (
    ConfigurationError,
    EngineNotReady,
    GenerationFailed,
    ProviderError,
    QueueFull,
    RequestTooLarge,
    UnknownModel,
)
from provider.jobs.errors import (
    ArtifactGone,
    JobInProgress,
    JobNotFound,
    LimitReached,
    LinkRefused,
    NotServing,
    OrderRefused,
)

_RETRY_S: Final = 5

_STATUS_OF_REASON: Final[Mapping[str, int]] = {
    # Of orders
    "not_a_hub": 403,
    "idempotency_mismatch": 409,
    "duplicate_job": 409,
    "nonce_used": 409,
    "price_limit_reached": 402,
    # Of work
    "generation_timed_out": 504,
    "generation_cancelled": 409,
    "out_of_memory": 507,
    "backend_lost": 503,
    "shutting_down": 503,
    "draining": 503,
    "model_unavailable": 503,
    "bad_source_image": 422,
    "trajectory_gone": 410,
    "price_limit": 402,
    "storage_full": 507,
    "storage_failed": 503,
    "artifact_store_unavailable": 503,
}
"""Where the error's class alone does not say it."""

_STATUS_OF_CLASS: Final[tuple[tuple[type[ProviderError], int], ...]] = (
    (OrderRefused, 422),
    (UnknownModel, 404),
    (RequestTooLarge, 422),
    (JobInProgress, 409),
    (LimitReached, 429),
    (NotServing, 503),
    (QueueFull, 503),
    (EngineNotReady, 503),
    (JobNotFound, 404),
    (ArtifactGone, 410),
    (LinkRefused, 403),
    (GenerationFailed, 500),
    (ConfigurationError, 500),
)

_DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The body is no JSON, or means more than one thing.",
    401: "The API key is missing or wrong.",
    402: "The price is above what the client signed for.",
    403: "The API key may not do this, or the link is not good.",
    404: "There is no such thing, or it is somebody else's.",
    409: "Another request stands in the way.",
    410: "It was there and is no longer kept.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "A field is at fault; `field` names it.",
    429: "The API key's limit is reached; Retry-After says when to come back.",
    500: "The picture could not be made.",
    503: "No room, or not ready; Retry-After says when to come back.",
    504: "The picture was not ready in time.",
    507: "Memory or disk is full.",
}


def problem_of(error: ProviderError) -> Problem:
    """The answer for an error of this package."""
    status = _status_of(error)
    retry_after_s = getattr(error, "retry_after_s", _RETRY_S if status == 503 else None)
    headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return Problem(status, error.reason, error.message, field=_field_of(error), headers=headers)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside its success, for the OpenAPI document."""
    content = PROBLEM_RESPONSES["4XX"]["content"]
    return {status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}


def _status_of(error: ProviderError) -> int:
    if error.reason in _STATUS_OF_REASON:
        return _STATUS_OF_REASON[error.reason]
    return next((status for kind, status in _STATUS_OF_CLASS if isinstance(error, kind)), 500)


def _field_of(error: ProviderError) -> str | None:
    if isinstance(error, UnknownModel):
        return "model"
    field = getattr(error, "field", None)
    return field if isinstance(field, str) else None
