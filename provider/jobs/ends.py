"""How jobs came to nothing, written to the job log: at once, or as soon as the disk has room again.

A row that stays alive would count against its API key's day, and would be shown as running, until the next restart.
"""

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from provider.errors import StorageError
from provider.monitoring.logs import log_job
from provider.storage.job_log import JobLog, JobNotUnderWay, exit_code_of
from provider.storage.rows import JobRecord, JobState

_RETRY_S: Final = 2.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.jobs")


@dataclass(frozen=True)
class JobEnd:
    """Why a job has no picture."""

    job_id: str
    reason: str
    state: JobState = JobState.FAILED
    duration_ms: int = 0
    prompt_hash: str | None = None
    ended_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)


class JobEnds:
    """On the event loop's thread. It holds only ends of jobs that were stored when they began."""

    def __init__(self, job_log: JobLog) -> None:
        self._job_log = job_log
        self._waiting: dict[str, JobEnd] = {}
        self._is_wanted = asyncio.Event()

    async def store(self, end: JobEnd) -> None:
        """Writes it now, or later where that fails."""
        try:
            await self._write(end)
        except StorageError as trouble:
            _log.error("job_end_not_stored", job_id=end.job_id, reason=end.reason, trouble=trouble.reason)
            self._waiting[end.job_id] = end
            self._is_wanted.set()

    async def store_again(self, job_id: str) -> None:
        """For a job that is nowhere at work, though its row says so; raises StorageError."""
        await self._write(self._waiting.get(job_id) or JobEnd(job_id, "storage_failed"))

    async def keep_storing(self) -> None:
        """Writes what could not be written, for ever."""
        while True:
            await self._is_wanted.wait()
            await asyncio.sleep(_RETRY_S)
            await self.store_waiting()

    async def store_waiting(self) -> None:
        """Tries once; the first that fails leaves the rest for later."""
        try:
            while self._waiting:
                await self._write(next(iter(self._waiting.values())))
        except StorageError as trouble:
            _log.debug("job_ends_wait", jobs=len(self._waiting), trouble=trouble.reason)
        else:
            self._is_wanted.clear()

    def seen(self, record: JobRecord) -> JobRecord:
        """The log's row as it will be."""
        end = self._waiting.get(record.job_id)
        if end is None or record.ended_ms is not None:
            return record
        return replace(
            record,
            state=end.state,
            reason=end.reason,
            exit_code=exit_code_of(end.state, end.reason),
            ended_ms=end.ended_ms,
            duration_ms=end.duration_ms,
            prompt_hash=end.prompt_hash,
        )

    async def _write(self, end: JobEnd) -> None:
        try:
            record = await asyncio.to_thread(
                self._job_log.fail,
                end.job_id,
                reason=end.reason,
                state=end.state,
                duration_ms=end.duration_ms,
                prompt_hash=end.prompt_hash,
            )
        except JobNotUnderWay:
            _log.debug("job_ended_before", job_id=end.job_id)
        else:
            log_job(record)
        self._waiting.pop(end.job_id, None)
