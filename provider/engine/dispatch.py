"""The state that callers, slots and the clock share: who waits, who is at work, who gets what. One lock, no threads.

Every job ends exactly once: whoever settles it under the lock (its last picture, a failure, its caller, its deadline,
the provider's end) resolves its future, outside the lock.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from provider.engine.batching import choose_batch, seconds_to_wait
from provider.engine.jobs import (
    EngineJob,
    JobProgress,
    JobRow,
    JobState,
    PictureDone,
    PicturesReturned,
    PicturesStarted,
    StepReached,
    by_job,
    own_error,
)
from provider.engine.memory import MemoryBounds
from provider.engine.observer import EngineObserver
from provider.engine.options import EngineOptions
from provider.engine.outside import call_outside
from provider.engine.queue import FairQueue
from provider.engine.throughput import Throughput, work_of
from provider.errors import (
    BackendLost,
    GenerationCancelled,
    GenerationFailed,
    GenerationTimedOut,
    OutOfMemory,
    QueueFull,
)
from provider.generation import BatchDone, BatchKey, StepDone

_MOST_LOSSES: Final = 2
"""How often a row whose replica died is computed anew; it may be what kills them."""


class Dispatcher:
    """Hands rows to slots and results to jobs."""

    def __init__(
        self, options: EngineOptions, observer: EngineObserver, backend_rows: Callable[[BatchKey], int]
    ) -> None:
        self._options = options
        self._observer = observer
        self._backend_rows = backend_rows
        self._changed = threading.Condition(threading.Lock())
        self._queue: FairQueue[JobRow] = FairQueue(options.queue_limit_rows)
        self._living: dict[int, EngineJob] = {}
        self._bounds = MemoryBounds()
        self._throughput = Throughput()
        self._is_closing = False
        self._slots: set[int] = set()
        """Slots that serve, by number; those below are among them."""
        self._busy: set[int] = set()
        self._lost: set[int] = set()
        """Slots whose latest batch was lost."""

    # What others see

    @property
    def queue_length(self) -> int:
        """Rows that wait."""
        return len(self._queue)

    @property
    def waiting_jobs(self) -> int:
        """Jobs none of whose pictures is at work or done yet."""
        with self._changed:
            return sum(job.state is JobState.WAITING for job in self._living.values())

    @property
    def busy_slots(self) -> int:
        """Slots at work."""
        return len(self._busy)

    @property
    def lost_slots(self) -> int:
        """Slots whose latest batch was lost with their replica or device."""
        return len(self._lost)

    def progress_of(self, job: EngineJob) -> JobProgress:
        """How far the job is."""
        with self._changed:
            record, state = job.record, job.state
            ahead = self._queue.rows_ahead(lambda row: row.job is job) if state is JobState.WAITING else 0
            fraction = 1.0 if state is JobState.DONE else record.fraction()
            work = work_of(job.request.batch_key) * job.request.count * (1 - fraction)
            work += sum(work_of(row.key) for row in self._queue.first(ahead))
            is_over = state in (JobState.DONE, JobState.FAILED)
            return JobProgress(
                state=state,
                rows_ahead=ahead,
                pictures_done=record.pictures_done,
                pictures=job.request.count,
                step=record.step,
                steps=record.steps,
                fraction=fraction,
                remaining_s=0.0 if is_over else self._throughput.seconds_for(work, len(self._slots)),
            )

    def retry_after_s(self, rows: int) -> int:
        """In how many seconds so many places should be free, at least one and at most the time limit of jobs."""
        with self._changed:
            return self._retry_after_s(rows)

    def _retry_after_s(self, rows: int) -> int:
        # A place is free when its row starts, which is when the rows before it have been computed.
        work = sum(work_of(row.key) for row in self._queue.first(max(1, rows)))
        seconds = self._throughput.seconds_for(work, len(self._slots))
        return max(1, round(min(seconds, self._options.job_timeout_s)))

    # What callers do

    def submit(self, job: EngineJob, check_open: Callable[[], None]) -> None:
        """Puts the job's rows into the queue; raises QueueFull, or what `check_open` raises, asked under the lock."""
        rows = job.rows()
        with self._changed:
            check_open()
            self._check_room(job.caller, len(rows))
            self._living[id(job)] = job
            self._queue.add(rows)
            self._changed.notify_all()

    def check_room(self, caller: str, rows: int, check_open: Callable[[], None]) -> None:
        """Raises what `submit` would raise now for so many rows of this caller."""
        with self._changed:
            check_open()
            self._check_room(caller, rows)

    def _check_room(self, caller: str, rows: int) -> None:
        excess = self._queue.excess(caller, rows)
        if excess:
            message = f"{len(self._queue)} pictures are waiting already"
            raise QueueFull(message, self._retry_after_s(excess))

    def cancel(self, job: EngineJob) -> None:
        """Ends the job because its caller has gone."""
        self._fail([job], GenerationCancelled("the client went away"))

    # What the clock does

    def next_deadline_s(self) -> float | None:
        """When the next job's time is up, on the monotonic clock; None without any job."""
        with self._changed:
            return min((job.terms.deadline_s for job in self._living.values()), default=None)

    def end_overdue(self, now_s: float) -> None:
        """Ends the jobs whose time is up."""
        with self._changed:
            overdue = [job for job in self._living.values() if job.terms.deadline_s <= now_s]
        self._fail(overdue, GenerationTimedOut("the picture was not ready within the provider's time limit"))

    def end_waiting(self, error: GenerationFailed) -> None:
        """Ends the jobs that have rows in the queue; jobs that are wholly at work go on."""
        with self._changed:
            waiting = [row.job for row in self._queue.in_fair_order()]
        self._fail(waiting, error)

    def close(self) -> None:
        """Lets the slots end once nothing waits."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    # What slots do

    def open_slots(self, numbers: Iterable[int]) -> None:
        """These slots serve from now on."""
        with self._changed:
            self._slots.update(numbers)

    def take(self, slot: int) -> list[JobRow] | None:
        """The rows of this slot's next batch, waited for; None once there will be no more, which ends the slot."""
        with self._changed:
            while (rows := self._choose(slot)) is None:
                if self._is_closing and not self._queue:
                    self._slots.discard(slot)
                    self._lost.discard(slot)
                    self._changed.notify_all()
                    return None
            self._busy.add(slot)
            self._queue.take(rows)
            now_s = time.monotonic()
            for job, own in by_job(rows):
                job.record.start([row.index for row in own], len(rows), now_s)
        for job, own in by_job(rows):
            job.tell(PicturesStarted(tuple(row.index for row in own), len(rows)))
        call_outside(None, self._observer.batch_started, len(rows), [now_s - row.job.terms.submitted_s for row in rows])
        return rows

    def _choose(self, slot: int) -> list[JobRow] | None:
        """Rows to start now; or waits, with the lock released, for something to change, and gives None."""
        if not self._queue:
            if not self._is_closing:
                self._changed.wait()
            return None
        other_free_slots = self._slots - self._busy - self._lost - {slot}
        choice = choose_batch(self._queue, self._most_rows, len(other_free_slots))
        if slot in self._lost and choice.rows[0].losses and self._slots - self._lost:
            # A replica that may still be dead should not use up this row's last chance while another one lives.
            self._changed.wait()
            return None
        oldest_s = min(row.job.terms.submitted_s for row in choice.rows)
        wait_s = seconds_to_wait(choice, oldest_s, time.monotonic(), self._options.batch_wait_ms / 1000)
        if wait_s > 0 and not self._is_closing:
            self._changed.wait(wait_s)
            return None
        return list(choice.rows)

    def _most_rows(self, key: BatchKey) -> int:
        backend_rows = min(self._options.max_batch_rows, call_outside(1, self._backend_rows, key))
        return self._bounds.most_rows(key, max(1, backend_rows))

    def release(self, slot: int, *, is_lost: bool) -> None:
        """The slot's batch has ended, and its rows have been dealt with."""
        with self._changed:
            self._busy.discard(slot)
            (self._lost.add if is_lost else self._lost.discard)(slot)
            if not self._busy:
                self._queue.forgive()
            self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Waits, but no longer than there is anything to wait for."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing and not self._queue, seconds)

    def step_done(self, rows: Sequence[JobRow], done: StepDone) -> bool:
        """Tells the jobs of a batch; false once none of them wants it any more."""
        now_s = time.monotonic()
        overspent: list[EngineJob] = []
        for job, own in by_job(rows):
            with self._changed:
                if job.is_settled:
                    continue
                job.record.step_done([row.index for row in own], done.step, done.steps)
                budget = job.terms.budget_microseconds
                if budget is not None and job.record.spent_microseconds(now_s) > budget:
                    overspent.append(job)
            job.tell(StepReached(tuple(row.index for row in own), done.step, done.steps, _previews(rows, job, done)))
        self._fail(overspent, GenerationFailed("the job costs more than its client pays", reason="price_limit_reached"))
        return any(not row.job.is_settled for row in rows)

    def batch_done(self, rows: Sequence[JobRow], done: BatchDone, duration_s: float) -> None:
        """Hands the pictures to their jobs; whoever has all of them has its result."""
        key = rows[0].key
        with self._changed:
            self._throughput.record(work_of(key) * len(rows), duration_s)
            self._bounds.ran_well(key, len(rows), call_outside(1, self._backend_rows, key))
        finished = dict(zip(map(id, rows), done.rows, strict=True))
        for job, own in by_job(rows):
            pictures = {row.index: finished[id(row)] for row in own}
            with job.telling:
                with self._changed:
                    if job.is_settled:
                        continue
                    job.record.finish(pictures, done)
                    has_ended = job.record.is_complete and job.settle()
                    if has_ended:
                        del self._living[id(job)]
                for index, picture in pictures.items():
                    job.tell(PictureDone(index, picture))
                if has_ended:
                    self._resolve(job, None)

    def batch_failed(self, rows: Sequence[JobRow], error: GenerationFailed, *, may_be_one_row: bool = True) -> None:
        """Ends the batch's job; rows of several jobs are tried again one by one, as only one may be at fault."""
        jobs = by_job(rows)
        if may_be_one_row and len(jobs) > 1:
            for row in rows:
                row.largest_batch = 1
            self._put_back(rows, "retried_alone")
        else:
            self._fail([job for job, _ in jobs], error)

    def batch_ran_out(self, rows: Sequence[JobRow], error: OutOfMemory) -> None:
        """Puts the rows back, to be taken in halves, as later ones will be too; a single row's job ends."""
        if len(rows) == 1:
            self._fail([rows[0].job], error)
            return
        with self._changed:
            self._bounds.ran_out(rows[0].key, len(rows))
        call_outside(None, self._observer.memory_split, len(rows))
        self._put_back(rows, error.reason)

    def batch_lost(self, rows: Sequence[JobRow], error: BackendLost) -> None:
        """Puts the rows back; jobs with a row that was lost too often end."""
        for row in rows:
            row.losses += 1
        self._fail([row.job for row in rows if row.losses > _MOST_LOSSES], error)
        self._put_back(rows, error.reason)

    def _put_back(self, rows: Sequence[JobRow], reason: str) -> None:
        """To the queue's front, but for the rows of jobs that have ended."""
        for job, own in by_job(rows):
            indices = tuple(row.index for row in own)
            with self._changed:
                job.record.give_back(indices)
            job.tell(PicturesReturned(indices, reason))
        with self._changed:
            self._queue.put_back([row for row in rows if not row.job.is_settled])
            self._changed.notify_all()

    # How jobs end

    def _fail(self, jobs: Iterable[EngineJob], error: GenerationFailed) -> None:
        with self._changed:
            ended = [job for job in jobs if job.settle()]
            for job in ended:
                del self._living[id(job)]
            if ended:
                self._queue.discard(lambda row: row.job.is_settled)
                self._changed.notify_all()
        for job in ended:
            self._resolve(job, own_error(error))

    def _resolve(self, job: EngineJob, error: GenerationFailed | None) -> None:
        """Sets the future of a job that this thread has settled."""
        terms, now_s = job.terms, time.monotonic()
        started_s = now_s if job.record.started_s is None else job.record.started_s
        outcome = "ok" if error is None else error.reason
        call_outside(None, self._observer.job_ended, outcome, started_s - terms.submitted_s, now_s - terms.submitted_s)
        if error is None:
            job.future.set_result(job.record.result(terms.submitted_at, terms.submitted_s, now_s))
        else:
            job.future.set_exception(error)


def _previews(rows: Sequence[JobRow], job: EngineJob, done: StepDone) -> Mapping[int, bytes]:
    """The previews of one job's pictures, by picture."""
    return {rows[place].index: jpeg for place, jpeg in done.previews.items() if rows[place].job is job}
