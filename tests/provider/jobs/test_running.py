"""A job while somebody looks: late watchers get what matters, slow ones lose previews first, all get the end."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from provider.api_keys import Caller
from provider.engine.jobs import PicturesStarted, StepReached
from provider.errors import GenerationFailed
from provider.generation import ImageRequest
from provider.jobs.answers import FinishedAnswer
from provider.jobs.order import JobOrder, WayIn
from provider.jobs.running import Accepted, Failed, Finished, JobEvent, Logged, Previewed, Queued, RunningJob, Stepped

ORDER = JobOrder(
    request=ImageRequest(prompt="a", steps=5, guidance=1.0, width=256, height=256, seed=1),
    caller=Caller("alice"),
    way_in=WayIn.LIVE,
    asked=b"asked",
)
ANSWER = FinishedAnswer(
    job_id="j",
    provider_job_id="j",
    created_at_s=1,
    seeds=(1,),
    steps=5,
    width=256,
    height=256,
    scheduler="default",
    format="png",
    model="m",
    duration_ms=1,
    compute_microseconds=1,
    device="cpu",
    gpu="x",
    receipt={},
    receipt_hash="0x",
    provider_signature="0x",
    prompt_salt="0x",
    pictures=(b"png",),
)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 90))


async def all_events(job: RunningJob) -> list[JobEvent]:
    async with aclosing(job.events()) as events:
        return [event async for event in events]


async def take(job: RunningJob, *events: Any) -> None:
    for event in events:
        job.on_engine_event(event)
    await asyncio.sleep(0)


def test_a_watcher_hears_of_everything_in_order() -> None:
    async def work() -> None:
        begun: list[bool] = []
        job = RunningJob("j", ORDER, on_begun=lambda: begun.append(True))
        watching = asyncio.create_task(all_events(job))
        await asyncio.sleep(0)
        await take(job, PicturesStarted((0,), 1), StepReached((0,), 1, 2, {0: b"small"}), StepReached((0,), 2, 2, {}))
        assert (job.progress.state, job.progress.preview) == ("running", b"small")
        job.finish(ANSWER)
        events = await watching
        assert events[:2] == [Accepted("j"), Queued(0)]
        assert [event for event in events if isinstance(event, Stepped | Previewed)] == [
            Stepped((0,), 1, 2),
            Previewed(0, b"small"),
            Stepped((0,), 2, 2),
        ]
        assert events[-1] == Finished(ANSWER)
        assert begun == [True]
        assert await job.result() == ANSWER

    run(work())


def test_who_comes_late_gets_the_newest_step_the_previews_and_the_end() -> None:
    async def work() -> None:
        job = RunningJob("j", ORDER)
        steps = [StepReached((0,), step, 5, {0: bytes([step])}) for step in range(1, 5)]
        await take(job, PicturesStarted((0,), 1), *steps)
        job.log("noted", number=1)
        watching = asyncio.create_task(all_events(job))
        await asyncio.sleep(0)
        job.finish(ANSWER)
        events = await watching
        assert [event for event in events if isinstance(event, Stepped)] == [Stepped((0,), 4, 5)]
        assert [event for event in events if isinstance(event, Previewed)] == [Previewed(0, b"\x04")]
        assert any(isinstance(event, Logged) and '"noted"' in event.line for event in events)
        assert (await all_events(job))[-1] == Finished(ANSWER)

    run(work())


def test_a_slow_watcher_loses_previews_before_steps_and_never_the_end() -> None:
    async def work() -> None:
        job = RunningJob("j", ORDER)
        await take(job, PicturesStarted((0,), 1))
        async with aclosing(job.events()) as events:
            assert await anext(events) == Accepted("j")
            for step in range(1, 61):
                await take(job, StepReached((0,), step, 60, {0: b"p"}))
            job.finish(ANSWER)
            rest = [event async for event in events]
        steps = [event.step for event in rest if isinstance(event, Stepped)]
        assert steps == list(range(1, 61))
        assert sum(isinstance(event, Previewed) for event in rest) < 10
        assert rest[-1] == Finished(ANSWER)

    run(work())


def test_a_failure_is_raised_and_told() -> None:
    async def work() -> None:
        job = RunningJob("j", ORDER)
        job.fail(GenerationFailed("no picture", reason="not_a_number"))
        job.finish(ANSWER)
        assert job.progress.state == "failed"
        with pytest.raises(GenerationFailed, match="no picture"):
            await job.result()
        last = (await all_events(job))[-1]
        assert isinstance(last, Failed)
        assert last.error.reason == "not_a_number"

    run(work())


def test_who_stops_waiting_does_not_end_the_job() -> None:
    async def work() -> None:
        job = RunningJob("j", ORDER)
        waiting = asyncio.create_task(job.result())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not job.is_ended
        assert not await job.wait(0.01)
        job.finish(ANSWER)
        assert await job.wait(60)

    run(work())


def test_answers_come_back_from_their_stored_form_without_pictures() -> None:
    stored = ANSWER.stored_json()
    assert "cG5n" not in stored
    restored = FinishedAnswer.from_stored(stored)
    assert restored.pictures == ()
    assert restored.stored_json() == stored
