"""update.sh with real releases of a real provider: no job is lost on the way, and what does not work is taken back.

Also after updates that were killed, or lost their power, on the way: what the next run of update.sh makes of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.deploy.machine import DEPLOY, Machine, until
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


# Cut off


@pytest.fixture(scope="module")
def broken(machine: Machine) -> str:
    """A release that dies when it is started."""
    (module,) = machine.copy_release("one", "broken").glob("lib/python*/site-packages/provider/process.py")
    module.unlink()
    return "broken"


def cut_off(machine: Machine, release: str, when: Callable[[], bool]) -> None:
    """Begins an update of the provider and kills it then, systemctl with it."""
    process = subprocess.Popen(
        [DEPLOY / "update.sh", "provider", "--to", release],
        env=machine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(when, "what the kill waits for")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)


def notes(machine: Machine) -> list[str]:
    """What update.sh has written about updates that have not ended."""
    return [file.read_text().strip() for file in (machine.root / "var/lib/aitbc-update").glob("*.under-way")]


def test_a_service_that_was_only_stopped_is_started_again(machine: Machine, provider: ProviderService) -> None:
    """Before the switch: the machine comes up with the old release, or, as here, with nothing."""
    before = machine.runs("provider")
    machine.copy_release("one", "three")
    process_id = machine.unit(provider.unit).process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGSTOP)  # It does not stop for the script, which so gets no further.
    cut_off(machine, "three", lambda: bool(notes(machine)))
    os.kill(process_id, signal.SIGCONT)
    machine.unit(provider.unit).stop()
    assert machine.runs("provider") == before
    done = machine.run("update.sh", "provider", "--to", "three")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the update from {before} to three was cut off" in done.stdout
    assert (machine.runs("provider"), machine.runs("provider.previous")) == ("three", before)
    assert machine.unit(provider.unit).is_active()
    assert notes(machine) == []


def test_a_later_update_is_one_of_its_own(machine: Machine, provider: ProviderService, broken: str) -> None:
    """The cut-off update had gone well: systemd started the new release at boot, and nobody ran the script again."""
    machine.copy_release("one", "four")
    cut_off(machine, "four", lambda: machine.runs("provider") == "four")
    provider.start()
    assert notes(machine) == ["three four 0"]
    assert provider.order("a-job-of-release-four", 1).status_code == 200
    jobs = rows_of(provider.database, "SELECT job_id FROM jobs ORDER BY job_id")
    dry = machine.run("update.sh", "provider", "--to", broken, "--dry-run")
    assert "would go back to four" in dry.stdout
    assert notes(machine) == ["three four 0"]
    done = machine.run("update.sh", "provider", "--to", broken)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "from three to four was cut off, but four is healthy" in done.stdout
    assert "runs four again" in done.stdout
    assert (machine.runs("provider"), machine.runs("provider.previous")) == ("four", "three")
    kept = machine.root / "var/lib/aitbc-update/provider.sqlite3"
    assert rows_of(kept, "SELECT job_id FROM jobs ORDER BY job_id") == jobs, "the copy is of an earlier update"
    assert notes(machine) == []


def test_a_release_that_cannot_serve_is_taken_back(machine: Machine, provider: ProviderService, broken: str) -> None:
    """The first attempt is killed between the switch and the first sign of health, the second ends what it began."""
    before = machine.runs("provider")
    cut_off(machine, broken, lambda: machine.runs("provider") == broken)
    machine.unit(provider.unit).stop()
    done = machine.run("update.sh", "provider", "--to", broken)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"the update from {before} to {broken} was cut off: going on" in done.stdout
    assert f"runs {before} again" in done.stdout
    assert machine.runs("provider") == before
    assert notes(machine) == []
    assert provider.order("after-the-second-attempt", 1).status_code == 200


def test_going_back_leads_to_what_the_cut_off_update_came_from(
    machine: Machine, provider: ProviderService, broken: str
) -> None:
    before, earlier = machine.runs("provider"), machine.runs("provider.previous")
    cut_off(machine, broken, lambda: machine.runs("provider") == broken)
    machine.unit(provider.unit).stop()
    done = machine.run("update.sh", "provider", "--back")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"runs {before} again" in done.stdout
    assert (machine.runs("provider"), machine.runs("provider.previous")) == (before, earlier)
    assert notes(machine) == []
    assert provider.order("after-going-back", 1).status_code == 200
