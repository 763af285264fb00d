"""`aitbc provider receipts` and `jobs`: what stands in the database, also while a provider holds it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.primitives.types import Hash32
from provider.storage.database import Database
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.rows import FinishedJob, NewJob, NewReceipt

Invoke = Callable[..., tuple[int, str, str]]
NOW_S = 1_758_844_800.0
DONE, FAILED = "2025-09-26-000001", "2025-09-26-000002"
HASH = Hash32(b"\x11" * 32)
SALT = b"\x22" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is in use, with a served job and a failed one."""
    with Database(tmp_path) as database:
        log = JobLog(database)
        for _ in (DONE, FAILED):
            log.accept(NewJob("alice", "plan", "aitbc/tiny-sd", 2, b"asked"), NOW_S)
        receipt = NewReceipt(HASH, "", DONE, "alice", b"f", b'{"amount": "7"}', b"s", SALT, "{}")
        log.finish_with_receipt(DONE, FinishedJob(1200, 900_000, 321, "sha256:ab", ("a.png", "b.png")), receipt)
        log.fail(FAILED, reason="out_of_memory")
        Outbox(database).accept_attestation(HASH, b"a" * 65)
        Outbox(database).mark_refused(HASH, reason="receipt_ceiling: too much")
        yield tmp_path


def test_receipts(folder: Path, invoke: Invoke) -> None:
    exit_code, stdout, _ = invoke("receipts", "--data-dir", str(folder), "--json")
    assert exit_code == 0
    listed = json.loads(stdout)
    assert listed["counts"] == {"signed": 0, "attested": 0, "submitted": 0, "final": 0, "refused": 1}
    (item,) = listed["items"]
    assert (item["receipt_hash"], item["state"], item["job_id"]) == ("0x" + "11" * 32, "refused", DONE)
    assert item["receipt"] == {"amount": "7"}
    assert SALT.hex() not in stdout
    line = invoke("receipts", "--data-dir", str(folder))[1].splitlines()[1]
    assert line.split()[1:] == ["refused", DONE, "7", "atoms", "receipt_ceiling:", "too", "much"]


def test_jobs(folder: Path, invoke: Invoke) -> None:
    exit_code, stdout, _ = invoke("jobs", "--data-dir", str(folder), "--json")
    assert exit_code == 0
    listed = json.loads(stdout)
    failed, done = listed["items"]
    assert (failed["job_id"], failed["state"], failed["exit_code"], failed["reason"]) == (
        FAILED,
        "failed",
        1,
        "out_of_memory",
    )
    assert (done["job_id"], done["exit_code"], done["gpu_seconds"], done["artifacts"]) == (
        DONE,
        0,
        0.9,
        ["a.png", "b.png"],
    )
    assert done["receipt_hash"] == "0x" + "11" * 32
    day = listed["last_day"]
    assert (day["by_state"]["done"], day["by_state"]["failed"], day["pictures"], day["p50_ms"]) == (1, 1, 2, 1200)


def test_jobs_as_a_table_and_by_state(folder: Path, invoke: Invoke) -> None:
    lines = invoke("jobs", "--data-dir", str(folder))[1].splitlines()
    assert lines[0].startswith("last day: pictures 2  gpu_seconds 0.9")
    assert [line.split()[0] for line in lines[1:]] == ["job_id", FAILED, DONE]
    assert [line.split()[0] for line in invoke("jobs", "--data-dir", str(folder), "--state", "done")[1].splitlines()][
        1:
    ] == ["job_id", DONE]
    assert len(invoke("jobs", "--data-dir", str(folder), "--limit", "1")[1].splitlines()) == 3
