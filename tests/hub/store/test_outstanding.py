"""What a provider that wants to go is told to wait for."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sqlalchemy.dialects import sqlite

from hub.store import checks, jobs, outstanding, receipts, results
from hub.store.checks import NewCheck, Verdict
from hub.store.jobs import JobState
from hub.store.receipts import Form, NewReceipt
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, HASH, NOW_MS, add_job, deliver, new_lease, take


def counts(store: Store, provider: str = ANNA, now_ms: int = NOW_MS) -> tuple[int, int, int, int]:
    found = store.read_now(lambda r: outstanding.of_provider(r, provider, now_ms))
    return found["leases"], found["checks"], found["jobs"], found["attestations"]


def add_check(store: Store) -> None:
    check = NewCheck(check_id="l-1", job_id="job-1", shard=0, lease_id="l-1", provider=ANNA, kind="examination")
    store.write_now(lambda t: checks.add(t, check, NOW_MS))


def new_receipt(**fields: object) -> NewReceipt:
    receipt = NewReceipt(
        job_id="job-1",
        receipt_hash=HASH,
        provider=ANNA,
        receipt_json="{}",
        provider_signature="0x",
        prompt_salt=HASH,
        micro_units=1,
        amount=1,
        artifact_sha256="22" * 32,
        form=Form.MINT,
    )
    return replace(receipt, **fields)  # type: ignore[arg-type]


def test_from_the_lease_to_the_attestation(store: Store) -> None:
    add_job(store)
    add_job(store, "job-2")
    take(store, new_lease("l-1"))
    take(store, new_lease("l-2", "job-2", provider=BERTA))
    assert counts(store) == (1, 0, 0, 0)
    deliver(store, "l-1")
    add_check(store)
    assert counts(store) == (0, 1, 1, 0)
    store.write_now(lambda t: checks.decide(t, "l-1", Verdict.PASSED, {}, NOW_MS))
    assert counts(store) == (0, 0, 1, 0)
    store.write_now(lambda t: receipts.keep(t, new_receipt(), NOW_MS))
    assert counts(store) == (0, 0, 1, 0)

    store.write_now(lambda t: receipts.attested(t, "job-1", HASH, "0x", NOW_MS))
    store.write_now(lambda t: jobs.end(t, "job-1", JobState.DONE, now_ms=NOW_MS))
    assert counts(store) == (0, 0, 0, 1)
    store.write_now(lambda t: receipts.note_delivery(t, "job-1", error=None, next_ms=None, now_ms=NOW_MS))
    assert counts(store) == (0, 0, 0, 0)
    assert counts(store, BERTA) == (1, 0, 0, 0)


def test_a_result_that_was_refused_is_concluded(store: Store) -> None:
    add_job(store)
    take(store, new_lease("l-1"))
    deliver(store, "l-1")
    assert counts(store) == (0, 0, 1, 0)
    store.write_now(lambda t: results.refuse(t, "l-1", "no_opening", NOW_MS))
    assert counts(store) == (0, 0, 0, 0)


def test_nobody_is_kept_for_a_challenge_window(store: Store) -> None:
    add_job(store)
    take(store, new_lease("l-1"))
    deliver(store, "l-1")
    store.write_now(lambda t: receipts.keep(t, new_receipt(window_until_ms=NOW_MS + 1_000), NOW_MS))
    assert counts(store) == (0, 0, 0, 0)
    assert counts(store, now_ms=NOW_MS + 1_000) == (0, 0, 1, 0)


def test_nobodys_question_goes_through_all_that_was_ever_brought(sqlite_database: Path) -> None:
    """By what is open alone: a provider asks every few seconds, and may ask as often as a hub hears messages of it."""
    compiled = outstanding.OUTSTANDING.statement.compile(dialect=sqlite.dialect(paramstyle="named"))  # type: ignore[attr-defined]
    with closing(sqlite3.connect(sqlite_database)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {compiled}", {"the_provider": ANNA, "now": NOW_MS}).fetchall()
    steps = [row[3] for row in rows]
    assert "SCAN jobs USING INDEX jobs_open" in steps
    assert "SCAN checks USING INDEX checks_open" in steps
    assert [step for step in steps if "receipts_of_provider" in step or step.startswith("SCAN results")] == []
