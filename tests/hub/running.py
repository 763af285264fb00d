"""A real chain, and hub processes as operators run them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx

from chain.client import NodeClient, NodeError
from chain.node.folder import write_key_file
from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import REGISTER, REGISTRY
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ZERO_ADDRESS, Address, Amount
from genesis.processes import free_port
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N

MODEL: Final = "aitbc/tiny-sd"
PRICE: Final = Amount(10**17)
CLIENT_KEYS: Final = {name: f"{name}-0123456789abcdef" for name in ("alice", "bob", "carol")}
PATIENCE_S: Final = 60.0
"""What nothing in these tests should ever take."""


def wait_until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """The condition's value once it is true; fails the test when it does not become so in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return value


class Chain:
    """A real network: one validator as `aitbc node run` runs it, on a folder and keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.attester = PrivateKey.generate()
        validator = PrivateKey.generate()
        network = Network(
            chain_id=424_242,
            name="hub-tests",
            block_interval_ms=100,
            validators=(Validator(validator.address, validator.public_key),),
            attesters=(AttesterAllowance(self.attester.address, 10**27, 1_000_000),),
            parameters=Parameters(),
        )
        self.chain_id = network.chain_id
        self.genesis_hash = to_hex(network.genesis_hash)
        self._folder = folder
        (folder / "network.toml").write_text(network_to_toml(network))
        write_key_file(folder / "validator.key", validator)
        made = self._aitbc("init", "--network", folder / "network.toml", "--key-file", folder / "validator.key")
        assert made.wait(60) == 0, self.log
        self._process = self._aitbc("run", "--port", "0")
        self.url = wait_until(self._served_url)
        self.node = NodeClient(self.url)

    def kill(self) -> None:
        """kill -9 of the node."""
        self._process.kill()
        self._process.wait(60)

    def start(self) -> None:
        """The node again, on its folder and port, until it answers."""
        self._process = self._aitbc("run", "--port", self.url.rpartition(":")[2])
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log
        with suppress(NodeError):
            self.node.status()
            return True
        return False

    @property
    def log(self) -> str:
        """What the node logged."""
        return (self._folder / "log.txt").read_text()

    def _aitbc(self, command: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        with (self._folder / "log.txt").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "genesis.cli", "node", command, "--data-dir", self._folder / "node", *arguments],
                stdout=log,
                stderr=log,
            )

    def _served_url(self) -> str | None:
        assert self._process.poll() is None, self.log
        found = re.search(r'"url": "(http://[^"]+)"', self.log)
        return found[1] if found else None

    def send(self, key: PrivateKey, to: Address, call_data: bytes) -> str:
        """Sends a call and waits until it has succeeded and is final; its transaction hash."""
        nonce = self.node.account(key.address).nonce
        signed = sign_transaction(key, chain_id=self.chain_id, nonce=nonce, to=to, data=call_data)
        self.node.send_transaction(signed.raw)
        sent = self.node.wait_for_transaction(signed.hash, timeout_s=PATIENCE_S)
        assert sent.status == "success", sent.reason
        return sent.hash

    def register(self, key: PrivateKey, *models: str, price: int = PRICE, unit_type: str = "images") -> None:
        """Puts a provider's offer on the chain."""
        fields = ("http://127.0.0.1:9", list(models or (MODEL,)), price, unit_type, 0, ZERO_ADDRESS)
        self.send(key, REGISTRY, REGISTER.encode(*fields))

    def balance(self, key: PrivateKey) -> int:
        """In atoms."""
        return int(self.node.account(key.address).balance)

    def close(self) -> None:
        """Stops the node."""
        self.node.close()
        self._process.terminate()
        assert self._process.wait(30) == 0, self.log


class HubProcess:
    """`aitbc hub run` as an operator runs it, on a folder of its own."""

    def __init__(self, folder: Path, chain: Chain, **flags: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        keys = "".join(f'{name} = "{key}"\n' for name, key in CLIENT_KEYS.items())
        signers = flags.pop("signers", "")
        self._write("clients.toml", f"[clients]\n{keys}[quotas]\nbob = {{ pictures = 3 }}\n[signers]\n{signers}")
        self._write("password.txt", "secret\n")
        if not (folder / "attester.json").exists():
            network = AttesterNetwork(chain.chain_id, parse_hash(chain.genesis_hash))
            save_attester_key(folder / "attester.json", chain.attester, "secret", network, scrypt_n=LIGHT_SCRYPT_N)
        self._flags = {
            "data-dir": folder / "data",
            "node": chain.url,
            "attester-keystore": folder / "attester.json",
            "attester-password-file": folder / "password.txt",
            "clients-file": folder / "clients.toml",
            "hub-id": "hub-1",
            "port": free_port(),
            "shutdown-grace-s": 2,
        } | {name.replace("_", "-"): value for name, value in flags.items() if name.islower()}
        # Without jobs of the hub's own, a test knows what each provider was given and paid.
        self._environment = {"AITBC_HUB_CANARIES_PER_DAY": "0"}
        self._environment |= {name: str(value) for name, value in flags.items() if name.isupper()}
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self._http = httpx.Client(timeout=PATIENCE_S, trust_env=False)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    @property
    def log(self) -> str:
        """Everything that all its processes logged."""
        return (self.folder / "log.txt").read_text()

    def settings(self) -> dict[str, Any]:
        """What the flags say, for a hub that is opened in the test's own process."""
        names = {name.replace("-", "_"): value for name, value in self._flags.items()}
        return {"node_url": names.pop("node")} | names

    def command(self) -> list[str]:
        """The command line."""
        given = {name: value for name, value in self._flags.items() if value is not None}
        flags = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        return [sys.executable, "-m", "genesis.cli", "hub", "run", *flags]

    def start(self) -> "HubProcess":
        """Starts it and waits until it serves; on the port that it had before, where it was started already."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        with (self.folder / "log.txt").open("a") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=subprocess.PIPE, stderr=log, text=True, env=clean | self._environment
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, self.log
        self.url = line.split()[-1]
        self._flags["port"] = int(self.url.rpartition(":")[2])
        return self

    @property
    def workers_url(self) -> str:
        """Where providers dial."""
        return self.url.replace("http://", "ws://") + "/v1/workers"

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def request(self, method: str, path: str, *, api_key: str = CLIENT_KEYS["alice"], **options: Any) -> httpx.Response:
        """One request with a client's key."""
        headers = {"Authorization": f"Bearer {api_key}"} | options.pop("headers", {})
        return self._http.request(method, self.url + path, headers=headers, **options)

    def post_job(self, *, headers: Mapping[str, str] | None = None, **fields: Any) -> httpx.Response:
        """A small job, by default waited for."""
        body = {"width": 256, "height": 256, "steps": 5, "wait_s": 50} | fields
        if "prompts" not in body:
            body.setdefault("prompt", "a red circle")
        return self.request("POST", "/v1/jobs", json=body, headers=dict(headers or {}))

    def job(self, job_id: str, **query: Any) -> Any:
        """What the hub says of a job."""
        answer = self.request("GET", f"/v1/jobs/{job_id}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, job_id: str) -> Any:
        """The job once it has ended."""
        return wait_until(lambda: job if (job := self.job(job_id, wait_s=5))["ended_at_ms"] else None)
