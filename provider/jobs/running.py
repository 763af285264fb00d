"""A job while somebody may look: state, progress, and events that late watchers get too.

Everything here happens on the event loop's thread, but for `on_engine_event`, which the engine's threads call. A
watcher that reads slowly loses previews and steps, never the end, and holds up nobody.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from provider.engine import jobs as engine_jobs
from provider.errors import ProviderError
from provider.jobs.answers import FinishedAnswer
from provider.jobs.order import JobOrder

MAX_LOG_LINES: Final = 64
"""Kept per job, for those who begin to watch late."""
_MAX_PENDING: Final = 64
_POSITION_INTERVAL_S: Final = 1.0


@dataclass(frozen=True)
class Accepted:
    """The job has its id and a durable row."""

    job_id: str


@dataclass(frozen=True)
class Queued:
    """The job waits behind so many pictures."""

    pictures_ahead: int


@dataclass(frozen=True)
class Stepped:
    """A denoising step of these pictures has ended; the first is 1."""

    pictures: tuple[int, ...]
    step: int
    steps: int


@dataclass(frozen=True)
class Previewed:
    """A small JPEG of how a picture looks now."""

    picture: int
    jpeg: bytes


@dataclass(frozen=True)
class Logged:
    """A line of the job's log: JSON, without the prompt."""

    line: str


@dataclass(frozen=True)
class Finished:
    """The end: pictures and receipt."""

    answer: FinishedAnswer


@dataclass(frozen=True)
class Failed:
    """The end: why there is no picture."""

    error: ProviderError


JobEvent = Accepted | Queued | Stepped | Previewed | Logged | Finished | Failed


@dataclass(frozen=True)
class Progress:
    """A look at a job that waits or runs, or has just ended."""

    state: str
    """`queued`, `running`, `done`, `failed` or `cancelled`."""
    pictures_ahead: int
    step: int
    steps: int
    fraction: float
    remaining_s: float
    preview: bytes | None
    """The newest small JPEG, where previews were asked for."""


class RunningJob:
    """One job, from its acceptance until the last watcher has gone."""

    def __init__(self, job_id: str, order: JobOrder, on_begun: Callable[[], object] = lambda: None) -> None:
        """`on_begun` is called once, when the engine begins with the first picture."""
        self.job_id = job_id
        """This provider's id."""
        self._on_begun = on_begun
        self.order = order
        self.started_at_s = time.time()
        """Unix time of its acceptance."""
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[FinishedAnswer] = self._loop.create_future()
        # Nobody may be waiting any more when it fails; asyncio would complain that nobody looked.
        self._end.add_done_callback(lambda end: end.cancelled() or end.exception())
        self._engine_job: engine_jobs.EngineJob | None = None
        self._has_begun = False
        self._step: Stepped | None = None
        self._previews: dict[int, Previewed] = {}
        self._newest_preview: bytes | None = None
        self._log: deque[Logged] = deque(maxlen=MAX_LOG_LINES)
        self._watchers: set[_Watcher] = set()

    @classmethod
    def already_ended(cls, job_id: str, order: JobOrder, answer: FinishedAnswer) -> "RunningJob":
        """A job whose answer was given before."""
        job = cls(job_id, order)
        job.finish(answer)
        return job

    @property
    def is_ended(self) -> bool:
        """Whether there is a result, good or bad."""
        return self._end.done()

    async def result(self) -> FinishedAnswer:
        """The answer; raises the ProviderError that the job ended with. Whoever stops waiting does not end the job."""
        return await asyncio.shield(self._end)

    async def wait(self, timeout_s: float) -> bool:
        """Whether the job ends within so many seconds."""
        done, _ = await asyncio.wait([self._end], timeout=timeout_s)
        return bool(done)

    async def ended(self) -> None:
        """Returns when there is a result, good or bad."""
        await asyncio.wait([self._end])

    def cancel(self) -> None:
        """Nobody wants the picture any more; the job ends at the next step."""
        if self._engine_job is not None and not self.is_ended:
            self._engine_job.cancel()

    def leave(self) -> None:
        """The client that ordered it has gone; the job goes on only where the client can come back for it."""
        if not self.order.outlives_its_client:
            self.cancel()

    @property
    def progress(self) -> Progress:
        """As of now."""
        seen = None if self._engine_job is None else self._engine_job.progress
        return Progress(
            state=self._state(),
            pictures_ahead=0 if seen is None or self._has_begun else seen.rows_ahead,
            step=0 if seen is None else seen.step,
            steps=self.order.request.steps if seen is None else seen.steps,
            fraction=1.0 if self.is_ended else 0.0 if seen is None else seen.fraction,
            remaining_s=0.0 if seen is None or self.is_ended else seen.remaining_s,
            preview=self._newest_preview,
        )

    def _state(self) -> str:
        if not self.is_ended:
            return "running" if self._has_begun else "queued"
        error = self._end.exception()
        if error is None:
            return "done"
        return "cancelled" if getattr(error, "reason", "") == "generation_cancelled" else "failed"

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        """What has happened so far, in brief, then what happens, until Finished or Failed."""
        watcher = _Watcher(self._replay())
        self._watchers.add(watcher)
        position: int | None = None
        try:
            yield Accepted(self.job_id)
            while not (watcher.has_read_all and self.is_ended):
                if not self._has_begun and not self.is_ended:
                    ahead = self.progress.pictures_ahead
                    if ahead != position:
                        position = ahead
                        yield Queued(ahead)
                event = await watcher.next(_POSITION_INTERVAL_S)
                if event is not None:
                    yield event
            yield self._last_event()
        finally:
            self._watchers.discard(watcher)

    def _replay(self) -> list[JobEvent]:
        steps: list[JobEvent] = [] if self._step is None else [self._step]
        return [*self._log, *steps, *self._previews.values()]

    def _last_event(self) -> JobEvent:
        error = self._end.exception()
        if error is None:
            return Finished(self._end.result())
        assert isinstance(error, ProviderError)
        return Failed(error)

    # What the service and the engine tell

    def attach(self, engine_job: engine_jobs.EngineJob) -> None:
        """The engine has taken it."""
        self._engine_job = engine_job

    def on_engine_event(self, event: engine_jobs.JobEvent) -> None:
        """For the engine's threads."""
        with contextlib.suppress(RuntimeError):  # The loop has ended, and with it everybody who watched.
            self._loop.call_soon_threadsafe(self._take, event)

    def log(self, event: str, **facts: Any) -> None:
        """One line for watchers; facts must hold neither prompt nor key."""
        line = json.dumps({"event": event, "job_id": self.job_id, "time_ms": time.time_ns() // 1_000_000, **facts})
        logged = Logged(line)
        self._log.append(logged)
        self._publish(logged)

    def finish(self, answer: FinishedAnswer) -> None:
        """The end, with pictures."""
        if not self._end.done():
            self._end.set_result(answer)
        self._wake()

    def fail(self, error: ProviderError) -> None:
        """The end, without."""
        if not self._end.done():
            self._end.set_exception(error)
        self._wake()

    def _take(self, event: engine_jobs.JobEvent) -> None:
        if isinstance(event, engine_jobs.PicturesStarted):
            if not self._has_begun:
                self._has_begun = True
                self._on_begun()
            self.log("pictures_started", pictures=list(event.pictures), batch_rows=event.batch_rows)
        elif isinstance(event, engine_jobs.StepReached):
            self._step = Stepped(event.pictures, event.step, event.steps)
            self._publish(self._step)
            self._take_previews(event.previews)
        elif isinstance(event, engine_jobs.PictureDone):
            compute_ms = event.row.compute_microseconds // 1000
            self.log("picture_done", picture=event.picture, bytes=len(event.row.picture), gpu_ms=compute_ms)
        else:
            self.log("pictures_returned", pictures=list(event.pictures), reason=event.reason)

    def _take_previews(self, previews: Mapping[int, bytes]) -> None:
        for picture, jpeg in previews.items():
            preview = Previewed(picture, jpeg)
            self._previews[picture] = preview
            self._newest_preview = jpeg
            self._publish(preview)

    def _publish(self, event: JobEvent) -> None:
        for watcher in self._watchers:
            watcher.put(event)

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.wake()


class _Watcher:
    """What one watcher has not read yet."""

    def __init__(self, events: list[JobEvent]) -> None:
        self._events = deque(events)
        self._is_filled = asyncio.Event()

    @property
    def has_read_all(self) -> bool:
        """Whether nothing waits."""
        return not self._events

    def put(self, event: JobEvent) -> None:
        """Makes room for it at the cost of what matters least: an old preview, else an old step, else an old line."""
        if len(self._events) >= _MAX_PENDING:
            kinds: tuple[type[JobEvent], ...] = (Previewed, Stepped, Logged)
            oldest = next(each for kind in kinds for each in self._events if isinstance(each, kind))
            self._events.remove(oldest)
        self._events.append(event)
        self._is_filled.set()

    def wake(self) -> None:
        """The job has ended."""
        self._is_filled.set()

    async def next(self, timeout_s: float) -> JobEvent | None:
        """The next event; None after so many seconds without one, or when the job has ended."""
        if not self._events:
            self._is_filled.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._is_filled.wait()
        return self._events.popleft() if self._events else None
