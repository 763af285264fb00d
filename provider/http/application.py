"""The provider's HTTP application: every way in, behind the same limits."""

from importlib.metadata import version
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from chain.web.application import create_application
from chain.web.bodies import LargerBodies
from provider.errors import ProviderError
from provider.http.automatic1111.routes import create_automatic1111_router
from provider.http.guard import Guard
from provider.http.health import create_health_router
from provider.http.job_routes import create_job_router
from provider.http.live import LiveSockets
from provider.http.openai.routes import create_openai_router
from provider.http.parts import ProviderParts
from provider.http.plan import ROUTE, create_plan_router
from provider.http.problems import problem_of
from provider.http.receipt_routes import create_receipt_router

LARGE_BODY_ROUTES: Final = (ROUTE, "/v1/images/edits", "/sdapi/v1/img2img")
"""Where a source picture may stand in the body."""
_ALL_LARGE_BODIES: Final = 16
"""So many of the largest bodies may be in memory at once."""
_STRANGERS_LARGE_BODIES: Final = 4
"""So many of them while they come from somebody who has not shown a key yet."""
_ANSWER_S: Final = 60.0
"""What an answer may take beyond the longest job: checking, storing, signing."""
_CORS_HEADERS: Final = ("Authorization", "Content-Type", "Idempotency-Key")


def create_provider_application(parts: ProviderParts) -> FastAPI:
    """The application; its parts are started and stopped by `provider.process`."""
    settings = parts.settings
    guard = Guard(parts.api_keys, settings.failed_login_limit)
    application = create_application(
        title="AITBC provider",
        version=version("aitbc"),
        description="Serves images for AIT: every picture comes with a signed receipt that the chain can mint.",
        registry=parts.metrics.registry,
        max_body_bytes=settings.body_max_bytes,
        larger_bodies=_larger_bodies(settings.image_body_max_bytes, guard),
        response_timeout_s=settings.job_timeout_s + _ANSWER_S,
        health=parts.fault,
        metrics_may_block=True,  # Receipts are counted in the database.
    )
    application.add_exception_handler(ProviderError, _on_provider_error)
    application.include_router(create_plan_router(parts, guard))
    application.include_router(create_job_router(parts, guard))
    application.include_router(create_openai_router(parts, guard))
    application.include_router(create_automatic1111_router(parts, guard))
    application.include_router(create_receipt_router(parts, guard))
    application.include_router(create_health_router(parts))
    LiveSockets(parts, guard).mount(application)
    _add_outer_layers(application, parts)
    return application


def _larger_bodies(max_bytes: int, guard: Guard) -> LargerBodies:
    recognisers = (guard.recognise_by_body, guard.recognise_bearer, guard.recognise_basic_or_bearer)
    return LargerBodies(
        max_bytes=max_bytes,
        paths=dict(zip(LARGE_BODY_ROUTES, recognisers, strict=True)),
        all_bytes=_ALL_LARGE_BODIES * max_bytes,
        strangers_bytes=_STRANGERS_LARGE_BODIES * max_bytes,
    )


def _add_outer_layers(application: FastAPI, parts: ProviderParts) -> None:
    """Which pages may ask, and whose word counts on where a request comes from: nobody's, by default."""
    settings = parts.settings
    if settings.cors_origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=list(_CORS_HEADERS),
            expose_headers=["Retry-After"],
        )
    if settings.trusted_proxies:
        application.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))


def _on_provider_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProviderError)
    return problem_of(error).response()
