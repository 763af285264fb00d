"""The hub's tables on a real SQLite file."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from hub.errors import HubConfigurationError
from hub.store import Store, now_ms
from hub.tables import AttemptRow, ClientNonceRow, JobRow, JobState, ReceiptRow

HASH = "0x" + "11" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    yield opened
    opened.close()


def new_job(job_id: str, **fields: Any) -> JobRow:
    values: dict[str, Any] = {
        "job_id": job_id,
        "owner": "alice",
        "client": "alice",
        "fingerprint": "f",
        "prompt": "a cat",
        "request": {"steps": 5},
        "seed": 2**53 - 1,
        "request_salt": HASH,
        "request_hash": HASH,
        "state": JobState.QUEUED,
        "created_at_ms": now_ms(),
        "attempts": [],
    }
    return JobRow(**values | fields)


def new_receipt(job_id: str, receipt_hash: str = HASH) -> ReceiptRow:
    return ReceiptRow(
        job_id=job_id,
        receipt_hash=receipt_hash,
        provider="0x" + "22" * 20,
        endpoint="http://p",
        receipt_json="{}",
        provider_signature="0x",
        prompt_salt=HASH,
        artifact_sha256="00" * 32,
    )


def verified(store: Store, job_id: str, receipt_hash: str = HASH) -> None:
    store.add_job(new_job(job_id))
    attempt = AttemptRow(job_id=job_id, provider="0x" + "22" * 20, nonce="n", started_at_ms=1)
    store.begin_attempt(attempt)
    store.keep_verified(attempt.sequence, new_receipt(job_id, receipt_hash))


def the_job(store: Store, job_id: str) -> JobRow:
    job = store.job(job_id)
    assert job is not None
    return job


def test_job_from_queue_to_mint(store: Store) -> None:
    verified(store, "j")
    job = the_job(store, "j")
    assert (job.state, job.prompt, job.seed) == (JobState.VERIFIED, "a cat", 2**53 - 1)
    assert [attempt.outcome for attempt in job.attempts] == ["ok"]
    assert job.receipt is not None
    assert store.due_deliveries(9) == store.due_mint_checks(9) == []

    store.keep_attestation("j", "0xaa")
    assert (the_job(store, "j").state, the_job(store, "j").prompt) == (JobState.DONE, None)
    assert [receipt.job_id for receipt in store.due_deliveries(9)] == ["j"]
    assert [receipt.job_id for receipt in store.due_mint_checks(9)] == ["j"]

    store.note_delivery("j", error="busy", next_ms=now_ms() + 60_000)
    store.postpone_mint_check("j", now_ms() + 60_000)
    assert store.due_deliveries(9) == store.due_mint_checks(9) == []
    assert store.count_undelivered() == 1

    store.keep_mint("j", transaction_hash=HASH, height=5)
    receipt = the_job(store, "j").receipt
    assert receipt is not None
    assert (receipt.mint_transaction, receipt.mint_height, receipt.delivery_attempts) == (HASH, 5, 1)
    assert receipt.next_delivery_ms is receipt.next_mint_check_ms is None
    assert store.count_undelivered() == 0


def test_failed_job_forgets_its_prompt(store: Store) -> None:
    store.add_job(new_job("j"))
    store.fail_job("j", reason="providers_failed", detail="all")
    job = the_job(store, "j")
    assert (job.state, job.prompt, job.failure_reason) == (JobState.FAILED, None, "providers_failed")


def test_unfinished_jobs_oldest_first(store: Store) -> None:
    for name in ("first", "second"):
        store.add_job(new_job(name))
    verified(store, "third")
    store.fail_job("first", reason="r", detail="d")
    assert [job.job_id for job in store.unfinished_jobs()] == ["second", "third"]


def test_one_job_per_idempotency_key_and_owner(store: Store) -> None:
    store.add_job(new_job("a", idempotency_key="k"))
    store.add_job(new_job("b", idempotency_key="k", owner="bob"))
    store.add_job(new_job("c"))
    store.add_job(new_job("d"))
    with pytest.raises(IntegrityError):
        store.add_job(new_job("e", idempotency_key="k"))
    found = store.job_of_idempotency_key("alice", "k")
    assert found is not None
    assert found.job_id == "a"


def test_one_job_per_signed_request(store: Store) -> None:
    store.add_job(new_job("a"))
    store.add_job(new_job("b", client_signature="0x01"))
    with pytest.raises(IntegrityError):
        store.add_job(new_job("c", client_signature="0x02", owner="bob"))


def test_nonce_is_used_once_by_each_client(store: Store) -> None:
    expiry = now_ms() // 1_000 + 60

    def nonce(client: str, text: str = HASH) -> ClientNonceRow:
        return ClientNonceRow(client=client, nonce=text, expiry=expiry)

    store.add_job(new_job("a"), nonce("0xA"))
    store.add_job(new_job("b"), nonce("0xB"))
    store.add_job(new_job("c"), nonce("0xA", "0x" + "12" * 32))
    with pytest.raises(IntegrityError):
        store.add_job(new_job("d"), nonce("0xA"))
    assert store.job("d") is None
    with pytest.raises(IntegrityError):
        store.add_job(new_job("a"), nonce("0xC"))
    store.add_job(new_job("e"), nonce("0xC"))  # The job that could not be added did not use it up.


def test_database_from_before_nonces_gets_their_table(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite3"
    Store(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE client_nonces")
        connection.commit()
    store = Store(f"sqlite:///{path}")
    store.add_job(new_job("a"), ClientNonceRow(client="0xA", nonce="0x01", expiry=now_ms() // 1_000))
    store.close()


def test_nonce_is_forgotten_an_hour_after_its_expiry(store: Store) -> None:
    now_s = now_ms() // 1_000
    store.add_job(new_job("a"), ClientNonceRow(client="0xA", nonce="0x01", expiry=now_s - 3_500))
    store.add_job(new_job("b"), ClientNonceRow(client="0xA", nonce="0x02", expiry=now_s - 3_700))
    store.add_job(new_job("c"), ClientNonceRow(client="0xA", nonce="0x02", expiry=now_s))
    with pytest.raises(IntegrityError):
        store.add_job(new_job("d"), ClientNonceRow(client="0xA", nonce="0x01", expiry=now_s))


def test_receipt_hash_is_kept_once(store: Store) -> None:
    verified(store, "a")
    with pytest.raises(IntegrityError):
        verified(store, "b")
    assert the_job(store, "b").receipt is None
    assert the_job(store, "b").state == JobState.QUEUED


def test_pages(store: Store) -> None:
    for number in range(5):
        store.add_job(new_job(f"j{number}", owner="alice" if number != 2 else "bob"))
    first = store.jobs_of_owner("alice", before=None, limit=2)
    assert [job.job_id for job in first] == ["j4", "j3"]
    assert [job.job_id for job in store.jobs_of_owner("alice", before=first[-1].sequence, limit=9)] == ["j1", "j0"]


def test_database_belongs_to_one_hub_and_network(store: Store) -> None:
    identity: dict[str, Any] = {"hub_id": "hub", "chain_id": 1, "genesis_hash": HASH}
    store.claim(**identity)
    store.claim(**identity)
    for change in ({"hub_id": "other"}, {"chain_id": 2}, {"genesis_hash": "0x" + "22" * 32}):
        with pytest.raises(HubConfigurationError, match="--data-dir"):
            store.claim(**identity | change)


def test_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "hub.sqlite3").write_bytes(b"this is no database" * 100)
    for url in (f"sqlite:///{tmp_path / 'hub.sqlite3'}", f"sqlite:///{tmp_path}/none/x", "nonsense", "oracle://x/y"):
        with pytest.raises(HubConfigurationError, match="cannot use the hub's database"):
            Store(url)


def test_mint_ends_delivery_for_good(store: Store) -> None:
    verified(store, "j")
    store.keep_attestation("j", "0xaa")
    store.keep_mint("j", transaction_hash=HASH, height=5)
    store.note_delivery("j", error="a delivery that was under way", next_ms=1)
    assert store.due_deliveries(9) == []


def test_many_threads_write_at_once(store: Store) -> None:
    """Each reads before it writes; nobody is refused, and nothing is lost."""
    verified(store, "j")
    store.keep_attestation("j", "0xaa")
    failures: list[Exception] = []

    def work(task: Callable[[], None]) -> None:
        try:
            for _ in range(10):
                task()
        except Exception as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(lambda: store.note_delivery("j", error="busy", next_ms=1),))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    receipt = the_job(store, "j").receipt
    assert receipt is not None
    assert receipt.delivery_attempts == 60


def test_commits_are_synced_to_a_write_ahead_log(store: Store) -> None:
    with store._reading() as session:
        connection = session.connection()
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


PROMPT = "a most confidential cat"


@pytest.mark.parametrize("ending", ["done", "failed"])
def test_the_prompt_of_an_ended_job_is_in_none_of_the_files(store: Store, tmp_path: Path, ending: str) -> None:
    store.add_job(new_job("j", prompt=PROMPT))
    attempt = AttemptRow(job_id="j", provider="0x" + "22" * 20, nonce="n", started_at_ms=1)
    store.begin_attempt(attempt)
    assert any(PROMPT.encode() in path.read_bytes() for path in tmp_path.iterdir())
    if ending == "done":
        store.keep_verified(attempt.sequence, new_receipt("j"))
        store.keep_attestation("j", "0x")
    else:
        store.fail_job("j", reason="providers_failed", detail="")
    assert not [path.name for path in tmp_path.iterdir() if PROMPT.encode() in path.read_bytes()]


def test_an_error_of_the_database_does_not_quote_the_prompt(store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "hub.sqlite3")) as other:
        other.execute("DROP TABLE jobs")
    with pytest.raises(OperationalError) as caught:
        store.add_job(new_job("j", prompt=PROMPT))
    assert PROMPT not in str(caught.value)
