"""A whole network on one machine: validators, a follower, a hub and two providers as real processes on loopback.

Nobody holds anything when it starts. `run_job` asks the hub for some images and follows them until their
tokens are final.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import MODULES
from genesis.job import PICTURES, PROMPT, Job, JobSummary, asking
from genesis.market import ASSET_NAME, SYMBOL, DevnetMarket
from genesis.nodes import DevnetNodes
from genesis.processes import Process, ProcessFailed, free_port, wait_ready
from genesis.secrets import PROVIDER_NAMES, DevnetSecrets
from genesis.topology import wallet_network
from wallet.attester import AttesterNetwork
from wallet.keystore import replace_file

Progress = Callable[[str], None]

_SERVICES_READY_S: Final = 300.0  # Two processes import torch and load the model, on a busy machine one after another.
_CONNECTED_S: Final = 60.0
_STOP_S: Final = 20.0
_ANSWER_S: Final = 15.0
_POLL_S: Final = 0.2


class DevnetInUse(OSError):
    """Another devnet runs in this folder."""


class Devnet:
    """A devnet in a folder; as a context manager it holds the folder's lock, and stops what it started."""

    def __init__(self, folder: Path, progress: Progress, *, validators: int | None = None) -> None:
        """`validators` None: as many as the folder's devnet has, four in a new one."""
        self._folder = folder.absolute()
        self._progress = progress
        self._validators = validators
        self._nodes: DevnetNodes | None = None
        self._services: list[Process] = []
        self._market: dict[str, Any] = {}
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

    @property
    def hub_url(self) -> str:
        """Of the hub's API."""
        return self._services[0].url

    @property
    def node_url(self) -> str:
        """Of the follower's API."""
        assert self._nodes is not None
        return self._nodes.follower.url

    # Starting

    def start(self) -> None:
        """Starts everything and returns once it all answers; raises ProcessFailed, SetupError and StorageError."""
        secrets = DevnetSecrets.load_or_draw(self._folder, validators=self._validators)
        self._secrets = secrets
        self._nodes = nodes = DevnetNodes(self._folder, secrets, self._progress)
        network = nodes.network
        secrets.write_files(self._folder / "keys", AttesterNetwork(network.chain_id, network.genesis_hash))
        count = len(network.validators)
        self._progress(
            f"a chain of its own: id {network.chain_id}, {count} validator{'s' * (count != 1)}, and not one token"
        )
        nodes.start()
        left = count - len(nodes.lost)
        self._progress(
            f"{left} validator{'s' * (left != 1)} and a follower answer; the follower's API is {nodes.follower.url}"
        )
        hub = self._start_hub()
        providers = [self._start_provider(name, hub) for name in PROVIDER_NAMES]
        # While they load: it takes the chain's time, not this machine's.
        self._market = DevnetMarket(nodes.follower.url, secrets, self.require_running).make()
        self._progress(f"{SYMBOL} ({ASSET_NAME}) is issued; market {self._market['market']}: AIT/{SYMBOL}")
        wait_ready([hub], _SERVICES_READY_S, check=self.require_running)
        self._progress(f"the hub answers at {hub.url}; the providers load torch and their model")
        wait_ready(providers, _SERVICES_READY_S, check=self.require_running)
        self._wait_connected(hub, providers)
        self._describe(nodes, hub, providers)

    def _start(self, name: str, arguments: list[str], port: int, ready_path: str) -> Process:
        url = f"http://127.0.0.1:{port}"
        arguments = [*arguments, "--host", "127.0.0.1", "--port", str(port)]
        log_file = self._folder / "logs" / f"{name}.log"
        process = Process(name, arguments, log_file=log_file, url=url, ready_path=ready_path)
        self._services.append(process)
        return process

    def _start_hub(self) -> Process:
        keys = self._folder / "keys"
        arguments = [
            *("hub", "run", "--data-dir", str(self._folder / "hub"), "--node", self.node_url),
            *("--attester-keystore", str(keys / "attester.json")),
            *("--attester-password-file", str(keys / "password")),
            *("--clients-file", str(keys / "hub-clients.toml"), "--wait"),
        ]
        return self._start("hub", arguments, free_port(), "/readyz")

    def _start_provider(self, name: str, hub: Process) -> Process:
        keys = self._folder / "keys"
        arguments = [
            *("provider", "run", "--data-dir", str(self._folder / name), "--node-url", self.node_url),
            *("--keystore", str(keys / f"{name}.json"), "--password-file", str(keys / "password")),
            *("--api-keys-file", str(keys / f"{name}-api-keys.toml"), "--cpu-threads", "1", "--register"),
            *("--hub", hub.url),
        ]
        return self._start(name, arguments, free_port(), "/v1/health")

    def _wait_connected(self, hub: Process, providers: list[Process]) -> None:
        """Until all have dialled the hub, which asks the chain whether they are registered."""
        deadline = time.monotonic() + _CONNECTED_S
        while True:
            self.require_running()
            with asking(self.require_running):
                answer = httpx.get(hub.url + "/v1/providers", timeout=_ANSWER_S, verify=False, trust_env=False)
            listed = answer.json().get("items", [])
            if sum(each["is_connected"] for each in listed) >= len(providers):
                self._progress(f"{len(providers)} providers are registered on the chain, and have dialled the hub")
                return
            if time.monotonic() > deadline:
                raise ProcessFailed(f"the providers did not dial the hub in time.\n{providers[-1].log_tail()}")
            time.sleep(_POLL_S)

    def _describe(self, nodes: DevnetNodes, hub: Process, providers: list[Process]) -> None:
        secrets, network = self._secrets, nodes.network
        keys = {name: secrets.key(name) for name in secrets.account_names}
        addresses = {name: to_checksum_address(key.address) for name, key in keys.items()}
        description: dict[str, Any] = {
            "warning": secrets.warning,
            "chain_id": network.chain_id,
            "genesis_hash": to_hex(network.genesis_hash),
            "wallet_network": wallet_network(network.chain_id, network.name, nodes.follower.url),
            "nodes": nodes.describe(),
            "hub": {"url": hub.url, "pid": hub.pid, "api_key": secrets.api_keys["hub"]},
            "providers": [
                {
                    "name": each.name,
                    "url": each.url,
                    "pid": each.pid,
                    "address": addresses[each.name],
                    "api_key": secrets.api_keys[each.name],
                }
                for each in providers
            ],
            "market": self._market,
            "modules": {name: to_checksum_address(address) for name, address in MODULES.items()},
            "accounts": [
                {"name": name, "address": addresses[name], "private_key": to_hex(key.secret)}
                for name, key in keys.items()
            ],
        }
        replace_file(self.description_file, json.dumps(description, indent=2).encode() + b"\n")

    # Running

    def require_running(self) -> None:
        """Raises ProcessFailed where hub or a provider has ended, or more validators than the chain can miss."""
        assert self._nodes is not None
        follower_pid = self._nodes.follower.pid
        self._nodes.require_running()
        for process in self._services:
            process.require_running()
        if self._nodes.follower.pid != follower_pid and self.description_file.exists():
            hub, *providers = self._services
            self._describe(self._nodes, hub, providers)

    def run_job(self, prompt: str = PROMPT, pictures: int = PICTURES) -> JobSummary:
        """One job from the request to the final mint; raises ProcessFailed where a step fails."""
        return Job(self, self._secrets, self._folder / "images", self._progress).run(prompt, pictures)

    def stop(self) -> None:
        """Stops what runs, first who depends on others; each ends its work in order.

        Providers before their hub: they stay until it has concluded what they brought, and would wait if it left first.
        """
        self.description_file.unlink(missing_ok=True)
        nodes = self._nodes.processes if self._nodes is not None else []
        for processes in (self._services[:0:-1], self._services[:1], nodes[::-1]):
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait_stopped(_STOP_S)
        self._services.clear()
        self._nodes = None
