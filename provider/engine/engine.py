"""The engine's life: it loads the backend, runs a thread per slot, keeps time limits, drains and stops.

    submit → the queue → a free slot's batch → pictures → the job's future

Jobs are accepted while the models load, and wait. A job ends at its deadline whatever a slot is doing; but a batch can
only be stopped between two steps, so a model that never returns from a step keeps its slot for ever. Jobs behind it end
when their time is up, other slots go on, and `join` says False in the end.
"""

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from typing import Final

import structlog

from provider.engine.dispatch import Dispatcher
from provider.engine.jobs import EngineJob, JobEvent, JobTerms
from provider.engine.observer import EngineObserver, SilentObserver
from provider.engine.options import EngineOptions
from provider.engine.outside import call_outside, where_raised
from provider.engine.slot import Slot
from provider.errors import EngineNotReady, GenerationFailed, ModelUnavailable, RequestTooLarge, UnknownModel
from provider.generation import Backend, Device, ImageRequest, ModelReport, StepCheck, StepsChecked

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.engine")


class EngineState(StrEnum):
    """What the engine is doing; jobs are accepted in LOADING and READY."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DRAINING = "draining"
    """After `drain` or `stop`, until the last batch has ended."""
    STOPPED = "stopped"


class Engine:
    """The queue and its slots. `start` once, `submit` from any thread, `drain` or `stop`, then `join`."""

    def __init__(self, backend: Backend, options: EngineOptions, observer: EngineObserver | None = None) -> None:
        self.options = options
        self.failure: ModelUnavailable | None = None
        """Why the models could not be loaded, once that is known."""
        self.devices: tuple[Device, ...] = ()
        """Where the slots run, once that is known."""
        self.loaded: Future[tuple[Device, ...]] = Future()
        """Resolves to the devices, or to the ModelUnavailable that kept the models from loading."""
        self.loaded.set_running_or_notify_cancel()
        self.vram_used_mib = 0
        """As of the latest batch."""
        self.slots = 0
        self._backend = backend
        self._observer = observer or SilentObserver()
        self._dispatcher = Dispatcher(options, self._observer, backend.max_rows)
        self._models = backend.models()
        self._names = {model.name for model in self._models}
        # `drain` and `stop` only write these two and wake the clock, so that a signal handler may call them even while
        # the thread that it interrupts holds a lock.
        self._is_draining = False
        self._is_stopping = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._clock_sleeps_until_s = math.inf
        """Monotonic; infinite while the clock is awake, too, as it may have looked at the deadlines already."""
        self._has_ended = threading.Event()
        self._life = threading.Thread(target=self._live, name="engine-life", daemon=True)
        self._clock = threading.Thread(target=self._keep_time, name="engine-clock", daemon=True)

    # How it stands

    @property
    def state(self) -> EngineState:
        """What the engine is doing now."""
        if self._is_draining:
            return EngineState.STOPPED if self._has_ended.is_set() else EngineState.DRAINING
        if self.failure is not None:
            return EngineState.FAILED
        return EngineState.READY if self.devices else EngineState.LOADING

    @property
    def queue_length(self) -> int:
        """Pictures that wait."""
        return self._dispatcher.queue_length

    @property
    def waiting_jobs(self) -> int:
        """Jobs of which nothing is at work yet."""
        return self._dispatcher.waiting_jobs

    @property
    def busy_slots(self) -> int:
        """Slots at work."""
        return self._dispatcher.busy_slots

    @property
    def lost_slots(self) -> int:
        """Slots whose latest batch was lost with their replica or device; they rest, and try again."""
        return self._dispatcher.lost_slots

    @property
    def is_busy(self) -> bool:
        """Whether a batch is at work."""
        return self._dispatcher.busy_slots > 0

    def models(self) -> tuple[ModelReport, ...]:
        """Every model that may be asked for, the default first, as of the latest batch."""
        return self._models

    def retry_after_s(self, rows: int = 1) -> int:
        """In how many seconds places for so many pictures should be free, at least one, from measured throughput."""
        return self._dispatcher.retry_after_s(rows)

    # What callers do

    def submit(
        self,
        request: ImageRequest,
        *,
        caller: str,
        preview_every: int = 0,
        records_trajectory: bool = False,
        budget_microseconds: int | None = None,
        timeout_s: float | None = None,
        on_event: Callable[[JobEvent], None] | None = None,
    ) -> EngineJob:
        """Puts a job into the queue, and never blocks.

        `timeout_s` can only shorten the operator's limit. Past `budget_microseconds` of device time, the job ends with
        the reason price_limit_reached. `on_event` is called on the engine's threads, with one event at a time, and
        must be quick. Raises UnknownModel, RequestTooLarge, QueueFull, or EngineNotReady (draining, shutting_down, or
        not_ready when the models could not be loaded).
        """
        self._check_request(request)
        now_s, limit_s = time.monotonic(), self.options.job_timeout_s
        terms = JobTerms(
            caller=caller,
            submitted_at=time.time(),
            submitted_s=now_s,
            deadline_s=now_s + (limit_s if timeout_s is None else min(limit_s, timeout_s)),
            preview_every=preview_every,
            records_trajectory=records_trajectory,
            budget_microseconds=budget_microseconds,
            on_event=on_event,
        )
        job = EngineJob(request, terms, self._dispatcher)
        self._dispatcher.submit(job, self._check_open)
        if terms.deadline_s < self._clock_sleeps_until_s:
            self._wake.put(None)
        return job

    def check_room(self, request: ImageRequest, *, caller: str) -> None:
        """Raises what `submit` would raise now, and takes no place: for whoever has work to do in between."""
        self._check_request(request)
        self._dispatcher.check_room(caller, request.count, self._check_open)

    def check_steps(self, check: StepCheck) -> StepsChecked:
        """Steps of another provider's run, computed again on one of the devices, between its batches. Blocks.

        Raises UnknownModel, EngineNotReady, GenerationFailed.
        """
        if check.key.model not in self._names:
            raise UnknownModel(f"there is no model {check.key.model!r} here")
        self._check_open()
        if not self.devices:
            raise EngineNotReady("the model is loading")
        try:
            return self._backend.check(check)
        except (GenerationFailed, ModelUnavailable) as error:
            raise GenerationFailed(error.message, reason=error.reason) from None
        except Exception as error:
            _log.error("check_failed", error=type(error).__name__, where=where_raised(error))
            raise GenerationFailed(f"the check failed: {type(error).__name__}") from error

    def _check_request(self, request: ImageRequest) -> None:
        assert request.count >= 1
        if request.model not in self._names:
            raise UnknownModel(f"there is no model {request.model!r} here")
        most = min(self.options.max_request_rows, self.options.queue_limit_rows)
        if request.count > most:
            raise RequestTooLarge(f"{request.count} pictures are more than the {most} that one request may ask for")

    def _check_open(self) -> None:
        if self._is_stopping:
            raise EngineNotReady("the provider is shutting down", reason="shutting_down")
        if self._is_draining:
            raise EngineNotReady("the provider finishes its last jobs and takes no others", reason="draining")
        if self.failure is not None:
            raise EngineNotReady(f"the model could not be loaded: {self.failure.message}")

    # Beginning and end

    def start(self) -> None:
        """Starts the threads; the models are loaded in the background."""
        self._clock.start()
        self._life.start()

    def drain(self) -> None:
        """Refuses what comes and finishes what waits. Returns at once; safe in a signal handler."""
        self._is_draining = True
        self._wake.put(None)

    def stop(self) -> None:
        """Refuses what comes and what waits; batches at work run on. Returns at once; safe in a signal handler."""
        self._is_stopping = True
        self.drain()

    def join(self, timeout_s: float) -> bool:
        """Waits for the end after `drain` or `stop`, or else stops first; False when a batch outlasted the time."""
        if not self._is_draining:
            self.stop()
        if self._life.ident is None:  # Never started.
            self._has_ended.set()
            self._follow_orders()
        return self._has_ended.wait(timeout_s)

    # The clock's thread

    def _keep_time(self) -> None:
        """Ends jobs whose time is up, and carries out what `drain` and `stop` ordered, until the engine has ended."""
        while not self._has_ended.is_set():
            self._follow_orders()
            now_s = time.monotonic()
            self._dispatcher.end_overdue(now_s)
            self._clock_sleeps_until_s = math.inf
            deadline_s = self._dispatcher.next_deadline_s()
            if deadline_s is not None:
                self._clock_sleeps_until_s = deadline_s
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=None if deadline_s is None else max(0.0, deadline_s - now_s))

    def _follow_orders(self) -> None:
        if self._is_stopping:
            self._dispatcher.end_waiting(GenerationFailed("the provider is shutting down", reason="shutting_down"))
        if self._is_draining:
            self._dispatcher.close()

    # The life's thread

    def _live(self) -> None:
        """Loads, serves with a thread for each slot, and closes the backend."""
        try:
            self._load()
        except ModelUnavailable as error:
            self._fail(error)
        else:
            self._serve()
        call_outside(None, self._backend.close)
        self._has_ended.set()
        self._wake.put(None)

    def _load(self) -> None:
        started_s = time.monotonic()
        try:
            self._backend.load()
            devices, self.slots = self._backend.devices(), self._backend.slots()
        except ModelUnavailable:
            raise
        except Exception as error:
            _log.error("loading_failed", error=type(error).__name__, where=where_raised(error))
            raise ModelUnavailable(f"loading failed: {type(error).__name__}", reason="loading_failed") from error
        self._look_at_backend()
        self.devices = devices
        _log.info(
            "models_loaded",
            models=[model.name for model in self._models if model.is_loaded],
            device=devices[0].kind,
            hardware=[device.name for device in devices],
            slots=self.slots,
            duration_ms=round((time.monotonic() - started_s) * 1000),
        )
        self.loaded.set_result(devices)

    def _fail(self, error: ModelUnavailable) -> None:
        """Answers everyone who waits for a model that will not come."""
        _log.error("model_unavailable", reason=error.reason, detail=error.message)
        self.failure = error
        self._dispatcher.end_waiting(GenerationFailed(error.message, reason=error.reason))
        self.loaded.set_exception(error)

    def _serve(self) -> None:
        self._dispatcher.open_slots(range(self.slots))
        threads = [
            threading.Thread(target=self._work, args=(number,), name=f"engine-slot-{number}", daemon=True)
            for number in range(self.slots)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, number: int) -> None:
        slot = Slot(number, self._backend, self._dispatcher, self._observer, lost_rest_s=self.options.lost_rest_s)
        slot.work(after_batch=self._look_at_backend)

    def _look_at_backend(self) -> None:
        """Remembers the backend's figures, which it may have to ask elsewhere for."""
        self._models = call_outside(self._models, self._backend.models)
        self.vram_used_mib = call_outside(self.vram_used_mib, self._backend.vram_used_mib)
