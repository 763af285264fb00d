"""What is forgotten, and when."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from provider.errors import StorageError
from provider.storage.artifacts import ArtifactLimits, Artifacts
from provider.storage.database import Database
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.retention import Pruning, Retention, RetentionTimes, remove_leftovers, standard_retention
from provider.storage.rows import FinishedJob, NewJob, NewReceipt

DAY_S = 86_400


def test_each_thing_is_kept_for_its_own_time(
    database: Database, new_job: Callable[..., NewJob], new_receipt: Callable[..., NewReceipt], tmp_path: Path
) -> None:
    outbox, job_log = Outbox(database), JobLog(database)
    artifacts = Artifacts(str(tmp_path / "artifacts"), ArtifactLimits(max_age_s=2 * DAY_S))
    now_s = time.time()
    final, waiting = (job_log.accept(new_job(), now_s).record.job_id for _ in range(2))
    for number, job_id in enumerate((final, waiting), start=1):
        finished = FinishedJob(1, 1, 1, "", (artifacts.put(b"picture"),))
        job_log.finish_with_receipt(job_id, finished, new_receipt(number, hub_id="", job_id=job_id))
    outbox.mark_final((1).to_bytes(32, "big"), transaction_hash=None, height=1)
    times = RetentionTimes(job_days=3, receipt_days=5)
    retention = Retention(standard_retention(outbox, job_log, artifacts, times, database.folder), 60)

    def forgotten(days: float) -> dict[str, int]:
        return {name: count for name, count in retention.run_once(now_s + days * DAY_S).items() if count}

    assert forgotten(1.9) == {}
    assert forgotten(2.1) == {"artifacts": 1}
    assert forgotten(3.1) == {"jobs": 2}
    assert forgotten(4.9) == {}
    assert forgotten(5.1) == {"receipts": 1}
    assert outbox.get((2).to_bytes(32, "big")) is not None


def test_one_fault_holds_up_nobody_else() -> None:
    turns: list[str] = []

    def broken(_now_s: float) -> int:
        raise StorageError("the disk is full")

    def fine(_now_s: float) -> int:
        turns.append("fine")
        return 3

    with structlog.testing.capture_logs() as logs:
        assert Retention([Pruning("broken", broken), Pruning("fine", fine)], 60).run_once(0.0) == {"fine": 3}
    assert turns == ["fine"]
    assert [(log["event"], log.get("what")) for log in logs] == [("retention_postponed", "broken"), ("retention", None)]


async def test_it_goes_on_for_ever() -> None:
    turns: list[float] = []
    loop, is_enough = asyncio.get_running_loop(), asyncio.Event()

    def prune(now_s: float) -> int:
        turns.append(now_s)
        if len(turns) == 3:
            loop.call_soon_threadsafe(is_enough.set)
        return 0

    task = asyncio.create_task(Retention([Pruning("turns", prune)], 0.01).run())
    await asyncio.wait_for(is_enough.wait(), 90)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert turns == sorted(turns)


def test_leftovers_of_a_crash_go_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "trajectories" / "aa").mkdir(parents=True)
    for name in ("artifacts/x.part", "trajectories/aa/y.part", "z.part", "artifacts/x.png", "outbox.sqlite3"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "folder.part").mkdir()
    (tmp_path / "link.part").symlink_to(tmp_path / "outbox.sqlite3")
    os.utime(tmp_path / "z.part", (1000, 1000))
    assert remove_leftovers(tmp_path, older_than_s=3600) == 1
    assert not (tmp_path / "z.part").exists()
    assert remove_leftovers(tmp_path) == 2
    left = {path.name for path in tmp_path.rglob("*") if not path.is_dir()}
    assert left == {"x.png", "outbox.sqlite3", "link.part"}
    assert remove_leftovers(tmp_path / "nowhere") == 0
