"""The log of jobs: each request accepted once, ended once, together with its receipt or without one."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.types import Hash32
from provider.storage.database import Database
from provider.storage.job_log import JobConflict, JobLog, JobNotUnderWay, exit_code_of
from provider.storage.outbox import DuplicateJobError, Outbox
from provider.storage.rows import ClientNonce, FinishedJob, JobRecord, JobState, NewJob, NewReceipt

NOW_S = 1_758_844_800.0  # 2025-09-26 00:00 UTC
FINISHED = FinishedJob(
    duration_ms=1200, compute_microseconds=900_000, bytes_out=321, prompt_hash="ab" * 32, artifacts=("a.png", "b.png")
)
NewJobFactory = Callable[..., NewJob]
NewReceiptFactory = Callable[..., NewReceipt]
_numbers = iter(range(1, 10**6))


@pytest.fixture
def finish(job_log: JobLog, new_receipt: NewReceiptFactory) -> Callable[..., JobRecord]:
    """Ends a job with a receipt of its own."""

    def end(record: JobRecord, finished: FinishedJob = FINISHED) -> JobRecord:
        job_id = record.job_id if record.hub_job_id is None else record.hub_job_id
        receipt = new_receipt(next(_numbers), hub_id=record.hub_id, job_id=job_id, key_name=record.key_name)
        return job_log.finish_with_receipt(record.job_id, finished, receipt)

    return end


def conflict(job_log: JobLog, new: NewJob) -> str:
    with pytest.raises(JobConflict) as caught:
        job_log.accept(new, NOW_S)
    with pytest.raises(JobConflict) if caught.value.reason != "nonce_used" else _nothing():
        job_log.find_repeat(new)
    return caught.value.reason


class _nothing:  # noqa: N801 - reads like a function where it is used
    def __enter__(self) -> None: ...
    def __exit__(self, *_exception: object) -> None: ...


def test_job_ids_count_from_one_each_day(job_log: JobLog, new_job: NewJobFactory) -> None:
    accepted = [job_log.accept(new_job(), NOW_S + hour * 3600).record.job_id for hour in (0, 5, 23.99, 24)]
    assert accepted == ["2025-09-26-000001", "2025-09-26-000002", "2025-09-26-000003", "2025-09-27-000001"]


def test_job_ids_go_on_after_a_restart_even_if_the_jobs_are_gone(folder: Path, new_job: NewJobFactory) -> None:
    for number in range(1, 4):
        with Database(folder) as database:
            log = JobLog(database)
            assert log.accept(new_job(), NOW_S).record.job_id == f"2025-09-26-{number:06d}"
            log.fail(f"2025-09-26-{number:06d}", reason="generation_failed")
            assert log.prune(2**60) == 1


def test_a_job_from_its_acceptance_to_its_answer(
    job_log: JobLog, outbox: Outbox, new_job: NewJobFactory, new_receipt: NewReceiptFactory
) -> None:
    accepted = job_log.accept(new_job(pictures=2), NOW_S)
    assert accepted.is_new
    assert (accepted.record.state, accepted.record.exit_code) == (JobState.QUEUED, None)
    job_id = accepted.record.job_id
    job_log.mark_running(job_id)
    running = job_log.get(job_id)
    assert running is not None
    assert running.state is JobState.RUNNING
    assert running.started_ms is not None
    done = job_log.finish_with_receipt(job_id, FINISHED, new_receipt(7, hub_id="", job_id=job_id, key_name="alice"))
    assert done == job_log.get(job_id)
    assert (done.state, done.exit_code, done.receipt_hash) == (JobState.DONE, 0, Hash32((7).to_bytes(32, "big")))
    assert (done.duration_ms, done.compute_microseconds, done.bytes_out) == (1200, 900_000, 321)
    assert (done.artifacts, done.answer_json) == (("a.png", "b.png"), '{"number": 7}')
    assert outbox.get(done.receipt_hash or b"") is not None


def test_a_receipt_that_cannot_be_stored_ends_no_job(
    job_log: JobLog, outbox: Outbox, new_job: NewJobFactory, new_receipt: NewReceiptFactory
) -> None:
    outbox.add(new_receipt(1))
    job_id = job_log.accept(new_job(), NOW_S).record.job_id
    with pytest.raises(DuplicateJobError):
        job_log.finish_with_receipt(job_id, FINISHED, new_receipt(1))
    record = job_log.get(job_id)
    assert record is not None
    assert (record.state, record.receipt_hash, record.artifacts) == (JobState.QUEUED, None, ())


def test_a_job_ends_once(job_log: JobLog, new_job: NewJobFactory, finish: Callable[..., JobRecord]) -> None:
    done = finish(job_log.accept(new_job(), NOW_S).record)
    job_log.mark_running(done.job_id)
    with pytest.raises(JobNotUnderWay):
        job_log.fail(done.job_id, reason="late")
    with pytest.raises(JobNotUnderWay):
        finish(done)
    job_log.discard(done.job_id)
    assert job_log.get(done.job_id) == done
    cancelled = job_log.accept(new_job(), NOW_S).record
    ended = job_log.fail(cancelled.job_id, reason="generation_cancelled", state=JobState.CANCELLED, duration_ms=5)
    assert (ended.state, ended.exit_code, ended.reason, ended.duration_ms) == (
        JobState.CANCELLED,
        130,
        "generation_cancelled",
        5,
    )
    with pytest.raises(JobNotUnderWay):
        finish(cancelled)
    with pytest.raises(JobNotUnderWay):
        job_log.fail("2025-09-26-999999", reason="unknown")
    assert job_log.get("2025-09-26-999999") is None


def test_exit_codes_are_those_of_a_shell() -> None:
    assert exit_code_of(JobState.DONE, None) == 0
    assert exit_code_of(JobState.FAILED, "out_of_memory") == 1
    assert exit_code_of(JobState.FAILED, "generation_timed_out") == 124
    assert exit_code_of(JobState.CANCELLED, "generation_cancelled") == 130
    assert exit_code_of(JobState.INTERRUPTED, "interrupted") == 137


def test_a_crash_interrupts_what_was_under_way(folder: Path, new_job: NewJobFactory) -> None:
    with Database(folder) as database:
        log = JobLog(database)
        queued, running, failed = (log.accept(new_job(idempotency_key=key), NOW_S).record for key in "abc")
        log.mark_running(running.job_id)
        log.fail(failed.job_id, reason="generation_failed")
    with Database(folder, read_only=True) as database:
        assert [record.state for record in JobLog(database).page(None, before=None, limit=9)] == [
            JobState.FAILED,
            JobState.RUNNING,
            JobState.QUEUED,
        ]
    with Database(folder) as database:
        log = JobLog(database)
        for record in (queued, running):
            found = log.get(record.job_id)
            assert found is not None
            assert (found.state, found.exit_code, found.reason) == (JobState.INTERRUPTED, 137, "interrupted")
        # Nothing came of it, so the client's key is good for another try.
        assert log.accept(new_job(idempotency_key="a"), NOW_S).is_new


# The same request again


def test_an_idempotency_key_finds_its_job_in_every_state(
    job_log: JobLog, new_job: NewJobFactory, finish: Callable[..., JobRecord]
) -> None:
    new = new_job(idempotency_key="once")
    assert job_log.find_repeat(new) is None
    record = job_log.accept(new, NOW_S).record
    for step in (lambda: None, lambda: job_log.mark_running(record.job_id), lambda: finish(record)):
        step()
        again = job_log.accept(new, NOW_S)
        assert (again.is_new, again.record.job_id) == (False, record.job_id)
        assert job_log.find_repeat(new) == again.record
    answered = job_log.accept(new, NOW_S).record
    assert answered.state is JobState.DONE
    assert answered.answer_json is not None


def test_another_body_under_the_same_key_is_refused(job_log: JobLog, new_job: NewJobFactory) -> None:
    job_log.accept(new_job(idempotency_key="once"), NOW_S)
    assert conflict(job_log, new_job(idempotency_key="once", request_body=b"other")) == "idempotency_mismatch"
    assert job_log.accept(new_job(idempotency_key="once", key_name="bob", request_body=b"other"), NOW_S).is_new
    assert job_log.accept(new_job(idempotency_key="twice"), NOW_S).is_new


def test_a_job_that_came_to_nothing_frees_its_key(job_log: JobLog, new_job: NewJobFactory) -> None:
    first = job_log.accept(new_job(idempotency_key="once"), NOW_S).record
    job_log.fail(first.job_id, reason="out_of_memory")
    second = job_log.accept(new_job(idempotency_key="once", request_body=b"other"), NOW_S)
    assert second.is_new
    job_log.discard(second.record.job_id)
    assert job_log.get(second.record.job_id) is None
    assert job_log.accept(new_job(idempotency_key="once"), NOW_S).is_new


def test_a_hubs_job_is_made_once(job_log: JobLog, new_job: NewJobFactory, finish: Callable[..., JobRecord]) -> None:
    new = new_job(key_name="main-hub", hub_id="hub", hub_job_id="job-9")
    record = job_log.accept(new, NOW_S).record
    assert not job_log.accept(new, NOW_S).is_new
    done = finish(record)
    again = job_log.accept(new, NOW_S)
    assert (again.is_new, again.record.answer_json) == (False, done.answer_json)
    assert conflict(job_log, replace(new, request_body=b"other")) == "duplicate_job"
    assert conflict(job_log, replace(new, key_name="another-hub")) == "duplicate_job"
    assert job_log.accept(replace(new, hub_id="other"), NOW_S).is_new
    # The log may forget the job before the outbox forgets its receipt.
    job_log.prune(2**60)
    assert conflict(job_log, new) == "duplicate_job"


def test_a_hubs_failed_job_may_come_again(job_log: JobLog, new_job: NewJobFactory) -> None:
    new = new_job(key_name="main-hub", hub_id="hub", hub_job_id="job-9")
    job_log.fail(job_log.accept(new, NOW_S).record.job_id, reason="generation_failed")
    assert job_log.accept(replace(new, request_body=b"other"), NOW_S).is_new


def test_one_of_many_at_once_is_accepted(job_log: JobLog, new_job: NewJobFactory) -> None:
    new = new_job(idempotency_key="once")
    outcomes: list[tuple[str, bool]] = []

    def work() -> None:
        accepted = job_log.accept(new, NOW_S)
        outcomes.append((accepted.record.job_id, accepted.is_new))

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job_id for job_id, _ in outcomes}) == 1
    assert sum(is_new for _, is_new in outcomes) == 1
    assert len(outcomes) == 12


# Clients' nonces


def nonce(number: int, client: str = "0xC11e", expires_at_s: int = int(NOW_S) + 60) -> ClientNonce:
    return ClientNonce(client, number.to_bytes(32, "big"), expires_at_s)


def test_a_signed_request_is_good_for_one_job(job_log: JobLog, new_job: NewJobFactory) -> None:
    first = job_log.accept(new_job(client_nonce=nonce(1)), NOW_S).record
    assert conflict(job_log, new_job(client_nonce=nonce(1))) == "nonce_used"
    assert conflict(job_log, new_job(client_nonce=nonce(1), key_name="bob")) == "nonce_used"
    assert job_log.accept(new_job(client_nonce=nonce(2)), NOW_S).is_new
    assert job_log.accept(new_job(client_nonce=nonce(1, client="0x07e5")), NOW_S).is_new
    # What was refused left nothing behind, not even a counted job id.
    assert len(job_log.page(None, before=None, limit=10)) == 3
    assert job_log.accept(new_job(), NOW_S).record.job_id == "2025-09-26-000004"
    # What has become nothing may be asked for again in the same words, by the same API key.
    job_log.fail(first.job_id, reason="generation_failed")
    assert conflict(job_log, new_job(client_nonce=nonce(1), key_name="bob")) == "nonce_used"
    assert conflict(job_log, new_job(client_nonce=nonce(1), request_body=b"another")) == "nonce_used"
    assert job_log.accept(new_job(client_nonce=nonce(1)), NOW_S).is_new


@pytest.mark.parametrize("end", [JobState.FAILED, JobState.CANCELLED])
def test_a_nonce_passes_from_job_to_job_until_there_is_a_receipt(
    job_log: JobLog, new_job: NewJobFactory, finish: Callable[..., JobRecord], end: JobState
) -> None:
    signed = new_job(client_nonce=nonce(1))
    records = []
    for _ in range(3):
        records.append(job_log.accept(signed, NOW_S).record)
        assert conflict(job_log, signed) == "nonce_used", "it is at work"
        job_log.fail(records[-1].job_id, reason="out_of_memory", state=end)
    finish(job_log.accept(signed, NOW_S).record)
    assert conflict(job_log, signed) == "nonce_used"
    for record in records:
        with pytest.raises(JobNotUnderWay):
            finish(record)


def test_a_nonce_of_a_forgotten_job_stays_spent(job_log: JobLog, new_job: NewJobFactory) -> None:
    record = job_log.accept(new_job(client_nonce=nonce(1)), NOW_S).record
    job_log.fail(record.job_id, reason="out_of_memory")
    assert job_log.prune(2**62) == 1
    assert conflict(job_log, new_job(client_nonce=nonce(1))) == "nonce_used"


def test_an_interrupted_jobs_signed_request_may_come_again(folder: Path, new_job: NewJobFactory) -> None:
    new = new_job(client_nonce=nonce(1), idempotency_key="once")
    with Database(folder) as database:
        before = JobLog(database).accept(new, NOW_S).record
    with Database(folder) as database:
        again = JobLog(database).accept(new, NOW_S)
        assert again.is_new
        assert again.record.job_id != before.job_id


def test_a_repeat_by_idempotency_key_spends_no_second_nonce(job_log: JobLog, new_job: NewJobFactory) -> None:
    new = new_job(client_nonce=nonce(1), idempotency_key="once")
    record = job_log.accept(new, NOW_S).record
    assert job_log.accept(new, NOW_S).record == record


def test_a_job_that_got_no_place_gives_its_nonce_back(job_log: JobLog, new_job: NewJobFactory) -> None:
    refused = job_log.accept(new_job(client_nonce=nonce(1)), NOW_S).record
    job_log.discard(refused.job_id)
    assert job_log.accept(new_job(client_nonce=nonce(1)), NOW_S).is_new


def test_nonces_are_forgotten_an_hour_after_their_requests_expired(job_log: JobLog, new_job: NewJobFactory) -> None:
    job_log.accept(new_job(client_nonce=nonce(1)), NOW_S)
    job_log.accept(new_job(client_nonce=nonce(2, expires_at_s=int(NOW_S) + 7200)), NOW_S)
    assert job_log.prune_nonces(NOW_S + 3600) == 0
    assert conflict(job_log, new_job(client_nonce=nonce(1))) == "nonce_used"
    assert job_log.prune_nonces(NOW_S + 60 + 3601) == 1
    assert job_log.accept(new_job(client_nonce=nonce(1)), NOW_S).is_new
    assert conflict(job_log, new_job(client_nonce=nonce(2))) == "nonce_used"


# Looking


def test_pages_are_newest_first_and_of_one_key(job_log: JobLog, new_job: NewJobFactory) -> None:
    for number in range(5):
        job_log.accept(new_job(key_name="mine" if number % 2 == 0 else "theirs"), NOW_S)
    first = job_log.page("mine", before=None, limit=2)
    assert [record.job_id[-1] for record in first] == ["5", "3"]
    assert [record.job_id[-1] for record in job_log.page("mine", before=first[-1].sequence, limit=2)] == ["1"]
    job_log.fail("2025-09-26-000004", reason="generation_failed")
    failed = job_log.page(None, before=None, limit=10, states=(JobState.FAILED,))
    assert [record.job_id[-1] for record in failed] == ["4"]
    assert len(job_log.page(None, before=None, limit=10**9)) == 5


def test_statistics_of_a_stretch_of_time(
    job_log: JobLog, new_job: NewJobFactory, finish: Callable[..., JobRecord]
) -> None:
    empty = job_log.statistics(0)
    assert (empty.pictures, empty.p50_ms, empty.p95_ms) == (0, None, None)
    for duration_ms in range(1, 21):
        finish(job_log.accept(new_job(pictures=2), NOW_S).record, replace(FINISHED, duration_ms=duration_ms * 10))
    job_log.fail(job_log.accept(new_job(), NOW_S).record.job_id, reason="out_of_memory")
    job_log.accept(new_job(), NOW_S)
    found = job_log.statistics(0)
    assert (found.by_state[JobState.DONE], found.by_state[JobState.FAILED], found.by_state[JobState.QUEUED]) == (
        20,
        1,
        1,
    )
    assert (found.pictures, found.compute_microseconds, found.bytes_out) == (40, 18_000_000, 20 * 321)
    assert (found.p50_ms, found.p95_ms) == (100, 190)
    later = job_log.statistics(2**60)
    assert (later.pictures, later.by_state[JobState.QUEUED], later.by_state[JobState.DONE]) == (0, 1, 0)


def test_a_keys_pictures_are_counted_while_they_may_still_be_made(
    job_log: JobLog, new_job: NewJobFactory, finish: Callable[..., JobRecord]
) -> None:
    finish(job_log.accept(new_job(pictures=3), NOW_S).record)
    job_log.accept(new_job(pictures=2), NOW_S)
    job_log.accept(new_job(pictures=5, key_name="bob"), NOW_S)
    job_log.fail(job_log.accept(new_job(pictures=4), NOW_S).record.job_id, reason="out_of_memory")
    assert job_log.pictures_since("alice", 0) == 5
    assert job_log.pictures_since("alice", 2**60) == 0
    assert job_log.pictures_since("nobody", 0) == 0


def test_ended_jobs_are_forgotten_and_no_others(job_log: JobLog, new_job: NewJobFactory) -> None:
    ended, under_way = (job_log.accept(new_job(idempotency_key=key), NOW_S).record for key in "ab")
    job_log.fail(ended.job_id, reason="generation_failed")
    assert job_log.prune(0) == 0
    assert job_log.prune(2**60) == 1
    assert job_log.get(ended.job_id) is None
    assert job_log.get(under_way.job_id) is not None


def test_no_request_is_ever_in_the_file(
    job_log: JobLog, folder: Path, new_job: NewJobFactory, finish: Callable[..., JobRecord]
) -> None:
    prompt = b"a very secret red circle"
    finish(job_log.accept(new_job(request_body=prompt, idempotency_key="once"), NOW_S).record)
    files = [path for path in folder.iterdir() if path.is_file()]
    assert len(files) > 1
    assert not any(prompt in path.read_bytes() for path in files)
    with sqlite3.connect(folder / "outbox.sqlite3") as connection:
        rows: list[Any] = connection.execute("SELECT fingerprint_salt, fingerprint FROM jobs").fetchall()
    assert [len(value) for value in rows[0]] == [16, 32]
