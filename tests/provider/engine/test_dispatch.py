"""Who is served when, and what jobs are told on the way."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provider.engine.engine import Engine
from provider.engine.jobs import (
    EngineJob,
    JobEvent,
    JobState,
    PictureDone,
    PicturesReturned,
    PicturesStarted,
    StepReached,
)
from provider.errors import BackendLost, GenerationCancelled, GenerationFailed
from provider.generation import BatchDone, ImageRequest

PATIENCE_S = 60.0
REQUEST = ImageRequest("a red circle", steps=3, guidance=2.5, width=256, height=256, seed=1)

StartEngine = Callable[..., Engine]
Wanted = Callable[..., bytes]


def test_a_caller_with_a_hundred_pictures_does_not_delay_anothers_first(
    start_engine: StartEngine, new_backend: Callable[..., Any]
) -> None:
    backend = new_backend(slots=2, most_rows=4)
    engine = start_engine(backend, queue_limit_rows=200)
    backend.gate.clear()
    heavy = [engine.submit(replace(REQUEST, count=10), caller="heavy") for _ in range(10)]
    for _ in range(2):
        backend.begun.get(timeout=PATIENCE_S)
    light = engine.submit(replace(REQUEST, width=512, prompt="light"), caller="light")
    assert light.progress.rows_ahead <= 1
    backend.gate.set()
    light.future.result(PATIENCE_S)
    for job in heavy:
        job.future.result(PATIENCE_S)
    batches = [batch for _, batch in (backend.begun.get_nowait() for _ in range(backend.begun.qsize()))]
    place = next(place for place, batch in enumerate(batches) if batch.rows[0].prompt == "light")
    # The first slot that is free takes it; the other may be quicker to say that it has begun.
    assert place <= 1


def test_callers_get_equal_shares_of_the_work(start_engine: StartEngine, new_backend: Callable[..., Any]) -> None:
    """A caller of large pictures is passed over while another's many small ones are drawn, until both are even."""
    backend = new_backend(most_rows=1)
    engine = start_engine(backend)
    backend.gate.clear()
    blocker = engine.submit(REQUEST, caller="blocker")
    backend.begun.get(timeout=PATIENCE_S)
    large = replace(REQUEST, prompt="large", width=512, height=512, steps=10, count=3)
    jobs = [engine.submit(large, caller="large")]
    jobs += [engine.submit(replace(REQUEST, prompt="small", steps=5, count=10), caller="small") for _ in range(2)]
    assert jobs[0].progress.rows_ahead == 0
    backend.gate.set()
    for job in [blocker, *jobs]:
        job.future.result(PATIENCE_S)
    drawn = [backend.begun.get_nowait()[1].rows[0].prompt for _ in range(23)]
    # Four times the pixels and twice the steps: eight small ones for a large one.
    assert drawn == ["large", *["small"] * 8, "large", *["small"] * 8, "large", *["small"] * 4]


def test_who_comes_back_to_an_idle_machine_owes_nothing(
    start_engine: StartEngine, new_backend: Callable[..., Any]
) -> None:
    backend = new_backend(most_rows=1)
    engine = start_engine(backend)
    for _ in range(2):
        backend.gate.clear()
        jobs = [engine.submit(REQUEST, caller="blocker")]
        backend.begun.get(timeout=PATIENCE_S)
        jobs.append(engine.submit(replace(REQUEST, prompt="large", steps=90), caller="large"))
        jobs.append(engine.submit(replace(REQUEST, prompt="small"), caller="small"))
        backend.gate.set()
        for job in jobs:
            job.future.result(PATIENCE_S)
        assert [backend.begun.get_nowait()[1].rows[0].prompt for _ in range(2)] == ["large", "small"]
        deadline_s = time.monotonic() + PATIENCE_S
        while engine.is_busy:
            assert time.monotonic() < deadline_s
            time.sleep(0.001)


def test_idle_slots_share_a_jobs_pictures(
    start_engine: StartEngine, new_backend: Callable[..., Any], wanted: Wanted
) -> None:
    backend = new_backend(slots=3)
    backend.loading.clear()
    engine = start_engine(backend, ready=False)
    job = engine.submit(replace(REQUEST, count=6), caller="alice")
    backend.gate.clear()
    backend.loading.set()
    batches = [backend.begun.get(timeout=PATIENCE_S) for _ in range(3)]
    backend.gate.set()
    assert {slot for slot, _ in batches} == {0, 1, 2}
    assert [len(batch.rows) for _, batch in batches] == [2, 2, 2]
    finished = job.future.result(PATIENCE_S)
    assert [picture.picture for picture in finished.pictures] == [wanted(job.request, index) for index in range(6)]
    assert len(finished.profiles) == 3


def test_a_job_is_told_of_its_steps_and_pictures_in_order(start_engine: StartEngine, wanted: Wanted) -> None:
    engine = start_engine()
    events: list[JobEvent] = []
    ended = threading.Event()
    request = replace(REQUEST, count=2, steps=4, seed=10)
    job = engine.submit(request, caller="alice", preview_every=2, on_event=events.append)
    job.future.add_done_callback(lambda _future: ended.set())
    finished = job.future.result(PATIENCE_S)
    assert ended.wait(PATIENCE_S)
    previews = {0: b"preview of 10", 1: b"preview of 11"}
    assert events == [
        PicturesStarted((0, 1), batch_rows=2),
        StepReached((0, 1), 1, 4, {}),
        StepReached((0, 1), 2, 4, previews),
        StepReached((0, 1), 3, 4, {}),
        StepReached((0, 1), 4, 4, previews),
        PictureDone(0, finished.pictures[0]),
        PictureDone(1, finished.pictures[1]),
    ]
    assert finished.pictures[1].picture == wanted(request, 1)


def test_each_job_of_a_batch_is_told_of_its_own_pictures_only(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine()
    backend.gate.clear()
    busy = engine.submit(replace(REQUEST, width=512), caller="busy")
    backend.begun.get(timeout=PATIENCE_S)
    told: dict[str, list[JobEvent]] = {"alice": [], "bob": []}
    jobs = [
        engine.submit(replace(REQUEST, seed=seed), caller=caller, preview_every=3, on_event=told[caller].append)
        for seed, caller in ((5, "alice"), (9, "bob"))
    ]
    backend.gate.set()
    for job in (busy, *jobs):
        job.future.result(PATIENCE_S)
    for seed, caller in ((5, "alice"), (9, "bob")):
        assert told[caller][0] == PicturesStarted((0,), batch_rows=2)
        assert told[caller][3] == StepReached((0,), 3, 3, {0: f"preview of {seed}".encode()})


def test_progress_from_the_queue_to_the_picture(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine(max_batch_rows=1)
    backend.gate.clear()
    first = engine.submit(REQUEST, caller="alice")
    backend.begun.get(timeout=PATIENCE_S)
    others = [engine.submit(REQUEST, caller="bob"), engine.submit(REQUEST, caller="carol")]
    last = engine.submit(replace(REQUEST, count=2), caller="dora")
    waiting = last.progress
    assert (waiting.state, waiting.rows_ahead, waiting.pictures, waiting.steps) == (JobState.WAITING, 2, 2, 3)
    assert (waiting.fraction, waiting.pictures_done) == (0.0, 0)
    assert waiting.remaining_s > others[0].progress.remaining_s > 0
    assert first.progress.state is JobState.RUNNING
    backend.gate.set()
    last.future.result(PATIENCE_S)
    done = last.progress
    assert (done.state, done.pictures_done, done.fraction, done.remaining_s) == (JobState.DONE, 2, 1.0, 0.0)


def test_progress_within_a_batch(start_engine: StartEngine) -> None:
    engine = start_engine()
    seen: list[tuple[JobState, int, float]] = []
    # The engine goes on only when its listener returns, so what is asked for here is of this very step.
    asked: list[EngineJob] = []
    ready = threading.Event()

    def look(event: JobEvent) -> None:
        assert ready.wait(PATIENCE_S)
        if isinstance(event, StepReached):
            progress = asked[0].progress
            seen.append((progress.state, progress.step, progress.fraction))

    asked.append(engine.submit(replace(REQUEST, steps=4, count=2), caller="alice", on_event=look))
    ready.set()
    asked[0].future.result(PATIENCE_S)
    assert seen == [(JobState.RUNNING, step, step / 4) for step in range(1, 5)]


def test_pictures_that_come_back_wait_again(start_engine: StartEngine, backend: Any) -> None:
    left = [1]

    def lose_once_late(done: BatchDone) -> BatchDone:
        if left.pop() if left else 0:
            raise BackendLost("the replica died")
        return done

    backend.ending = lose_once_late
    engine = start_engine()
    seen: list[tuple[JobState, int, float]] = []
    asked: list[EngineJob] = []
    ready = threading.Event()

    def look(event: JobEvent) -> None:
        assert ready.wait(PATIENCE_S)
        if isinstance(event, PicturesReturned):
            progress = asked[0].progress
            seen.append((progress.state, progress.step, progress.fraction))

    asked.append(engine.submit(REQUEST, caller="alice", on_event=look))
    ready.set()
    asked[0].future.result(PATIENCE_S)
    assert seen == [(JobState.WAITING, 0, 0.0)]


def test_estimates_follow_what_was_measured(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine()
    backend.gate.clear()
    slow = engine.submit(REQUEST, caller="alice")
    backend.begun.get(timeout=PATIENCE_S)
    waiting = engine.submit(REQUEST, caller="alice")
    guess_s = waiting.progress.remaining_s
    waiting.cancel()
    time.sleep(3 * guess_s)
    backend.gate.set()
    slow.future.result(PATIENCE_S)
    backend.gate.clear()
    engine.submit(REQUEST, caller="alice")
    backend.begun.get(timeout=PATIENCE_S)
    assert engine.submit(REQUEST, caller="alice").progress.remaining_s > 2 * guess_s


def test_a_job_may_be_cancelled_by_its_own_listener(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine()
    jobs: list[EngineJob] = []
    ready = threading.Event()

    def leave(event: JobEvent) -> None:
        assert ready.wait(PATIENCE_S)
        if isinstance(event, StepReached):
            jobs[0].cancel()

    jobs.append(engine.submit(replace(REQUEST, steps=50), caller="alice", on_event=leave))
    ready.set()
    with pytest.raises(GenerationCancelled):
        jobs[0].future.result(PATIENCE_S)
    assert len(backend.stopped.get(timeout=PATIENCE_S).rows) == 1


def test_a_listener_that_raises_spoils_nothing(start_engine: StartEngine, wanted: Wanted) -> None:
    def raise_always(_event: JobEvent) -> None:
        raise RuntimeError

    engine = start_engine()
    job = engine.submit(REQUEST, caller="alice", on_event=raise_always)
    assert job.future.result(PATIENCE_S).pictures[0].picture == wanted(REQUEST)


def test_cancelling_a_waiting_job_frees_its_places_at_once(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine(queue_limit_rows=3, max_batch_rows=1)
    backend.gate.clear()
    engine.submit(REQUEST, caller="alice")
    backend.begun.get(timeout=PATIENCE_S)
    waiting = engine.submit(replace(REQUEST, count=3), caller="alice")
    assert engine.queue_length == 3
    waiting.cancel()
    assert engine.queue_length == 0
    assert isinstance(waiting.future.exception(0), GenerationCancelled)
    other = engine.submit(replace(REQUEST, count=3), caller="alice")
    backend.gate.set()
    other.future.result(PATIENCE_S)


def test_a_job_that_fails_takes_its_waiting_pictures_along(start_engine: StartEngine, backend: Any) -> None:
    def fail(_batch: object, _slot: int) -> None:
        raise GenerationFailed("no picture")

    backend.trouble = fail
    engine = start_engine(max_batch_rows=1)
    with pytest.raises(GenerationFailed, match="no picture"):
        engine.submit(replace(REQUEST, count=5), caller="alice").future.result(PATIENCE_S)
    assert engine.queue_length == 0
    assert engine.join(PATIENCE_S)
    assert backend.begun.qsize() == 1


def test_a_job_that_costs_more_than_its_client_pays_ends(start_engine: StartEngine, backend: Any) -> None:
    engine = start_engine()
    poor = engine.submit(REQUEST, caller="alice", budget_microseconds=0)
    with pytest.raises(GenerationFailed) as caught:
        poor.future.result(PATIENCE_S)
    assert caught.value.reason == "price_limit_reached"
    backend.stopped.get(timeout=PATIENCE_S)
    rich = engine.submit(REQUEST, caller="alice", budget_microseconds=int(PATIENCE_S * 1_000_000))
    rich.future.result(PATIENCE_S)


def test_a_row_waits_a_moment_for_company(start_engine: StartEngine, backend: Any) -> None:
    """A wait as long as the test's patience: the batch starts at once when the last place is taken."""
    engine = start_engine(max_batch_rows=3, batch_wait_ms=int(10 * PATIENCE_S * 1000))
    jobs = [engine.submit(replace(REQUEST, seed=seed), caller="alice") for seed in range(2)]
    # Long enough for a slot that does not wait to show it.
    time.sleep(0.05)
    assert backend.begun.empty()
    jobs.append(engine.submit(replace(REQUEST, seed=2), caller="alice"))
    for job in jobs:
        assert job.future.result(PATIENCE_S).profiles[0].batch_rows == 3


def test_nothing_waits_for_company_at_the_end(start_engine: StartEngine) -> None:
    engine = start_engine(batch_wait_ms=int(10 * PATIENCE_S * 1000))
    job = engine.submit(REQUEST, caller="alice")
    engine.drain()
    job.future.result(PATIENCE_S)
