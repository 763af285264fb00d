"""The services of a machine, made as the documents tell an operator to: node, provider, hub; and who uses them."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.network import parse_network
from genesis.processes import free_port
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from tests.deploy.machine import DEPLOY, Machine, run_program, until
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N

CLIENT_KEY = "alice-0123456789abcdef"


def start_healthy(machine: Machine, unit_name: str, role: str, url: str) -> None:
    """Starts a service and waits until health.py finds nothing wrong."""
    unit = machine.unit(unit_name)
    unit.start()

    def is_healthy() -> bool:
        assert unit.is_active(), machine.log_of(unit_name)
        return run_program(sys.executable, DEPLOY / "health.py", role, url).returncode == 0

    until(is_healthy, f"a healthy {role}")


def health_of(url: str) -> dict[str, Any]:
    """What a provider says of itself; empty where nobody answers."""
    try:
        return dict(json.loads(httpx.get(f"{url}/v1/health", timeout=10).content))
    except (httpx.HTTPError, ValueError):
        return {}


def rows_of(database_file: Path, query: str) -> list[tuple[Any, ...]]:
    """From a service's database, which may be in use."""
    with closing(sqlite3.connect(f"file:{database_file}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


@dataclass
class NodeService:
    """The node `main` of a machine: the only validator of its network."""

    machine: Machine
    network_file: Path
    attester: PrivateKey
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
        attester = PrivateKey.generate()
        network = folder / "network.toml"
        network.write_text(
            '[network]\nname = "deployed"\nchain_id = 424243\n\n[[validators]]\n'
            + "\n".join(lines)
            + f'\n\n[[attesters]]\naddress = "{to_checksum_address(attester.address)}"\n'
            + 'atoms_per_period = "1000000000000000000000000"\nreceipts_per_period = 100000\n'
        )
        data_dir = machine.root / "var/lib/aitbc-node/main"
        run("init", "--network", network, "--data-dir", data_dir, "--key-file", folder / "validator.key")
        port = free_port()
        machine.set("node-main.env", AITBC_NODE_PORT=port)
        return cls(machine, network, attester, f"http://127.0.0.1:{port}")

    def start(self) -> None:
        """Returns once there is a block."""
        self.machine.unit(self.unit).start()
        until(self.height, "a first block")

    def height(self) -> int | None:
        """Of the newest final block."""
        done = run_program(sys.executable, DEPLOY / "health.py", "node", self.url, "--print-height")
        return int(done.stdout) if done.returncode == 0 else None


@dataclass
class ProviderService:
    """The provider of a machine."""

    machine: Machine
    url: str
    address: str
    api_key: str
    unit: str = "aitbc-provider.service"

    @classmethod
    def prepare(
        cls, machine: Machine, node: NodeService | None = None, hub: HubService | None = None
    ) -> ProviderService:
        """Key, API key and settings; without a node, the chain that an earlier run is taken to have found."""
        folder = machine.root / "etc/aitbc/provider"
        made = run_program(
            *(machine.root / "opt/aitbc/provider/bin/aitbc", "provider", "init", "--json"),
            *("--data-dir", folder, "--env-file", folder / "init.env"),
            env=machine.environment,
        )
        assert made.returncode == 0, made.stderr
        port = free_port()
        said = json.loads(made.stdout)
        service = cls(machine, f"http://127.0.0.1:{port}", said["provider"], said["api_key"])
        machine.set(
            "provider.env",
            AITBC_PROVIDER_BIND_PORT=port,
            # Nobody listens on port 9: the node is down.
            AITBC_PROVIDER_NODE_URL=node.url if node else "http://127.0.0.1:9",
            AITBC_PROVIDER_CPU_THREADS=1,
            AITBC_PROVIDER_RATE_LIMIT="10000/minute",
        )
        if node:
            machine.set("provider.env", AITBC_PROVIDER_REGISTER_AT_START="yes", AITBC_PROVIDER_ENDPOINT=service.url)
        if hub:
            machine.set("provider.env", AITBC_PROVIDER_HUB=hub.url.replace("http://", "ws://"))
        if not node:
            with Database(service.database.parent) as database:
                identity = FolderIdentity(database)
                identity.bind("genesis_hash", "0x" + "17" * 32)
                identity.bind("chain_id", "424242")
        return service

    @property
    def database(self) -> Path:
        """Its jobs and receipts."""
        return self.machine.root / "var/lib/aitbc-provider/outbox.sqlite3"

    def start(self) -> None:
        """Returns once it takes jobs."""
        start_healthy(self.machine, self.unit, "provider", self.url)

    def order(self, key: str, seed: int) -> httpx.Response:
        """A small, quick picture."""
        quick = {"steps": 5, "width": 256, "height": 256, "guidance": 2.5, "seed": seed}
        return httpx.post(
            f"{self.url}/v1/generate-image",
            json={"api_key": self.api_key, "prompt": "a red circle on a blue background", **quick},
            headers={"Idempotency-Key": key},
            timeout=120,
        )


@dataclass
class HubService:
    """The hub of a machine, with one client."""

    machine: Machine
    url: str
    unit: str = "aitbc-hub.service"

    @classmethod
    def prepare(cls, machine: Machine, node: NodeService) -> HubService:
        """The three credentials and the settings, as docs/operations.md says."""
        folder = machine.root / "etc/aitbc/hub"
        network = parse_network(node.network_file.read_text())
        bound = AttesterNetwork(network.chain_id, network.genesis_hash)
        save_attester_key(folder / "key.json", node.attester, "secret", bound, scrypt_n=LIGHT_SCRYPT_N)
        for name, text in (
            ("password", "secret\n"),
            ("clients.toml", f'[clients]\nalice = "{CLIENT_KEY}"\n'),
        ):
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        port = free_port()
        machine.set("hub.env", AITBC_HUB_PORT=port, AITBC_HUB_NODE_URL=node.url)
        return cls(machine, f"http://127.0.0.1:{port}")

    @property
    def data_dir(self) -> Path:
        """Its databases and pictures."""
        return self.machine.root / "var/lib/aitbc-hub"

    def start(self) -> None:
        """Returns once its attester counts on the chain."""
        start_healthy(self.machine, self.unit, "hub", self.url)

    def wait_for_provider(self) -> None:
        """Returns once a provider has dialled in."""
        until(lambda: httpx.get(f"{self.url}/v1/hub", timeout=30).json()["providers"], "a provider that dials the hub")

    def order(self, key: str, seed: int) -> httpx.Response:
        """A small, quick job, waited for; 202 where the hub has it and could not wait for its end."""
        quick = {"steps": 5, "width": 256, "height": 256, "guidance": 2.5, "seed": seed, "wait_s": 90}
        return httpx.post(
            f"{self.url}/v1/jobs",
            json={"prompt": "a red circle on a blue background", **quick},
            headers={"Idempotency-Key": key, "Authorization": f"Bearer {CLIENT_KEY}"},
            timeout=120,
        )

    def job(self, job_id: str) -> dict[str, Any]:
        """What the hub says of a job."""
        headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
        return dict(httpx.get(f"{self.url}/v1/jobs/{job_id}", headers=headers, timeout=60).json())


@dataclass
class Client:
    """Orders one picture after another, whatever happens to the service: 202, 503 and no answer mean "again"."""

    order: Callable[[str, int], httpx.Response]
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
                answer = self.order(key, len(self.answers))
            except httpx.TransportError as error:
                self.refusals.append(type(error).__name__)
                time.sleep(0.2)
                continue
            if answer.status_code not in (202, 503):
                return {"http_status": answer.status_code, **answer.json()}
            self.refusals.append(answer.json()["reason"] or "not_ended")
            time.sleep(0.2)


@contextmanager
def ordering(order: Callable[[str, int], httpx.Response], count: int = 2) -> Iterator[list[Client]]:
    """Clients at work, each of which has had an answer; afterwards all have ended, with what they had begun."""
    clients = [Client(order) for _ in range(count)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(client.answers for client in clients), "first pictures")
        yield clients
        counts = [len(client.answers) for client in clients]
        until(
            lambda: all(len(client.answers) > count + 1 for client, count in zip(clients, counts, strict=True)),
            "pictures after what happened",
        )
    finally:
        for client in clients:
            client.asked_to_stop.set()
        for thread in threads:
            thread.join(180)
