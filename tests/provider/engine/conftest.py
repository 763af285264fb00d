"""A backend whose pictures are hashes: it keeps to the protocol, and a test can hold it, starve it or kill it."""

import hashlib
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from provider.engine.engine import Engine
from provider.engine.observer import EngineObserver
from provider.engine.options import EngineOptions
from provider.errors import GenerationFailed, OutOfMemory
from provider.generation import (
    Batch,
    BatchDone,
    BatchEvent,
    BatchKey,
    Device,
    FinishedRow,
    ImageRequest,
    ModelReport,
    ReproducibilityProfile,
    Row,
    StepCheck,
    StepDone,
    StepsChecked,
)

PATIENCE_S = 60.0
"""What nothing in these tests should ever take; a test that runs into it has failed."""

ROW_MICROSECONDS = 1_000


class HashBackend:
    """Computes the SHA-256 of a row's prompt, seed and guidance, in as many steps as were asked for.

    `gate` lets steps pass while it is set, `doors` does so per slot. `trouble` is called at the start of every batch
    and may raise. More rows than `fits_rows` run out of memory. `loading` must be set for `load` to end.
    """

    def __init__(self, slots: int = 1, most_rows: int = 8, fits_rows: int = 1_000) -> None:
        self.most_rows = most_rows
        self.fits_rows = fits_rows
        self.gate = threading.Event()
        self.gate.set()
        self.loading = threading.Event()
        self.loading.set()
        self.load_error: Exception | None = None
        self.trouble: Callable[[Batch, int], None] = lambda _batch, _slot: None
        self.ending: Callable[[BatchDone], BatchDone | None] = lambda done: done
        """What the backend gives in the end, made of what it should give."""
        self.begun: queue.Queue[tuple[int, Batch]] = queue.Queue()
        """Slot and batch, of every batch that was started."""
        self.stopped: queue.Queue[Batch] = queue.Queue()
        """Batches whose generator was closed before its end."""
        self.computed: Counter[bytes] = Counter()
        """How often each picture was finished."""
        self.is_closed = False
        self._slots = slots
        self._lock = threading.Lock()

    def load(self) -> None:
        """Waits for `loading`."""
        assert self.loading.wait(PATIENCE_S)
        if self.load_error is not None:
            raise self.load_error

    def devices(self) -> tuple[Device, ...]:
        """One for each slot."""
        return tuple(Device("cpu", f"device {number}", 0) for number in range(self._slots))

    def slots(self) -> int:
        """As it was built."""
        return self._slots

    def models(self) -> tuple[ModelReport, ...]:
        """The default model, and another."""
        return (ModelReport("aitbc/tiny-sd", is_loaded=True, vram_mib=0), ModelReport("other", True, 0))

    def max_rows(self, key: BatchKey) -> int:
        """The same for every kind of batch."""
        return self.most_rows

    def check(self, check: StepCheck) -> StepsChecked:
        """Every entry is made from the one before it, by a hash of the row and the entry."""
        needed = tuple((step - 1,) if step else () for _, step in check.places)
        if check.opened is None:
            return StepsChecked(check.key.steps, needed)
        for (row, _), entries in zip(check.places, needed, strict=True):
            if any((row, entry) not in check.opened for entry in entries):
                raise GenerationFailed("latents that were not opened", reason="bad_latents")
        latents = tuple(entry_of(check.rows[row], step) for row, step in check.places)
        profile = ReproducibilityProfile("00" * 32, "Hash", "float32", "cpu", check.batch_rows, (4, 8, 8), {})
        return StepsChecked(check.key.steps, needed, profile, (1.0,) * len(latents), latents)

    def run(self, batch: Batch, slot: int) -> Iterator[BatchEvent]:
        """The steps, then the hashes."""
        self.begun.put((slot, batch))
        self.trouble(batch, slot)
        if len(batch.rows) > self.fits_rows:
            raise OutOfMemory("too many rows")
        steps = batch.key.steps
        try:
            for step in range(1, steps + 1):
                assert self.gate.wait(PATIENCE_S)
                previews = {
                    place: f"preview of {row.seed}".encode()
                    for place, row in enumerate(batch.rows)
                    if row.preview_every and step % row.preview_every == 0
                }
                yield StepDone(step, steps, previews)
        except GeneratorExit:
            self.stopped.put(batch)
            raise
        pictures = [picture_of(row) for row in batch.rows]
        with self._lock:
            self.computed.update(pictures)
        profile = ReproducibilityProfile("00" * 32, "Hash", "float32", f"cpu {slot}", len(batch.rows), (4, 8, 8), {})
        rows = tuple(FinishedRow(picture, ROW_MICROSECONDS) for picture in pictures)
        done = self.ending(BatchDone(rows, profile, self.devices()[slot]))
        if done is not None:
            yield done

    def vram_used_mib(self) -> int:
        """Something to see."""
        return 7

    def close(self) -> None:
        """Remembers it."""
        self.is_closed = True


def picture_of(row: Row) -> bytes:
    """What the backend makes of a row."""
    return hashlib.sha256(f"{row.prompt}|{row.seed}|{row.guidance}".encode()).digest()


def entry_of(row: Row, step: int) -> bytes:
    """An entry of the trajectory that a row could have."""
    return hashlib.sha256(f"{row.prompt}|{row.seed}|{step}".encode()).digest()


def wanted_picture(request: ImageRequest, index: int = 0) -> bytes:
    """What a job should get as its picture `index`."""
    return picture_of(request.row(index))


StartEngine = Callable[..., Engine]


@pytest.fixture
def backend() -> HashBackend:
    """One slot, eight rows."""
    return HashBackend()


@pytest.fixture(scope="session")
def new_backend() -> type[HashBackend]:
    """Other kinds of it."""
    return HashBackend


@pytest.fixture(scope="session")
def wanted() -> Callable[..., bytes]:
    """`wanted_picture`, for test files (which cannot import from here)."""
    return wanted_picture


@pytest.fixture
def start_engine(backend: HashBackend) -> Iterator[StartEngine]:
    """Starts engines, over `backend` unless told otherwise, and sees to it that they end."""
    started: list[tuple[Engine, HashBackend]] = []

    def start(
        over: HashBackend | None = None, *, observer: EngineObserver | None = None, ready: bool = True, **options: Any
    ) -> Engine:
        mine = over or backend
        quick = EngineOptions(job_timeout_s=10 * PATIENCE_S, batch_wait_ms=0, lost_rest_s=0.0)
        engine = Engine(mine, replace(quick, **options), observer)
        started.append((engine, mine))
        engine.start()
        if ready:
            engine.loaded.result(PATIENCE_S)
        return engine

    yield start
    for engine, mine in started:
        mine.gate.set()
        mine.loading.set()
        engine.stop()
    for engine, mine in started:
        assert engine.join(PATIENCE_S)
        assert mine.is_closed
        assert engine.queue_length == 0
