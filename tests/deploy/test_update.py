"""update.sh with real releases and real services: no job is lost on the way, and what does not work is taken back."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.machine import DEPLOY, Machine, ProviderService, free_port, health_of, run_program, until

pytestmark = pytest.mark.timeout(600)


@dataclass
class Client:
    """Orders one picture after another while the provider is updated, as a hub does: 503 and no answer mean "again"."""

    service: ProviderService
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    asked_to_stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until asked to stop; what was begun is brought to its end."""
        while not self.asked_to_stop.is_set():
            key = uuid.uuid4().hex
            self.answers[key] = self._order(key)

    def _order(self, key: str) -> dict[str, Any]:
        while True:
            try:
                answer = httpx.post(
                    f"{self.service.url}/v1/generate-image",
                    json=self.service.order(seed=len(self.answers)),
                    headers={"Idempotency-Key": key},
                    timeout=120,
                )
            except httpx.TransportError as error:
                self.refusals.append(type(error).__name__)
                time.sleep(0.2)
                continue
            if answer.status_code != 503:
                return {"http_status": answer.status_code, **answer.json()}
            self.refusals.append(answer.json()["reason"])
            time.sleep(0.2)


def rows_of(service: ProviderService, query: str) -> list[tuple[Any, ...]]:
    """From the provider's database, which may be running."""
    with closing(sqlite3.connect(f"file:{service.data_dir / 'outbox.sqlite3'}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def test_an_update_under_load_loses_no_job(machine: Machine, provider: ProviderService) -> None:
    machine.copy_release("one", "two")
    clients = [Client(provider) for _ in range(2)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(client.answers for client in clients), "first pictures")
        first_process = machine.unit(provider.unit).process_id
        done = machine.run("update.sh", "provider", "--to", "two")
        assert done.returncode == 0, done.stdout + done.stderr
        counts = [len(client.answers) for client in clients]
        until(
            lambda: all(len(client.answers) > count + 1 for client, count in zip(clients, counts, strict=True)),
            "pictures of the new release",
        )
    finally:
        for client in clients:
            client.asked_to_stop.set()
        for thread in threads:
            thread.join(180)
    assert "runs two and is healthy" in done.stdout
    assert machine.runs("provider") == "two"
    assert machine.unit(provider.unit).process_id != first_process
    answers = [answer for client in clients for answer in client.answers.values()]
    assert {answer["http_status"] for answer in answers} == {200}
    assert all(client.refusals for client in clients), "no client has noticed the update"
    states = rows_of(provider, "SELECT state, count(*) FROM jobs GROUP BY state")
    assert states == [("done", len(answers))]
    receipts = {receipt_hash for (receipt_hash,) in rows_of(provider, "SELECT receipt_hash FROM receipts")}
    assert len(receipts) == len({answer["receipt_hash"] for answer in answers}) == len(answers)


def test_a_release_that_cannot_serve_is_taken_back_even_after_a_power_failure(
    machine: Machine, provider: ProviderService
) -> None:
    """The first attempt is killed between the switch and the first sign of health, the second ends what it began."""
    broken = machine.copy_release("one", "broken")
    (module,) = broken.glob("lib/python*/site-packages/provider/process.py")
    module.unlink()
    before = machine.runs("provider")
    process = subprocess.Popen(
        [DEPLOY / "update.sh", "provider", "--to", "broken"],
        env=machine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: machine.runs("provider") == "broken", "the switch")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    machine.unit(provider.unit).stop()
    done = machine.run("update.sh", "provider", "--to", "broken")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"the update from {before} to broken was cut off" in done.stdout
    assert f"runs {before} again" in done.stdout
    assert machine.runs("provider") == before
    assert not list((machine.root / "var/lib/aitbc-update").glob("*.under-way"))
    answer = httpx.post(f"{provider.url}/v1/generate-image", json=provider.order(), timeout=120)
    assert answer.status_code == 200


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
    assert health_of(provider.url)["status"] == "ok"


def test_a_node_goes_on_where_it_was(machine: Machine, tmp_path: Path) -> None:
    node = NodeService.prepare(machine, tmp_path)
    machine.unit(node.unit).start()
    until(lambda: node.height() is not None, "a node that answers")
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
    assert machine.unit(node.unit).result() == "success"
    stopped = machine.run("update.sh", "node@main", "--to", "three")
    assert stopped.returncode == 0
    assert "was not running" in stopped.stdout
    assert machine.runs("node") == "three"


@dataclass(frozen=True)
class NodeService:
    """The node `main` of a machine: the only validator of its network."""

    url: str
    unit: str = "aitbc-node@main.service"

    @classmethod
    def prepare(cls, machine: Machine, folder: Path) -> NodeService:
        """Its key, network and folder, as docs/operations.md makes them."""
        aitbc = machine.root / "opt/aitbc/node/bin/aitbc"

        def run(*arguments: str | Path) -> str:
            done = run_program(aitbc, "node", *arguments, env=machine.environment)
            assert done.returncode == 0, done.stderr
            return done.stdout

        printed = run("new-key", "--key-file", folder / "validator.key")
        lines = [line for line in printed.splitlines() if line.startswith(("address", "public_key"))]
        network = folder / "network.toml"
        network.write_text(
            '[network]\nname = "deployed"\nchain_id = 424243\n\n[[validators]]\n'
            + "\n".join(lines)
            + f'\n\n[[attesters]]\naddress = "0x{"17" * 20}"\natoms_per_period = "1"\nreceipts_per_period = 1\n'
        )
        data_dir = machine.root / "var/lib/aitbc-node/main"
        run("init", "--network", network, "--data-dir", data_dir, "--key-file", folder / "validator.key")
        port = free_port()
        machine.set("node-main.env", AITBC_NODE_PORT=port)
        return cls(f"http://127.0.0.1:{port}")

    def height(self) -> int | None:
        """Of the newest final block."""
        done = run_program(sys.executable, DEPLOY / "health.py", "node", self.url, "--print-height")
        return int(done.stdout) if done.returncode == 0 else None
