"""The hub's process: opens the hub, serves it until a signal, and closes it."""

import asyncio
import math
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry

from chain.web.server import Server, listen
from hub.hub import open_hub
from hub.service import create_service
from hub.settings import HubSettings

_CONNECTIONS_BESIDE_JOBS: Final = 256


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
        hub = await open_hub(settings, password, registry, wait=wait)
    except BaseException:
        listener.close()
        raise
    try:
        service = create_service(hub, version=version("aitbc"), registry=registry)
        most_jobs = settings.max_concurrent_jobs + settings.max_waiting_jobs
        server = Server(
            service,
            listener,
            max_connections=most_jobs + _CONNECTIONS_BESIDE_JOBS,
            shutdown_timeout_s=max(1, math.ceil(settings.shutdown_grace_s)),
            on_stopping=hub.jobs.stop,
        )
        await server.serve(on_ready)
    finally:
        await hub.close()
