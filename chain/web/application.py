"""A FastAPI application as every service here has it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from chain.web.bodies import LargerBodies
from chain.web.middleware import LimitsMiddleware, ObservingMiddleware
from chain.web.problems import PROBLEM_RESPONSES, Problem, add_problem_handlers
from chain.web.strict_json import StrictJsonRoute

DEFAULT_MAX_BODY_BYTES: Final = 1024 * 1024


class Application(FastAPI):
    """FastAPI with JSON schemas of its own making in the OpenAPI document, beside pydantic's."""

    more_schemas: Callable[[], Mapping[str, Any]] = dict
    """Gives component schemas by name; asked when the document is."""

    def openapi(self) -> dict[str, Any]:
        """The document; made on the first request for it."""
        if self.openapi_schema is None:
            document = super().openapi()
            document.setdefault("components", {}).setdefault("schemas", {}).update(self.more_schemas())
        return super().openapi()


def create_application(
    *,
    title: str,
    version: str,
    description: str,
    registry: CollectorRegistry,
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    larger_bodies: LargerBodies | None = None,
    response_timeout_s: float | None = None,
    health: Callable[[], str | None] = lambda: None,
    metrics_may_block: bool = False,
    lifespan: Any = None,
) -> Application:
    """An application with `/healthz`, `/metrics`, problem bodies and limits; include routers of `create_router` in it.

    `registry` collects this application's metrics and no other's. `larger_bodies` gives paths that take more than
    `max_body_bytes`. `health` returns None, or a sentence on what is wrong, which makes `/healthz` answer 503.
    `response_timeout_s` bounds how long an endpoint may take to begin its response: then the client gets a 503, while
    an endpoint that runs in a thread runs on. With `metrics_may_block`, metrics are read in a thread, all of which
    must bear that; without, on the event loop. Endpoints may raise `Problem` and `Rejected`.
    """
    application = Application(
        title=title, version=version, description=description, responses=PROBLEM_RESPONSES, lifespan=lifespan
    )
    add_problem_handlers(application)
    application.include_router(_operations(registry, health, metrics_may_block))
    # The one added last is the outermost.
    application.add_middleware(
        LimitsMiddleware,
        max_body_bytes=max_body_bytes,
        response_timeout_s=response_timeout_s,
        larger=larger_bodies,
    )
    application.add_middleware(ObservingMiddleware, registry=registry)
    return application


def create_router(*, prefix: str = "", tag: str) -> APIRouter:
    """A router whose JSON bodies are parsed strictly; `tag` groups its endpoints in the OpenAPI document."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=StrictJsonRoute)


def _operations(registry: CollectorRegistry, health: Callable[[], str | None], metrics_may_block: bool) -> APIRouter:
    router = create_router(tag="operations")
    reading = asyncio.Lock()

    @router.get("/healthz", summary="Whether this service works")
    async def healthz() -> dict[str, str]:
        fault = health()
        if fault is not None:
            raise Problem(503, "unhealthy", fault)
        return {"status": "ok"}

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        if not metrics_may_block:
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
        async with reading:  # However many ask at once, one thread at most waits for a disk.
            text = await asyncio.to_thread(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router
