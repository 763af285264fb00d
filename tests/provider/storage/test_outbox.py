"""The outbox: each receipt once, states in order, final ones forgotten in time, nothing lost when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provider.storage.database import Database
from provider.storage.job_log import JobLog
from provider.storage.outbox import DuplicateJobError, Outbox
from provider.storage.rows import JobState, NewReceipt, ReceiptState, StoredReceipt
from provider.storage.tables import ReceiptRow

NewReceiptFactory = Callable[..., NewReceipt]


def hash_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def stored(outbox: Outbox, number: int) -> StoredReceipt:
    found = outbox.get(hash_of(number))
    assert found is not None
    return found


def test_a_receipt_goes_all_the_way(outbox: Outbox, new_receipt: NewReceiptFactory) -> None:
    outbox.add(new_receipt(1))
    assert (stored(outbox, 1).state, stored(outbox, 1).attestation) == (ReceiptState.SIGNED, None)
    assert outbox.due(2**50, 10) == []
    assert not outbox.has_unsettled()
    assert outbox.accept_attestation(hash_of(1), b"a" * 65) is ReceiptState.ATTESTED
    assert [due.receipt_hash for due in outbox.due(2**50, 10)] == [hash_of(1)]
    outbox.mark_submitted(hash_of(1), nonce=4, raw=b"raw", transaction_hash=b"t" * 32)
    assert outbox.due(2**50, 10) == []
    assert [flying.transaction_nonce for flying in outbox.in_flight()] == [4]
    assert outbox.has_unsettled()
    outbox.mark_final(hash_of(1), transaction_hash=b"t" * 32, height=9)
    final = stored(outbox, 1)
    assert (final.state, final.height, final.transaction_hash) == (ReceiptState.FINAL, 9, b"t" * 32)
    assert outbox.counts()[ReceiptState.FINAL] == 1
    assert not outbox.has_unsettled()


def test_a_second_attestation_changes_nothing(outbox: Outbox, new_receipt: NewReceiptFactory) -> None:
    outbox.add(new_receipt(1))
    outbox.accept_attestation(hash_of(1), b"a" * 65)
    outbox.mark_submitted(hash_of(1), nonce=0, raw=b"raw", transaction_hash=b"t" * 32)
    before = outbox.get(hash_of(1))
    assert outbox.accept_attestation(hash_of(1), b"b" * 65) is ReceiptState.SUBMITTED
    assert outbox.get(hash_of(1)) == before


def test_a_refused_receipt_can_be_attested_anew(outbox: Outbox, new_receipt: NewReceiptFactory) -> None:
    outbox.add(new_receipt(1))
    outbox.accept_attestation(hash_of(1), b"a" * 65)
    outbox.mark_refused(hash_of(1), reason="not_an_attester")
    assert outbox.due(2**50, 10) == []
    assert outbox.accept_attestation(hash_of(1), b"b" * 65) is ReceiptState.ATTESTED
    assert (stored(outbox, 1).attestation, stored(outbox, 1).reason) == (b"b" * 65, None)


def test_waiting_receipts_come_due_later_and_forget_their_transaction(
    outbox: Outbox, new_receipt: NewReceiptFactory
) -> None:
    outbox.add(new_receipt(1))
    outbox.accept_attestation(hash_of(1), b"a" * 65)
    outbox.mark_submitted(hash_of(1), nonce=0, raw=b"raw", transaction_hash=b"t" * 32)
    outbox.mark_waiting(hash_of(1), reason="period_cap", next_attempt_ms=5_000)
    assert outbox.due(4_999, 10) == []
    (due,) = outbox.due(5_000, 10)
    assert (due.attempts, due.reason, due.transaction_raw) == (1, "period_cap", None)
    outbox.mark_waiting(hash_of(1), reason="period_cap", next_attempt_ms=5_000)
    assert stored(outbox, 1).attempts == 2


def test_one_receipt_per_job_and_per_hash(outbox: Outbox, new_receipt: NewReceiptFactory) -> None:
    outbox.add(new_receipt(1))
    with pytest.raises(DuplicateJobError):
        outbox.add(new_receipt(1))
    with pytest.raises(DuplicateJobError):
        outbox.add(new_receipt(2, job_id="job-1"))
    outbox.add(new_receipt(2, hub_id="other-hub"))
    assert outbox.of_job("other-hub", "job-2") != []
    assert outbox.of_job("hub", "job-2") == []


def test_pages_are_newest_first_and_of_one_key(outbox: Outbox, new_receipt: NewReceiptFactory) -> None:
    for number in range(1, 6):
        outbox.add(new_receipt(number, key_name="mine" if number % 2 else "theirs"))
    first = outbox.page("mine", before=None, limit=2)
    assert [found.job_id for found in first] == ["job-5", "job-3"]
    rest = outbox.page("mine", before=first[-1].sequence, limit=2)
    assert [found.job_id for found in rest] == ["job-1"]
    assert len(outbox.page(None, before=None, limit=10)) == 5


def test_only_final_receipts_are_forgotten_and_only_old_ones(outbox: Outbox, new_receipt: NewReceiptFactory) -> None:
    for number in range(1, 6):
        outbox.add(new_receipt(number))
    for number in (2, 3, 4, 5):
        outbox.accept_attestation(hash_of(number), b"a" * 65)
    outbox.mark_submitted(hash_of(3), nonce=0, raw=b"raw", transaction_hash=b"t" * 32)
    outbox.mark_final(hash_of(4), transaction_hash=b"t" * 32, height=1)
    outbox.mark_refused(hash_of(5), reason="receipt_ceiling")
    assert outbox.prune_final(stored(outbox, 4).updated_ms) == 0
    assert outbox.prune_final(2**60) == 1
    assert [outbox.get(hash_of(number)) is not None for number in range(1, 6)] == [True, True, True, False, True]
    # Its number is not given to another: a page's cursor stays what it was.
    outbox.add(new_receipt(6))
    assert stored(outbox, 6).sequence == 6


def test_many_are_forgotten_in_portions(outbox: Outbox, new_receipt: NewReceiptFactory, database: Database) -> None:
    count = 1234
    with database.writing() as session:
        for number in range(count):
            session.add(_final_row(new_receipt(number)))
    outbox.add(new_receipt(count))
    assert outbox.prune_final(2**60) == count
    assert outbox.counts() == {**dict.fromkeys(ReceiptState, 0), ReceiptState.SIGNED: 1}


def _final_row(receipt: NewReceipt) -> object:
    return ReceiptRow(**vars(receipt), state="final", created_ms=1, updated_ms=1)


CHILD = """
import json, sys
from pathlib import Path
from provider.storage.database import Database
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.rows import FinishedJob, NewJob, NewReceipt

database = Database(Path(sys.argv[1]))
outbox, log = Outbox(database), JobLog(database)
number = sum(outbox.counts().values())
print("open", flush=True)
while True:
    number += 1
    receipt_hash = number.to_bytes(32, "big")
    new = NewJob("k", "plan", "m", 1, b"body", idempotency_key=str(number))
    job_id = log.accept(new, 1_758_844_800.0).record.job_id
    print(json.dumps(["job", job_id]), flush=True)
    log.mark_running(job_id)
    receipt = NewReceipt(receipt_hash, "", job_id, "k", b"f", b"{}", b"s", b"x", json.dumps({"job_id": job_id}))
    log.finish_with_receipt(job_id, FinishedJob(1, 2, 3, "aa", ("a.png",)), receipt)
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
    job_ids: list[str] = []
    order = [ReceiptState.SIGNED, ReceiptState.ATTESTED, ReceiptState.SUBMITTED]
    for after_s in (0.05, 0.11, 0.17, 0.23):
        said = run_and_kill(tmp_path, after_s)
        job_ids += [str(value) for what, value in said if what == "job"]
        with Database(tmp_path) as database:
            outbox, log = Outbox(database), JobLog(database)
            for what, number in said:
                if what == "job":
                    continue
                assert isinstance(number, int)
                found = stored(outbox, number)
                assert order.index(found.state) >= order.index(ReceiptState(what))
                assert (found.transaction_raw == b"raw") == (found.state is ReceiptState.SUBMITTED)
            for job_id in job_ids:
                record = log.get(job_id)
                assert record is not None
                # A receipt, its job's end and its answer are there together, or none of them is.
                has_receipt = outbox.of_job("", job_id) != []
                assert has_receipt == (record.state is JobState.DONE) == (record.answer_json is not None)
                assert has_receipt or record.state is JobState.INTERRUPTED
    assert len(job_ids) > 4
    assert len(set(job_ids)) == len(job_ids)
