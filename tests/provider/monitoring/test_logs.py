"""The one line per job."""

from dataclasses import replace

import structlog

from chain.primitives.types import Hash32
from provider.monitoring.logs import log_job
from provider.storage.rows import JobRecord, JobState

DONE = JobRecord(
    sequence=1,
    job_id="2025-09-26-000123",
    hub_id="",
    hub_job_id=None,
    key_name="alice",
    way_in="plan",
    model="aitbc/tiny-sd",
    pictures=2,
    idempotency_key="my key",
    state=JobState.DONE,
    created_ms=1,
    started_ms=2,
    ended_ms=3,
    duration_ms=1234,
    compute_microseconds=1_100_000,
    bytes_out=4567,
    prompt_hash="sha256:ab",
    exit_code=0,
    reason=None,
    receipt_hash=Hash32(b"\x11" * 32),
    artifacts=("a.png", "b.png"),
    answer_json='{"secret": "salt"}',
)


def test_a_served_job() -> None:
    with structlog.testing.capture_logs() as logs:
        log_job(DONE)
    assert logs == [
        {
            "event": "job_done",
            "log_level": "info",
            "job_id": "2025-09-26-000123",
            "caller": "alice",
            "way_in": "plan",
            "model": "aitbc/tiny-sd",
            "pictures": 2,
            "duration_ms": 1234,
            "gpu_seconds": 1.1,
            "bytes_out": 4567,
            "prompt_hash": "sha256:ab",
            "exit_code": 0,
            "reason": None,
            "receipt_hash": "0x" + "11" * 32,
        }
    ]


def test_a_hubs_failed_job() -> None:
    failed = replace(DONE, state=JobState.FAILED, exit_code=124, reason="generation_timed_out", receipt_hash=None)
    with structlog.testing.capture_logs() as logs:
        log_job(replace(failed, hub_id="hub", hub_job_id="job-7"))
    (line,) = logs
    assert (line["event"], line["log_level"], line["exit_code"]) == ("job_failed", "warning", 124)
    assert (line["hub_id"], line["hub_job_id"], line["receipt_hash"]) == ("hub", "job-7", None)
