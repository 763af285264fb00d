"""The attester's memory under threads, processes and kill −9: no signature leaves before its entry is on disk."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from chain.primitives.types import Address, Hash32
from wallet.attestation_log import (
    Attestation,
    AttestationForm,
    AttestationLog,
    AttestationLogError,
    ConflictingAttestationError,
)

GENESIS_HASH = Hash32(b"\x11" * 32)

# A process that attests jobs with receipts of its own until it is stopped, and says each signature that it releases.
ATTESTING_PROCESS = """
    import sys
    from chain.primitives.keys import PrivateKey
    from chain.primitives.receipt import Receipt
    from wallet.attestation_log import AttestationLog, ConflictingAttestationError
    from wallet.attester import AttesterNetwork, AttesterSigner

    log_path, nonce, first_job, last_job = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    network = AttesterNetwork(5, bytes([0x11]) * 32)
    signer = AttesterSigner(PrivateKey(bytes([9]) * 32), network, AttestationLog(log_path, network.genesis_hash))
    print("ready", flush=True)
    for job in range(first_job, last_job):
        receipt = Receipt(
            job_id=f"job-{job}", provider=bytes([1]) * 20, client="c", micro_units=0, unit_type="images", model="m",
            prompt_hash="sha256:" + "ab" * 32, request_hash=bytes(32), started_at=1, finished_at=1,
            artifact_sha256="cd" * 32, nonce=nonce, hub_id="hub", chain_id=5, price_per_unit=0, amount=0,
        )
        try:
            signature = signer.sign_mint(receipt)
            print(receipt.job_id, receipt.hash.hex(), signature.hex(), flush=True)
        except ConflictingAttestationError:
            print(receipt.job_id, "refused", "-", flush=True)
"""


def entry(job_id: str, content: int, hub_id: str = "hub") -> Attestation:
    return Attestation(
        hub_id,
        job_id,
        AttestationForm.MINT,
        Hash32(content.to_bytes(32, "big")),
        Hash32(content.to_bytes(32, "little")),
        Address(bytes(20)),
    )


def start(
    log: Path, nonce: str, first_job: int, last_job: int, output: IO[str] | int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ATTESTING_PROCESS), str(log), nonce, str(first_job), str(last_job)],
        stdout=output,
        text=True,
    )


def whole_lines(output: str) -> list[list[str]]:
    """What a process said, by word, without a last line that it was killed over."""
    return [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n") and line != "ready\n"]


def said(process: "subprocess.Popen[str]") -> list[list[str]]:
    """What a process says until its end."""
    return whole_lines(process.communicate(timeout=60)[0])


def test_records_finds_and_keeps(tmp_path: Path) -> None:
    with AttestationLog(tmp_path / "new" / "log.db", GENESIS_HASH) as log:
        assert log.find("hub", "job") is None
        assert log.record(entry("job", 1)) is True
        assert log.record(entry("job", 1)) is False
    with AttestationLog(tmp_path / "new" / "log.db", GENESIS_HASH) as log:
        assert log.record(entry("job", 1)) is False
        assert log.find("hub", "job") == entry("job", 1)
        with pytest.raises(ConflictingAttestationError) as refusal:
            log.record(entry("job", 2))
        assert refusal.value.values["attested_receipt_hash"] == "0x" + entry("job", 1).receipt_hash.hex()
        assert log.find("hub", "job") == entry("job", 1)
    assert stat.S_IMODE((tmp_path / "new" / "log.db").stat().st_mode) == 0o600


def test_refuses_another_network(tmp_path: Path) -> None:
    AttestationLog(tmp_path / "log.db", GENESIS_HASH).close()
    with pytest.raises(AttestationLogError, match="belongs to the network"):
        AttestationLog(tmp_path / "log.db", Hash32(bytes(32)))


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to look at" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_log_signs_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.db").write_bytes(content)
    with pytest.raises(AttestationLogError, match="nothing is signed"):
        AttestationLog(tmp_path / "log.db", GENESIS_HASH)
    assert (tmp_path / "log.db").read_bytes() == content


def test_a_log_that_cannot_be_written_signs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AttestationLogError, match="cannot open"):
        AttestationLog(tmp_path / "file" / "log.db", GENESIS_HASH)
    with AttestationLog(tmp_path / "log.db", GENESIS_HASH) as log:
        # A full disk, as SQLite sees it: no page may be added.
        log._connection.execute("PRAGMA max_page_count = 1")
        refused = 0
        for job in range(200):
            try:
                log.record(entry(f"job-{job}", 1))
            except AttestationLogError:
                refused += 1
                assert log.find("hub", f"job-{job}") is None
        assert refused > 0


def test_threads_that_race_for_one_job(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def attest(log: AttestationLog, content: int) -> bool:
        barrier.wait()
        try:
            return log.record(entry("job", content))
        except ConflictingAttestationError:
            return False

    with AttestationLog(tmp_path / "log.db", GENESIS_HASH) as log, ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda content: attest(log, content), range(1, 9))) == 1


def test_processes_that_race_for_the_same_jobs(tmp_path: Path) -> None:
    processes = [start(tmp_path / "log.db", f"nonce-{number}", 0, 40) for number in range(3)]
    released = [line for process in processes for line in said(process) if line[1] != "refused"]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(line[0] for line in released) == sorted(f"job-{job}" for job in range(40))


def test_kill_between_record_and_release(tmp_path: Path) -> None:
    script = f"""
        import os, signal
        from wallet.attestation_log import *
        log = AttestationLog({str(tmp_path / "log.db")!r}, bytes([0x11]) * 32)
        log.record(Attestation("hub", "job", AttestationForm.MINT, bytes([1]) * 32, bytes([2]) * 32, bytes(20)))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with AttestationLog(tmp_path / "log.db", GENESIS_HASH) as log:
        found = log.find("hub", "job")
        assert found is not None
        assert log.record(found) is False
        with pytest.raises(ConflictingAttestationError):
            log.record(entry("job", 7))


def test_kill_at_any_moment(tmp_path: Path) -> None:
    """What a killed process has released is in the log, and its successor can sign no other receipt for those jobs."""
    log_path = tmp_path / "log.db"
    for lifetime in range(3):
        output = tmp_path / f"output-{lifetime}"
        with output.open("w") as file:
            process = start(log_path, "first", lifetime * 100_000, (lifetime + 1) * 100_000, file)
            while output.stat().st_size < 3_000 + 1_234 * lifetime:
                assert process.poll() is None
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        with AttestationLog(log_path, GENESIS_HASH) as log:
            released = whole_lines(output.read_text())
            assert released
            for job_id, receipt_hash, _ in released:
                found = log.find("hub", job_id)
                assert found is not None
                assert found.receipt_hash.hex() == receipt_hash
    successor = said(start(log_path, "second", 0, 5))
    assert [line[1] for line in successor] == ["refused"] * 5
    same = said(start(log_path, "first", 0, 5))
    assert same == whole_lines((tmp_path / "output-0").read_text())[:5]
    assert sqlite3.connect(log_path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
