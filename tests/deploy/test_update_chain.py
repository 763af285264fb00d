"""update.sh with a real node and a real hub, whose provider draws, attests and mints meanwhile."""

from __future__ import annotations

import pytest

from tests.deploy.machine import Machine, until
from tests.deploy.services import HubService, NodeService, ProviderService, ordering, rows_of

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def node(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> NodeService:
    """The only validator of a network, running."""
    service = NodeService.prepare(machine, tmp_path_factory.mktemp("keys"))
    service.start()
    return service


@pytest.fixture(scope="module")
def hub(machine: Machine, node: NodeService) -> HubService:
    """A hub with one provider that has registered itself, both running."""
    service = HubService.prepare(machine, node)
    service.start()
    ProviderService.prepare(machine, node, service).start()
    service.wait_for_provider()
    return service


def test_a_node_goes_on_where_it_was(machine: Machine, node: NodeService) -> None:
    height = until(node.height, "a first block")
    machine.copy_release("one", "three")
    done = machine.run("update.sh", "node@main", "--to", "three")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.runs("node") == "three"
    assert machine.runs("provider") != "three", "the provider's link is its own"
    assert until(node.height, "the node after its update") >= height
    back = machine.run("update.sh", "node@main", "--back")
    assert back.returncode == 0, back.stdout + back.stderr
    assert (machine.runs("node"), machine.runs("node.previous")) == ("one", "three")
    again = machine.run("update.sh", "node@main", "--to", "one")
    assert (again.returncode, "runs one already" in again.stdout) == (0, True)
    machine.unit(node.unit).stop()
    assert machine.unit(node.unit).property("Result") == "success"
    stopped = machine.run("update.sh", "node@main", "--to", "three")
    assert stopped.returncode == 0
    assert "was not running" in stopped.stdout
    assert machine.runs("node") == "three"
    node.start()


def test_one_death_at_the_start_is_systemds_to_mend(machine: Machine, node: NodeService) -> None:
    """The second start works, as where something else was not ready yet; however long systemd waits before it."""
    unit = machine.root / "etc/systemd/system/aitbc-node@.service"
    text = unit.read_text()
    assert "RestartSec=1\n" in text
    unit.write_text(text.replace("RestartSec=1\n", "RestartSec=8\n"))
    trace = machine.root / "died-once"
    machine.wrap_release("slow-to-rise", f'[ -e "{trace}" ] || {{ touch "{trace}"; exit 1; }}')
    done = machine.run("update.sh", "node@main", "--to", "slow-to-rise")
    assert done.returncode == 0, done.stdout + done.stderr
    assert trace.exists()
    assert machine.unit(node.unit).property("NRestarts") == "1"
    assert machine.runs("node") == "slow-to-rise"
    unit.write_text(text)


def test_a_node_that_keeps_dying_is_taken_back(machine: Machine, node: NodeService) -> None:
    before, height = machine.runs("node"), until(node.height, "a block")
    starts = machine.root / "starts"
    machine.wrap_release("mortal", f'echo one more >> "{starts}"', "exit 1")
    done = machine.run("update.sh", "node@main", "--to", "mortal")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not stay up" in done.stdout
    assert starts.read_text().count("one more") >= 3, "given up before systemd has tried again"
    assert (machine.runs("node"), machine.unit(node.unit).is_active()) == (before, True)
    assert until(node.height, "the node as it was") >= height


def test_an_update_of_the_hub_under_load_loses_no_job(machine: Machine, hub: HubService) -> None:
    machine.copy_release("one", "four")
    with ordering(hub.order) as clients:
        first_process = machine.unit(hub.unit).process_id
        done = machine.run("update.sh", "hub", "--to", "four")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "runs four and is healthy" in done.stdout
    assert (machine.runs("hub"), machine.runs("hub.previous")) == ("four", "one")
    assert machine.unit(hub.unit).process_id != first_process
    answers = [answer for client in clients for answer in client.answers.values()]
    assert {(answer["http_status"], answer["status"]) for answer in answers} == {(200, "done")}, answers
    assert all(client.refusals for client in clients), "no client has noticed the update"
    assert rows_of(hub.data_dir / "hub.sqlite3", "SELECT count(*) FROM jobs") == [(len(answers),)]
    # One receipt and one attestation for each job, and a mint for each of those.
    assert len({answer["receipt_hash"] for answer in answers}) == len(answers)
    attested = rows_of(hub.data_dir / "attestations.sqlite3", "SELECT count(*) FROM attestations")
    assert attested == [(len(answers),)]
    for answer in answers:
        until(lambda job_id=answer["job_id"]: hub.job(job_id)["mint"]["state"] == "minted", "a mint")  # type: ignore[misc]


def test_a_hub_that_systemd_does_not_start_again_is_taken_back(machine: Machine, hub: HubService) -> None:
    """Wrong usage ends it with code 2, after which the unit stays down: nothing is waited for."""
    before = machine.runs("hub")
    starts = machine.root / "starts-of-the-hub"
    machine.wrap_release("puzzled", f'echo one more >> "{starts}"', 'set -- "$@" --an-option-that-is-not-known')
    done = machine.run("update.sh", "hub", "--to", "puzzled")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not stay up" in done.stdout
    assert starts.read_text().count("one more") == 1
    assert "--an-option-that-is-not-known" in machine.log_of(hub.unit)
    assert machine.runs("hub") == before
    until(lambda: hub.order("after", 1).status_code == 200, "a picture")
