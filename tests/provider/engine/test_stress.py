"""Many threads that submit, watch and cancel, on slots that are lost and run out of memory."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provider.engine.engine import Engine
from provider.engine.jobs import EngineJob, JobEvent, PictureDone
from provider.errors import BackendLost, GenerationFailed, QueueFull
from provider.generation import Batch, ImageRequest

PATIENCE_S = 120.0
THREADS = 8
JOBS_PER_THREAD = 200

StartEngine = Callable[..., Engine]
Wanted = Callable[..., bytes]


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual, and so in many more orders."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


class Crowd:
    """Clients in threads of their own, and what they have seen."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self.jobs: list[EngineJob] = []
        self.resolved: Counter[EngineJob] = Counter()
        self.delivered: Counter[tuple[str, int]] = Counter()
        """Prompt and picture of what was told to listeners."""

    def run(self) -> None:
        """Returns when all clients have done their part; jobs may still be at work."""
        threads = [threading.Thread(target=self._be_a_client, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _be_a_client(self, number: int) -> None:
        dice = random.Random(number)
        mine: list[EngineJob] = []
        for turn in range(JOBS_PER_THREAD):
            request = ImageRequest(
                f"job {number}.{turn}",
                steps=dice.randint(1, 4),
                guidance=dice.choice([1.0, 7.5]),
                width=dice.choice([256, 512]),
                height=256,
                seed=100 * turn,
                count=dice.randint(1, 6),
            )
            try:
                mine.append(self._submit(request, f"caller {number % 5}"))
            except QueueFull:
                if mine:
                    mine[0].future.exception(PATIENCE_S)
                continue
            if dice.random() < 0.3:
                dice.choice(mine).cancel()
            assert 0 <= dice.choice(mine).progress.fraction <= 1
        with self._lock:
            self.jobs += mine

    def _submit(self, request: ImageRequest, caller: str) -> EngineJob:
        def listen(event: JobEvent) -> None:
            if isinstance(event, PictureDone):
                with self._lock:
                    self.delivered[request.prompt, event.picture] += 1

        job = self._engine.submit(request, caller=caller, on_event=listen)
        job.future.add_done_callback(lambda _future: self._count(job))
        return job

    def _count(self, job: EngineJob) -> None:
        with self._lock:
            self.resolved[job] += 1


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("loses", [False, True])
def test_every_job_ends_once_and_nothing_is_computed_twice(
    start_engine: StartEngine, new_backend: Callable[..., Any], wanted: Wanted, loses: bool
) -> None:
    backend = new_backend(slots=3, most_rows=8, fits_rows=5)
    chance, lock = random.Random(20_250_926), threading.Lock()

    def lose(_batch: Batch, _slot: int) -> None:
        with lock:
            is_lost = chance.random() < 0.1
        if is_lost:
            raise BackendLost("the replica died")

    if loses:
        backend.trouble = lose
    engine = start_engine(backend, queue_limit_rows=40)
    crowd = Crowd(engine)
    crowd.run()
    engine.drain()
    assert engine.join(PATIENCE_S)

    finished = [job for job in crowd.jobs if job.future.exception(0) is None]
    for job in finished:
        pictures = [picture.picture for picture in job.future.result(0).pictures]
        assert pictures == [wanted(job.request, index) for index in range(job.request.count)]
        assert all(crowd.delivered[job.request.prompt, index] == 1 for index in range(job.request.count))
    for job in crowd.jobs:
        error = job.future.exception(0)
        assert error is None or isinstance(error, GenerationFailed)
        assert getattr(error, "reason", "ok") in {"ok", "generation_cancelled", "backend_lost" if loses else "ok"}
    assert len(finished) > len(crowd.jobs) / 4
    assert len(crowd.resolved) == len(crowd.jobs)
    assert set(crowd.resolved.values()) == {1}
    # A lost batch has finished nothing, so even then no picture is computed twice.
    assert set(backend.computed.values()) == {1}
    assert (engine.queue_length, engine.busy_slots, engine.waiting_jobs) == (0, 0, 0)
