"""The worker: a bounded queue, time limits, clients that leave, a model that cannot be loaded, an orderly end."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import pytest

from provider.engine import Engine, EngineState, FinishedImage, Job
from provider.errors import (
    EngineNotReady,
    GenerationCancelled,
    GenerationFailed,
    GenerationTimedOut,
    ModelUnavailable,
    QueueFull,
)
from provider.generation import ImageRequest, PipelineOptions

QUICK = ImageRequest("a red circle", steps=5, guidance=1.0, width=256, height=256, seed=1)
SLOW = replace(QUICK, steps=100, width=1024, height=1024)
PATIENCE_S = 120.0

Eventually = Callable[..., None]
StartEngine = Callable[..., Engine]


@pytest.fixture
def start_engine() -> Iterator[StartEngine]:
    engines: list[Engine] = []

    def start(*, queue_limit: int = 4, job_timeout_s: float = PATIENCE_S, model: str = "aitbc/tiny-sd") -> Engine:
        options = PipelineOptions(model=model, cpu_threads=1)
        engine = Engine(options, queue_limit=queue_limit, job_timeout_s=job_timeout_s)
        engines.append(engine)
        engine.start()
        return engine

    yield start
    for engine in engines:
        assert engine.join(PATIENCE_S)


def finish(job: Job) -> FinishedImage:
    return job.future.result(PATIENCE_S)


def test_jobs_wait_for_the_model_and_come_out_in_order(start_engine: StartEngine) -> None:
    engine = start_engine()
    jobs = [engine.submit(replace(QUICK, seed=seed)) for seed in range(3)]
    finished = [finish(job) for job in jobs]
    assert engine.state is EngineState.READY
    assert engine.device is not None
    assert [picture.started_at for picture in finished] == sorted(picture.started_at for picture in finished)
    for picture in finished:
        assert picture.finished_at - picture.started_at >= picture.image.compute_microseconds / 1e6


def test_a_full_queue_refuses_and_then_takes_again(start_engine: StartEngine, eventually: Eventually) -> None:
    engine = start_engine(queue_limit=2)
    finish(engine.submit(QUICK))
    at_work = engine.submit(SLOW)
    eventually(lambda: engine.is_busy and engine.queue_length == 0)
    waiting = [engine.submit(QUICK), engine.submit(QUICK)]
    with pytest.raises(QueueFull) as caught:
        engine.submit(QUICK)
    assert caught.value.retry_after_s >= 1
    at_work.cancel()
    for job in waiting:
        finish(job)
    finish(engine.submit(QUICK))


def test_a_job_that_takes_too_long_ends_and_the_next_one_runs(start_engine: StartEngine) -> None:
    finish(start_engine().submit(QUICK))  # Only so that importing the libraries counts for nobody's time.
    engine = start_engine(job_timeout_s=2.0)
    wait([engine.loaded])
    slow = engine.submit(SLOW)
    with pytest.raises(GenerationTimedOut):
        finish(slow)
    finish(engine.submit(QUICK))


def test_a_client_that_leaves_stops_its_job_at_work_or_in_the_queue(
    start_engine: StartEngine, eventually: Eventually
) -> None:
    engine = start_engine()
    at_work, waiting, last = engine.submit(SLOW), engine.submit(SLOW), engine.submit(QUICK)
    waiting.cancel()
    eventually(lambda: engine.is_busy, PATIENCE_S)
    at_work.cancel()
    for job in (at_work, waiting):
        with pytest.raises(GenerationCancelled):
            finish(job)
    finish(last)


def test_a_cancelled_future_does_not_end_the_worker(start_engine: StartEngine) -> None:
    engine = start_engine()
    first, second = engine.submit(QUICK), engine.submit(QUICK)
    assert second.future.cancel()
    finish(first)
    finish(engine.submit(QUICK))


def test_a_failing_job_leaves_the_worker_alive(start_engine: StartEngine) -> None:
    engine = start_engine()
    with pytest.raises(GenerationFailed):
        finish(engine.submit(replace(QUICK, width=-32)))
    finish(engine.submit(QUICK))


def test_a_model_that_cannot_be_loaded_is_everybodys_answer(start_engine: StartEngine, tmp_path: Path) -> None:
    engine = start_engine(model=str(tmp_path / "nowhere"))
    waiting = engine.submit(QUICK) if engine.state is EngineState.LOADING else None
    with pytest.raises(ModelUnavailable, match="nowhere"):
        engine.loaded.result(PATIENCE_S)
    if waiting is not None:
        with pytest.raises(GenerationFailed, match="nowhere"):
            finish(waiting)
    assert engine.state is EngineState.FAILED
    with pytest.raises(EngineNotReady, match="nowhere"):
        engine.submit(QUICK)


def test_the_end_finishes_the_job_at_work_and_refuses_the_rest(
    start_engine: StartEngine, eventually: Eventually
) -> None:
    engine = start_engine()
    finish(engine.submit(QUICK))
    started = time.monotonic()
    at_work = engine.submit(replace(QUICK, steps=60))
    eventually(lambda: engine.is_busy and engine.queue_length == 0)
    waiting = engine.submit(QUICK)
    engine.stop()
    assert engine.state is EngineState.STOPPING
    with pytest.raises(EngineNotReady, match="shutting down"):
        engine.submit(QUICK)
    assert finish(at_work).image.png.startswith(b"\x89PNG")
    with pytest.raises(GenerationFailed, match="shutting down"):
        finish(waiting)
    assert engine.join(PATIENCE_S)
    assert time.monotonic() - started < PATIENCE_S
