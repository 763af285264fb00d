"""What every process does now and then: leases of the dead, old rows and pictures, sessions, gauges."""

import asyncio
import time
from dataclasses import replace
from typing import Final

import structlog

from hub.artifacts import ArtifactsUnavailable
from hub.jobs.roster import Roster
from hub.metrics import HubMetrics
from hub.opening import Opened
from hub.reputation.noting import note
from hub.reputation.rules import Outcome
from hub.store import jobs, leases, retention, sessions, waiting
from hub.store.errors import StoreError
from hub.store.jobs import OPEN
from hub.store.leases import Lease
from hub.store.store import now_ms
from hub.store.transaction import Transaction
from hub.workers.workers import Workers

_ROUND_S: Final = 0.5
_SLOW_ROUNDS: Final = 10
_PRUNE_S: Final = 600.0
_PRUNE_PICTURES_S: Final = 3_600.0
_ORDERS_S: Final = 3_600.0
"""What processes asked of each other is over long before."""
_MOST_ROWS: Final = 500
_MOST_PRUNINGS: Final = 200
_SILENT_S: Final = 20.0
"""A database that has not answered for so long does not answer."""
_DAY_S: Final = 86_400.0
_SESSION_DEAD_MS: Final = 60_000
_LAPSE_GRACE_MS: Final = 5_000
"""Sessions lapse their own leases; what is left that long after has lost its session."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")


class Housekeeping:
    """`run` it as a task."""

    def __init__(self, made: Opened, workers: Workers, roster: Roster, metrics: HubMetrics) -> None:
        self._made = made
        self._store = made.store
        self._workers = workers
        self._roster = roster
        self._metrics = metrics
        self._pruned_at_s = self._heard_at_s = time.monotonic()
        self._is_away = False

    def fault(self) -> str | None:
        """Why nothing can be kept, in a sentence."""
        is_silent = time.monotonic() > self._heard_at_s + _SILENT_S
        return "the hub's database does not answer" if self._is_away or is_silent else None

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._rounds(), self._wake_for_shards(), self._prune_pictures())

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
            if number % _SLOW_ROUNDS == 0 or self._is_away:
                await self._slow_round()

    async def _slow_round(self) -> None:
        try:
            await self._look_after_rows()
        except StoreError as error:
            if not self._is_away:
                _log.error("database_away", detail=str(error))
            self._is_away = True
        else:
            if self._is_away:
                _log.info("database_back")
            self._is_away, self._heard_at_s = False, time.monotonic()

    async def _look_after_rows(self) -> None:
        now, process = now_ms(), self._made.process
        await self._store.write(lambda t: sessions.beat(t, process, now))
        for lease in await self._store.write(lambda t: _lapse(t, now)):
            self._roster.release(lease.lease_id)
            self._metrics.leases.labels("lapsed").inc()
        await self._store.write(lambda t: sessions.drop_dead(t, before_ms=now - _SESSION_DEAD_MS))
        open_jobs, waits = await self._store.read(lambda r: (jobs.open_counts(r), waiting.counts(r)))
        for state in OPEN:
            self._metrics.open_jobs.labels(str(state)).set(open_jobs.get(state, 0))
        self._metrics.waiting_pictures.set(waits[1])
        self._metrics.workers.set(self._workers.count)
        if time.monotonic() > self._pruned_at_s + _PRUNE_S:
            self._pruned_at_s = time.monotonic()
            await self._forget_rows(now)

    async def _forget_rows(self, now: int) -> None:
        rules = retention.RetentionRules()
        kept_ms = int(self._made.settings.keep_pictures_days * _DAY_S * 1_000)
        rules = replace(rules, work_ms=max(rules.work_ms, kept_ms))  # What pictures are, as long as they are there.
        for _ in range(_MOST_PRUNINGS):
            if await self._store.write(lambda t: retention.prune(t, now, rules, limit=_MOST_ROWS)) < _MOST_ROWS:
                return

    async def _prune_pictures(self) -> None:
        """By their age in the store: the database keeps what they were for longer."""
        keep_s = self._made.settings.keep_pictures_days * _DAY_S
        while True:
            try:
                removed = await self._made.artifacts.prune(keep_s)
                if self._made.orders is not None:
                    await self._made.orders.prune(_ORDERS_S)
            except ArtifactsUnavailable as error:
                _log.warning("pictures_not_pruned", detail=str(error))
            else:
                if removed:
                    _log.info("pictures_pruned", count=removed)
            await asyncio.sleep(_PRUNE_PICTURES_S)


def _lapse(transaction: Transaction, now: int) -> list[Lease]:
    """Whoever took work and stayed away with it has failed at it."""
    lapsed = leases.lapse(transaction, now - _LAPSE_GRACE_MS)
    for lease in lapsed:
        shown = {"job_id": lease.job_id, "lease_id": lease.lease_id, "reason": "lapsed"}
        note(transaction, lease.provider, Outcome.TIMED_OUT, now, detail="lapsed", evidence=shown)
    return lapsed
