"""A job as its caller sees it: a future, progress, events, a way to cancel; and its rows, as the queue sees them."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from provider.engine.outside import call_outside
from provider.engine.queue import turns_of
from provider.engine.record import FinishedJob, JobRecord
from provider.errors import GenerationFailed
from provider.generation import BatchKey, FinishedRow, ImageRequest, Row


class JobState(StrEnum):
    """Where a job stands; FAILED covers cancelled and timed out, too: the future's error says which."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class JobProgress:
    """How far a job is, at the moment of asking."""

    state: JobState
    rows_ahead: int
    """Pictures of others that come before this job's first, as things stand; 0 once it is at work."""
    pictures_done: int
    pictures: int
    step: int
    steps: int
    """Of the batch that reported last."""
    fraction: float
    """0 to 1, over all pictures."""
    remaining_s: float
    """An estimate from measured throughput."""


@dataclass(frozen=True)
class PicturesStarted:
    """These pictures of the job are in a batch now, with `batch_rows` rows in all."""

    pictures: tuple[int, ...]
    batch_rows: int


@dataclass(frozen=True)
class StepReached:
    """The batch of these pictures has ended `step` of `steps`; previews are JPEGs by picture."""

    pictures: tuple[int, ...]
    step: int
    steps: int
    previews: Mapping[int, bytes]


@dataclass(frozen=True)
class PictureDone:
    """A picture is there."""

    picture: int
    row: FinishedRow


@dataclass(frozen=True)
class PicturesReturned:
    """These pictures wait again: out_of_memory, backend_lost, or retried_alone after their batch failed."""

    pictures: tuple[int, ...]
    reason: str


JobEvent = PicturesStarted | StepReached | PictureDone | PicturesReturned


@dataclass(frozen=True)
class JobTerms:
    """What a job asks for beside its pictures; times are monotonic seconds unless they say otherwise."""

    caller: str
    submitted_at: float
    """Unix seconds."""
    submitted_s: float
    deadline_s: float
    preview_every: int = 0
    records_trajectory: bool = False
    budget_microseconds: int | None = None
    on_event: Callable[[JobEvent], None] | None = None


class JobKeeper(Protocol):
    """Who knows where a job stands: `dispatch.Dispatcher`."""

    def cancel(self, job: "EngineJob") -> None:
        """Ends the job, wherever it is."""

    def progress_of(self, job: "EngineJob") -> JobProgress:
        """How far it is."""


@dataclass(eq=False)
class EngineJob:
    """A job in the queue or at work; `future` resolves to its pictures, or raises GenerationFailed.

    The future cannot be cancelled by itself: `cancel` ends the job, and with it the future.
    """

    request: ImageRequest
    terms: JobTerms
    keeper: JobKeeper
    future: "Future[FinishedJob]" = field(default_factory=Future)
    is_settled: bool = False
    """Whether it is decided how the job ends; its rows are not wanted any more. Guarded by the keeper's lock."""
    telling: threading.RLock = field(default_factory=threading.RLock)
    """Held while an event is told, so that events of batches on several slots come one after another, and all of them
    before the result. Never taken while the keeper's lock is held."""

    def __post_init__(self) -> None:
        self.record = JobRecord(self.request.count, self.request.steps)
        self.future.set_running_or_notify_cancel()

    def cancel(self) -> None:
        """Nobody wants the pictures any more: the future raises GenerationCancelled at once, unless it is resolved."""
        self.keeper.cancel(self)

    @property
    def progress(self) -> JobProgress:
        """How far the job is."""
        return self.keeper.progress_of(self)

    @property
    def caller(self) -> str:
        """Whose job it is."""
        return self.terms.caller

    def tell(self, event: JobEvent) -> None:
        """Calls the caller's listener, unless the job has ended already."""
        with self.telling:
            if self.terms.on_event is not None and not self.future.done():
                call_outside(None, self.terms.on_event, event)

    def settle(self) -> bool:
        """Claims the end of the job; true for the one who may resolve the future. With the keeper's lock held."""
        is_first = not self.is_settled
        self.is_settled = True
        return is_first

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        if self.future.done():
            return JobState.DONE if self.future.exception() is None else JobState.FAILED
        return JobState.RUNNING if self.record.is_running or self.record.pictures_done else JobState.WAITING

    def rows(self) -> "list[JobRow]":
        """One for each picture."""
        terms, key = self.terms, self.request.batch_key
        return [
            JobRow(
                self,
                index,
                key,
                self.request.row(index, records_trajectory=terms.records_trajectory, preview_every=terms.preview_every),
            )
            for index in range(self.request.count)
        ]


@dataclass(eq=False)
class JobRow:
    """One picture of a job on its way through the queue."""

    job: EngineJob
    index: int
    key: BatchKey
    row: Row
    largest_batch: int = sys.maxsize
    """How many rows it may be computed with, itself included; 1 after a batch of it has failed."""
    losses: int = 0
    """How often the backend was lost with it."""

    @property
    def caller(self) -> str:
        """Whose row it is."""
        return self.job.caller

    @cached_property
    def turns(self) -> int:
        """What it costs its caller in the queue."""
        return turns_of(self.key)


def by_job(rows: Sequence[JobRow]) -> "list[tuple[EngineJob, list[JobRow]]]":
    """The rows of a batch, job by job."""
    groups: dict[int, tuple[EngineJob, list[JobRow]]] = {}
    for row in rows:
        groups.setdefault(id(row.job), (row.job, []))[1].append(row)
    return list(groups.values())


def own_error(error: GenerationFailed) -> GenerationFailed:
    """The same failure as an exception of its own: each future raises it in another thread, with another traceback.

    The cause stays behind: its text may hold a prompt, and some logger may print it.
    """
    return type(error)(error.message, reason=error.reason)
