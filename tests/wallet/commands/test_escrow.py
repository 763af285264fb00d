"""`aitbc wallet escrow`: a client's life with a hub, through a real node; what is shown is what is signed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from chain.client import NodeClient
from chain.primitives.client_request import ClientRequest, sign_client_request
from chain.primitives.escrow import NOTICE_S
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import ESCROW
from chain.primitives.settlement import Settlement
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Amount, Hash32
from tests.wallet.running_node import ATTESTER, CHAIN_ID, RunningNode
from wallet.actions import describe_action, describe_time

RunWallet = Callable[..., Any]
Escrow = Callable[..., Any]
HUB = "hub.example"
DAY_S = 86_400


@pytest.fixture
def escrow(wallet: RunWallet) -> Escrow:
    """`escrow("deposit", …, sender="alice", code=0)`: JSON, or what was said on stderr."""

    def run(*words: object, sender: str = "alice", code: int = 0) -> Any:
        ran = wallet("escrow", *map(str, words), "--from", sender, "--yes", "--json")
        assert ran.code == code, ran.stderr
        return ran.json if code == 0 else ran.stderr

    return run


def test_a_clients_life(wallet: RunWallet, escrow: Escrow, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    alice, provider = people["alice"], PrivateKey.generate()
    node.fund(alice, 20 * ATOMS_PER_AIT)
    assert "nothing is put aside" in wallet("escrow", "show", "alice").stdout
    done = escrow("deposit", HUB, "7.5", "--days", 10)
    assert (done["status"], done["value_atoms"]) == ("success", "7500000000000000000")
    assert abs(done["deadline"] - time.time() - 10 * DAY_S) < 3_600
    assert escrow("deposit", HUB, "1", "--days", 1)["deadline"] == done["deadline"]  # Never shortened.
    escrow("deposit", "other", "5", "--atoms")
    shown = wallet("escrow", "show", "alice", "--json").json
    assert shown["address"] == to_checksum_address(alice.address)
    assert shown["deposits"][0] == {
        "audience": HUB,
        "balance_atoms": str(85 * ATOMS_PER_AIT // 10),
        "deadline": done["deadline"],
        "withdrawal_atoms": "0",
        "withdrawable_from": 0,
    }
    assert [each["audience"] for each in shown["deposits"]] == [HUB, "other"]
    # A job is served and paid for, by whoever brings the settlement.
    settled = _settlement(alice, provider, 2 * ATOMS_PER_AIT)
    with NodeClient(node.url) as client:
        courier = PrivateKey.generate()
        call_data = settled.call_data(ATTESTER.sign(settled.digest))
        transaction = sign_transaction(courier, chain_id=CHAIN_ID, nonce=0, to=ESCROW, data=call_data)
        client.send_transaction(transaction.raw)
        assert client.wait_for_transaction(transaction.hash).status == "success"
        receipt = client.receipt(settled.receipt_hash)
        assert receipt.settlement is not None
        assert (receipt.settlement.client, receipt.settlement.audience) == (to_checksum_address(alice.address), HUB)
    assert node.balance(provider.address) == 2 * ATOMS_PER_AIT
    assert "6.5" in wallet("escrow", "show", "alice").stdout
    # Asked for, and not yet taken
    assert escrow("withdraw", HUB, "1.5")["asked_atoms"] == str(15 * ATOMS_PER_AIT // 10)
    early = escrow("withdraw", HUB, code=7)
    first = wallet("escrow", "show", "alice", "--json").json["deposits"][0]
    assert first["withdrawal_atoms"] == str(15 * ATOMS_PER_AIT // 10)
    dated = f"it is possible from {describe_time(first['withdrawable_from'])} on"
    assert "notice_period" in early
    assert dated in early
    assert dated in escrow("withdraw", HUB, "--dry-run", code=5)
    assert abs(first["withdrawable_from"] - time.time() - NOTICE_S) < 3_600
    assert escrow("withdraw", HUB, "all")["asked_atoms"] == first["balance_atoms"]
    escrow("withdraw", HUB, "0")
    assert "nothing was asked for" in escrow("withdraw", HUB, code=1)
    early = escrow("refund", HUB, code=7)
    assert "deadline_ahead" in early
    assert f"it is possible from {describe_time(done['deadline'])} on" in early


def _settlement(client: PrivateKey, provider: PrivateKey, atoms: int) -> Settlement:
    request = ClientRequest(
        chain_id=CHAIN_ID,
        audience=HUB,
        prompt_hash=Hash32(b"\1" * 32),
        parameters_hash=Hash32(b"\2" * 32),
        max_price=Amount(atoms),
        nonce=Hash32(client.address + bytes(12)),
        expiry=int(time.time()) + 600,
    )
    return Settlement(
        client=client.address,
        request=request,
        client_signature=sign_client_request(client, request),
        providers=(provider.address,),
        amounts=(atoms,),
        receipt_hash=Hash32(client.address + b"\7" * 12),
    )


def test_it_is_said_in_words_before_anything_is_signed(
    wallet: RunWallet, escrow: Escrow, node: RunningNode, people: dict[str, PrivateKey]
) -> None:
    node.fund(people["alice"], 3 * ATOMS_PER_AIT)
    asked = wallet("escrow", "deposit", HUB, "1.5", "--from", "alice")
    assert (asked.code, asked.stdout) == (9, "")
    assert "puts 1.5 AIT aside, beside 0 AIT" in asked.stderr
    assert "for jobs that you sign" in asked.stderr
    tried = wallet("escrow", "deposit", HUB, "1.5", "--from", "alice", "--dry-run", "--json")
    assert (tried.code, tried.json["audience"]) == (0, HUB)
    assert wallet("escrow", "deposit", HUB, "4", "--from", "alice", "--dry-run").code == 5
    escrow("deposit", HUB, "1.5")
    asked = wallet("escrow", "withdraw", HUB, "1", "--from", "alice")
    assert "asks for 1 of 1.5 AIT" in asked.stderr
    assert "until then the hub can still be paid from it" in asked.stderr
    asked = wallet("escrow", "refund", HUB, "--client", to_checksum_address(people["alice"].address), "--from", "alice")
    assert "gives 1.5 AIT (1500000000000000000 atoms) back to" in asked.stderr


def test_what_cannot_be(wallet: RunWallet, escrow: Escrow, people: dict[str, PrivateKey]) -> None:
    for hub in ("a hub", "-x", "x" * 65, "hüb"):
        assert wallet("escrow", "deposit", "--from", "alice", "--", hub, "1").code == 2
    assert "must be a number" in escrow("deposit", HUB, "1e6", code=2)
    assert wallet("escrow", "deposit", HUB, "1", "--days", "367", "--from", "alice").code == 2
    assert "nothing put aside for" in escrow("withdraw", HUB, "1", code=1)
    assert "nothing put aside for" in escrow("refund", HUB, "--client", "bob", code=1)


def test_a_settlement_is_read_in_words() -> None:
    settled = _settlement(PrivateKey(b"\1" * 32), PrivateKey(b"\2" * 32), 15 * ATOMS_PER_AIT // 10)
    action = describe_action(ESCROW, 0, settled.call_data(bytes(65)))
    said = dict(action.details)
    assert (action.name, said["module"], said["audience"]) == ("settle", "escrow", HUB)
    assert said["client"] == to_checksum_address(settled.client)
    assert said["amounts"] == "1.5 AIT (1500000000000000000 atoms)"
    assert said["maxPrice"] == "1.5 AIT (1500000000000000000 atoms)"
    assert said["expiry"].endswith("UTC")
    assert said["receiptHash"] == to_hex(settled.receipt_hash)
