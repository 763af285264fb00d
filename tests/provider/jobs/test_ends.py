"""Ends of jobs, while the log can be written and while it cannot."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provider.errors import StorageError
from provider.jobs.ends import JobEnd, JobEnds
from provider.storage.database import DATABASE_FILE_NAME, Database
from provider.storage.job_log import JobLog
from provider.storage.rows import JobRecord, JobState, NewJob


@pytest.fixture
def job_log(tmp_path: Path) -> Iterator[JobLog]:
    with Database(tmp_path) as database:
        yield JobLog(database)


@contextlib.contextmanager
def unusable(folder: Path) -> Iterator[None]:
    """The log's table is nowhere to be found, as on a disk that is away."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE_FILE_NAME)) as connection:
        connection.execute("ALTER TABLE jobs RENAME TO elsewhere")
        yield
        connection.execute("ALTER TABLE elsewhere RENAME TO jobs")


def accept(job_log: JobLog) -> JobRecord:
    new = NewJob(key_name="alice", way_in="plan", model="m", pictures=3, request_body=b"{}")
    return job_log.accept(new, time.time()).record


def state_of(job_log: JobLog, job_id: str) -> JobState:
    record = job_log.get(job_id)
    assert record is not None
    return record.state


async def test_an_end_is_stored_at_once(job_log: JobLog) -> None:
    record = accept(job_log)
    await JobEnds(job_log).store(JobEnd(record.job_id, "out_of_memory", duration_ms=5, prompt_hash="ab"))
    ended = job_log.get(record.job_id)
    assert ended is not None
    assert (ended.state, ended.reason, ended.duration_ms, ended.prompt_hash) == ("failed", "out_of_memory", 5, "ab")


async def test_an_end_is_stored_as_soon_as_the_log_can_be_written(job_log: JobLog, tmp_path: Path) -> None:
    ends = JobEnds(job_log)
    keeping = asyncio.create_task(ends.keep_storing())
    records = [accept(job_log) for _ in range(3)]
    with unusable(tmp_path):
        for record in records:
            await ends.store(JobEnd(record.job_id, "generation_cancelled", JobState.CANCELLED))
        with pytest.raises(StorageError):
            await ends.store_again(records[0].job_id)
        await ends.store_waiting()
        seen = ends.seen(records[0])
        assert (seen.state, seen.reason, seen.exit_code) == (JobState.CANCELLED, "generation_cancelled", 130)
        assert seen.ended_ms is not None
    assert state_of(job_log, records[0].job_id) is JobState.QUEUED
    assert job_log.pictures_since("alice", 0) == 9
    for _ in range(600):
        if job_log.pictures_since("alice", 0) == 0:
            break
        await asyncio.sleep(0.1)
    assert {state_of(job_log, record.job_id) for record in records} == {JobState.CANCELLED}
    # And so does what comes later.
    late = accept(job_log)
    with unusable(tmp_path):
        await ends.store(JobEnd(late.job_id, "out_of_memory"))
    await ends.store_waiting()
    assert state_of(job_log, late.job_id) is JobState.FAILED
    assert ends.seen(late) is late
    keeping.cancel()


async def test_what_has_ended_otherwise_stays_so(job_log: JobLog, tmp_path: Path) -> None:
    ends, record = JobEnds(job_log), accept(job_log)
    with unusable(tmp_path):
        await ends.store(JobEnd(record.job_id, "out_of_memory"))
    job_log.fail(record.job_id, reason="generation_failed")
    await ends.store_again(record.job_id)
    await ends.store_waiting()
    ended = job_log.get(record.job_id)
    assert ended is not None
    assert ends.seen(ended).reason == "generation_failed"
