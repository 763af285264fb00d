"""The life that docs/wallet.md walks through: create, receive, send, sign offline, verify a receipt, restore."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chain.primitives.hexadecimal import parse_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest
from chain.primitives.types import ATOMS_PER_AIT
from tests.wallet.running_node import ATTESTER, CHAIN_ID, RunningNode

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]
MakeReceipt = Callable[..., Receipt]


def test_a_life(run: RunWallet, node: RunningNode, make_receipt: MakeReceipt, tmp_path: Path) -> None:
    online = {"AITBC_PASSWORD": PASSWORD, "AITBC_HOME": str(tmp_path / "online")}
    offline = {"AITBC_PASSWORD": PASSWORD, "AITBC_HOME": str(tmp_path / "offline")}
    restored = {"AITBC_PASSWORD": "another", "AITBC_HOME": str(tmp_path / "restored")}
    shop = PrivateKey.generate().address

    # Create, where there is no network, and know the network on both machines.
    made = run("new", "alice", "--words", "12", "--light", "--json", **offline).json
    assert run("network", "add", node.network_file, **offline).code == 0
    assert run("network", "add", node.url, **online).code == 0

    # Receive: somebody who serves a hub's network sends the mint.
    receipt = make_receipt(provider=parse_address(made["address"]), chain_id=CHAIN_ID, job_id="life-1")
    attestation = ATTESTER.sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps({"receipt": receipt.to_object(), "attestation": to_hex(attestation)}))
    assert run("new", "sender", "--light", **online).code == 0
    assert run("mint", answer, "--yes", **online).code == 0
    (shown,) = run("balance", made["address"], "--json", **online).json["accounts"]
    assert shown["balance_atoms"] == str(receipt.amount)

    # Send, signed where no network is.
    built = run("tx", "build", to_hex(shop), "0.25", "--from", made["address"], "--json", **online).stdout
    signed = run("tx", "sign", "-", "--yes", stdin=built, **offline)
    sent = run("tx", "broadcast", "-", "--json", stdin=signed.stdout, **online)
    assert (sent.code, sent.json["state"], sent.json["status"]) == (0, "final", "success")
    assert node.balance(shop) == ATOMS_PER_AIT // 4

    # Verify the receipt.
    assert run("receipt", "verify", answer, "--node-url", node.url, **online).code == 0
    assert run("receipt", "status", answer, **online).code == 0

    # Restore from the words, on a machine that has nothing else.
    again = run("import", "alice", "--words", "--light", "--json", stdin=made["words"] + "\n", **restored)
    assert again.json["address"] == made["address"]
    assert run("network", "add", node.url, **restored).code == 0
    assert run("send", to_hex(shop), "0.25", "--yes", **restored).code == 0
    assert node.balance(shop) == ATOMS_PER_AIT // 2
    history = run("history", made["address"], "--json", **online).json["transactions"]
    assert [entry["change_atoms"] for entry in history] == ["-250000000000000000"] * 2 + [str(receipt.amount)]
