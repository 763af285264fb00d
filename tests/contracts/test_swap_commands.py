"""`aitbc wallet swap` between a real validator and an EVM chain, by people with a home each; killed at every step."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from chain.primitives.abi import Function
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import HTLC, TOKEN_BALANCE_OF
from chain.primitives.types import ATOMS_PER_AIT, Address
from tests.contracts.anvil import CHAIN_ID, Evm
from tests.contracts.faulty_proxy import Choose, Fault, FaultyProxy, is_sending
from tests.wallet.running_node import RunningNode
from wallet.cli import app
from wallet.keystore import LIGHT_SCRYPT_N, save_key
from wallet.swaps.other_chain import CODE_HASH

pytestmark = pytest.mark.node

PASSWORD = "correct horse battery staple"
ETHER = 10**18
TRANSFER = Function("transfer(address to, uint256 value)")
REFUSED, USAGE = 5, 2


class Network(msgspec.Struct, frozen=True):
    """Both chains, what is deployed on the other one, and a proxy in front of each."""

    node: RunningNode
    evm: Evm
    contract: Address
    token: Address
    node_proxy: FaultyProxy
    evm_proxy: FaultyProxy

    def ait(self, who: Party) -> int:
        """Atoms."""
        return self.node.balance(who.key.address)

    def locked_ait(self) -> int:
        """Atoms in all swaps."""
        return self.node.balance(HTLC)

    def ether(self, owner: Address) -> int:
        """Wei."""
        return int(self.evm.call("eth_getBalance", to_hex(owner), "latest"), 16)

    def tokens(self, owner: Address) -> int:
        """The token's smallest units."""
        units: int = self.evm.view(self.token, TOKEN_BALANCE_OF, owner)
        return units

    def fail_with(self, choose: Choose, victim: int | None = None) -> None:
        """What becomes of the wallet's requests from now on."""
        for proxy in (self.node_proxy, self.evm_proxy):
            proxy.choose, proxy.victim = choose, victim


class Party:
    """Somebody with a wallet, ether for fees, and what `fund` gives."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.key = PrivateKey.generate()
        self.address = to_checksum_address(self.key.address)
        self.home = folder / self.address[2:8]
        save_key(self.home / "keys" / "me.json", self.key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
        network.evm.call("anvil_setBalance", self.address, hex(10 * ETHER))

    def fund(self, *, ait: int = 0, tokens: int = 0) -> Party:
        """Mints atoms, and sends tokens of the deployer's."""
        if ait:
            self.network.node.fund(self.key, ait)
        if tokens:
            evm = self.network.evm
            call = {
                "from": evm.call("eth_accounts")[0],
                "to": to_hex(self.network.token),
                "data": to_hex(TRANSFER.encode(self.key.address, tokens)),
            }
            assert evm.mined(evm.call("eth_sendTransaction", call))["status"] == "0x1"
        return self

    @property
    def environment(self) -> dict[str, str]:
        """Of the wallet's commands."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        return clean | {
            "AITBC_HOME": str(self.home),
            "AITBC_NODE_URL": self.network.node_proxy.url,
            "AITBC_OTHER_RPC": self.network.evm_proxy.url,
            "AITBC_PASSWORD": PASSWORD,
        }

    def words(self, command: str, *arguments: str | Path) -> list[str]:
        """A command line; margins are short, as nobody here has hours."""
        signing = [] if command == "show" else ["--yes"]
        quick = [] if "--margin-s" in arguments else ["--margin-s", "1"]
        return ["swap", command, *map(str, arguments), *quick, "--confirmations", "1", "--json", *signing]

    def swap(self, command: str, *arguments: str | Path) -> Any:
        """Runs a command in this process."""
        saved = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            ended = CliRunner().invoke(app, self.words(command, *arguments))
        finally:
            os.environ.clear()
            os.environ.update(saved)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), repr(ended.exception)
        return ended

    def does(self, command: str, *arguments: str | Path) -> Any:
        """The same; it must succeed."""
        ended = self.swap(command, *arguments)
        assert ended.exit_code == 0, ended.stderr
        return json.loads(ended.stdout)

    def is_killed(self, fault: Fault, which: int, command: str, *arguments: str | Path) -> None:
        """Runs a command as a process of its own, which the proxies kill -9 at its transaction of that number."""
        numbers = itertools.count(1)

        def choose(path: str, body: bytes) -> Fault:
            return fault if is_sending(path, body) and next(numbers) == which else Fault.NONE

        process = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "wallet", *self.words(command, *arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.network.fail_with(choose, process.pid)
        try:
            _, said = process.communicate(timeout=120)
        finally:
            self.network.fail_with(lambda path, body: Fault.NONE)
        assert process.returncode == -signal.SIGKILL, said


MakeParty = Callable[..., Party]


@pytest.fixture(scope="module")
def network(evm: Evm, compiled: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Both chains, running."""
    contract, token = (
        evm.deploy(bytes.fromhex(compiled[name]["evm"]["bytecode"]["object"])) for name in ("HashTimeLock", "SwapToken")
    )
    node = RunningNode(tmp_path_factory.mktemp("node") / "main")
    try:
        with FaultyProxy(node.url) as node_proxy, FaultyProxy(evm.url) as evm_proxy:
            yield Network(node, evm, contract, token, node_proxy, evm_proxy)
    finally:
        node.stop()


@pytest.fixture
def make_party(network: Network, tmp_path: Path) -> MakeParty:
    """(ait=, tokens=) → somebody new."""
    return lambda **funds: Party(network, tmp_path).fund(**funds)


@pytest.fixture(scope="module")
def abandoned(network: Network, tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Path, dict[str, Any]]:
    """Who locked all her AIT for a minute and a half, for somebody who does nothing: the first thing in this module."""
    folder = tmp_path_factory.mktemp("abandoned")
    alone, nobody = Party(network, folder).fund(ait=ATOMS_PER_AIT), Party(network, folder)
    file = folder / "swap.json"
    offered = alone.does("offer", file, *terms(network, nobody, "1 AIT", "1 ETH"), "--lock-s", "90")
    early = alone.swap("refund", file)
    assert (early.exit_code, "can be taken back" in early.stderr) == (REFUSED, True)
    return alone, file, offered


def terms(network: Network, to: Party, give: str, want: str) -> list[str]:
    """Of a new offer."""
    words = ["--to", to.address, "--give", give, "--want", want]
    return [*words, "--other-contract", to_checksum_address(network.contract)]


def in_tokens(network: Network, amount: str) -> str:
    return f"{amount} {to_checksum_address(network.token)}"


def test_the_code_that_the_wallet_trusts_is_that_of_the_source(compiled: dict[str, Any]) -> None:
    code = bytes.fromhex(compiled["HashTimeLock"]["evm"]["deployedBytecode"]["object"])
    assert keccak256(code[: -2 - int.from_bytes(code[-2:], "big")]) == CODE_HASH


# From offer to claim


@pytest.mark.usefixtures("abandoned")
def test_ait_for_ether_with_somebody_who_is_new_on_this_chain(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(ait=10 * ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    locked_before = network.locked_ait()
    offered = alice.does("offer", file, *terms(network, bob, "10 AIT", "1.5 ETH"))  # All that she has.
    assert (offered["role"], offered["did"]) == ("maker", "locked")
    assert (offered["first"]["status"], offered["second"]["status"]) == ("open", "none")
    assert network.ait(alice) == 0
    assert network.locked_ait() == locked_before + 10 * ATOMS_PER_AIT
    assert "secret" not in file.read_text()

    assert bob.does("show", file)["next"].startswith("lock")
    early = bob.swap("claim", file)
    assert (early.exit_code, "not claimed yet" in early.stderr) == (REFUSED, True)
    assert bob.does("accept", file)["second"] == {
        "id": offered["second"]["id"],
        "chain_id": CHAIN_ID,
        "status": "open",
        "confirmed": "open",
        "deadline": offered["second"]["deadline"],
    }
    assert 8.4 * ETHER < network.ether(bob.key.address) < 8.5 * ETHER

    assert alice.does("claim", file)["second"]["status"] == "claimed"
    assert 11.4 * ETHER < network.ether(alice.key.address) < 11.5 * ETHER
    assert bob.does("show", file)["next"].startswith("claim")
    assert bob.does("claim", file)["first"]["status"] == "claimed"
    assert network.ait(bob) == 10 * ATOMS_PER_AIT
    assert network.locked_ait() == locked_before

    # Every step again: nothing is sent, nothing changes.
    nonces = [network.evm.call("eth_getTransactionCount", party.address, "pending") for party in (alice, bob)]
    assert alice.does("claim", file)["did"] == "claimed before"
    assert bob.does("claim", file)["did"] == "claimed before"
    for party, command in ((alice, "offer"), (bob, "accept")):
        again = party.swap(command, file)
        assert (again.exit_code, "was claimed before" in again.stderr) == (REFUSED, True)
        assert "claim yours" in party.swap("refund", file).stderr
    assert nonces == [network.evm.call("eth_getTransactionCount", party.address, "pending") for party in (alice, bob)]


def test_a_token_for_ait_with_a_maker_who_is_new_on_this_chain(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(tokens=5_000_000), make_party(ait=3 * ATOMS_PER_AIT), tmp_path / "swap.json"
    offered = alice.does("offer", file, *terms(network, bob, in_tokens(network, "2.5"), "3 AIT"))
    assert offered["first"]["chain_id"] == CHAIN_ID
    assert network.tokens(alice.key.address) == 2_500_000
    bob.does("accept", file)
    assert network.ait(bob) == 0
    alice.does("claim", file)
    assert network.ait(alice) == 3 * ATOMS_PER_AIT
    bob.does("claim", file)
    assert network.tokens(bob.key.address) == 2_500_000


# What the other side might try


def test_a_file_that_says_something_else_than_the_chain_is_refused(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(ait=2 * ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    alice.does("offer", file, *terms(network, bob, "1 AIT", "1 ETH"))
    honest = json.loads(file.read_text())
    for name, value in (("value", str(2 * ATOMS_PER_AIT)), ("deadline", honest["first"]["deadline"] + 1)):
        forged = tmp_path / f"{name}.json"
        forged.write_text(json.dumps({**honest, "first": {**honest["first"], name: value}}))
        refused = bob.swap("accept", forged)
        assert (refused.exit_code, "not exactly what the file says" in refused.stderr) == (REFUSED, True)
    for name, value, complaint in (
        ("contract", to_checksum_address(network.token), "no HashTimeLock"),
        ("contract", bob.address, "no HashTimeLock"),
        ("chain_id", CHAIN_ID + 1, "serves"),
    ):
        forged = tmp_path / "forged.json"
        forged.write_text(json.dumps({**honest, "second": {**honest["second"], name: value}}))
        refused = bob.swap("accept", forged)
        assert refused.exit_code != 0
        assert complaint in refused.stderr
    carol = make_party()
    assert "neither maker nor taker" in carol.swap("accept", file, "--from", "me").stderr
    assert "is the taker's" in alice.swap("accept", file).stderr
    assert network.ether(bob.key.address) == 10 * ETHER


def test_without_ether_for_the_next_step_nothing_is_locked(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(ait=ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    network.evm.call("anvil_setBalance", alice.address, "0x1")
    refused = alice.swap("offer", file, *terms(network, bob, "1 AIT", "1 ETH"))
    assert (refused.exit_code, "might not pay for the next step" in refused.stderr) == (REFUSED, True)
    assert network.ait(alice) == ATOMS_PER_AIT
    # Resumed once there is.
    network.evm.call("anvil_setBalance", alice.address, hex(ETHER))
    assert alice.does("offer", file)["did"] == "locked"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--give", "1 AIT"], "needs --to, --give, --want"),
        (["--give", "AIT", "--want", "1 ETH"], "AMOUNT ASSET"),
        (["--give", "1 XYZ", "--want", "1 ETH"], "ASSET is AIT, ETH or an address"),
        (["--give", "1.0000000000000000001 AIT", "--want", "1 ETH"], "18 decimals"),
        (["--give", "0 AIT", "--want", "1 ETH"], "must be above 0"),
        (["--give", "-1 AIT", "--want", "1 ETH"], "AMOUNT ASSET"),
        (["--give", "1 AIT", "--want", "1 AIT"], "only one of them"),
        (["--give", "1 ETH", "--want", "1 ETH"], "only one of them"),
    ],
)
def test_wrong_words_are_said_in_one_line(
    network: Network, make_party: MakeParty, tmp_path: Path, words: list[str], complaint: str
) -> None:
    alice, file = make_party(), tmp_path / "swap.json"
    contract = [] if len(words) == 2 else ["--other-contract", to_checksum_address(network.contract)]
    partner = [] if len(words) == 2 else ["--to", "0x" + "11" * 20]
    ended = alice.swap("offer", file, *words, *contract, *partner)
    assert (ended.exit_code, complaint in ended.stderr) == (USAGE, True), ended.stderr
    assert not file.exists()
    assert not (alice.home / "swaps").exists()


# Killed, and cut off


@pytest.mark.parametrize("fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER])
def test_killed_at_every_transaction_of_a_swap(
    network: Network, make_party: MakeParty, tmp_path: Path, fault: Fault
) -> None:
    alice, bob, file = make_party(tokens=5_000_000), make_party(ait=3 * ATOMS_PER_AIT), tmp_path / "swap.json"
    new = terms(network, bob, in_tokens(network, "2.5"), "3 AIT")
    alice.is_killed(fault, 1, "offer", file, *new)  # At the token's approval.
    alice.is_killed(fault, 2 if fault is Fault.KILL_BEFORE else 1, "offer", file)  # At the lock.
    alice.does("offer", file)
    assert network.tokens(alice.key.address) == 2_500_000
    bob.is_killed(fault, 1, "accept", file)
    bob.does("accept", file)
    assert network.ait(bob) == 0
    alice.is_killed(fault, 1, "claim", file)
    (record,) = (alice.home / "swaps").iterdir()
    assert json.loads(record.read_text())["was_shown"] is True
    alice.does("claim", file)
    assert network.ait(alice) == 3 * ATOMS_PER_AIT
    bob.is_killed(fault, 1, "claim", file)
    bob.does("claim", file)
    assert network.tokens(bob.key.address) == 2_500_000
    assert network.tokens(alice.key.address) == 2_500_000


def test_an_answer_of_either_node_may_be_lost_anywhere(network: Network, make_party: MakeParty, tmp_path: Path) -> None:
    alice, bob, file = make_party(ait=3 * ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    new: list[str] = terms(network, bob, "3 AIT", "1 ETH")
    steps = ((alice, "offer"), (bob, "accept"), (alice, "claim"), (bob, "claim"))
    for first, (party, command) in enumerate(steps, 1):
        for number in itertools.count(first, 3):  # Each third; what sends is killed one by one above.
            count = itertools.count(1)
            network.fail_with(lambda path, body: Fault.LOSE_ANSWER if next(count) == number else Fault.NONE)  # noqa: B023
            ended = party.swap(command, file, *new)
            network.fail_with(lambda path, body: Fault.NONE)
            if file.exists():
                new = []
            if next(count) <= number:  # The fault's turn never came.
                assert ended.exit_code == 0, ended.stderr
                break
            assert number < 60
            assert "Traceback" not in ended.stderr
    assert network.ait(bob) == 3 * ATOMS_PER_AIT
    assert network.ait(alice) == 0
    assert 10.9 * ETHER < network.ether(alice.key.address) < 11 * ETHER
    assert 8.9 * ETHER < network.ether(bob.key.address) < 9 * ETHER
    for party in (alice, bob):  # Only one transaction of each on the other chain was ever in a block.
        assert network.evm.call("eth_getTransactionCount", party.address, "latest") == "0x1"


def test_a_transaction_that_waits_is_replaced_by_a_dearer_one(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(), make_party(), tmp_path / "swap.json"
    network.evm.call("evm_setAutomine", False)
    try:
        new: list[str] = terms(network, bob, "1 ETH", "1 AIT")
        hashes = []
        for _ in range(2):
            waiting = alice.swap("offer", file, *new, "--timeout-s", "0.5")
            assert (waiting.exit_code, "in no block" in waiting.stderr) == (6, True), waiting.stderr
            hashes.append(waiting.stderr.split("Sent as ")[1].split()[0])
            new = []
        offers = [network.evm.call("eth_getTransactionByHash", each) for each in hashes]
        assert offers[0] is None  # The node has dropped it for the second.
        assert (offers[1]["nonce"], offers[1]["blockNumber"]) == ("0x0", None)
        network.evm.call("evm_mine")
    finally:
        network.evm.call("evm_setAutomine", True)
    assert alice.does("offer", file)["did"] == "locked before"
    assert network.evm.call("eth_getTransactionCount", alice.address, "latest") == "0x1"
    assert 8.9 * ETHER < network.ether(alice.key.address) < 9 * ETHER


# Time. At the end, as the EVM chain's clock stays ahead afterwards.


def test_a_step_is_refused_when_too_little_time_is_left(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(ait=2 * ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    new = terms(network, bob, "1 AIT", "1 ETH")
    late = alice.swap("offer", tmp_path / "late.json", *new, "--lock-s", "3000", "--margin-s", "751")
    assert (late.exit_code, "too late to lock" in late.stderr) == (REFUSED, True)
    offered = alice.does("offer", file, *new, "--lock-s", "3000")
    late = bob.swap("accept", file, "--margin-s", "1499")
    assert (late.exit_code, "too late to lock" in late.stderr) == (REFUSED, True)
    near = bob.swap("accept", file, "--margin-s", "1501")
    assert (near.exit_code, "s apart" in near.stderr) == (REFUSED, True)
    bob.does("accept", file)
    late = alice.swap("claim", file, "--margin-s", "1500")
    assert (late.exit_code, "too late to show the secret" in late.stderr) == (REFUSED, True)
    (record,) = (path for path in (alice.home / "swaps").iterdir() if offered["swap"]["hash"][2:] in path.name)
    assert json.loads(record.read_text())["was_shown"] is False


def test_who_is_left_alone_gets_everything_back(
    network: Network, make_party: MakeParty, tmp_path: Path, abandoned: tuple[Party, Path, dict[str, Any]]
) -> None:
    # A taker, on the chain whose clock can jump.
    alice, bob, file = make_party(ait=ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    offered = alice.does("offer", file, *terms(network, bob, "1 AIT", "1 ETH"))
    bob.does("accept", file)
    early = bob.swap("refund", file)
    assert (early.exit_code, "can be taken back" in early.stderr) == (REFUSED, True)
    network.evm.pass_time(offered["second"]["deadline"] - network.evm.time_s())
    late = alice.swap("claim", file)  # The secret must not be shown for what cannot be had.
    assert (late.exit_code, "too late" in late.stderr) == (REFUSED, True)
    assert bob.does("refund", file)["second"]["status"] == "refunded"
    assert network.ether(bob.key.address) > 9.99 * ETHER
    assert bob.does("refund", file)["did"] == "refunded before"
    assert alice.does("show", file)["next"].startswith("wait")

    # A maker, on this project's chain, in real time, with all that she had.
    alone, file, offered = abandoned
    time.sleep(max(0.0, offered["first"]["deadline"] + 1 - time.time()))
    assert alone.does("refund", file)["first"]["status"] == "refunded"
    assert alone.does("refund", file)["did"] == "refunded before"
    assert network.ait(alone) == ATOMS_PER_AIT
    assert alone.does("show", file)["next"] == "over: your lock came back"
