"""What went wrong as a problem with a status, a reason and, where there is one, the field."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

from chain.client import NodeError
from chain.web.problems import Problem
from hub.artifacts import ArtifactsUnavailable
from hub.http.parts import HubParts
from hub.jobs.accepting import Conflict, NotNow, QueueFull, TooLate, WebhookRefused
from hub.metrics import HubMetrics
from hub.orders.moderation import ModerationUnavailable, PromptRefused
from hub.orders.pace import TooFast
from hub.orders.pricing import NobodyServes
from hub.orders.quotas import renewed_in_s
from hub.store.errors import QuotaExceeded, StoreBusy, StoreUnavailable
from hub.store.promises import Underfunded
from hub.store.store import now_ms

_SOON = {"Retry-After": "5"}
_EXPECTED = (
    Conflict,
    NotNow,
    QueueFull,
    TooLate,
    NobodyServes,
    PromptRefused,
    ModerationUnavailable,
    WebhookRefused,
    QuotaExceeded,
    TooFast,
    Underfunded,
    NodeError,
)


def problem_of(error: Exception) -> Problem:
    """Of an error of `hub.jobs.accepting`; any other is raised again."""
    match error:
        case Conflict():
            return Problem(409, error.reason, error.message, field=error.field)
        case NobodyServes():
            headers = _SOON if error.status == 503 else None
            return Problem(error.status, error.reason, error.message, field=error.field, headers=headers)
        case QueueFull():
            return Problem(503, "queue_full", str(error), headers={"Retry-After": str(error.after_s)})
        case TooLate():
            detail = f"{error}, so it would not be there by the deadline"
            return Problem(422, "deadline_unreachable", detail, field="deadline_s")
        case NotNow():
            return Problem(503, "not_ready", str(error), headers=_SOON)
        case PromptRefused():
            return Problem(422, "prompt_refused", str(error), field="prompt")
        case ModerationUnavailable():
            return Problem(503, "moderation_unavailable", str(error), headers=_SOON)
        case WebhookRefused():
            return Problem(422, "webhook_refused", str(error), field="webhook.url")
        case QuotaExceeded() if error.is_renewed:
            headers = {"Retry-After": str(renewed_in_s(now_ms()))}
            return Problem(429, "quota_exceeded", f"{error}; it is renewed at midnight UTC", headers=headers)
        case QuotaExceeded():
            return Problem(429, "quota_exceeded", f"{error}; no day has enough: ask for less in one job")
        case TooFast():
            headers = {"Retry-After": str(math.ceil(error.after_s))}
            return Problem(429, "too_many_estimates", str(error), headers=headers)
        case Underfunded():
            return Problem(402, "deposit_too_small", str(error), field="client_request.max_price")
        case NodeError():
            return Problem(503, "chain_unreachable", "the chain node does not answer", headers=_SOON)
    raise error


@asynccontextmanager
async def refusing(metrics: HubMetrics) -> AsyncIterator[None]:
    """Refusals within the block become problems, and are counted."""
    try:
        yield
    except _EXPECTED as error:
        problem = problem_of(error)
        metrics.turned_away.labels(problem.reason).inc()
        raise problem from None


def check_takes_jobs(parts: HubParts) -> None:
    """Raises Problem (503) once the hub is about to end."""
    if parts.is_stopping():
        raise Problem(503, "shutting_down", "this hub is shutting down", headers={"Retry-After": "10"})


def problem_of_outage(error: Exception) -> Problem | None:
    """Of what the hub stands on; None for anything else."""
    match error:
        case ArtifactsUnavailable():
            detail = "the hub's store of pictures does not answer"
            return Problem(503, "pictures_unavailable", detail, headers=_SOON)
        case StoreUnavailable():
            return Problem(503, "database_unavailable", "the hub's database does not answer", headers=_SOON)
        case StoreBusy():
            return Problem(503, "busy", "too much waits to be written", headers={"Retry-After": "1"})
    return None


def add_store_handlers(application: FastAPI) -> None:
    """A database, or a store of pictures, that is away is nobody's bad input."""

    def on_outage(_request: Request, error: Exception) -> Response:
        problem = problem_of_outage(error)
        assert problem is not None
        return problem.response()

    for kind in (ArtifactsUnavailable, StoreUnavailable, StoreBusy):
        application.add_exception_handler(kind, on_outage)
