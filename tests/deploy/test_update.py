"""update.sh with real releases of a real provider: no job is lost on the way, and what does not work is taken back."""

from __future__ import annotations

import pytest

from tests.deploy.machine import Machine, until
from tests.deploy.services import ProviderService, health_of, ordering, rows_of

pytestmark = pytest.mark.timeout(1800)


def test_an_update_under_load_loses_no_job(machine: Machine, provider: ProviderService) -> None:
    machine.copy_release("one", "two")
    with ordering(provider.order) as clients:
        first_process = machine.unit(provider.unit).process_id
        done = machine.run("update.sh", "provider", "--to", "two")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "runs two and is healthy" in done.stdout
    assert (machine.runs("provider"), machine.runs("provider.previous")) == ("two", "one")
    assert machine.unit(provider.unit).process_id != first_process
    answers = [answer for client in clients for answer in client.answers.values()]
    assert {answer["http_status"] for answer in answers} == {200}
    assert all(client.refusals for client in clients), "no client has noticed the update"
    states = rows_of(provider.database, "SELECT state, count(*) FROM jobs GROUP BY state")
    assert states == [("done", len(answers))]
    receipts = {receipt_hash for (receipt_hash,) in rows_of(provider.database, "SELECT receipt_hash FROM receipts")}
    assert len(receipts) == len({answer["receipt_hash"] for answer in answers}) == len(answers)


def test_a_release_that_does_not_even_start_touches_nothing(machine: Machine, provider: ProviderService) -> None:
    hollow = machine.copy_release("one", "hollow")
    (hollow / "bin/aitbc").write_text("#!/bin/sh\nexit 1\n")
    process_id, files = machine.unit(provider.unit).process_id, machine.runs("provider")
    done = machine.run("update.sh", "provider", "--to", "hollow")
    assert done.returncode == 2
    assert "nothing was touched" in done.stderr
    assert (machine.unit(provider.unit).process_id, machine.runs("provider")) == (process_id, files)
    half = machine.root / "opt/aitbc/releases/half"
    half.mkdir()
    assert "no whole release half" in machine.run("update.sh", "provider", "--to", "half").stderr
    assert "no release" in machine.run("update.sh", "node@main", "--back").stderr


def test_a_dry_run_changes_nothing(machine: Machine, provider: ProviderService) -> None:
    process_id, link = machine.unit(provider.unit).process_id, machine.runs("provider")
    done = machine.run("update.sh", "provider", "--to", "one", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would switch" in done.stdout
    assert f"aitbc-{'provider'}.service" in done.stdout
    assert (machine.unit(provider.unit).process_id, machine.runs("provider")) == (process_id, link)
    until(lambda: health_of(provider.url).get("status") == "ok", "a healthy provider")


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--to",), ("--back", "--to", "one"), ("--to", "../one")])
def test_wrong_words_are_answered_with_the_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    before = machine.runs("provider")
    done = machine.run("update.sh", "provider", *arguments)
    assert (done.returncode, "usage:" in done.stderr) == (2, True)
    assert machine.runs("provider") == before
