"""What a newcomer can do: each model that nothing is known of is measured, by a picture of the hub's own.

Nobody pays for it, and nobody waits for it: it makes estimates and shares better, and gives later answers something to
be held against. A provider that is slow on purpose gets less work; one that shows off is asked later why it is dear.
"""

import asyncio
import secrets
import time
from typing import Final

import structlog

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.worker_fields import PictureRun
from hub.jobs.roster import Roster, keep_speeds
from hub.metrics import HubMetrics
from hub.scheduling.work import picture_work
from hub.store.errors import StoreError
from hub.store.store import Store, now_ms
from hub.verification import pictures
from hub.verification.errors import AnswerRefused
from hub.workers.desk import WorkerView
from hub.workers.errors import WorkerError
from hub.workers.workers import Workers

SIDE: Final = 512
STEPS: Final = 5
GUIDANCE: Final = 7.5
"""What most jobs ask for, with as few steps as a job can have."""
_AT_ONE_TIME: Final = 4

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.joining")


class Joining:
    """On the event loop's thread."""

    def __init__(self, store: Store, workers: Workers, roster: Roster, metrics: HubMetrics) -> None:
        self._store = store
        self._workers = workers
        self._roster = roster
        self._metrics = metrics
        self._joined: asyncio.Queue[WorkerView] = asyncio.Queue()

    def joined(self, view: WorkerView) -> None:
        """A provider has come."""
        self._joined.put_nowait(view)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONE_TIME):
                group.create_task(self._measure_those_who_join())

    async def _measure_those_who_join(self) -> None:
        while True:
            view = await self._joined.get()
            try:
                await self._measure(view)
            except StoreError as error:
                _log.warning("not_measured", provider=to_checksum_address(view.address), detail=str(error))

    async def _measure(self, view: WorkerView) -> None:
        await self._roster.refresh()
        known = {model for model, _ in self._roster.speeds(view.address).speeds()}
        for model in sorted(set(view.models) - known):
            current = self._workers.view(view.address)
            if current is None or current.session_id != view.session_id:
                return
            outcome = await self._measure_model(view, model)
            self._metrics.benchmarks.labels("measured" if outcome is None else "not_measured").inc()
            _log.info("benchmark", provider=to_checksum_address(view.address), model=model, fault=outcome)

    async def _measure_model(self, view: WorkerView, model: str) -> str | None:
        """Why there is no measurement; None where there is one now."""
        run = PictureRun(
            model=model,
            prompts=(f"a benchmark, {secrets.token_hex(8)}",),
            steps=STEPS,
            guidance=GUIDANCE,
            width=SIDE,
            height=SIDE,
            seed=secrets.randbits(53),
        )
        try:
            # The first one has the model loaded, and the device's code made ready; providers take no fewer steps.
            await self._workers.orders.compute(view.address, run, purpose="benchmark")
            started_s = time.monotonic()
            _, contents, _ = await self._workers.orders.compute(view.address, run, purpose="benchmark")
            took_s = time.monotonic() - started_s
            await asyncio.to_thread(pictures.look, contents[0], run)
        except WorkerError as error:
            return error.reason
        except AnswerRefused as refused:
            return str(refused.reason)
        book = self._roster.speeds(view.address)
        book.record(model, SIDE * SIDE, picture_work(SIDE, SIDE, STEPS, is_guided=True), took_s)
        self._roster.measured(view.address, book)
        name, rows, now = to_checksum_address(view.address), book.rows(), now_ms()
        await self._store.write(lambda t: keep_speeds(t, name, rows, now))
        return None
