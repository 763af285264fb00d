"""`aitbc wallet nonce` and `balance` of strangers; what else they say is in the tests of sending."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT
from tests.wallet.running_node import CHAIN_ID, RunningNode

RunWallet = Callable[..., Any]


def test_the_next_nonce(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    alice = people["alice"]
    assert wallet("nonce", "alice").stdout == "0\n"
    node.fund(alice, ATOMS_PER_AIT)
    ended = wallet("nonce", to_checksum_address(alice.address), "--json")
    assert (ended.json["nonce"], ended.json["pending_nonce"]) == (1, 1)
    assert wallet("nonce", "alice").stdout == "1\n"
    unclear = wallet("nonce")
    assert (unclear.code, unclear.stdout) == (1, "")
    assert "alice, bob" in unclear.stderr


def test_names_and_addresses_together(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    stranger = PrivateKey.generate()
    node.fund(stranger, 7)
    spent = sign_transaction(people["bob"], chain_id=CHAIN_ID, nonce=0, to=stranger.address)
    assert spent.recover_sender() == people["bob"].address
    shown = wallet("balance", "bob", to_checksum_address(stranger.address), "--json").json["accounts"]
    assert [(each["name"], each["balance_atoms"]) for each in shown] == [("bob", "0"), (None, "7")]
    assert wallet("balance", "carol").code == 1
    assert wallet("balance", "0x12").code == 2


def test_an_account_that_cannot_be_asked_about_hides_no_other(
    wallet: RunWallet, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    alice, bob = (tmp_path / "home" / "keys" / f"{name}.json" for name in ("alice", "bob"))
    nameless = json.loads(bob.read_text())
    del nameless["address"]
    bob.write_text(json.dumps(nameless))
    shown = wallet("balance", "--json")
    assert (shown.code, [each["name"] for each in shown.json["accounts"]]) == (0, ["alice"])
    assert "account bob" in shown.stderr
    alice.chmod(0o644)
    assert "account alice" in wallet("balance").stderr
    alice.unlink()
    alone = wallet("balance")
    assert (alone.code, alone.stdout) == (1, "")
    assert "aitbc wallet import --keystore" in alone.stderr
