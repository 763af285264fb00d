"""`aitbc wallet authorize`, `revoke` and `relay`: the owner signs where no node is, somebody else submits."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.network import parse_network
from chain.primitives.types import ATOMS_PER_AIT
from tests.wallet.running_node import CHAIN_ID, RunningNode
from wallet.accounts import Accounts
from wallet.attester import AttesterNetwork, bind_to_network

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]
NETWORK = ("--chain-id", str(CHAIN_ID))


@pytest.fixture
def funded(node: RunningNode, people: dict[str, PrivateKey]) -> dict[str, PrivateKey]:
    """Alice owns 1 AIT; bob relays, and owns enough to be no newcomer."""
    node.fund(people["alice"], ATOMS_PER_AIT)
    node.fund(people["bob"], ATOMS_PER_AIT)
    return people


def test_a_transfer_that_somebody_else_submits(
    wallet: RunWallet, offline: RunWallet, node: RunningNode, funded: dict[str, PrivateKey]
) -> None:
    payee = PrivateKey.generate()
    authorized = offline("authorize", to_checksum_address(payee.address), "0.25", "--from", "alice", "--yes", *NETWORK)
    assert authorized.code == 0
    assert "0.25 AIT" in authorized.stderr
    assert time.time() + 3000 < int(authorized.json["authorization"]["validBefore"]) < time.time() + 4000
    dry = wallet("relay", "-", "--from", "bob", "--dry-run", "--json", stdin=authorized.stdout)
    assert (dry.code, dry.json["would_succeed"]) == (0, True)
    relayed = wallet("relay", "-", "--from", "bob", "--yes", "--json", stdin=authorized.stdout)
    assert (relayed.code, relayed.json["status"]) == (0, "success")
    assert relayed.json["from"] == to_checksum_address(funded["bob"].address)
    assert node.balance(payee.address) == ATOMS_PER_AIT // 4
    assert node.balance(funded["alice"].address) == 3 * ATOMS_PER_AIT // 4
    assert node.balance(funded["bob"].address) == ATOMS_PER_AIT
    # Once: the second time costs no nonce either.
    nonce = wallet("nonce", "bob").stdout
    again = wallet("relay", "-", "--from", "bob", "--yes", stdin=authorized.stdout)
    assert (again.code, again.stdout) == (5, "")
    assert "used" in again.stderr
    assert wallet("nonce", "bob").stdout == nonce
    assert wallet("relay", "-", "--from", "bob", "--dry-run", stdin=authorized.stdout).code == 5


def test_what_is_revoked_cannot_be_used(
    wallet: RunWallet, offline: RunWallet, node: RunningNode, funded: dict[str, PrivateKey], tmp_path: Path
) -> None:
    file = tmp_path / "authorization.json"
    file.write_text(offline("authorize", "bob", "0.25", "--from", "alice", "--yes", *NETWORK).stdout)
    assert offline("revoke", file, "--from", "bob", "--yes").code == 1
    revoked = offline("revoke", file, "--yes")
    assert revoked.json["primary_type"] == "CancelAuthorization"
    assert wallet("relay", "-", "--from", "bob", "--yes", stdin=revoked.stdout).code == 0
    assert wallet("relay", file, "--from", "bob", "--yes").code == 5
    assert node.balance(funded["alice"].address) == ATOMS_PER_AIT


def test_only_the_recipient_and_only_in_time(
    wallet: RunWallet, offline: RunWallet, node: RunningNode, funded: dict[str, PrivateKey]
) -> None:
    authorize = ("authorize", "bob", "0.25", "--from", "alice", "--yes", *NETWORK)
    for_bob = offline(*authorize, "--only-payee").stdout
    refused = wallet("relay", "-", "--from", "alice", "--yes", stdin=for_bob)
    assert (refused.code, refused.stdout) == (5, "")
    assert wallet("relay", "-", "--from", "bob", "--yes", stdin=for_bob).code == 0
    early = offline(*authorize, "--valid-after", str(int(time.time()) + 1000)).stdout
    assert "not yet valid" in wallet("relay", "-", "--from", "bob", "--yes", stdin=early).stderr
    assert offline(*authorize, "--valid-after", str(int(time.time()) + 9999)).code == 2
    short = offline(*authorize, "--valid-for-s", "1").stdout
    time.sleep(2)
    assert "expired" in wallet("relay", "-", "--from", "bob", "--yes", stdin=short).stderr


def test_only_for_the_network_that_was_signed_for(
    wallet: RunWallet, offline: RunWallet, funded: dict[str, PrivateKey]
) -> None:
    nowhere = offline("authorize", "bob", "1", "--from", "alice", "--yes")
    assert (nowhere.code, nowhere.stdout) == (2, "")
    elsewhere = offline("authorize", "bob", "1", "--from", "alice", "--yes", "--chain-id", "9").stdout
    assert wallet("relay", "-", "--from", "bob", "--yes", stdin=elsewhere).code == 10
    forged = json.dumps(json.loads(elsewhere) | {"chain_id": CHAIN_ID})
    refused = wallet("relay", "-", "--from", "bob", "--yes", stdin=forged)
    assert (refused.code, refused.stdout) == (1, "")
    assert "over something else" in refused.stderr


def test_an_attester_authorizes_nothing(
    offline: RunWallet, node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    network = parse_network(node.network_file.read_text())
    keystore = Accounts(tmp_path / "home").get("alice").keystore
    bind_to_network(keystore, PASSWORD, AttesterNetwork(network.chain_id, network.genesis_hash))
    refused = offline("authorize", "bob", "1", "--from", "alice", "--yes", *NETWORK)
    assert (refused.code, refused.stdout) == (1, "")
    assert "attester" in refused.stderr


def test_nothing_is_signed_without_consent(offline: RunWallet, people: dict[str, PrivateKey]) -> None:
    authorize = ("authorize", "bob", "1", "--from", "alice")
    assert offline(*authorize, *NETWORK).code == 9
    assert offline(*authorize, *NETWORK, "--yes", AITBC_PASSWORD="wrong").code == 3
    for arguments in (("bob", "-1"), ("bob", "x"), ("0x" + "00" * 20, "1"), ("bob", "1", "--valid-for-s", "0")):
        assert offline("authorize", *NETWORK, "--from", "alice", "--yes", *arguments).code == 2
    for text in ("", "{}", "[" * 4000, "x" * 5000):
        for command in (("revoke", "-", "--yes"), ("relay", "-", "--yes", "--from", "bob")):
            ended = offline(*command, stdin=text)
            assert (ended.code, ended.stdout) == (1, "")
