"""A job's books."""

import pytest

from provider.engine.record import JobRecord
from provider.generation import BatchDone, Device, FinishedRow, ReproducibilityProfile


def batch(name: str, *rows: FinishedRow) -> BatchDone:
    profile = ReproducibilityProfile("00" * 32, name, "float32", "cpu", len(rows), (4, 8, 8), {})
    return BatchDone(rows, profile, Device("cpu", name, 0))


def test_pictures_of_two_batches_come_out_in_their_order() -> None:
    record = JobRecord(3, steps=10)
    rows = [FinishedRow(bytes([number]), 100 + number) for number in range(3)]
    record.start([1, 2], batch_rows=2, now_s=50.0)
    record.start([0], batch_rows=8, now_s=51.0)
    record.finish({1: rows[1], 2: rows[2]}, batch("first", rows[1], rows[2]))
    assert not record.is_complete
    assert record.is_running
    record.finish({0: rows[0]}, batch("second", rows[0]))
    assert record.is_complete
    assert not record.is_running
    job = record.result(submitted_at=1_000.0, submitted_s=49.0, now_s=53.5)
    assert job.pictures == tuple(rows)
    assert job.compute_microseconds == 303
    assert [profile.scheduler for profile in job.profiles] == ["first", "second"]
    assert [profile.scheduler for profile in job.picture_profiles] == ["second", "first", "first"]
    assert job.device.name == "second"
    assert (job.submitted_at, job.started_at, job.finished_at) == (1_000.0, 1_001.0, 1_004.5)


def test_progress_counts_pictures_and_steps() -> None:
    record = JobRecord(4, steps=10)
    assert (record.fraction(), record.step, record.steps) == (0.0, 0, 10)
    record.start([0, 1], batch_rows=2, now_s=0.0)
    assert record.fraction() == 0.0
    record.step_done([0, 1], 5, 20)
    assert record.fraction() == pytest.approx(2 * 0.25 / 4)
    assert (record.step, record.steps) == (5, 20)
    row = FinishedRow(b"", 0)
    record.finish({0: row}, batch("first", row))
    assert record.fraction() == pytest.approx((1 + 0.25) / 4)
    record.give_back([1])
    assert (record.fraction(), record.step) == (0.25, 0)


def test_a_job_pays_its_share_of_the_batches_it_is_in() -> None:
    record = JobRecord(3, steps=10)
    record.start([0], batch_rows=1, now_s=0.0)
    row = FinishedRow(b"", 700_000)
    record.finish({0: row}, batch("first", row))
    record.start([1, 2], batch_rows=4, now_s=10.0)
    assert record.spent_microseconds(12.0) == 700_000 + 1_000_000
    record.give_back([1])
    assert record.spent_microseconds(12.0) == 700_000 + 500_000
