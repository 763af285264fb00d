"""What has become of a job's pictures so far. Pure; `dispatch` holds its lock whenever it touches one."""

from collections.abc import Sequence
from dataclasses import dataclass

from provider.generation import BatchDone, Device, FinishedRow, ReproducibilityProfile


@dataclass(frozen=True)
class FinishedJob:
    """A job's pictures in the order of their seeds, and where and when they were made."""

    pictures: tuple[FinishedRow, ...]
    device: Device
    """Where the first picture was made."""
    profiles: tuple[ReproducibilityProfile, ...]
    """One for each batch that had pictures of this job."""
    profile_of: tuple[int, ...]
    """For each picture, the place of its profile in `profiles`."""
    submitted_at: float
    started_at: float
    """When the first batch started."""
    finished_at: float
    """Unix seconds, all three, measured on the monotonic clock from `submitted_at`: a step of the wall clock cannot
    end a job before it began."""

    @property
    def compute_microseconds(self) -> int:
        """Device time of all pictures."""
        return sum(picture.compute_microseconds for picture in self.pictures)

    @property
    def picture_profiles(self) -> tuple[ReproducibilityProfile, ...]:
        """The profile of each picture."""
        return tuple(self.profiles[place] for place in self.profile_of)


@dataclass
class _Running:
    started_s: float
    batch_rows: int
    step: int = 0
    steps: int = 0


@dataclass(frozen=True)
class _Done:
    row: FinishedRow
    profile: int
    device: Device


class JobRecord:
    """The pictures of one job by their index: waiting, at work, or done. Times are monotonic seconds."""

    def __init__(self, pictures: int, steps: int) -> None:
        self._pictures = pictures
        self.step = 0
        self.steps = steps
        """As the batch said that spoke last; before that, as the request says."""
        self.started_s: float | None = None
        self._running: dict[int, _Running] = {}
        self._done: dict[int, _Done] = {}
        self._profiles: list[ReproducibilityProfile] = []

    @property
    def pictures_done(self) -> int:
        """How many there are already."""
        return len(self._done)

    @property
    def is_complete(self) -> bool:
        """Whether every picture is there."""
        return len(self._done) == self._pictures

    @property
    def is_running(self) -> bool:
        """Whether a batch has pictures of this job now."""
        return bool(self._running)

    def start(self, indices: Sequence[int], batch_rows: int, now_s: float) -> None:
        """These pictures are in a batch now."""
        if self.started_s is None:
            self.started_s = now_s
        self._running.update({index: _Running(now_s, batch_rows) for index in indices})

    def step_done(self, indices: Sequence[int], step: int, steps: int) -> None:
        """The batch of these pictures has ended a step."""
        self.step, self.steps = step, steps
        for index in indices:
            self._running[index].step, self._running[index].steps = step, steps

    def give_back(self, indices: Sequence[int]) -> None:
        """These pictures wait again."""
        self.step = 0
        for index in indices:
            del self._running[index]

    def finish(self, rows: dict[int, FinishedRow], batch: BatchDone) -> None:
        """These pictures are done, all in one batch."""
        for index, row in rows.items():
            del self._running[index]
            self._done[index] = _Done(row, len(self._profiles), batch.device)
        self._profiles.append(batch.profile)

    def fraction(self) -> float:
        """0 to 1: how much of the job is done."""
        running = sum(work.step / work.steps for work in self._running.values() if work.steps)
        return min(1.0, (len(self._done) + running) / self._pictures)

    def spent_microseconds(self, now_s: float) -> int:
        """Device time of what is done, and this job's share of the batches that it is in now."""
        done = sum(picture.row.compute_microseconds for picture in self._done.values())
        running = sum((now_s - work.started_s) / work.batch_rows for work in self._running.values())
        return done + int(running * 1_000_000)

    def result(self, submitted_at: float, submitted_s: float, now_s: float) -> FinishedJob:
        """The finished job, once it is complete: Unix time and monotonic time of the submit, monotonic time now."""
        assert self.is_complete and self.started_s is not None
        done = [self._done[index] for index in range(self._pictures)]
        return FinishedJob(
            pictures=tuple(picture.row for picture in done),
            device=done[0].device,
            profiles=tuple(self._profiles),
            profile_of=tuple(picture.profile for picture in done),
            submitted_at=submitted_at,
            started_at=submitted_at + (self.started_s - submitted_s),
            finished_at=submitted_at + (now_s - submitted_s),
        )
