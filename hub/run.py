"""The hub's process: opens the hub, serves it until a signal, and closes it."""

import asyncio
import math
import os
from collections.abc import Callable
from importlib.metadata import version

import uvloop
from prometheus_client import CollectorRegistry

from chain.web.server import SHUTDOWN_TIMEOUT_S, Server, listen
from hub.http.application import create_hub_application
from hub.hub import open_hub
from hub.settings import HubSettings


def run_hub(settings: HubSettings, password: str, *, wait: bool, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM. Raises CannotListen and what `open_hub` raises."""
    os.umask(0o077)  # Prompts of jobs that wait stand in the database, and the data folder may be open to others.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, password, wait, on_ready))


async def _run(settings: HubSettings, password: str, wait: bool, on_ready: Callable[[str], None]) -> None:
    # First, so that a port in use is told before anything else happens.
    listener = listen(settings.host, settings.port)
    registry = CollectorRegistry()
    try:
        hub = await open_hub(settings, password, registry, version=version("aitbc"), wait=wait)
    except BaseException:
        listener.close()
        raise
    try:
        application = create_hub_application(
            hub.parts,
            registry=registry,
            health=hub.fault,
            lifespan=hub.lifespan,
            more_routes=(hub.attestation.routes,),
            larger_bodies=hub.attestation.larger_bodies,
        )
        server = Server(
            application,
            listener,
            max_connections=settings.max_clients + settings.max_workers,
            shutdown_timeout_s=SHUTDOWN_TIMEOUT_S + math.ceil(settings.shutdown_grace_s),
            on_stopping=hub.stop,
        )
        await server.serve(on_ready)
    finally:
        await hub.close()
