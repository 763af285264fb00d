"""A job's events from the database, in order and without gaps, and glimpses from memory between them.

Whoever comes back with the number of the last event that he has seen gets the next one; glimpses are not repeated.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from hub.http.parts import HubParts
from hub.jobs.live import Glimpse
from hub.store import events, jobs
from hub.store.events import Event
from hub.store.jobs import ENDED

KEEP_ALIVE_S: Final = 15.0
_POLL_S: Final = 2.0
_ENDS: Final = frozenset(str(state) for state in ENDED)


async def follow(parts: HubParts, job_id: str, after: int) -> AsyncGenerator[Event | Glimpse | None, None]:
    """Until the job's end has been told; None every now and then, so that a connection that is gone is noticed."""
    heard_s = time.monotonic()
    async with parts.store.announcements.subscribe(events.topic(job_id)) as changes:
        with parts.board.watch(job_id) as glimpses:
            while not parts.is_ending():
                found = await parts.store.read(lambda r, seen=after: events.after(r, job_id, seen))  # type: ignore[misc]
                for event in found:
                    after, heard_s = event.sequence, time.monotonic()
                    yield event
                    if event.kind in _ENDS:
                        return
                if not found and await _has_ended(parts, job_id, after):
                    return
                async for glimpse in _glimpses(glimpses, changes.wait):
                    heard_s = time.monotonic()
                    yield glimpse
                if time.monotonic() > heard_s + KEEP_ALIVE_S:
                    heard_s = time.monotonic()
                    yield None


async def _has_ended(parts: HubParts, job_id: str, after: int) -> bool:
    """Its events may be gone a day after its end."""
    job = await parts.store.read(lambda r: jobs.get(r, job_id))
    return job is None or (job.ended_at_ms is not None and job.event_count <= after) or _is_pruned(job)


def _is_pruned(job: jobs.Job) -> bool:
    return job.ended_at_ms is not None and job.ended_at_ms < (time.time() - 3_600) * 1000


async def _glimpses(queue: "asyncio.Queue[Glimpse]", wait: object) -> AsyncGenerator[Glimpse, None]:
    """Those that come until there is an event, or the poll's time is over."""
    assert callable(wait)
    change = asyncio.ensure_future(wait(_POLL_S))
    try:
        while not change.done():
            glimpse = asyncio.ensure_future(queue.get())
            await asyncio.wait({change, glimpse}, return_when=asyncio.FIRST_COMPLETED)
            if glimpse.done():
                yield glimpse.result()
            else:
                glimpse.cancel()
    finally:
        change.cancel()


async def wait_for(parts: HubParts, job_id: str, timeout_s: float, *, pictures: int | None = None) -> None:
    """Until the job has ended, or has so many pictures, or the time is over."""
    deadline_s = time.monotonic() + timeout_s
    topic = events.end_topic(job_id) if pictures is None else events.topic(job_id)
    async with parts.store.announcements.subscribe(topic) as changes:
        while not parts.is_ending():
            has_ended, done = await parts.store.read(lambda r: jobs.progress(r, job_id))
            if has_ended or (pictures is not None and done >= pictures):
                return
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            await changes.wait(min(left_s, _POLL_S))
