"""One worker thread that owns the model: a bounded queue in front, pictures behind.

The worker loads the model once, then takes one job at a time. A job stops between two denoising steps when its time is
up or its client has gone; neither touches the jobs behind it. Torch releases the interpreter's lock while it computes,
so the HTTP side of the process stays responsive.
"""

import os
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from provider.errors import (
    EngineNotReady,
    GenerationCancelled,
    GenerationFailed,
    GenerationTimedOut,
    ModelUnavailable,
    QueueFull,
)
from provider.generation import Device, GeneratedImage, ImageRequest, PipelineOptions

if TYPE_CHECKING:
    from provider.pipeline import ImagePipeline

_log = structlog.get_logger("provider.engine")

_FIRST_GUESS_JOB_S = 5.0
"""How long a job takes, for the first Retry-After, before one has been measured."""


class EngineState(StrEnum):
    """What the worker is doing; jobs are accepted in LOADING too and wait for the model."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True)
class FinishedImage:
    """A picture with the times that its receipt states (Unix seconds)."""

    image: GeneratedImage
    started_at: float
    finished_at: float


@dataclass
class Job:
    """A job in the queue or at work; `future` resolves to its picture or to a GenerationFailed."""

    request: ImageRequest
    deadline_monotonic: float
    future: "Future[FinishedImage]" = field(default_factory=Future)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Says that nobody waits for this job any more; the worker drops it at the next step."""
        self._cancelled.set()

    def check_stop(self) -> None:
        """Raises GenerationCancelled or GenerationTimedOut when the job should go no further."""
        if self._cancelled.is_set():
            raise GenerationCancelled("the client went away")
        if time.monotonic() > self.deadline_monotonic:
            raise GenerationTimedOut("the picture was not ready within the provider's time limit")


class Engine:
    """The queue and its worker. `start` once, `submit` from any thread, `stop` once."""

    def __init__(
        self,
        options: PipelineOptions,
        *,
        queue_limit: int,
        job_timeout_s: float,
    ) -> None:
        self.options = options
        self.device: Device | None = None
        self.vram_used_mib = 0
        self.failure: ModelUnavailable | None = None
        self.loaded: Future[Device] = Future()
        """Resolves to the device, or to the ModelUnavailable that kept the model from loading."""
        self.loaded.set_running_or_notify_cancel()
        self._queue_limit = queue_limit
        self._job_timeout_s = job_timeout_s
        # The limit counts waiting jobs and is enforced in `submit`; the end mark (None) must always fit.
        self._queue: queue.Queue[Job | None] = queue.Queue(maxsize=queue_limit + 1)
        self._submit_lock = threading.Lock()
        self._average_job_s = _FIRST_GUESS_JOB_S
        self._busy = False
        self._stopping = False
        self._worker = threading.Thread(target=self._work, name="engine-worker", daemon=True)

    @property
    def state(self) -> EngineState:
        """What the worker is doing now."""
        if self._stopping:
            return EngineState.STOPPING
        if self.failure is not None:
            return EngineState.FAILED
        return EngineState.LOADING if self.device is None else EngineState.READY

    @property
    def queue_length(self) -> int:
        """Jobs that wait, without the one at work."""
        return self._queue.qsize()

    @property
    def is_busy(self) -> bool:
        """Whether a job is at work."""
        return self._busy

    def start(self) -> None:
        """Starts the worker, which loads the model in the background."""
        self._worker.start()

    def submit(self, request: ImageRequest) -> Job:
        """Puts the job in the queue. Raises QueueFull, or EngineNotReady once loading failed or the end has begun."""
        with self._submit_lock:
            if self._stopping:
                raise EngineNotReady("the provider is shutting down", reason="shutting_down")
            if self.failure is not None:
                raise EngineNotReady(f"the model could not be loaded: {self.failure.message}")
            if self._queue.qsize() >= self._queue_limit:
                raise QueueFull(f"{self._queue_limit} jobs are waiting already", self.retry_after_s())
            job = Job(request, time.monotonic() + self._job_timeout_s)
            self._queue.put_nowait(job)
            return job

    def retry_after_s(self) -> int:
        """In how many seconds a place in the queue should be free, at least one."""
        return max(1, round(self._average_job_s))

    def stop(self) -> None:
        """Refuses what comes and what waits; the job at work runs on. Returns at once; safe in a signal handler."""
        self._stopping = True

    def join(self, timeout_s: float) -> bool:
        """Waits for the worker to end after `stop`; False when the job at work outlasted the time."""
        self.stop()
        if not self._worker.is_alive():
            return True
        with self._submit_lock:
            self._queue.put_nowait(None)
        self._worker.join(timeout_s)
        return not self._worker.is_alive()

    def _work(self) -> None:
        try:
            pipeline = self._load()
        except ModelUnavailable as error:
            self._fail(error)
            return
        while (job := self._queue.get()) is not None:
            self._busy = True
            self._run(pipeline, job)
            self.vram_used_mib = pipeline.vram_used_mib()
            self._busy = False

    def _load(self) -> "ImagePipeline":
        started = time.monotonic()
        # Read when the libraries are imported: they would print notices that concern no operator of a provider.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "critical")
        try:
            from provider.pipeline import load_pipeline
        except ImportError as error:
            message = f"the extra `provider` is not installed (pip install 'aitbc[provider]'): {error}"
            raise ModelUnavailable(message, reason="libraries_missing") from error
        pipeline = load_pipeline(self.options)
        self.device = pipeline.device
        self.loaded.set_result(pipeline.device)
        _log.info(
            "model_loaded",
            model=self.options.model,
            device=pipeline.device.kind,
            hardware=pipeline.device.name,
            duration_ms=round((time.monotonic() - started) * 1000),
        )
        return pipeline

    def _fail(self, error: ModelUnavailable) -> None:
        """Answers everyone who waits for a model that will not come."""
        with self._submit_lock:
            self.failure = error
        self.loaded.set_exception(error)
        _log.error("model_unavailable", model=self.options.model, reason=error.reason, detail=error.message)
        while not self._queue.empty():
            job = self._queue.get_nowait()
            if job is not None and job.future.set_running_or_notify_cancel():
                job.future.set_exception(GenerationFailed(error.message, reason=error.reason))

    def _run(self, pipeline: "ImagePipeline", job: Job) -> None:
        """Makes one picture; the pipeline raises GenerationFailed only, which ends in the job's future."""
        if not job.future.set_running_or_notify_cancel():
            return
        started_at, started_monotonic = time.time(), time.monotonic()
        try:
            if self._stopping:
                raise GenerationFailed("the provider is shutting down", reason="shutting_down")
            job.check_stop()
            image = pipeline.generate(job.request, job.check_stop)
        except GenerationFailed as error:
            job.future.set_exception(error)
        else:
            duration_s = time.monotonic() - started_monotonic
            self._average_job_s += 0.3 * (duration_s - self._average_job_s)
            # From the monotonic clock, so that a step of the wall clock cannot end a job before it began.
            job.future.set_result(FinishedImage(image, started_at, started_at + duration_s))
