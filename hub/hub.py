"""A whole hub: opened, run while it serves, drained, and closed again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from hub.assembling import Assembled, Stopping, assemble
from hub.loops import Loops
from hub.opening import OnWaiting, open_parts
from hub.settings import HubSettings

_log: structlog.stdlib.BoundLogger = structlog.get_logger("hub")


class Hub:
    """Every part of an open hub. `open_hub` makes it; `lifespan` runs it; `drain`, then `close` end it."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self.assembled: Assembled
        self._draining = asyncio.Event()
        self._ending = asyncio.Event()
        self._closing = AsyncExitStack()

    async def open(self, password: str, registry: CollectorRegistry, *, version: str, wait: OnWaiting | None) -> None:
        """Raises as `open_parts`; what was opened until then is closed again."""
        async with AsyncExitStack() as closing:
            made = await open_parts(self.settings, password, closing, wait=wait)
            stopping = Stopping(self._draining.is_set, self._ending.is_set)
            self.assembled = assemble(made, registry, stopping, version=version)
            self._loops = Loops(self.assembled.loops)
            self._closing = closing.pop_all()

    # How it is

    def fault(self) -> str | None:
        """What keeps it from its work, in a sentence; None when nothing does: who sees to it may start it anew."""
        return self.assembled.housekeeping.fault() or self._loops.fault()

    def unready(self) -> str | None:
        """What keeps it from taking jobs, in a sentence; None when nothing does: jobs had better go elsewhere."""
        if self._draining.is_set():
            return "the hub is shutting down"
        snapshot = self.assembled.parts.chain.snapshot
        if snapshot is None:
            return "the chain node does not answer"
        return snapshot.attester_fault or self.fault()

    # Its life

    @asynccontextmanager
    async def lifespan(self, _application: FastAPI) -> AsyncIterator[None]:
        """Runs the loops while the application serves."""
        async with self._loops.running():
            yield

    async def drain(self) -> None:
        """Takes nothing new, tells providers, and lets what they have under way end within the grace."""
        self._draining.set()
        workers = self.assembled.parts.workers
        _log.info("draining", workers=workers.count, grace_s=self.settings.shutdown_grace_s)
        await workers.drain(self.settings.shutdown_grace_s)

    def end(self) -> None:
        """Lets go who waits for something."""
        self._draining.set()
        self._ending.set()
        self.assembled.parts.store.announcements.wake_all()

    async def close(self) -> None:
        """Closes connections and files."""
        await self._closing.aclose()


async def open_hub(
    settings: HubSettings, password: str, registry: CollectorRegistry, *, version: str, wait: OnWaiting | None
) -> Hub:
    """A hub whose attester counts on the chain; raises as `open_parts`."""
    hub = Hub(settings)
    await hub.open(password, registry, version=version, wait=wait)
    return hub
