"""A whole network on one machine: a validator, a hub and two providers as real processes on loopback.

Nobody holds anything when it starts. `run_job` asks the hub for an image and follows it until its token is final.
"""

import base64
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from chain.node.folder import NodeFolder, write_key_file
from chain.node.ledger import Ledger
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MODULES
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from genesis.processes import Process, ProcessFailed, free_port
from genesis.secrets import ACCOUNT_NAMES, HOLDER_NAMES, PROVIDER_NAMES, DevnetSecrets
from wallet.attester import AttesterNetwork
from wallet.keystore import replace_file

Progress = Callable[[str], None]

PROMPT: Final = "a red circle on a blue background"
_BLOCK_INTERVAL_MS: Final = 200
_NODE_READY_S: Final = 60.0
_PROVIDERS_READY_S: Final = 300.0  # Two processes import torch and load the model, on a busy machine one after another.
_JOB_S: Final = 300.0
_MINT_S: Final = 120.0
_STOP_S: Final = 20.0
_ANSWER_S: Final = 15.0


class JobSummary(msgspec.Struct, frozen=True):
    """What one job left behind. Amounts in atoms, as decimal strings."""

    image: str
    job_id: str
    provider: str
    receipt_hash: str
    transaction_hash: str
    height: int
    amount: str
    balances: dict[str, str]
    supply: str


class DevnetInUse(OSError):
    """Another devnet runs in this folder."""


class Devnet:
    """A devnet in a folder; as a context manager it holds the folder's lock, and stops what it started."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder.absolute()
        self._progress = progress
        self._processes: list[Process] = []
        self._lock = -1

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._folder / "devnet.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DevnetInUse(
                f"another devnet runs in {self._folder}: stop it, or choose another folder with --dir"
            ) from None
        self.description_file.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        os.close(self._lock)

    @property
    def description_file(self) -> Path:
        """`devnet.json`: there while the devnet answers, and only then."""
        return self._folder / "devnet.json"

    # Starting

    def start(self) -> None:
        """Starts everything and returns once it all answers; raises ProcessFailed."""
        secrets = DevnetSecrets.load_or_draw(self._folder)
        network = self._network(secrets)
        secrets.write_files(self._folder / "keys", AttesterNetwork(network.chain_id, network.genesis_hash))
        node = self._start_node(secrets, network)
        hub = self._start_hub(secrets, node.url)
        providers = [self._start_provider(name, secrets, node.url) for name in PROVIDER_NAMES]
        self._progress("the providers load torch and their model")
        for provider in providers:
            provider.wait_ready(_PROVIDERS_READY_S)
        self._wait_registered(hub, providers)
        description = self._describe(secrets, network, node, hub, providers)
        replace_file(self.description_file, json.dumps(description, indent=2).encode() + b"\n")
        self._hub_api_key, self._hub, self._node = secrets.api_keys["hub"], hub, node
        self._secrets = secrets

    def _network(self, secrets: DevnetSecrets) -> Network:
        validator, attester = secrets.key("validator-1"), secrets.key("attester")
        parameters = Parameters()
        return Network(
            chain_id=secrets.chain_id,
            name="aitbc-devnet",
            validators=(Validator(validator.address, validator.public_key),),
            attesters=(
                AttesterAllowance(
                    attester.address, parameters.default_attester_atoms, parameters.default_attester_receipts
                ),
            ),
            parameters=parameters,
            block_interval_ms=_BLOCK_INTERVAL_MS,
        )

    def _start(self, name: str, arguments: list[str], url: str, ready_path: str) -> Process:
        process = Process(
            name, arguments, log_file=self._folder / "logs" / f"{name}.log", url=url, ready_path=ready_path
        )
        self._processes.append(process)
        return process

    def _start_node(self, secrets: DevnetSecrets, network: Network) -> Process:
        folder = NodeFolder.create(self._folder / "validator-1", network_to_toml(network))
        if not folder.key_file.exists():
            write_key_file(folder.key_file, secrets.key("validator-1"))
        Ledger.open(folder.chain, network, create=True).close()
        port = free_port()
        self._progress(f"a chain of its own: id {network.chain_id}, and not one token")
        node = self._start(
            "validator-1",
            [
                *("node", "run", "--data-dir", str(folder.path)),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            f"http://127.0.0.1:{port}",
            "/healthz",
        )
        node.wait_ready(_NODE_READY_S)
        self._progress(f"the validator answers at {node.url}")
        return node

    def _start_hub(self, secrets: DevnetSecrets, node_url: str) -> Process:
        keys, port = self._folder / "keys", free_port()
        hub = self._start(
            "hub",
            [
                *("hub", "run", "--data-dir", str(self._folder / "hub"), "--node", node_url),
                *("--attester-keystore", str(keys / "attester.json")),
                *("--attester-password-file", str(keys / "password")),
                *("--clients-file", str(keys / "hub-clients.toml")),
                *("--providers-file", str(keys / "hub-providers.toml")),
                *("--host", "127.0.0.1", "--port", str(port), "--wait"),
            ],
            f"http://127.0.0.1:{port}",
            "/healthz",
        )
        hub.wait_ready(_NODE_READY_S)
        self._progress(f"the hub answers at {hub.url}")
        return hub

    def _start_provider(self, name: str, secrets: DevnetSecrets, node_url: str) -> Process:
        keys, port = self._folder / "keys", free_port()
        return self._start(
            name,
            [
                *("provider", "run", "--data-dir", str(self._folder / name), "--node-url", node_url),
                *("--keystore", str(keys / f"{name}.json"), "--password-file", str(keys / "password")),
                *("--api-keys-file", str(keys / f"{name}-api-keys.toml")),
                *("--host", "127.0.0.1", "--port", str(port), "--cpu-threads", "1", "--register"),
            ],
            f"http://127.0.0.1:{port}",
            "/v1/health",
        )

    def _wait_registered(self, hub: Process, providers: list[Process]) -> None:
        """Until the hub has read where the providers are: in a folder of an earlier devnet, they were elsewhere."""
        deadline = time.monotonic() + _NODE_READY_S
        urls = {provider.url for provider in providers}
        while True:
            self.require_running()
            with self.asking():
                listed = httpx.get(hub.url + "/v1/providers", timeout=_ANSWER_S).json().get("items", [])
            if urls <= {each["endpoint"] for each in listed}:
                self._progress(f"{len(urls)} providers are registered on the chain")
                return
            if time.monotonic() > deadline:
                raise ProcessFailed(f"the providers did not register in time.\n{self._processes[-1].log_tail()}")
            time.sleep(0.2)

    def _describe(
        self, secrets: DevnetSecrets, network: Network, node: Process, hub: Process, providers: list[Process]
    ) -> dict[str, Any]:
        def account(name: str, key: PrivateKey) -> dict[str, str]:
            return {
                "name": name,
                "address": to_checksum_address(key.address),
                "private_key": to_hex(key.secret),
            }

        return {
            "warning": secrets.warning,
            "chain_id": network.chain_id,
            "genesis_hash": to_hex(network.genesis_hash),
            "nodes": [{"name": node.name, "role": "validator", "url": node.url, "pid": node.pid}],
            "hub": {"url": hub.url, "pid": hub.pid, "api_key": secrets.api_keys["hub"]},
            "providers": [
                {
                    "name": provider.name,
                    "url": provider.url,
                    "pid": provider.pid,
                    "address": to_checksum_address(secrets.key(provider.name).address),
                    "api_key": secrets.api_keys[provider.name],
                }
                for provider in providers
            ],
            "modules": {name: to_checksum_address(address) for name, address in MODULES.items()},
            "accounts": [account(name, secrets.key(name)) for name in ACCOUNT_NAMES],
        }

    # Running

    def require_running(self) -> None:
        """Raises ProcessFailed if a process has ended."""
        for process in self._processes:
            process.require_running()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """What no process answers becomes ProcessFailed, with the log of one that has ended."""
        try:
            yield
        except httpx.HTTPError as error:
            self.require_running()
            raise ProcessFailed(f"no answer from {error.request.url}: {str(error) or type(error).__name__}") from None

    def run_job(self, prompt: str = PROMPT) -> JobSummary:
        """One job from the request to the final mint; raises ProcessFailed where a step fails."""
        with self.asking():
            return self._run_job(prompt)

    def _run_job(self, prompt: str) -> JobSummary:
        self._progress(f"a client asks the hub for “{prompt}”")
        with httpx.Client(
            base_url=self._hub.url, headers={"Authorization": f"Bearer {self._hub_api_key}"}, timeout=_JOB_S
        ) as hub:
            # The embedded model is at its best with a guidance of 2.5; the plan's default of 7.5 makes it speckle.
            answer = hub.post("/v1/jobs", json={"prompt": prompt, "guidance": 2.5})
            if answer.status_code != httpx.codes.OK:
                raise ProcessFailed(f"the hub refused the job: {answer.text[:500]}")
            job = answer.json()
            image = self._save_image(job)
            self._progress(f"{job['provider']} made it; the hub checked and attested receipt {job['receipt_hash']}")
            mint = self._wait_minted(hub, job["job_id"])
        self._progress(f"minted at height {mint['height']}")
        balances, supply = self._balances()
        return JobSummary(
            image=str(image),
            job_id=job["job_id"],
            provider=job["provider"],
            receipt_hash=job["receipt_hash"],
            transaction_hash=mint["transaction_hash"],
            height=mint["height"],
            amount=job["receipt"]["amount"],
            balances=balances,
            supply=supply,
        )

    def _save_image(self, job: dict[str, Any]) -> Path:
        images = self._folder / "images"
        images.mkdir(exist_ok=True)
        path = images / f"{job['job_id']}.png"
        path.write_bytes(base64.b64decode(job["image_base64"].partition(",")[2]))
        return path

    def _wait_minted(self, hub: httpx.Client, job_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + _MINT_S
        while time.monotonic() < deadline:
            self.require_running()
            mint: dict[str, Any] = hub.get(f"/v1/jobs/{job_id}").json()["mint"]
            if mint["state"] == "minted":
                return mint
            time.sleep(0.2)
        raise ProcessFailed(f"the receipt was not minted within {_MINT_S:.0f} s.\n{self._processes[-1].log_tail()}")

    def _balances(self) -> tuple[dict[str, str], str]:
        with httpx.Client(base_url=self._node.url, timeout=_ANSWER_S) as node:
            balances = {
                name: node.get(f"/v1/accounts/{to_checksum_address(self._secrets.key(name).address)}").json()["balance"]
                for name in (*PROVIDER_NAMES, *HOLDER_NAMES)
            }
            return balances, node.get("/v1/supply").json()["supply"]

    def stop(self) -> None:
        """Stops what runs, first who depends on others; each ends its work in order."""
        self.description_file.unlink(missing_ok=True)
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            process.wait_stopped(_STOP_S)
        self._processes.clear()
