"""The one line that each job leaves in the log when it ends. Never its prompt."""

from typing import Final

import structlog

from chain.primitives.hexadecimal import to_hex
from provider.storage.rows import JobRecord, JobState

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.jobs")


def log_job(record: JobRecord) -> None:
    """Writes the line of a job that has ended; one that came to nothing is a warning."""
    log = _log.info if record.state is JobState.DONE else _log.warning
    log(
        f"job_{record.state}",
        job_id=record.job_id,
        caller=record.key_name,
        way_in=record.way_in,
        model=record.model,
        pictures=record.pictures,
        duration_ms=record.duration_ms,
        gpu_seconds=record.compute_microseconds / 1_000_000,
        bytes_out=record.bytes_out,
        prompt_hash=record.prompt_hash,
        exit_code=record.exit_code,
        reason=record.reason,
        receipt_hash=None if record.receipt_hash is None else to_hex(record.receipt_hash),
        **({} if record.hub_job_id is None else {"hub_id": record.hub_id, "hub_job_id": record.hub_job_id}),
    )
