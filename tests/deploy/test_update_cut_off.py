"""Updates that were killed, or lost their power, on the way: what the next run of update.sh makes of them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.deploy.machine import DEPLOY, Machine, until
from tests.deploy.services import ProviderService, rows_of

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module", autouse=True)
def _releases(machine: Machine) -> None:
    """`one` runs; two more that work, and one that dies when it is started."""
    machine.copy_release("one", "two")
    machine.copy_release("one", "three")
    (module,) = machine.copy_release("one", "broken").glob("lib/python*/site-packages/provider/process.py")
    module.unlink()


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
    cut_off(machine, "two", lambda: bool(notes(machine)))
    machine.unit(provider.unit).stop()
    assert machine.runs("provider") == "one"
    done = machine.run("update.sh", "provider", "--to", "two")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the update from one to two was cut off" in done.stdout
    assert (machine.runs("provider"), machine.runs("provider.previous")) == ("two", "one")
    assert machine.unit(provider.unit).is_active()
    assert notes(machine) == []


def test_a_later_update_is_one_of_its_own(machine: Machine, provider: ProviderService) -> None:
    """The cut-off update had gone well: systemd started the new release at boot, and nobody ran the script again."""
    cut_off(machine, "three", lambda: machine.runs("provider") == "three")
    provider.start()
    assert notes(machine) == ["two three 0"]
    assert provider.order("a-job-of-release-three", 1).status_code == 200
    jobs = rows_of(provider.database, "SELECT job_id FROM jobs ORDER BY job_id")
    dry = machine.run("update.sh", "provider", "--to", "broken", "--dry-run")
    assert "would go back to three" in dry.stdout
    assert notes(machine) == ["two three 0"]
    done = machine.run("update.sh", "provider", "--to", "broken")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "from two to three was cut off, but three is healthy" in done.stdout
    assert "runs three again" in done.stdout
    assert (machine.runs("provider"), machine.runs("provider.previous")) == ("three", "two")
    kept = machine.root / "var/lib/aitbc-update/provider.sqlite3"
    assert rows_of(kept, "SELECT job_id FROM jobs ORDER BY job_id") == jobs, "the copy is of an earlier update"
    assert notes(machine) == []


def test_a_release_that_cannot_serve_is_taken_back(machine: Machine, provider: ProviderService) -> None:
    """The first attempt is killed between the switch and the first sign of health, the second ends what it began."""
    before = machine.runs("provider")
    cut_off(machine, "broken", lambda: machine.runs("provider") == "broken")
    machine.unit(provider.unit).stop()
    done = machine.run("update.sh", "provider", "--to", "broken")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"the update from {before} to broken was cut off: going on" in done.stdout
    assert f"runs {before} again" in done.stdout
    assert machine.runs("provider") == before
    assert notes(machine) == []
    assert provider.order("after-the-second-attempt", 1).status_code == 200


def test_going_back_leads_to_what_the_cut_off_update_came_from(machine: Machine, provider: ProviderService) -> None:
    before, earlier = machine.runs("provider"), machine.runs("provider.previous")
    cut_off(machine, "broken", lambda: machine.runs("provider") == "broken")
    machine.unit(provider.unit).stop()
    done = machine.run("update.sh", "provider", "--back")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"runs {before} again" in done.stdout
    assert (machine.runs("provider"), machine.runs("provider.previous")) == (before, earlier)
    assert notes(machine) == []
    assert provider.order("after-going-back", 1).status_code == 200
