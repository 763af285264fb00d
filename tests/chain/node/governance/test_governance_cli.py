"""Operators change the validators: real nodes, real commands, keys in files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from chain.client import NodeClient
from chain.node.cli import app
from chain.node.clock import now_ms
from chain.node.governance.consent_file import consent_text, read_consent
from chain.node.key_file import SetupError, read_key_file, write_key_file
from chain.primitives.consent import sign_consent
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.network import network_to_toml

if TYPE_CHECKING:
    from tests.chain.conftest import People

COMMAND = [sys.executable, "-m", "genesis.cli", "node"]
DEADLINE_S = 60.0
Aitbc = Callable[..., Result]


@pytest.fixture
def aitbc() -> Aitbc:
    """Runs `aitbc node …` to its end, in this process: `aitbc("status", expect=1)`."""

    def run_command(*arguments: object, expect: int = 0) -> Result:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == expect, done.stdout + done.stderr
        return done

    return run_command


class Operated:
    """A node's folder, and its process while it runs."""

    def __init__(self, path: Path, aitbc: Aitbc, network_file: Path, key: PrivateKey) -> None:
        key_file = path.with_suffix(".key")
        write_key_file(key_file, key)
        aitbc("init", "--network", network_file, "--data-dir", path, "--key-file", key_file)
        self.path = path
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        """Until it serves."""
        command = [*COMMAND, "run", "--data-dir", str(self.path), "--port", "0", *options]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said: list[str] = []
        for line in self._process.stderr:
            said.append(line)
            if '"event": "serving"' in line:
                self.url = json.loads(line)["url"]
                break
        self._reader = threading.Thread(target=self._process.stderr.read)  # An unread pipe would stop it.
        self._reader.start()
        assert self.url, said

    def stop(self) -> None:
        """As an operator does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    @property
    def options(self) -> tuple[object, ...]:
        """How commands name it."""
        return ("--data-dir", self.path, "--url", self.url)


@pytest.fixture
def network_file(tmp_path: Path, people: People) -> Path:
    """One validator's network."""
    path = tmp_path / "network.toml"
    path.write_text(network_to_toml(people.network))
    return path


@pytest.fixture
def make_node(tmp_path: Path, network_file: Path, aitbc: Aitbc) -> Iterator[Callable[[str, PrivateKey], Operated]]:
    """(name, key) → a node that was initialised; all stop with the test."""
    made: list[Operated] = []

    def make(name: str, key: PrivateKey) -> Operated:
        made.append(Operated(tmp_path / name, aitbc, network_file, key))
        return made[-1]

    yield make
    for node in made:
        node.stop()


MakeNode = Callable[[str, PrivateKey], Operated]


def eventually(question: Callable[[], bool]) -> None:
    """Fails where the answer stays no."""
    deadline = time.monotonic() + DEADLINE_S
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listed(aitbc: Aitbc, url: str) -> list[str]:
    """Addresses of the validators."""
    shown = json.loads(aitbc("validators", "--url", url, "--json").stdout)
    return [validator["address"] for validator in shown["validators"]]


def test_one_validator_governs_and_shows_it(
    make_node: MakeNode, aitbc: Aitbc, people: People, network_file: Path
) -> None:
    node = make_node("node", people.key("validator"))
    node.start()
    assert "no open proposals" in aitbc("governance", "proposals", "--url", node.url).stdout
    # Proposed, shown, carried out
    done = aitbc("governance", "propose", "parameter", "account_quota", 77, *node.options)
    assert 'proposal 1, open, 1 of 1 approvals: setParameter("account_quota", 77)' in done.stdout
    assert "governance execute 1" in done.stdout
    assert "proposal 1, open" in aitbc("governance", "proposals", "--url", node.url).stdout
    assert "proposal 1, executed" in aitbc("governance", "execute", 1, *node.options).stdout
    assert "executed or has lapsed" in aitbc("governance", "execute", 1, *node.options, expect=1).stderr
    # In one go
    done = aitbc("governance", "propose", "epoch", *node.options, "--execute", "--json")
    assert json.loads(done.stdout)["status"] == "executed"
    # Taken back
    aitbc("governance", "propose", "epoch", *node.options)
    assert "lapsed" in aitbc("governance", "revoke", 3, *node.options).stdout
    everything = json.loads(aitbc("governance", "proposals", "--url", node.url, "--all", "--json").stdout)
    assert [proposal["status"] for proposal in everything] == ["lapsed", "executed", "executed"]
    # The list, believed and checked
    address = to_checksum_address(people.address("validator"))
    shown = aitbc("validators", "--url", node.url, "--network", network_file).stdout
    assert "epoch 1: 1 validators, quorum 1, 0 may be faulty" in shown
    assert address in shown
    assert "Verified from" in shown


def test_what_cannot_be_is_one_line(make_node: MakeNode, aitbc: Aitbc, people: People, tmp_path: Path) -> None:
    node = make_node("node", people.key("validator"))
    node.start()
    options = node.options
    lines = [
        aitbc("governance", "propose", "parameter", "no_such", 1, *options, expect=1).stderr,
        aitbc("governance", "propose", "parameter", "account_quota", 0, *options, expect=1).stderr,
        aitbc("governance", "propose", "remove", "0x12", *options, expect=1).stderr,
        aitbc("governance", "propose", "add", tmp_path / "nothing", *options, expect=1).stderr,
        aitbc("governance", "approve", 9, "--yes", *options, expect=1).stderr,
        aitbc("governance", "proposals", "--url", "http://127.0.0.1:1", expect=1).stderr,
        aitbc("keys", "switch", "--data-dir", node.path, expect=1).stderr,
        aitbc("governance", "propose", "epoch", "--data-dir", tmp_path / "nothing", expect=1).stderr,
    ]
    for line in lines:
        assert line.startswith("aitbc node: ")
        assert line.count("\n") == 1


def test_a_key_is_rotated_and_the_node_goes_on_with_the_new_one(
    make_node: MakeNode, aitbc: Aitbc, people: People
) -> None:
    node = make_node("node", people.key("validator"))
    node.start()
    old = to_checksum_address(people.address("validator"))
    # Given a rotation that one validator carries out at once
    done = aitbc("keys", "rotate", *node.options)
    assert "The chain counts the new key." in done.stdout
    successor = read_key_file(node.path / "validator.next.key")
    new = to_checksum_address(successor.address)
    assert f"{old} -> {new}" in done.stdout
    assert successor.secret.hex() not in done.stdout
    assert listed(aitbc, node.url) == [new]
    # Again, it only says what is left to do
    assert "keys switch" in aitbc("keys", "rotate", *node.options).stdout
    # The running node has become a follower, and cannot be switched under way
    with NodeClient(node.url) as client:
        eventually(lambda: client.status().role == "follower")
        height = client.status().finalized.height
    assert "Another process" in aitbc("keys", "switch", "--data-dir", node.path, expect=1).stderr
    # When it is stopped, switched and started again
    node.stop()
    switched = aitbc("keys", "switch", "--data-dir", node.path)
    assert new in switched.stdout
    assert read_key_file(node.path / "validator.key").address == successor.address
    assert read_key_file(node.path / f"validator.key.{old}").address == people.address("validator")
    node.start()
    # Then it makes blocks with the new key
    with NodeClient(node.url) as client:
        mint = people.mint("ann", 5, nonce=0)
        client.send_transaction(mint.raw)
        client.wait_for_transaction(mint.hash)
        head = client.status()
        assert head.finalized.height > height
        assert (head.role, head.epoch) == ("validator", 1)
        assert client.block(head.finalized.height).proposer == new


def test_a_crash_between_the_two_renames_is_made_good(make_node: MakeNode, aitbc: Aitbc, people: People) -> None:
    node = make_node("node", people.key("validator"))
    node.start()
    aitbc("keys", "rotate", *node.options)
    node.stop()
    (node.path / "validator.key").rename(node.path / "validator.key.moved")
    aitbc("keys", "switch", "--data-dir", node.path)
    assert (node.path / "validator.key").exists()
    assert not (node.path / "validator.next.key").exists()


def test_the_switch_waits_for_the_chain(make_node: MakeNode, aitbc: Aitbc, people: People) -> None:
    node = make_node("node", people.key("validator"))
    write_key_file(node.path / "validator.next.key", PrivateKey(b"\7" * 32))
    assert "wait until the change is final" in aitbc("keys", "switch", "--data-dir", node.path, expect=1).stderr
    assert read_key_file(node.path / "validator.key").address == people.address("validator")
    # Unless the old key is of no use any more: then the node follows with the new one.
    aitbc("keys", "switch", "--data-dir", node.path, "--early")
    node.start()
    with NodeClient(node.url) as client:
        assert client.status().role == "follower"


def test_a_second_validator_joins_votes_and_leaves(
    make_node: MakeNode, aitbc: Aitbc, people: People, tmp_path: Path, network_file: Path
) -> None:
    # Given a validator, and a node with a key of its own that follows it
    first = make_node("first", people.key("validator"))
    first.start()
    second = make_node("second", people.key("joiner"))
    second.start("--peer", first.url.replace("http", "ws") + "/p2p")
    with NodeClient(first.url) as one, NodeClient(second.url) as two:
        mint = people.mint("ann", 5, nonce=0)
        one.send_transaction(mint.raw)
        one.wait_for_transaction(mint.hash)
        eventually(lambda: two.status().finalized.height == one.status().finalized.height)
        # When it consents, and the validator adds it
        document = aitbc("keys", "consent", *second.options).stdout
        (tmp_path / "consent.json").write_text(document)
        done = aitbc("governance", "propose", "add", tmp_path / "consent.json", *first.options, "--execute")
        assert "become 2: quorum 2, 0 may fail" in done.stdout
        addresses = [to_checksum_address(people.address(name)) for name in ("validator", "joiner")]
        assert listed(aitbc, first.url) == addresses
        # Then blocks need both, and both make them
        for number in range(6):
            two.send_transaction(people.mint(f"p{number}", 1, nonce=0).raw)
            eventually(lambda: two.status().mempool.transactions == 0)
        newest = two.blocks(limit=6).items
        assert {block.proposer for block in newest} == set(addresses)
        eventually(lambda: two.status().role == "validator")
        certificate = two.block(two.status().finalized.height).certificate
        assert certificate is not None
        assert certificate.signer_bitmap == "0x3"
        aitbc("validators", "--url", second.url, "--network", network_file)
        # When both agree that the first one leaves, then the second one goes on alone
        number = json.loads(aitbc("governance", "propose", "remove", addresses[0], *first.options, "--json").stdout)[
            "number"
        ]
        asked = aitbc("governance", "approve", number, *second.options, "--yes", "--execute")
        assert f"proposal {number}, executed" in asked.stdout
        assert listed(aitbc, second.url) == addresses[1:]
        first.stop()
        mint = people.mint("zoe", 5, nonce=0)
        two.send_transaction(mint.raw)
        assert two.wait_for_transaction(mint.hash).status == "success"


def test_a_node_that_is_behind_gives_no_consent(make_node: MakeNode, aitbc: Aitbc, people: People) -> None:
    node = make_node("node", people.key("joiner"))
    node.start()  # It has no peer, and the genesis block's time is 0.
    refused = aitbc("keys", "consent", *node.options, expect=1)
    assert "catch up first" in refused.stderr
    assert refused.stdout == ""
    assert "signature" in aitbc("keys", "consent", *node.options, "--offline").stdout


def test_a_consent_file_is_checked_before_it_is_proposed(tmp_path: Path) -> None:
    key, path = PrivateKey(b"\7" * 32), tmp_path / "consent.json"
    good = sign_consent(key, chain_id=7, expires_at_ms=now_ms() + 60_000)
    path.write_text(consent_text(good, chain_id=7))
    assert read_consent(path, chain_id=7, now_ms=now_ms()) == good
    fields = json.loads(path.read_text())
    wrong: dict[str, dict[str, object]] = {
        "for chain 8": {"chain_id": 8},
        "no validator's consent": {"kind": "other"},
        "starts with 0x": {"signature": None},
        "expired": {"expires_at_ms": 1},
        "own key": {"expires_at_ms": fields["expires_at_ms"] + 1},
        "no validator's consent: `": {"expires_at_ms": True},
        "aitbc node keys consent": {"expires_at_ms": 1.5},
        "33 bytes": {"public_key": "0x02"},
    }
    for says, changed in wrong.items():
        path.write_text(json.dumps({**fields, **changed}))
        with pytest.raises(SetupError, match=says):
            read_consent(path, chain_id=7, now_ms=now_ms())
    for text in ("", "[]", "7", "{", "[" * 4_000, " " * 5_000, '{"kind": "aitbc-validator-consent/1"}'):
        path.write_text(text)
        with pytest.raises(SetupError):
            read_consent(path, chain_id=7, now_ms=now_ms())
    for expires_at_ms in (-1, 2**256, 10**300):
        path.write_text(json.dumps({**fields, "expires_at_ms": expires_at_ms}))
        with pytest.raises(SetupError):
            read_consent(path, chain_id=7, now_ms=now_ms())
