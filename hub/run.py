"""The hub's process: opens the hub, serves it until a signal, drains it while it answers on, and closes it."""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from chain.web.server import SHUTDOWN_TIMEOUT_S, Server, listen
from hub.http.application import create_hub_application
from hub.hub import Hub, open_hub
from hub.settings import HubSettings
from hub.starting import opened

_SWITCH_S: Final = 0.0005
"""How long a thread may keep the interpreter while another one wants it."""
_SAME_SIGNAL_S: Final = 1.0
"""Ctrl-C reaches a whole process group, and a parent may add its SIGTERM: that is one wish, not two."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")


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
        hub = await opened(
            listener,
            lambda tell: open_hub(settings, password, registry, version=version("aitbc"), wait=tell if wait else None),
            max_connections=settings.max_clients + settings.max_workers,
        )
    except BaseException:
        listener.close()
        raise
    if hub is None:
        listener.close()
        return
    try:
        signals = _Signals(hub)
        application = create_hub_application(
            hub.assembled.parts,
            registry=registry,
            health=hub.fault,
            readiness=hub.unready,
            lifespan=hub.lifespan,
            more_routes=(hub.assembled.routes,),
            larger_bodies=hub.assembled.larger_bodies,
        )
        server = Server(
            application,
            listener,
            max_connections=settings.max_clients + settings.max_workers,
            shutdown_timeout_s=SHUTDOWN_TIMEOUT_S,
            on_stopping=hub.end,
            on_signal=signals.take,
        )
        signals.server = server
        _settle_interpreter()
        await server.serve(on_ready)
        await signals.finish()
    finally:
        await hub.close()


def _settle_interpreter() -> None:
    """Once everything is loaded: what is there by now stays, and need not be looked through again and again for what
    could be freed. A job makes many objects and hardly any cycles. And each of its statements gives the interpreter
    away; with Python's 5 ms a thread waits long to have it back beside one that is busy."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    sys.setswitchinterval(_SWITCH_S)


class _Signals:
    """The first begins a drain, during which everything but new jobs is answered; a later Ctrl-C ends it."""

    def __init__(self, hub: Hub) -> None:
        self.server: Server
        self._hub = hub
        self._drain: asyncio.Task[None] | None = None
        self._since_s = 0.0

    def take(self, number: int) -> None:
        """On the event loop's thread."""
        if self._drain is None:
            self._since_s = time.monotonic()
            self._drain = asyncio.create_task(self._end())
        elif number == signal.SIGINT and time.monotonic() - self._since_s > _SAME_SIGNAL_S:
            _log.warning("ending_at_once")
            self.server.stop()

    async def _end(self) -> None:
        try:
            await self._hub.drain()
        finally:
            self.server.stop()

    async def finish(self) -> None:
        """After the last answer."""
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
