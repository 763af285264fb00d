"""`aitbc wallet swap` between a real validator and an EVM chain, by people with a home each; killed at every step."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hashing import keccak256, sha256
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.market import SET_FROZEN, AssetFlag
from chain.primitives.modules import MARKET
from chain.primitives.swap_records import SwapStatus
from chain.primitives.swaps import SWAP
from chain.primitives.types import ATOMS_PER_AIT, Address
from tests.contracts.anvil import CHAIN_ID, Evm
from tests.contracts.faulty_proxy import Fault, FaultyProxy
from tests.contracts.swap_parties import ETHER, REFUSED, USAGE, Ended, Network, Party, in_tokens, terms
from tests.wallet.governed import call, issue
from tests.wallet.running_node import RunningNode
from wallet.swaps.json_rpc import JsonRpc, RpcRefused
from wallet.swaps.other_chain import CODE_HASH, CONTRACT, OtherChain

pytestmark = pytest.mark.node

MakeParty = Callable[..., Party]


@pytest.fixture(scope="module")
def network(evm: Evm, compiled: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Both chains, running."""
    lock_code, token_code = (
        bytes.fromhex(compiled[name]["evm"]["bytecode"]["object"]) for name in ("HashTimeLock", "SwapToken")
    )
    contract, token = evm.deploy_anywhere(lock_code), evm.deploy(token_code)
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
    """Who locked all her AIT for a short while, for somebody who does nothing: the first thing in this module."""
    folder = tmp_path_factory.mktemp("abandoned")
    alone, nobody = Party(network, folder).fund(ait=ATOMS_PER_AIT), Party(network, folder)
    lock_s, file = 40, folder / "swap.json"
    ended: Ended | None = None
    while ended is None or ended.exit_code:  # A machine may be so busy that a lock is over before it has begun.
        assert lock_s < 3_600, ended
        file = folder / f"{lock_s}.json"
        ended = alone.swap("offer", file, *terms(nobody, "1 AIT", "1 ETH"), "--lock-s", str(lock_s))
        lock_s *= 4
    offered = json.loads(ended.stdout)
    early = alone.swap("refund", file)
    assert (early.exit_code, "can be taken back" in early.stderr) == (REFUSED, True)
    return alone, file, offered


def test_the_contract_that_the_wallet_trusts_is_made_of_the_source(network: Network, compiled: dict[str, Any]) -> None:
    code = bytes.fromhex(compiled["HashTimeLock"]["evm"]["deployedBytecode"]["object"])
    assert (keccak256(code), network.contract) == (CODE_HASH, CONTRACT)
    with JsonRpc(network.evm.url, "the node") as rpc:
        OtherChain(rpc).check_contract(network.contract)


def test_the_right_code_over_a_storage_that_somebody_has_prepared_is_refused(
    network: Network, compiled: dict[str, Any]
) -> None:
    """Who makes a contract can run any code once, before the one that is seen: here it leaves an open swap of 9 ether
    that nobody has paid in, for its maker to claim out of what others lock."""
    id_, thief, secret = bytes(range(32)), Address(b"\x66" * 20), bytes(32)
    fields = (thief, thief, bytes(20), (9 * ETHER).to_bytes(32), sha256(secret), b"\x01" + (2**40).to_bytes(8))
    first_slot = int.from_bytes(keccak256(id_ + bytes(32)), "big")
    writes = b"".join(
        b"\x7f" + value.rjust(32, b"\0") + b"\x7f" + (first_slot + offset).to_bytes(32) + b"\x55"
        for offset, value in enumerate(fields)
    )
    code = bytes.fromhex(compiled["HashTimeLock"]["evm"]["deployedBytecode"]["object"])
    size, start = len(code).to_bytes(2), (len(writes) + 15).to_bytes(2)
    returning = b"\x61" + size + b"\x61" + start + b"\x60\x00\x39" + b"\x61" + size + b"\x60\x00\xf3"
    prepared = network.evm.deploy(writes + returning + code)
    assert to_hex(code) == network.evm.call("eth_getCode", to_hex(prepared), "latest")
    call = {"to": to_hex(prepared), "data": to_hex(SWAP.encode(id_))}
    *_, status, _ = SWAP.decode_output(parse_hex(network.evm.call("eth_call", call, "latest")))
    assert status == SwapStatus.OPEN
    with JsonRpc(network.evm.url, "the node") as rpc, pytest.raises(RpcRefused, match="no HashTimeLock"):
        OtherChain(rpc).check_contract(prepared)


# From offer to claim


@pytest.mark.usefixtures("abandoned")
def test_ait_for_ether_with_somebody_who_is_new_on_this_chain(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(ait=10 * ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    locked_before = network.locked_ait()
    offered = alice.does("offer", file, *terms(bob, "10 AIT", "1.5 ETH"))  # All that she has.
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

    assert alice.claims_in_secret(file)["second"]["status"] == "claimed"
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
    offered = alice.does("offer", file, *terms(bob, in_tokens(network, "2.5"), "3 AIT"))
    assert offered["first"]["chain_id"] == CHAIN_ID
    assert network.tokens(alice.key.address) == 2_500_000
    bob.does("accept", file)
    assert network.ait(bob) == 0
    alice.claims_in_secret(file)
    assert network.ait(alice) == 3 * ATOMS_PER_AIT
    bob.does("claim", file)
    assert network.tokens(bob.key.address) == 2_500_000


# What the other side might try


def test_a_file_that_says_something_else_than_the_chain_is_refused(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(ait=2 * ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    alice.does("offer", file, *terms(bob, "1 AIT", "1 ETH"))
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


def test_nobody_gives_anything_for_what_cannot_be_paid_out(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    def is_refused(party: Party, command: str, file: Path) -> None:
        refused = party.swap(command, file)
        assert (refused.exit_code, "cannot be paid out to you" in refused.stderr) == (REFUSED, True), refused.stderr
        assert not any(json.loads(path.read_text())["was_shown"] for path in (party.home / "swaps").glob("*"))

    # A token that was paused: its maker-to-be shows no secret, its taker-to-be locks nothing.
    alice, bob, file = make_party(ait=ATOMS_PER_AIT), make_party(tokens=1_000_000), tmp_path / "first.json"
    alice.does("offer", file, *terms(bob, "1 AIT", in_tokens(network, "1")))
    bob.does("accept", file)
    carol, dave, other = make_party(tokens=1_000_000), make_party(ait=ATOMS_PER_AIT), tmp_path / "second.json"
    carol.does("offer", other, *terms(dave, in_tokens(network, "1"), "1 AIT"))
    network.pause_token(is_paused=True)
    try:
        is_refused(alice, "claim", file)
        is_refused(dave, "accept", other)
    finally:
        network.pause_token(is_paused=False)
    assert network.ait(dave) == ATOMS_PER_AIT
    assert alice.does("claim", file)["second"]["status"] == "claimed"
    # An asset of this chain whose issuer has frozen who would get it.
    issuer, erin, frank, third = PrivateKey.generate(), make_party(), make_party(), tmp_path / "third.json"
    asset = issue(network.node, issuer, "SWAP", flags=AssetFlag.FREEZABLE, erin=(erin.key.address, 1_000_000))
    frank.does("offer", third, *terms(erin, "0.1 ETH", f"1 {to_checksum_address(asset)}"))
    erin.does("accept", third)
    call(network.node, issuer, MARKET, SET_FROZEN, asset, frank.key.address, True)
    is_refused(frank, "claim", third)
    call(network.node, issuer, MARKET, SET_FROZEN, asset, frank.key.address, False)
    assert frank.does("claim", third)["second"]["status"] == "claimed"


def test_without_ether_for_the_next_step_nothing_is_locked(
    network: Network, make_party: MakeParty, tmp_path: Path
) -> None:
    alice, bob, file = make_party(ait=ATOMS_PER_AIT), make_party(), tmp_path / "swap.json"
    network.evm.call("anvil_setBalance", alice.address, "0x1")
    refused = alice.swap("offer", file, *terms(bob, "1 AIT", "1 ETH"))
    assert (refused.exit_code, "might not pay for the next step" in refused.stderr) == (REFUSED, True)
    assert network.ait(alice) == ATOMS_PER_AIT
    # Resumed once there is.
    network.evm.call("anvil_setBalance", alice.address, hex(ETHER))
    assert alice.does("offer", file)["did"] == "locked"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--give", "1 AIT"], "needs --to, --give and --want"),
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
    partner = [] if len(words) == 2 else ["--to", "0x" + "11" * 20]
    ended = alice.swap("offer", file, *words, *partner)
    assert (ended.exit_code, complaint in ended.stderr) == (USAGE, True), ended.stderr
    assert not file.exists()
    assert not (alice.home / "swaps").exists()


# Killed, and cut off


@pytest.mark.parametrize("fault", [Fault.KILL_BEFORE, Fault.KILL_AFTER])
def test_killed_at_every_transaction_of_a_swap(
    network: Network, make_party: MakeParty, tmp_path: Path, fault: Fault
) -> None:
    alice, bob, file = make_party(tokens=5_000_000), make_party(ait=3 * ATOMS_PER_AIT), tmp_path / "swap.json"
    new = terms(bob, in_tokens(network, "2.5"), "3 AIT")
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
    new: list[str] = terms(bob, "3 AIT", "1 ETH")
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
        new: list[str] = terms(bob, "1 ETH", "1 AIT")
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
    new = terms(bob, "1 AIT", "1 ETH")
    late = alice.swap("offer", tmp_path / "late.json", *new, "--lock-s", "3000", "--margin-s", "751")
    assert (late.exit_code, "too late to lock" in late.stderr) == (REFUSED, True)
    offered = alice.does("offer", file, *new, "--lock-s", "3000")
    while time.time() < offered["second"]["deadline"] - 1_498:  # It lasts 1,500 s from the offer on.
        time.sleep(0.1)
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
    offered = alice.does("offer", file, *terms(bob, "1 AIT", "1 ETH"))
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
