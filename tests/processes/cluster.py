"""A network of real `aitbc node run` processes on loopback: validators first, then followers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

import httpx
import msgspec
import psutil

from chain.answers import StatusView
from chain.client import NodeClient, NodeError
from chain.node.folder import NodeFolder, write_key_file
from chain.node.ledger import Ledger
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from chain.primitives.types import ATOMS_PER_AIT
from genesis.processes import free_ports
from tests.processes.links import Links

ROOT: Final = Path(__file__).parent.parent.parent
CHAIN_ID: Final = 3_999_999_979
READY_S: Final = 90.0
END_S: Final = 60.0
_POLL_S: Final = 0.05


def key_of(name: str) -> PrivateKey:
    """The same key for the same name."""
    return PrivateKey(keccak256(b"process test key of " + name.encode()))


class NodeProcess:
    """One node, which may be started again and again in its folder, always on the same port."""

    def __init__(self, index: int, name: str, folder: Path, port: int, command: Sequence[str] | None = None) -> None:
        """`command` starts `aitbc` in another way than usual."""
        self.index = index
        self.name = name
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = folder.with_suffix(".log")
        self.client = NodeClient(self.url)
        self.is_frozen = False
        self._command = list(command or (sys.executable, "-P", "-m", "genesis.cli"))
        self._child: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=self.url, timeout=5.0, trust_env=False)

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._child is not None
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Started, and not ended; frozen counts as running."""
        return self._child is not None and self._child.poll() is None

    def start(self, *options: str, stderr: IO[bytes] | int | None = None) -> None:
        """Returns at once. Its log goes to `log_file` unless `stderr` is given."""
        assert not self.is_running
        arguments = ["node", "run", "--data-dir", str(self.folder), "--port", str(self.port), *options]
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stderr=log if stderr is None else stderr,
                cwd=ROOT,
            )

    def wait_ready(self, timeout_s: float = READY_S) -> float:
        """Seconds until it answers; fails the test where it ends before, or is late."""
        started = time.monotonic()
        while not self.answers():
            assert self.is_running, f"{self.name} ended with {self.exit_code}:\n{self.log_tail()}"
            assert time.monotonic() - started < timeout_s, f"{self.name} does not answer:\n{self.log_tail()}"
            time.sleep(_POLL_S)
        return time.monotonic() - started

    def answers(self) -> bool:
        """Whether it is healthy."""
        try:
            return self._http.get("/healthz").is_success
        except httpx.HTTPError:
            return False

    def status(self) -> StatusView | None:
        """None where it does not answer."""
        try:
            return self.client.status()
        except NodeError:
            return None

    @property
    def height(self) -> int:
        """Its final height; -1 where it does not answer."""
        status = self.status()
        return -1 if status is None else status.finalized.height

    @property
    def exit_code(self) -> int | None:
        """Of the last process, None while it runs."""
        assert self._child is not None
        return self._child.poll()

    def wait_ended(self, timeout_s: float = END_S) -> int:
        """The exit code."""
        assert self._child is not None
        return self._child.wait(timeout_s)

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self.wait_ended()
        self.is_frozen = False

    def freeze(self) -> None:
        """SIGSTOP: alive for the kernel, dead for everybody else; its connections stay open."""
        self._signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self.is_frozen = False

    def stop(self) -> int:
        """In order; the exit code."""
        if self.is_frozen:
            self.thaw()
        self._signal(signal.SIGTERM)
        return self.wait_ended()

    def close(self) -> None:
        """For the end of a test."""
        if self.is_running:
            self.kill()
        self.client.close()
        self._http.close()

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def cpu_seconds(self) -> float:
        """User and system time of the process so far."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def log_tail(self, max_bytes: int = 4_000) -> str:
        """What it wrote last."""
        return self.log_file.read_bytes()[-max_bytes:].decode(errors="replace")


class Cluster:
    """Validators and followers in folders of their own, made by `make`; nothing runs until it is started."""

    def __init__(self, network: Network, keys: Sequence[PrivateKey], nodes: Sequence[NodeProcess]) -> None:
        """Use `make`."""
        self.network = network
        self.keys = list(keys)
        self.attester = key_of("attester")
        self.nodes = list(nodes)

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        validators: int = 4,
        followers: int = 1,
        links: Links | None = None,
        commands: Mapping[int, Sequence[str]] | None = None,
        block_interval_ms: int = 100,
        **parameters: int,
    ) -> Self:
        """Folders for a new network; with `links`, each node reaches each other through a proxy of its own.

        `commands` start single nodes in another way. `parameters` are of the network's; some have quicker defaults
        here than a real network would want.
        """
        parameters = {"network_delay_ms": 500, "heartbeat_ms": 5_000, **parameters}
        keys = [key_of(f"validator {index}") for index in range(validators)]
        names = [f"validator-{index + 1}" for index in range(validators)]
        names += [f"follower-{index + 1}" for index in range(followers)]
        ports = free_ports(len(names))
        network = Network(
            chain_id=CHAIN_ID,
            name="processes",
            validators=tuple(Validator(key.address, key.public_key) for key in keys),
            attesters=(AttesterAllowance(key_of("attester").address, 10**9 * ATOMS_PER_AIT, 10**9),),
            parameters=Parameters.from_mapping(parameters),
            block_interval_ms=block_interval_ms,
        )
        nodes = []
        for index, name in enumerate(names):
            known = _with_peer_urls(network, _urls_of_peers(index, ports[:validators], links))
            node_folder = NodeFolder.create(folder / name, network_to_toml(known))
            if index < validators:
                write_key_file(node_folder.key_file, keys[index])
            Ledger.open(node_folder.chain, known, create=True).close()
            nodes.append(NodeProcess(index, name, node_folder.path, ports[index], (commands or {}).get(index)))
        return cls(network, keys, nodes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.close()

    @property
    def validators(self) -> list[NodeProcess]:
        """The nodes with keys."""
        return self.nodes[: len(self.keys)]

    @property
    def followers(self) -> list[NodeProcess]:
        """The nodes without."""
        return self.nodes[len(self.keys) :]

    def start(self, *nodes: NodeProcess) -> None:
        """Starts these, or all, at once, and waits until they answer."""
        started = nodes or tuple(self.nodes)
        for node in started:
            node.start()
        for node in started:
            node.wait_ready()

    def wait_height(self, height: int, nodes: Sequence[NodeProcess] | None = None, timeout_s: float = 60.0) -> None:
        """Until all of these, or all that there are, have this height; fails the test where that takes too long."""
        waited_for = list(nodes or self.nodes)
        self.wait_until(
            lambda: all(node.height >= height for node in waited_for),
            f"height {height}",
            timeout_s,
        )

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Fails the test, with every node's height, where the condition does not come true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            heights = {node.name: node.height for node in self.nodes} if time.monotonic() > deadline else {}
            assert time.monotonic() <= deadline, f"no {what} within {timeout_s:.0f} s: {heights}"
            time.sleep(_POLL_S)


def _urls_of_peers(index: int, ports: Sequence[int], links: Links | None) -> list[str]:
    """Of the validators, as this node dials them; its own is empty, so that nobody learns a way around the proxies."""
    urls = []
    for other, port in enumerate(ports):
        if other == index:
            urls.append("" if links is not None else f"ws://127.0.0.1:{port}/p2p")
        else:
            urls.append(f"ws://127.0.0.1:{links.add(index, other, port) if links is not None else port}/p2p")
    return urls


def _with_peer_urls(network: Network, urls: Sequence[str]) -> Network:
    validators = tuple(
        msgspec.structs.replace(validator, peer_url=url)
        for validator, url in zip(network.validators, urls, strict=True)
    )
    return msgspec.structs.replace(network, validators=validators)
