"""What becomes of a batch's rows: finished, stopped, out of memory, lost, failed."""

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from provider.engine.engine import Engine
from provider.engine.jobs import JobEvent, PictureDone, PicturesReturned, PicturesStarted
from provider.errors import BackendLost, GenerationCancelled, GenerationFailed, ModelUnavailable, OutOfMemory
from provider.generation import Batch, BatchDone, ImageRequest

PATIENCE_S = 60.0
REQUEST = ImageRequest("a red circle", steps=3, guidance=2.5, width=256, height=256, seed=1)

StartEngine = Callable[..., Engine]
Wanted = Callable[..., bytes]


class Listener:
    """Metrics, as lists."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[tuple[int, str]] = []
        self.splits: list[int] = []
        self.jobs: list[str] = []

    def batch_started(self, rows: int, waited_s: Sequence[float]) -> None:
        assert len(waited_s) == rows
        assert min(waited_s) >= 0
        self.started.append(rows)

    def batch_ended(self, rows: int, duration_s: float, outcome: str) -> None:
        assert duration_s >= 0
        self.ended.append((rows, outcome))

    def memory_split(self, rows: int) -> None:
        self.splits.append(rows)

    def job_ended(self, outcome: str, waited_s: float, duration_s: float) -> None:
        assert 0 <= waited_s <= duration_s
        self.jobs.append(outcome)


@pytest.fixture
def listener() -> Listener:
    return Listener()


def begin_together(engine: Engine, backend: Any, requests: Sequence[ImageRequest]) -> list[Any]:
    """Submits while the only slot is busy with something else, so that all of these wait before any is taken."""
    backend.gate.clear()
    busy = engine.submit(replace(REQUEST, prompt="something else", width=512), caller="busy")
    backend.begun.get(timeout=PATIENCE_S)
    jobs = [engine.submit(request, caller=f"caller {number}") for number, request in enumerate(requests)]
    backend.gate.set()
    busy.future.result(PATIENCE_S)
    return jobs


def batch_sizes(backend: Any) -> list[int]:
    return [len(backend.begun.get(timeout=PATIENCE_S)[1].rows) for _ in range(backend.begun.qsize())]


def test_waiting_rows_of_one_kind_are_computed_together(
    start_engine: StartEngine, backend: Any, listener: Listener, wanted: Wanted
) -> None:
    engine = start_engine(observer=listener)
    requests = [replace(REQUEST, seed=seed, prompt=f"prompt {seed}", guidance=2.0 + seed) for seed in range(4)]
    for job, request in zip(begin_together(engine, backend, requests), requests, strict=True):
        finished = job.future.result(PATIENCE_S)
        assert finished.pictures[0].picture == wanted(request)
        assert finished.profiles[0].batch_rows == 4
    assert batch_sizes(backend) == [4]
    assert engine.join(PATIENCE_S)
    assert listener.started == [1, 4]
    assert listener.ended == [(1, "ok"), (4, "ok")]
    assert listener.jobs == ["ok"] * 5


def test_a_batch_that_nobody_wants_is_stopped(start_engine: StartEngine, backend: Any, listener: Listener) -> None:
    engine = start_engine(observer=listener)
    backend.gate.clear()
    jobs = [engine.submit(REQUEST, caller="alice")]
    backend.begun.get(timeout=PATIENCE_S)
    jobs.append(engine.submit(REQUEST, caller="bob"))
    for job in jobs:
        job.cancel()
        job.cancel()
        with pytest.raises(GenerationCancelled):
            job.future.result(PATIENCE_S)
    assert engine.queue_length == 0
    backend.gate.set()
    assert len(backend.stopped.get(timeout=PATIENCE_S).rows) == 1
    engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)
    assert engine.join(PATIENCE_S)
    assert listener.ended == [(1, "unwanted"), (1, "ok")]


def test_an_idle_slot_holds_nothing_of_its_last_batch(start_engine: StartEngine) -> None:
    engine = start_engine()
    job = engine.submit(REQUEST, caller="alice")
    assert len(job.future.result(PATIENCE_S).pictures) == 1
    remembered = weakref.ref(job)
    del job
    patience = threading.Event()
    for _ in range(int(PATIENCE_S * 10)):
        gc.collect()
        if remembered() is None:
            break
        patience.wait(0.1)
    assert remembered() is None, "pictures and latents stay in memory until another batch comes"


def test_a_row_that_is_cancelled_does_not_stop_its_neighbours(
    start_engine: StartEngine, backend: Any, wanted: Wanted
) -> None:
    engine = start_engine()
    reached = threading.Event()
    requests = [replace(REQUEST, seed=seed) for seed in range(3)]
    backend.trouble = lambda batch, _slot: reached.set() if len(batch.rows) == 3 else None
    jobs = begin_together(engine, backend, requests)
    assert reached.wait(PATIENCE_S)
    jobs[1].cancel()
    for seed in (0, 2):
        assert jobs[seed].future.result(PATIENCE_S).pictures[0].picture == wanted(requests[seed])


def test_a_batch_that_does_not_fit_is_split_and_later_ones_are_smaller(
    start_engine: StartEngine, new_backend: Callable[..., Any], listener: Listener, wanted: Wanted
) -> None:
    backend = new_backend(most_rows=8, fits_rows=3)
    engine = start_engine(backend, observer=listener)
    requests = [replace(REQUEST, seed=seed) for seed in range(8)]
    for request, job in zip(requests, begin_together(engine, backend, requests), strict=True):
        assert job.future.result(PATIENCE_S).pictures[0].picture == wanted(request)
    assert batch_sizes(backend) == [8, 4, 2, 2, 2, 2]
    assert listener.splits == [8, 4]
    assert set(backend.computed.values()) == {1}
    for job in begin_together(engine, backend, requests):
        job.future.result(PATIENCE_S)
    assert batch_sizes(backend) == [2, 2, 2, 2]


def test_after_many_batches_that_fitted_a_larger_one_is_tried(
    start_engine: StartEngine, new_backend: Callable[..., Any]
) -> None:
    backend = new_backend(most_rows=8, fits_rows=3)
    engine = start_engine(backend, queue_limit_rows=100)
    # Four batches of two fit after the first failures; with 28 more it is time to try three.
    for count, sizes in ((8, [8, 4, 2, 2, 2, 2]), (2 * 28 + 3, [2] * 28 + [3])):
        for job in begin_together(engine, backend, [replace(REQUEST, seed=seed) for seed in range(count)]):
            job.future.result(PATIENCE_S)
        assert batch_sizes(backend) == sizes


def test_a_single_row_that_does_not_fit_fails_and_takes_nobody_along(
    start_engine: StartEngine, backend: Any, wanted: Wanted
) -> None:
    def too_small(batch: Batch, _slot: int) -> None:
        if any(row.seed == 3 for row in batch.rows):
            raise OutOfMemory("too little memory on this device")

    backend.trouble = too_small
    engine = start_engine()
    requests = [replace(REQUEST, seed=seed) for seed in range(6)]
    jobs = begin_together(engine, backend, requests)
    for seed, job in enumerate(jobs):
        if seed == 3:
            with pytest.raises(OutOfMemory):
                job.future.result(PATIENCE_S)
        else:
            assert job.future.result(PATIENCE_S).pictures[0].picture == wanted(requests[seed])
    assert set(backend.computed.values()) == {1}


@pytest.mark.parametrize("losses", [1, 2])
def test_rows_of_a_lost_backend_are_computed_again(
    start_engine: StartEngine, backend: Any, listener: Listener, wanted: Wanted, losses: int
) -> None:
    left = losses

    def lose(_batch: Batch, _slot: int) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise BackendLost("the replica died")

    backend.trouble = lose
    engine = start_engine(observer=listener)
    events: list[JobEvent] = []
    job = engine.submit(replace(REQUEST, count=2), caller="alice", on_event=events.append)
    finished = job.future.result(PATIENCE_S)
    assert [picture.picture for picture in finished.pictures] == [wanted(REQUEST), wanted(replace(REQUEST, seed=2))]
    assert engine.join(PATIENCE_S)
    assert listener.ended == [(2, "backend_lost")] * losses + [(2, "ok")]
    kinds = [type(event) for event in events if not hasattr(event, "step")]
    assert kinds == [PicturesStarted, PicturesReturned] * losses + [PicturesStarted, PictureDone, PictureDone]


def test_a_row_that_is_lost_a_third_time_fails(start_engine: StartEngine, backend: Any) -> None:
    def lose(_batch: Batch, _slot: int) -> None:
        raise BackendLost("the replica died")

    backend.trouble = lose
    engine = start_engine()
    with pytest.raises(BackendLost, match="replica died"):
        engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)
    assert backend.begun.qsize() == 3


def test_rows_of_a_lost_slot_are_taken_by_another_though_it_is_busy(
    start_engine: StartEngine, new_backend: Callable[..., Any]
) -> None:
    """The lost slot is idle and must not use the row's chances up while a living one has its hands full."""
    backend = new_backend(slots=2, most_rows=1)

    def lose_first(_batch: Batch, slot: int) -> None:
        if slot == lost_slot:
            raise BackendLost("the replica died")

    engine = start_engine(backend)
    backend.gate.clear()
    long_job = engine.submit(replace(REQUEST, width=512), caller="alice")
    busy_slot, _ = backend.begun.get(timeout=PATIENCE_S)
    lost_slot = 1 - busy_slot
    backend.trouble = lose_first
    returned = threading.Event()

    def note(event: JobEvent) -> None:
        if isinstance(event, PicturesReturned):
            returned.set()

    job = engine.submit(REQUEST, caller="bob", on_event=note)
    assert returned.wait(PATIENCE_S)
    backend.gate.set()
    long_job.future.result(PATIENCE_S)
    assert job.future.result(PATIENCE_S).device.name == f"device {busy_slot}"
    assert [backend.begun.get(timeout=PATIENCE_S)[0] for _ in range(2)] == [lost_slot, busy_slot]


def test_a_failing_job_does_not_fail_those_that_shared_its_batch(
    start_engine: StartEngine, backend: Any, listener: Listener, wanted: Wanted
) -> None:
    def fail(batch: Batch, _slot: int) -> None:
        if any(row.prompt == "poison" for row in batch.rows):
            raise GenerationFailed("values that are not numbers", reason="not_a_number")

    backend.trouble = fail
    engine = start_engine(observer=listener)
    requests = [REQUEST, replace(REQUEST, prompt="poison"), replace(REQUEST, seed=3)]
    jobs = begin_together(engine, backend, requests)
    with pytest.raises(GenerationFailed) as caught:
        jobs[1].future.result(PATIENCE_S)
    assert caught.value.reason == "not_a_number"
    for place in (0, 2):
        assert jobs[place].future.result(PATIENCE_S).pictures[0].picture == wanted(requests[place])
    assert batch_sizes(backend) == [3, 1, 1, 1]


def test_an_exception_of_the_pipeline_ends_its_job_without_the_prompt_in_any_log(
    start_engine: StartEngine, backend: Any
) -> None:
    def explode(batch: Batch, _slot: int) -> None:
        if batch.rows[0].prompt == "a secret":
            raise ZeroDivisionError(f"cannot draw {batch.rows[0].prompt}")

    backend.trouble = explode
    engine = start_engine()
    with structlog.testing.capture_logs() as logs:
        job = engine.submit(replace(REQUEST, prompt="a secret"), caller="alice")
        with pytest.raises(GenerationFailed, match=r"^the pipeline failed: ZeroDivisionError$") as caught:
            job.future.result(PATIENCE_S)
        engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)
        assert engine.join(PATIENCE_S)
    assert caught.value.__cause__ is None
    assert any(entry["event"] == "pipeline_failed" for entry in logs)
    assert "secret" not in str(logs)


def test_a_model_that_cannot_be_switched_to_fails_its_batch_at_once(
    start_engine: StartEngine, backend: Any, listener: Listener
) -> None:
    def cannot(batch: Batch, _slot: int) -> None:
        if batch.key.model == "other":
            raise ModelUnavailable("the model hub cannot be reached", reason="model_hub_unreachable")

    backend.trouble = cannot
    engine = start_engine(observer=listener)
    jobs = begin_together(engine, backend, [replace(REQUEST, model="other", seed=seed) for seed in range(3)])
    for job in jobs:
        with pytest.raises(GenerationFailed) as caught:
            job.future.result(PATIENCE_S)
        assert caught.value.reason == "model_hub_unreachable"
    assert batch_sizes(backend) == [3]
    engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)
    assert engine.join(PATIENCE_S)
    assert listener.ended == [(1, "ok"), (3, "model_hub_unreachable"), (1, "ok")]


@pytest.mark.parametrize("ending", [lambda _done: None, lambda done: replace(done, rows=done.rows * 2)])
def test_a_backend_that_gives_no_pictures_or_too_many(
    start_engine: StartEngine, backend: Any, ending: Callable[[BatchDone], BatchDone | None]
) -> None:
    backend.ending = ending
    engine = start_engine()
    with pytest.raises(GenerationFailed, match="the pipeline failed"):
        engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)
    backend.ending = lambda done: done
    engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)


class Broken:
    """Metrics that raise at everything."""

    def batch_started(self, rows: int, waited_s: Sequence[float]) -> None:
        raise RuntimeError

    def batch_ended(self, rows: int, duration_s: float, outcome: str) -> None:
        raise RuntimeError

    def memory_split(self, rows: int) -> None:
        raise RuntimeError

    def job_ended(self, outcome: str, waited_s: float, duration_s: float) -> None:
        raise RuntimeError


def test_metrics_that_raise_do_not_end_a_slot(
    start_engine: StartEngine, new_backend: Callable[..., Any], wanted: Wanted
) -> None:
    engine = start_engine(new_backend(fits_rows=1), observer=Broken())
    for _ in range(2):
        job = engine.submit(replace(REQUEST, count=2), caller="alice")
        assert job.future.result(PATIENCE_S).pictures[0].picture == wanted(REQUEST)
