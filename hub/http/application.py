"""The hub's application: everything that it answers, on one port."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from starlette.routing import WebSocketRoute

from chain.web.application import Application, create_application
from chain.web.bodies import LargerBodies
from hub.http.event_routes import event_routes
from hub.http.job_routes import job_routes
from hub.http.live import LiveSockets
from hub.http.openai import openai_routes
from hub.http.pages.routes import page_routes
from hub.http.parts import HubParts
from hub.http.picture_routes import picture_routes
from hub.http.public_routes import public_routes
from hub.http.readiness import readiness_routes
from hub.http.refusals import add_store_handlers
from hub.workers.workers import PATH as WORKERS_PATH

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""As many prompts as a job may have, with every character escaped."""

_DESCRIPTION: Final = """Send a job of one or many pictures; the hub finds providers, checks what they make, attests one
receipt for all of it, and everybody who worked is paid in proportion.

Jobs need `Authorization: Bearer <API key>`; or a signed request, and then the token that its answer has."""


def create_hub_application(
    parts: HubParts,
    *,
    registry: CollectorRegistry,
    health: Callable[[], str | None],
    readiness: Callable[[], str | None],
    lifespan: Any,
    more_routes: Sequence[APIRouter] = (),
    larger_bodies: LargerBodies | None = None,
) -> Application:
    """Around a hub that is open; running and closing it is `run.py`'s part.

    `health` says why it does not work, `readiness` why it takes no jobs at present; None where nothing is wrong.
    """
    application = create_application(
        title="AITBC hub",
        version=parts.version,
        description=_DESCRIPTION,
        registry=registry,
        max_body_bytes=MAX_BODY_BYTES,
        larger_bodies=larger_bodies,
        health=health,
        lifespan=lifespan,
    )
    for router in (
        readiness_routes(readiness),
        job_routes(parts),
        picture_routes(parts),
        event_routes(parts),
        openai_routes(parts),
        public_routes(parts),
        page_routes(parts),
        *more_routes,
    ):
        application.include_router(router)
    add_store_handlers(application)
    LiveSockets(parts).mount(application)
    application.router.routes.append(WebSocketRoute(WORKERS_PATH, parts.workers))
    return application
