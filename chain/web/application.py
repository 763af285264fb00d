"""A FastAPI application as every service here has it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from chain.web.middleware import BodyBounds, LimitsMiddleware, ObservingMiddleware
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
    larger_bodies: Mapping[str, int] | None = None,
    all_larger_bodies_bytes: int = 0,
    response_timeout_s: float | None = None,
    health: Callable[[], str | None] = lambda: None,
    lifespan: Any = None,
) -> Application:
    """An application with `/healthz`, `/metrics`, problem bodies and limits; include routers of `create_router` in it.

    `registry` collects this application's metrics and no other's. `larger_bodies` gives paths that take more than
    `max_body_bytes`, and how much; all such bodies that are being answered have `all_larger_bodies_bytes`. `health`
    returns None, or a sentence on what is wrong, which makes `/healthz` answer 503. `response_timeout_s` bounds how
    long an endpoint may take to begin its response: then the client gets a 503, while an endpoint that runs in a
    thread runs on. Endpoints may raise `Problem` and `Rejected`.
    """
    application = Application(
        title=title, version=version, description=description, responses=PROBLEM_RESPONSES, lifespan=lifespan
    )
    add_problem_handlers(application)
    application.include_router(_operations(registry, health))
    # The one added last is the outermost.
    bounds = BodyBounds(max_body_bytes, larger_bodies or {}, all_larger_bodies_bytes)
    application.add_middleware(LimitsMiddleware, bounds=bounds, response_timeout_s=response_timeout_s)
    application.add_middleware(ObservingMiddleware, registry=registry)
    return application


def create_router(*, prefix: str = "", tag: str) -> APIRouter:
    """A router whose JSON bodies are parsed strictly; `tag` groups its endpoints in the OpenAPI document."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=StrictJsonRoute)


def _operations(registry: CollectorRegistry, health: Callable[[], str | None]) -> APIRouter:
    router = create_router(tag="operations")

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
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
