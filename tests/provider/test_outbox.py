"""The outbox: each receipt once, states in order, one process at a time, and nothing lost when it is killed."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chain.primitives.types import Hash32
from provider.errors import ConfigurationError
from provider.outbox import DuplicateJobError, Outbox
from provider.outbox_rows import NewReceipt, ReceiptState


def new_receipt(number: int, hub_id: str = "hub", key_name: str = "main-hub") -> NewReceipt:
    return NewReceipt(
        receipt_hash=Hash32(number.to_bytes(32, "big")),
        hub_id=hub_id,
        job_id=f"job-{number}",
        key_name=key_name,
        request_fingerprint=b"f" * 32,
        receipt_json=b"{}",
        provider_signature=b"s" * 65,
        prompt_salt=b"x" * 32,
        answer_json="{}",
    )


def hash_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_job_ids_count_from_one_each_day(outbox: Outbox) -> None:
    day = 1_758_844_800.0  # 2025-09-26 00:00 UTC
    assert [outbox.next_job_id(day + hour * 3600) for hour in (0, 5, 23.99)] == [
        "2025-09-26-000001",
        "2025-09-26-000002",
        "2025-09-26-000003",
    ]
    assert outbox.next_job_id(day + 24 * 3600) == "2025-09-27-000001"


def test_job_ids_go_on_after_a_restart(tmp_path: Path) -> None:
    for number in range(1, 4):
        with Outbox(tmp_path) as outbox:
            assert outbox.next_job_id(1_758_844_800.0) == f"2025-09-26-{number:06d}"


def test_a_receipt_goes_all_the_way(outbox: Outbox) -> None:
    outbox.add(new_receipt(1))
    stored = outbox.get(hash_of(1))
    assert stored is not None
    assert (stored.state, stored.attestation) == (ReceiptState.SIGNED, None)
    assert outbox.due(2**50, 10) == []
    assert outbox.accept_attestation(hash_of(1), b"a" * 65) is ReceiptState.ATTESTED
    assert [due.receipt_hash for due in outbox.due(2**50, 10)] == [hash_of(1)]
    outbox.mark_submitted(hash_of(1), nonce=4, raw=b"raw", transaction_hash=b"t" * 32)
    assert outbox.due(2**50, 10) == []
    assert [flying.transaction_nonce for flying in outbox.in_flight()] == [4]
    outbox.mark_final(hash_of(1), transaction_hash=b"t" * 32, height=9)
    stored = outbox.get(hash_of(1))
    assert stored is not None
    assert (stored.state, stored.height, stored.transaction_hash) == (ReceiptState.FINAL, 9, b"t" * 32)
    assert outbox.counts()[ReceiptState.FINAL] == 1


def test_a_second_attestation_changes_nothing(outbox: Outbox) -> None:
    outbox.add(new_receipt(1))
    outbox.accept_attestation(hash_of(1), b"a" * 65)
    outbox.mark_submitted(hash_of(1), nonce=0, raw=b"raw", transaction_hash=b"t" * 32)
    before = outbox.get(hash_of(1))
    assert outbox.accept_attestation(hash_of(1), b"b" * 65) is ReceiptState.SUBMITTED
    assert outbox.get(hash_of(1)) == before


def test_a_refused_receipt_can_be_attested_anew(outbox: Outbox) -> None:
    outbox.add(new_receipt(1))
    outbox.accept_attestation(hash_of(1), b"a" * 65)
    outbox.mark_refused(hash_of(1), reason="not_an_attester")
    assert outbox.due(2**50, 10) == []
    assert outbox.accept_attestation(hash_of(1), b"b" * 65) is ReceiptState.ATTESTED
    stored = outbox.get(hash_of(1))
    assert stored is not None
    assert (stored.attestation, stored.reason) == (b"b" * 65, None)


def test_waiting_receipts_come_due_later_and_forget_their_transaction(outbox: Outbox) -> None:
    outbox.add(new_receipt(1))
    outbox.accept_attestation(hash_of(1), b"a" * 65)
    outbox.mark_submitted(hash_of(1), nonce=0, raw=b"raw", transaction_hash=b"t" * 32)
    outbox.mark_waiting(hash_of(1), reason="period_cap", next_attempt_ms=5_000)
    assert outbox.due(4_999, 10) == []
    (due,) = outbox.due(5_000, 10)
    assert (due.attempts, due.reason, due.transaction_raw) == (1, "period_cap", None)


def test_one_receipt_per_job_and_per_hash(outbox: Outbox) -> None:
    outbox.add(new_receipt(1))
    with pytest.raises(DuplicateJobError):
        outbox.add(new_receipt(1))
    outbox.add(new_receipt(2, hub_id="other-hub"))
    assert outbox.find_job("other-hub", "job-2") is not None
    assert outbox.find_job("hub", "job-2") is None


def test_pages_are_newest_first_and_of_one_key(outbox: Outbox) -> None:
    for number in range(1, 6):
        outbox.add(new_receipt(number, key_name="mine" if number % 2 else "theirs"))
    first = outbox.page("mine", before=None, limit=2)
    assert [stored.job_id for stored in first] == ["job-5", "job-3"]
    rest = outbox.page("mine", before=first[-1].sequence, limit=2)
    assert [stored.job_id for stored in rest] == ["job-1"]
    assert len(outbox.page(None, before=None, limit=10)) == 5


def test_one_process_per_folder_but_any_number_of_readers(outbox: Outbox, tmp_path: Path) -> None:
    outbox.add(new_receipt(1))
    with pytest.raises(ConfigurationError, match="another provider runs"):
        Outbox(tmp_path / "data")
    with Outbox(tmp_path / "data", read_only=True) as reader:
        assert reader.get(hash_of(1)) is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.add(new_receipt(2))


def test_a_folder_stays_with_its_network(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        outbox.bind("genesis_hash", "0x11")
        outbox.bind("genesis_hash", "0x11")
    with Outbox(tmp_path) as outbox, pytest.raises(ConfigurationError, match="belongs to genesis_hash 0x11"):
        outbox.bind("genesis_hash", "0x22")


@pytest.mark.parametrize("damage", ["garbage", "cut", "newer"])
def test_a_damaged_or_newer_file_is_named(tmp_path: Path, damage: str) -> None:
    with Outbox(tmp_path) as outbox:
        for number in range(200):
            outbox.add(new_receipt(number))
    path = tmp_path / "outbox.sqlite3"
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 500)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: 4096 * 3 + 100])
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match=r"outbox\.sqlite3"):
        Outbox(tmp_path)


def test_a_full_disk_is_not_called_damage_and_passes(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Outbox(tmp_path / "running") as outbox:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
            with pytest.raises(sqlite3.OperationalError):
                outbox.add(new_receipt(1))
            with pytest.raises(ConfigurationError) as caught:
                Outbox(tmp_path / "new")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        outbox.add(new_receipt(1))
    assert caught.value.reason == "outbox_unusable"
    assert "move it away" not in caught.value.message


CHILD = """
import json, sys
from pathlib import Path
from provider.outbox import Outbox
from provider.outbox_rows import NewReceipt

outbox = Outbox(Path(sys.argv[1]))
number = outbox.counts()["signed"] + outbox.counts()["attested"] + outbox.counts()["submitted"]
print("open", flush=True)
while True:
    number += 1
    receipt_hash = number.to_bytes(32, "big")
    job_id = outbox.next_job_id(1_758_844_800.0)
    print(json.dumps(["job", job_id]), flush=True)
    outbox.add(NewReceipt(receipt_hash, "", job_id, "k", b"f", b"{}", b"s", b"x", "{}"))
    print(json.dumps(["signed", number]), flush=True)
    outbox.accept_attestation(receipt_hash, b"a" * 65)
    print(json.dumps(["attested", number]), flush=True)
    outbox.mark_submitted(receipt_hash, nonce=number, raw=b"raw", transaction_hash=receipt_hash)
    print(json.dumps(["submitted", number]), flush=True)
"""


def run_and_kill(folder: Path, after_s: float) -> list[tuple[str, object]]:
    """What a child said that it had done, before it was killed in the middle of its work."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    time.sleep(after_s)
    os.kill(child.pid, signal.SIGKILL)
    lines = child.stdout.read().splitlines()
    child.wait()
    return [tuple(json.loads(line)) for line in lines if line.endswith("]")]


def test_killed_in_the_middle_nothing_that_was_said_is_lost(tmp_path: Path) -> None:
    job_ids: list[object] = []
    order = [ReceiptState.SIGNED, ReceiptState.ATTESTED, ReceiptState.SUBMITTED]
    for after_s in (0.05, 0.11, 0.17, 0.23):
        said = run_and_kill(tmp_path, after_s)
        job_ids += [value for what, value in said if what == "job"]
        with Outbox(tmp_path) as outbox:
            for what, number in said:
                if what == "job":
                    continue
                assert isinstance(number, int)
                stored = outbox.get(hash_of(number))
                assert stored is not None
                assert order.index(stored.state) >= order.index(ReceiptState(what))
                assert (stored.transaction_raw == b"raw") == (stored.state is ReceiptState.SUBMITTED)
    assert len(job_ids) > 4
    assert len(set(job_ids)) == len(job_ids)
