"""Tells providers what the database says of their leases and sessions, whichever process has changed it.

A lease is needless once its shard has another's result, or is called off with its job; a session is over once its
provider has dialled another process. Each process looks for what is its own, when it hears of such a change.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from hub.store import leases, sessions
from hub.store.errors import StoreError
from hub.store.store import Store
from hub.workers.workers import Workers

_POLL_S: Final = 3.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.recalling")


class Recall:
    """`run` it as a task."""

    def __init__(self, store: Store, workers: Workers, forget: Callable[[str], None]) -> None:
        """`forget` gets the id of each lease that is no more."""
        self._store = store
        self._workers = workers
        self._forget = forget

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._follow(leases.TOPIC, self.recall), self._follow(sessions.TOPIC, self.replace))

    async def _follow(self, topic: str, look: Callable[[], object]) -> None:
        async with self._store.announcements.subscribe(topic) as changes:
            while True:
                try:
                    await look()  # type: ignore[misc]
                except StoreError as error:
                    _log.warning("not_recalled", detail=str(error))
                await changes.wait(_POLL_S)

    async def recall(self) -> None:
        """Leases that sessions of this process hold, and nobody wants any more."""
        held = self._workers.held_leases()
        if not held:
            return
        for lease_id in await self._store.read(lambda r: leases.needless(r, held)):
            self._forget(lease_id)
            await self._workers.cancel(lease_id)

    async def replace(self) -> None:
        """Sessions of this process whose provider has another one now."""
        here = [view.session_id for view in self._workers.views()]
        if not here:
            return
        current = await self._store.read(lambda r: sessions.current(r, here))
        for session_id in here:
            if session_id not in current:
                self._workers.replaced(session_id)
