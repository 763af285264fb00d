"""Deposits and settled receipts over REST: what a hub asks before it serves, and an auditor afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from chain.client import NodeClient, NodeRefused
from chain.primitives.client_request import ClientRequest, sign_client_request
from chain.primitives.escrow import DEPOSIT, NOTICE_S, REQUEST_WITHDRAWAL, SETTLEMENT_OF, audience_hash
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import ESCROW
from chain.primitives.settlement import Settlement
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Amount, Hash32
from tests.chain.api.test_bad_input import assert_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chain.primitives.transaction import Transaction
    from tests.chain.conftest import People, RunningNode

HUB = "hub:eu.1"
DEPOSITED = 10 * ATOMS_PER_AIT
LASTS_S = 30 * 86_400


def settlement(people: People, number: int, *, fee: int = 0) -> Settlement:
    """3 atoms for ann and 4 for bob, from cat."""
    request = ClientRequest(
        chain_id=people.network.chain_id,
        audience=HUB,
        prompt_hash=keccak256(b"prompt"),
        parameters_hash=keccak256(b"parameters"),
        max_price=Amount(100),
        nonce=Hash32(number.to_bytes(32, "big")),
        expiry=int(time.time()) + 600,
    )
    return Settlement(
        client=people.address("cat"),
        request=request,
        client_signature=sign_client_request(people.key("cat"), request),
        providers=(people.address("ann"), people.address("bob")),
        amounts=(3, 4),
        receipt_hash=keccak256(b"receipt of paid job %d" % number),
        fee_recipient=people.address("hub") if fee else ZERO_ADDRESS,
        fee=fee,
    )


def settle(people: People, settled: Settlement, *, sender: str, nonce: int) -> Transaction:
    signature = people.key("attester").sign(settled.digest)
    return people.send(sender, ESCROW, nonce=nonce, data=settled.call_data(signature))


@pytest.fixture(scope="module")
def deadline() -> int:
    """Of cat's deposit."""
    return int(time.time()) + LASTS_S


@pytest.fixture(scope="module")
def paying(
    node_in: Callable[[Path], RunningNode], tmp_path_factory: pytest.TempPathFactory, deadline: int
) -> Iterator[RunningNode]:
    """cat has put 10 AIT aside for HUB and 5 atoms for another, and has asked for 6 atoms of the former."""
    node = node_in(tmp_path_factory.mktemp("paying") / "node")
    people = node.people
    calls = (
        DEPOSIT.encode(HUB, DEPOSITED, deadline),
        DEPOSIT.encode("other", 5, deadline + 1),
        REQUEST_WITHDRAWAL.encode(HUB, 6),
    )
    try:
        assert node.settle(people.mint("cat", 20 * ATOMS_PER_AIT, nonce=0)) == ["success"]
        sent = [people.send("cat", ESCROW, nonce=nonce, data=call) for nonce, call in enumerate(calls, start=1)]
        assert node.settle(*sent) == ["success"] * 3
        yield node
    finally:
        node.stop()


def test_what_a_hub_asks_before_it_serves(paying: RunningNode, deadline: int) -> None:
    cat = paying.people.address("cat")
    view = paying.client.deposits(cat)
    assert (view.client, view.finalized) == (to_checksum_address(cat), True)
    assert [each.audience for each in view.deposits] == [HUB, "other"]
    one = paying.client.deposit(cat, HUB)
    assert (one.audience, one.deadline, one.withdrawal) == (HUB, deadline, 6)
    assert one.balance <= DEPOSITED
    assert one.hub == to_hex(audience_hash(HUB))
    assert abs(one.withdrawable_from - time.time() - NOTICE_S) < 3_600
    assert one.secured_atoms(one.withdrawable_from - 1) == Amount(one.balance)
    assert one.secured_atoms(one.withdrawable_from) == Amount(one.balance - 6)
    assert one.secured_atoms(deadline) == 0
    assert paying.client.deposits(paying.people.address("nobody")).deposits == []
    for client, audience in ((cat, "no-such-hub"), (paying.people.address("nobody"), HUB)):
        with pytest.raises(NodeRefused) as refused:
            paying.client.deposit(client, audience)
        assert (refused.value.status, refused.value.reason) == (404, "not_found")


def test_a_settled_receipt_says_who_paid(paying: RunningNode) -> None:
    people = paying.people
    settled = settlement(people, 1, fee=9)
    transaction = settle(people, settled, sender="courier", nonce=0)
    mints = len(paying.client.account_mints(people.address("ann")).items)
    before = paying.client.deposit(people.address("cat"), HUB).balance
    assert paying.settle(transaction) == ["success"]
    view = paying.client.receipt(settled.receipt_hash)
    assert view.settlement is not None
    assert view.settlement.client == to_checksum_address(people.address("cat"))
    assert (view.settlement.audience, view.settlement.request_hash) == (HUB, to_hex(settled.request.hash))
    assert (view.settlement.fee_recipient, view.settlement.fee) == (to_checksum_address(people.address("hub")), 9)
    assert [(share.provider, share.units) for share in view.shares] == [
        (to_checksum_address(people.address("ann")), 3),
        (to_checksum_address(people.address("bob")), 4),
    ]
    assert view.units == 7  # Without the fee.
    assert view.attesters == [to_checksum_address(people.address("attester"))]
    assert view.transaction_hash == to_hex(transaction.hash)
    assert settled.receipt_hash in {bytes.fromhex(each.receipt_hash[2:]) for each in paying.client.receipts().items}
    # It is no mint, but it is part of the provider's history.
    assert len(paying.client.account_mints(people.address("ann")).items) == mints
    assert to_hex(transaction.hash) in {
        each.hash for each in paying.client.account_transactions(people.address("ann")).items
    }
    answer = paying.client.view(ESCROW, SETTLEMENT_OF, people.address("cat"), settled.request.hash)
    assert answer.values == (settled.receipt_hash,)
    assert paying.client.deposit(people.address("cat"), HUB).balance == before - 16


def test_a_minted_receipt_has_no_settlement(paying: RunningNode) -> None:
    people = paying.people
    receipt_hash = people.receipt_hash()
    assert paying.settle(people.mint("dan", 5, nonce=0, receipt_hash=receipt_hash)) == ["success"]
    assert paying.client.receipt(receipt_hash).settlement is None
    document = httpx.get(f"{paying.url}/v1/receipts/{to_hex(receipt_hash)}", timeout=60).json()
    assert document["settlement"] is None


def test_a_settlement_that_would_fail_is_not_taken(paying: RunningNode) -> None:
    people = paying.people
    settled = settlement(people, 2)
    assert paying.settle(settle(people, settled, sender="eve", nonce=0)) == ["success"]
    for sender, nonce in (("eve", 1), ("cat", 4)):  # Also a member's: it must not keep a receipt's place.
        with pytest.raises(NodeRefused) as refused:
            paying.client.send_transaction(settle(people, settled, sender=sender, nonce=nonce).raw)
        assert refused.value.reason == "request_settled"
    estimate = paying.client.estimate_gas(people.address("eve"), ESCROW, 0, settled.call_data(bytes(65)))
    assert (estimate.gas, "settled before" in str(estimate.refusal)) == (None, True)


@pytest.mark.parametrize("audience", ["x" * 65, "-x", "a%20b", "%00", "é"])
def test_what_is_no_audience(paying: RunningNode, audience: str) -> None:
    address = to_checksum_address(paying.people.address("cat"))
    response = httpx.get(f"{paying.url}/v1/accounts/{address}/deposits/{audience}", timeout=60)
    assert response.status_code in (400, 404, 422)


def test_what_is_no_client(paying: RunningNode) -> None:
    for address in ("0x12", "cat", "0x" + "zz" * 20):
        for place in ("deposits", f"deposits/{HUB}"):
            response = httpx.get(f"{paying.url}/v1/accounts/{address}/{place}", timeout=60)
            assert_problem(response)
    with NodeClient(paying.url) as client:
        with pytest.raises(ValueError, match="0x and"):
            client.deposits("../x")
        for audience in ("", "..", "a/b", "a?b"):
            with pytest.raises(ValueError, match="audience"):
                client.deposit(paying.people.address("cat"), audience)
