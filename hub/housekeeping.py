"""What must be done every now and then, by every process: leases of the dead, old rows, sessions, gauges."""

import asyncio
import time
from typing import Final

import structlog

from hub.jobs.live import LiveBoard
from hub.jobs.roster import Roster
from hub.metrics import HubMetrics
from hub.store import jobs, leases, retention, sessions, waiting
from hub.store.jobs import OPEN
from hub.store.store import Store, now_ms
from hub.workers.workers import Workers

_ROUND_S: Final = 0.5
_SLOW_ROUNDS: Final = 10
_PRUNE_S: Final = 600.0
_SESSION_DEAD_MS: Final = 60_000
_LAPSE_GRACE_MS: Final = 5_000
"""Sessions lapse their own leases; what is left that long after has lost its session."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")


class Housekeeping:
    """`run` it as a task."""

    def __init__(
        self, store: Store, workers: Workers, roster: Roster, board: LiveBoard, metrics: HubMetrics, process: str
    ) -> None:
        self._store = store
        self._workers = workers
        self._roster = roster
        self._board = board
        self._metrics = metrics
        self._process = process
        self._pruned_at_s = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._rounds(), self._wake_for_shards())

    async def _wake_for_shards(self) -> None:
        """Of other processes' jobs, too."""
        async with self._store.announcements.subscribe("shards") as changes:
            while True:
                await changes.wait()
                self._workers.wake()

    async def _rounds(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(_ROUND_S)
            if self._roster.has_leases:
                self._workers.wake()  # Somebody may be late, and somebody else free to help.
            number += 1
            if number % _SLOW_ROUNDS == 0:
                await self._slow_round()

    async def _slow_round(self) -> None:
        now = now_ms()
        process = self._process
        await self._store.write(lambda t: sessions.beat(t, process, now))
        lapsed = await self._store.write(lambda t: leases.lapse(t, now - _LAPSE_GRACE_MS))
        for lease in lapsed:
            self._roster.release(lease.lease_id)
        await self._store.write(lambda t: sessions.drop_dead(t, before_ms=now - _SESSION_DEAD_MS))
        open_jobs, waits = await self._store.read(lambda r: (jobs.open_counts(r), waiting.counts(r)))
        for state in OPEN:
            self._metrics.open_jobs.labels(str(state)).set(open_jobs.get(state, 0))
        self._metrics.waiting_pictures.set(waits[1])
        self._metrics.workers.set(self._workers.count)
        if time.monotonic() > self._pruned_at_s + _PRUNE_S:
            self._pruned_at_s = time.monotonic()
            await self._store.write(lambda t: retention.prune(t, now, retention.RetentionRules()))
