"""The engine's life: loading, limits, time, draining, stopping."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provider.engine.engine import Engine, EngineState
from provider.engine.jobs import EngineJob, JobState
from provider.engine.options import EngineOptions
from provider.errors import (
    EngineNotReady,
    GenerationFailed,
    GenerationTimedOut,
    ModelUnavailable,
    QueueFull,
    RequestTooLarge,
    UnknownModel,
)
from provider.generation import ImageRequest

PATIENCE_S = 60.0
REQUEST = ImageRequest("a red circle", steps=3, guidance=2.5, width=256, height=256, seed=1)

StartEngine = Callable[..., Engine]
Wanted = Callable[..., bytes]


def state_of(engine: Engine) -> EngineState:
    """Read anew: a type checker would believe that what it has seen once stays."""
    return engine.state


def test_jobs_wait_for_the_models(start_engine: StartEngine, backend: Any, wanted: Wanted) -> None:
    backend.loading.clear()
    engine = start_engine(ready=False)
    assert state_of(engine) is EngineState.LOADING
    assert list(engine.devices) == []
    assert [model.name for model in engine.models()] == ["aitbc/tiny-sd", "other"]
    job = engine.submit(REQUEST, caller="alice")
    assert job.progress.state is JobState.WAITING
    backend.loading.set()
    assert job.future.result(PATIENCE_S).pictures[0].picture == wanted(REQUEST)
    assert engine.state is EngineState.READY
    assert [device.name for device in engine.devices] == ["device 0"]
    assert engine.loaded.result() == engine.devices
    assert (engine.slots, engine.vram_used_mib) == (1, 7)


def test_a_finished_job_says_where_and_when(start_engine: StartEngine) -> None:
    before = time.time()
    engine = start_engine()
    job = engine.submit(replace(REQUEST, count=3), caller="alice").future.result(PATIENCE_S)
    assert len(job.pictures) == 3
    assert len({picture.picture for picture in job.pictures}) == 3
    assert job.compute_microseconds == 3_000
    assert job.device.name == "device 0"
    assert [profile.batch_rows for profile in job.profiles] == [3]
    assert before <= job.submitted_at <= job.started_at <= job.finished_at


def test_models_that_cannot_be_loaded_are_everybodys_answer(start_engine: StartEngine, backend: Any) -> None:
    backend.loading.clear()
    backend.load_error = ModelUnavailable("there is no folder of that name", reason="model_folder_missing")
    engine = start_engine(ready=False)
    waiting = [engine.submit(REQUEST, caller=caller) for caller in ("alice", "bob")]
    backend.loading.set()
    for job in waiting:
        with pytest.raises(GenerationFailed, match="no folder") as caught:
            job.future.result(PATIENCE_S)
        assert caught.value.reason == "model_folder_missing"
    with pytest.raises(ModelUnavailable, match="no folder"):
        engine.loaded.result(PATIENCE_S)
    assert engine.state is EngineState.FAILED
    assert engine.failure is backend.load_error
    with pytest.raises(EngineNotReady, match="no folder") as refused:
        engine.submit(REQUEST, caller="alice")
    assert refused.value.reason == "not_ready"


def test_a_backend_that_breaks_while_it_loads_is_a_model_that_is_not_there(
    start_engine: StartEngine, backend: Any
) -> None:
    backend.load_error = ZeroDivisionError("nobody expected this")
    engine = start_engine(ready=False)
    with pytest.raises(ModelUnavailable, match="ZeroDivisionError") as caught:
        engine.loaded.result(PATIENCE_S)
    assert caught.value.reason == "loading_failed"


@pytest.mark.parametrize(
    ("change", "error"),
    [({"model": "unheard-of"}, UnknownModel), ({"count": 17}, RequestTooLarge), ({"count": 5}, RequestTooLarge)],
)
def test_what_this_provider_never_takes(
    start_engine: StartEngine, change: dict[str, Any], error: type[Exception]
) -> None:
    engine = start_engine(queue_limit_rows=4)
    for ask in (engine.check_room, engine.submit):
        with pytest.raises(error):
            ask(replace(REQUEST, **change), caller="alice")
    assert engine.queue_length == 0


def test_a_full_queue_refuses_and_then_takes_again(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine(queue_limit_rows=2)
    backend.gate.clear()
    at_work = engine.submit(REQUEST, caller="alice")
    backend.begun.get(timeout=PATIENCE_S)
    waiting = [engine.submit(REQUEST, caller="alice") for _ in range(2)]
    assert (engine.queue_length, engine.waiting_jobs, engine.busy_slots, engine.is_busy) == (2, 2, 1, True)
    for ask in (engine.check_room, engine.submit):
        with pytest.raises(QueueFull) as caught:
            ask(REQUEST, caller="alice")
        assert caught.value.retry_after_s >= 1
    backend.gate.set()
    for job in (at_work, *waiting):
        job.future.result(PATIENCE_S)
    engine.check_room(REQUEST, caller="alice")
    assert engine.queue_length == 0, "asking takes no place"
    engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)


def test_the_first_retry_after_is_a_guess_within_the_time_limit_of_jobs(
    start_engine: StartEngine, backend: Any
) -> None:
    backend.loading.clear()
    engine = start_engine(ready=False, queue_limit_rows=3, job_timeout_s=200.0)
    large = replace(REQUEST, width=1024, height=1024, steps=60)
    for caller in ("alice", "bob", "carol"):
        engine.submit(large, caller=caller)
    with pytest.raises(QueueFull) as caught:
        engine.submit(large, caller="dora")
    # Eight times the pixel steps of the picture that the guess is made for, which takes five seconds.
    assert caught.value.retry_after_s == 40
    assert engine.retry_after_s(2) == 80
    assert engine.retry_after_s(3) == 120
    engine = start_engine(ready=False, queue_limit_rows=3, job_timeout_s=10.0)
    engine.submit(large, caller="alice")
    assert engine.retry_after_s() == 10


def test_a_job_ends_at_its_deadline_even_while_a_step_lasts(
    start_engine: StartEngine, backend: Any, wanted: Wanted
) -> None:
    engine = start_engine()
    backend.gate.clear()
    slow = engine.submit(REQUEST, caller="alice", timeout_s=0.05)
    late = engine.submit(REQUEST, caller="alice", timeout_s=0.05)
    patient = engine.submit(replace(REQUEST, seed=2), caller="alice")
    # No step ends before both have timed out, however fast or slow the machine is.
    for job in (slow, late):
        with pytest.raises(GenerationTimedOut):
            job.future.result(PATIENCE_S)
        assert job.progress.state is JobState.FAILED
    assert not patient.future.done()
    backend.gate.set()
    assert patient.future.result(PATIENCE_S).pictures[0].picture == wanted(replace(REQUEST, seed=2))


def test_a_deadline_that_is_sooner_than_all_others_is_kept_too(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine()
    backend.gate.clear()
    patient = engine.submit(REQUEST, caller="alice")
    hasty = engine.submit(REQUEST, caller="alice", timeout_s=0.2)
    with pytest.raises(GenerationTimedOut):
        hasty.future.result(PATIENCE_S)
    assert not patient.future.done()


def test_the_operators_time_limit_cannot_be_raised(start_engine: StartEngine, backend: Any) -> None:
    backend.gate.clear()
    engine = start_engine(job_timeout_s=0.05)
    with pytest.raises(GenerationTimedOut):
        engine.submit(REQUEST, caller="alice", timeout_s=PATIENCE_S * 10).future.result(PATIENCE_S)


def test_draining_finishes_what_waits_and_refuses_the_rest(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine(max_batch_rows=1)
    backend.gate.clear()
    jobs = [engine.submit(REQUEST, caller=caller) for caller in ("alice", "bob", "alice")]
    backend.begun.get(timeout=PATIENCE_S)
    engine.drain()
    assert state_of(engine) is EngineState.DRAINING
    with pytest.raises(EngineNotReady) as refused:
        engine.submit(REQUEST, caller="alice")
    assert refused.value.reason == "draining"
    assert not engine.join(0.01)
    backend.gate.set()
    for job in jobs:
        job.future.result(PATIENCE_S)
    assert engine.join(PATIENCE_S)
    assert engine.state is EngineState.STOPPED
    assert backend.is_closed


def test_draining_while_loading_still_serves_what_waits(start_engine: StartEngine, backend: Any) -> None:
    backend.loading.clear()
    engine = start_engine(ready=False)
    job = engine.submit(REQUEST, caller="alice")
    engine.drain()
    assert not engine.join(0.01)
    backend.loading.set()
    job.future.result(PATIENCE_S)
    assert engine.join(PATIENCE_S)


def test_stopping_finishes_the_batch_at_work_and_ends_what_waits(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine(max_batch_rows=1)
    backend.gate.clear()
    at_work = engine.submit(REQUEST, caller="alice")
    backend.begun.get(timeout=PATIENCE_S)
    waiting = engine.submit(REQUEST, caller="alice")
    engine.stop()
    with pytest.raises(EngineNotReady) as refused:
        engine.submit(REQUEST, caller="alice")
    assert refused.value.reason == "shutting_down"
    with pytest.raises(GenerationFailed) as ended:
        waiting.future.result(PATIENCE_S)
    assert ended.value.reason == "shutting_down"
    assert not engine.join(0.01)
    backend.gate.set()
    at_work.future.result(PATIENCE_S)
    assert engine.join(PATIENCE_S)


def test_draining_can_be_cut_short(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine(max_batch_rows=1)
    backend.gate.clear()
    engine.submit(REQUEST, caller="alice")
    backend.begun.get(timeout=PATIENCE_S)
    waiting = engine.submit(REQUEST, caller="alice")
    engine.drain()
    engine.stop()
    with pytest.raises(GenerationFailed, match="shutting down"):
        waiting.future.result(PATIENCE_S)


def test_an_engine_that_was_never_started_ends_too(backend: Any) -> None:
    engine = Engine(backend, EngineOptions())
    job = engine.submit(REQUEST, caller="alice")
    assert engine.join(0)
    assert engine.state is EngineState.STOPPED
    with pytest.raises(GenerationFailed, match="shutting down"):
        job.future.result(0)


def test_stopping_in_a_signal_handler_that_interrupts_a_submit(start_engine: StartEngine, backend: Any) -> None:
    """The handler runs on the thread that is in `submit`, and holds its lock more often than not."""
    engine = start_engine(queue_limit_rows=10_000)
    backend.gate.clear()
    jobs: list[EngineJob] = []

    def submit_for_ever() -> None:
        while True:
            with contextlib.suppress(QueueFull):
                jobs.append(engine.submit(REQUEST, caller=f"caller {len(jobs) % 100}"))

    before = signal.signal(signal.SIGALRM, lambda _number, _frame: engine.stop())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(EngineNotReady):
            submit_for_ever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    backend.gate.set()
    assert engine.join(PATIENCE_S)
    assert all(job.future.done() for job in jobs)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_engines_threads_end_with_it(start_engine: StartEngine, new_backend: Callable[..., Any]) -> None:
    def names() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("engine-")}

    engine = start_engine(new_backend(slots=3))
    eventually(lambda: names() == {"engine-life", "engine-clock", "engine-slot-0", "engine-slot-1", "engine-slot-2"})
    engine.stop()
    assert engine.join(PATIENCE_S)
    eventually(lambda: not names())
