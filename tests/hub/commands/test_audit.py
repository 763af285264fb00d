"""`aitbc hub audit` and `aitbc hub dispute`, on a hub's database: what is shown, what is noticed, what is stopped."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import update
from typer.testing import CliRunner, Result

from hub.cli import app
from hub.jobs.ending import Endings
from hub.metrics import HubMetrics
from hub.opening import DATABASE_NAME
from hub.store import audit, endorsements, jobs, promises, receipts
from hub.store.endorsements import EndorsementState, NewEndorsement
from hub.store.jobs import JobState
from hub.store.promises import Promise, PromiseState
from hub.store.receipts import Form, NewReceipt
from hub.store.store import Store
from hub.store.tables.receipts import RECEIPTS
from tests.hub.store.conftest import ANNA, HASH, IDENTITY, NOW_MS, add_job

OTHER_HASH = "0x" + "22" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a hub with one attested receipt, one that waits in its window, and one of another hub's that does."""
    store = Store(f"sqlite:///{tmp_path / DATABASE_NAME}", IDENTITY)
    add_job(store, "done")
    keep(store, "done", HASH)
    store.write_now(lambda t: receipts.attested(t, "done", HASH, "0x", NOW_MS))
    store.write_now(lambda t: audit.append(t, "attested", HASH, {"job_id": "done"}, NOW_MS))
    add_job(store, "waiting", request_hash=OTHER_HASH, is_paid=True)
    keep(store, "waiting", OTHER_HASH)
    wanted = Promise(job_id="waiting", client=ANNA, request_hash=OTHER_HASH, amount=5, until_s=NOW_MS)
    store.write_now(lambda t: promises.reserve(t, wanted, secured_atoms=9, height=1, now_ms=NOW_MS))
    theirs = NewEndorsement(
        receipt_hash="0x" + "33" * 32,
        hub_id="east",
        job_id="theirs",
        asked_by=ANNA,
        form=Form.MINT,
        digest=HASH,
        client="alice",
        request_hash=HASH,
        is_signed_request=False,
        window_until_ms=NOW_MS,
    )
    store.write_now(lambda t: endorsements.begin(t, theirs, NOW_MS))
    store.close_now()
    return tmp_path


def keep(store: Store, job_id: str, receipt_hash: str) -> None:
    receipt = NewReceipt(
        job_id=job_id,
        receipt_hash=receipt_hash,
        provider=ANNA,
        receipt_json="{}",
        provider_signature="0x",
        prompt_salt=HASH,
        micro_units=1,
        amount=1,
        artifact_sha256="0" * 64,
        form=Form.SETTLE,
    )
    store.write_now(lambda t: receipts.keep(t, receipt, NOW_MS))


def hub(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--data-dir", str(folder)])


def read(folder: Path, unit: Any) -> Any:
    store = Store(f"sqlite:///{folder / DATABASE_NAME}", IDENTITY)
    found = store.read_now(unit)
    store.close_now()
    return found


def test_a_log_that_holds(folder: Path) -> None:
    told = hub(folder, "audit", "--last", "5", "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["entries"], document["attested"], document["missing"]) == (1, 1, [])
    assert [(each["kind"], each["subject"]) for each in document["shown"]] == [("attested", HASH)]
    assert document["shown"][0]["hash"] == document["last_hash"]
    for_people = hub(folder, "audit", HASH)
    assert "attested" in for_people.stdout
    assert document["last_hash"] in for_people.stdout
    assert json.loads(hub(folder, "audit", OTHER_HASH, "--json").stdout)["shown"] == []


def test_an_attestation_that_nobody_logged(folder: Path) -> None:
    store = Store(f"sqlite:///{folder / DATABASE_NAME}", IDENTITY)
    store.write_now(lambda t: receipts.attested(t, "waiting", OTHER_HASH, "0x", NOW_MS))
    store.close_now()
    told = hub(folder, "audit")
    assert (told.exit_code, OTHER_HASH in told.stderr) == (1, True)


def test_a_log_that_was_changed_with_a_hammer(folder: Path) -> None:
    with sqlite3.connect(folder / DATABASE_NAME) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in names:
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE audit_log SET subject = ?", (OTHER_HASH,))
    database.close()
    told = hub(folder, "audit")
    assert (told.exit_code, "changed at entry 1" in told.stderr) == (1, True)


def test_a_dispute_while_the_window_is_open(folder: Path) -> None:
    told = hub(folder, "dispute", "waiting", "--reason", "the picture shows something else")
    assert told.exit_code == 0, told.output
    job = read(folder, lambda r: jobs.get(r, "waiting"))
    assert (job.state, job.failure_reason) == (JobState.FAILED, "disputed")
    assert read(folder, lambda r: promises.get(r, "waiting")).state == PromiseState.RELEASED
    assert [each.kind for each in read(folder, lambda r: audit.of_subject(r, OTHER_HASH))] == ["attestation_refused"]
    assert hub(folder, "dispute", "waiting", "--reason", "again").exit_code == 1


def test_a_dispute_while_a_part_is_being_made_again(folder: Path) -> None:
    # given a job whose receipt was withdrawn, because a part of it was found false
    store = Store(f"sqlite:///{folder / DATABASE_NAME}", IDENTITY)
    store.write_now(lambda t: t.execute(update(RECEIPTS).values(is_withdrawable=True)))
    endings = Endings(HubMetrics(CollectorRegistry()))
    assert store.write_now(lambda t: endings.withdraw(t, "waiting", {}, "check_failed", "", NOW_MS))
    store.close_now()

    # when the operator disputes it
    told = hub(folder, "dispute", "waiting", "--reason", "the picture shows something else")

    # then there will be no other receipt
    assert told.exit_code == 0, told.output
    job = read(folder, lambda r: jobs.get(r, "waiting"))
    assert (job.state, job.failure_reason) == (JobState.FAILED, "disputed")
    assert read(folder, lambda r: promises.get(r, "waiting")).state == PromiseState.RELEASED
    assert [each.kind for each in read(folder, lambda r: audit.of_subject(r, "waiting"))] == ["attestation_refused"]


def test_a_dispute_that_comes_too_early(folder: Path) -> None:
    store = Store(f"sqlite:///{folder / DATABASE_NAME}", IDENTITY)
    add_job(store, "running", request_hash="0x" + "55" * 32)
    store.close_now()
    told = hub(folder, "dispute", "running", "--reason", "I know what comes of it")
    assert (told.exit_code, "no receipt yet" in told.stderr) == (1, True)
    assert read(folder, lambda r: jobs.get(r, "running")).ended_at_ms is None


def test_a_dispute_of_anothers_receipt(folder: Path) -> None:
    theirs = "0x" + "33" * 32
    assert hub(folder, "dispute", theirs, "--reason", "seen elsewhere").exit_code == 0
    assert read(folder, lambda r: endorsements.get(r, theirs)).state == EndorsementState.DISPUTED
    assert [each.data for each in read(folder, lambda r: audit.of_subject(r, theirs))] == [{"detail": "seen elsewhere"}]
    assert hub(folder, "dispute", theirs, "--reason", "again").exit_code == 1


@pytest.mark.parametrize("about", ["done", "nothing", HASH, "0x" + "44" * 32])
def test_what_cannot_be_disputed(folder: Path, about: str) -> None:
    told = hub(folder, "dispute", about, "--reason", "too late")
    assert (told.exit_code, "signed already" in told.stderr) == (1, True)
    assert read(folder, audit.verify)[0] == 1
