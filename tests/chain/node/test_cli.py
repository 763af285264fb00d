"""`aitbc node` as an operator uses it: real processes, real signals, and kill −9 under load."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner, Result

from chain.client import NodeClient, NodeError
from chain.node.cli import app
from chain.node.folder import write_key_file
from chain.primitives.network import network_to_toml
from chain.primitives.types import ATOMS_PER_AIT, Hash32
from chain.web.server import listen

if TYPE_CHECKING:
    from tests.chain.conftest import People

COMMAND = [sys.executable, "-m", "genesis.cli", "node"]
Aitbc = Callable[..., Result]


@pytest.fixture
def aitbc_node() -> Aitbc:
    """Runs `aitbc node …` to its end, in this process: `aitbc_node("status", expect=1)`."""

    def run_command(*arguments: object, expect: int = 0) -> Result:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert done.exit_code == expect, done.stderr
        return done

    return run_command


class NodeProcess:
    """`aitbc node run` in a process of its own."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "run", "--data-dir", str(data_dir), "--port", "0", *options], stderr=subprocess.PIPE, text=True
        )
        self.url = ""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if (event := json.loads(line))["event"] == "serving":
                self.url = event["url"]
                break
        self._reader = threading.Thread(target=self._process.stderr.read)  # An unread pipe would stop it.
        self._reader.start()

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and waits; the exit code."""
        self._process.send_signal(number)
        code = self._process.wait(60)
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def end_if_alive(self) -> None:
        """For the end of a test."""
        if self._process.poll() is None:
            self.end(signal.SIGKILL)


@pytest.fixture
def data_dir(tmp_path: Path, people: People, aitbc_node: Aitbc) -> Path:
    """A folder that `aitbc node init` has made for the validator."""
    (tmp_path / "network.toml").write_text(network_to_toml(people.network))
    write_key_file(tmp_path / "key", people.key("validator"))
    data_dir = tmp_path / "data"
    arguments = ("--network", tmp_path / "network.toml", "--data-dir", data_dir, "--key-file", tmp_path / "key")
    done = aitbc_node("init", *arguments)
    assert "validator 0x" in done.stdout
    assert "genesis hash 0x" in done.stdout
    return data_dir


@pytest.fixture
def run() -> Iterator[Callable[..., NodeProcess]]:
    """Starts node processes, and leaves none behind."""
    started: list[NodeProcess] = []

    def start(data_dir: Path, *options: str) -> NodeProcess:
        started.append(NodeProcess(data_dir, *options))
        return started[-1]

    yield start
    for process in started:
        process.end_if_alive()


def test_web_origins_that_may_read_answers(data_dir: Path, run: Callable[..., NodeProcess], aitbc_node: Aitbc) -> None:
    process = run(data_dir, "--cors-origin", "https://a.example", "--cors-origin", "http://127.0.0.1:3000")
    for origin in ("https://a.example", "http://127.0.0.1:3000", "https://b.example"):
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        answer = httpx.post(f"{process.url}/rpc", json=call, headers={"Origin": origin})
        assert answer.json()["result"]
        allowed = None if "b.example" in origin else origin
        assert answer.headers.get("access-control-allow-origin") == allowed
    assert process.end(signal.SIGTERM) == 0
    for wrong in ("a.example", "https://a.example/", "https://*.example", "null", ""):
        refused = aitbc_node("run", "--data-dir", data_dir, "--cors-origin", wrong, expect=1)
        assert "is no origin such as" in refused.stderr


def test_sigterm_ends_it_within_two_seconds_and_a_restart_keeps_the_head(
    data_dir: Path, run: Callable[[Path], NodeProcess], people: People, aitbc_node: Aitbc
) -> None:
    process = run(data_dir)
    with NodeClient(process.url) as client:
        mint = people.mint("ann", 5, nonce=0)
        client.send_transaction(mint.raw)
        client.wait_for_transaction(mint.hash)
        before = client.status().finalized
    shown = aitbc_node("status", "--url", process.url, "--json")
    assert json.loads(shown.stdout)["finalized"]["hash"] == before.hash
    assert f"final height {before.height}" in aitbc_node("status", "--url", process.url).stdout
    refused = aitbc_node("run", "--data-dir", data_dir, "--port", 0, expect=1)
    assert "Another process uses" in refused.stderr

    assert process.end(signal.SIGTERM) == 0

    restarted = run(data_dir)
    with NodeClient(restarted.url) as client:
        assert client.block(before.height).hash == before.hash
        assert client.account(people.address("ann")).balance == 5
    assert restarted.end(signal.SIGINT) == 0


def test_kill_under_load_loses_nothing_that_was_final(
    data_dir: Path, run: Callable[[Path], NodeProcess], people: People
) -> None:
    """Three times: transactions pour in, the process is killed at a random moment, what a client saw final is there."""
    names = [f"person {index}" for index in range(8)]
    seen_final: dict[Hash32, int] = {}
    nonces = dict.fromkeys(names, 0)
    shuffled = random.Random(20)
    for _ in range(3):
        process = run(data_dir)
        with NodeClient(process.url) as client:
            for height in set(seen_final.values()):
                client.block(height)
            for transaction_hash, height in seen_final.items():
                assert client.transaction(transaction_hash).height == height
            supply = client.supply()
            balances = [client.account(people.address(name)) for name in names]
            assert sum(account.balance for account in balances) == supply.supply
            nonces = {name: account.nonce for name, account in zip(names, balances, strict=True)}
            killer = threading.Timer(0.3 + shuffled.random(), process.end, (signal.SIGKILL,))
            killer.start()
            sent: list[Hash32] = []
            try:
                while True:
                    for name in names:
                        mint = people.mint(name, ATOMS_PER_AIT, nonce=nonces[name])
                        client.send_transaction(mint.raw)
                        nonces[name] += 1
                        sent.append(mint.hash)
                    for transaction_hash in sent:
                        view = client.transaction(transaction_hash)
                        if view.finalized and view.height is not None:
                            seen_final[transaction_hash] = view.height
            except NodeError:
                killer.join()
    assert len(seen_final) > 20
    process = run(data_dir)
    with NodeClient(process.url) as client:
        assert all(client.transaction(each).height == height for each, height in seen_final.items())
        assert client.supply().minted >= len(seen_final) * ATOMS_PER_AIT
    assert process.end(signal.SIGTERM) == 0


def test_every_mistake_gets_one_line_that_says_what_to_do(
    tmp_path: Path, data_dir: Path, people: People, aitbc_node: Aitbc
) -> None:
    network_file, key = tmp_path / "network.toml", tmp_path / "key"
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        cases: list[tuple[tuple[object, ...], str]] = [
            (("run", "--data-dir", tmp_path / "none"), "aitbc node init"),
            (("run", "--data-dir", data_dir, "--port", port), f"port {port} on 127.0.0.1 is in use"),
            (("run", "--data-dir", data_dir, "--port", 0, "--log-level", "loud"), "--log-level 'loud'"),
            (("run", "--data-dir", data_dir, "--port", 0, "--peer", "http://no"), "must be like ws://"),
            (("init", "--network", tmp_path / "none", "--data-dir", tmp_path / "d"), "cannot read the network file"),
            (("init", "--network", key, "--data-dir", tmp_path / "d"), "not TOML"),
            (("status", "--url", "http://127.0.0.1:9"), "no answer from the node"),
            (("status", "--url", "nonsense"), "is not the URL of a node"),
            (("new-key", "--key-file", key), "never overwritten"),
        ]
        for arguments, words in cases:
            done = aitbc_node(*arguments, expect=1)
            assert done.stderr.startswith("aitbc node: ")
            assert words in done.stderr
            assert len(done.stderr.splitlines()) == 1
    other = tmp_path / "other.toml"
    other.write_text(network_file.read_text().replace('"people"', '"others"'))
    done = aitbc_node("init", "--network", other, "--data-dir", data_dir, expect=1)
    assert "belongs to the network 'people'" in done.stderr
    write_key_file(tmp_path / "stranger", people.key("ann"))
    arguments = ("init", "--network", network_file, "--data-dir", tmp_path / "d", "--key-file", tmp_path / "stranger")
    assert "follower until governance adds the validator 0x" in aitbc_node(*arguments).stdout
    (data_dir / "validator.key").chmod(0o644)
    done = aitbc_node("run", "--data-dir", data_dir, "--port", 0, expect=1)
    assert "can be read by other users (mode 0644)" in done.stderr
    assert done.stdout == ""


def test_validator_without_its_journal_does_not_vote_unless_its_operator_vouches_for_it(
    data_dir: Path, run: Callable[..., NodeProcess], people: People, aitbc_node: Aitbc
) -> None:
    process = run(data_dir)
    with NodeClient(process.url) as client:
        mint = people.mint("ann", 5, nonce=0)
        client.send_transaction(mint.raw)
        client.wait_for_transaction(mint.hash)
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    (data_dir / "votes.journal").unlink()
    refused = aitbc_node("run", "--data-dir", data_dir, "--port", 0, expect=1)
    assert "votes.journal" in refused.stderr
    assert "--accept-lost-votes" in refused.stderr
    process = run(data_dir, "--accept-lost-votes")
    with NodeClient(process.url) as client:
        mint = people.mint("ann", 5, nonce=1)
        client.send_transaction(mint.raw)
        client.wait_for_transaction(mint.hash)
        status = client.status()
    assert (status.role, status.validator_index, status.peers.connected) == ("validator", 0, 0)
    shown = aitbc_node("status", "--url", process.url).stdout
    assert "validator 0; epoch 0, view " in shown
    assert "0 peers, 0 of them validators" in shown
    assert process.end(signal.SIGTERM) == 0


def test_new_key_shows_what_a_network_file_needs(tmp_path: Path, aitbc_node: Aitbc) -> None:
    done = aitbc_node("new-key", "--key-file", tmp_path / "key")
    assert done.stdout.startswith("[[validators]]\naddress = ")
    secret = json.loads((tmp_path / "key").read_text())["private_key"]
    assert secret not in done.stdout


def _commands(group: TyperGroup, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command at any depth, with its words."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_every_option_says_what_it_is_for() -> None:
    group = typer.main.get_group(app)
    found = dict(_commands(group))
    assert {"init", "run", "status", "new-key", "validators", "governance approve", "keys rotate"} <= set(found)
    for name, command in found.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"
