"""Transactions over HTTP: in, waiting, final, refused; the attacks that others fell for."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import httpx
import pytest

from chain.client import NodeRefused
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import CURVE_ORDER
from chain.primitives.modules import MINTER, TOKEN, TOKEN_TRANSFER, TRANSFER_EVENT
from chain.primitives.transaction import Transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS

if TYPE_CHECKING:
    from tests.chain.conftest import RunningNode, StartNode


def refusal(node: RunningNode, raw: bytes) -> NodeRefused:
    with pytest.raises(NodeRefused) as caught:
        node.client.send_transaction(raw)
    return caught.value


def test_transaction_becomes_final_and_says_what_it_did(node: RunningNode) -> None:
    people = node.people
    mint = people.mint("ann", 5 * ATOMS_PER_AIT, nonce=0)
    assert node.settle(mint) == ["success"]
    transfer = people.transfer("ann", "bob", 2 * ATOMS_PER_AIT, nonce=1, data=b"thanks")
    sent = node.client.send_transaction(transfer.raw)
    assert sent.transaction_hash == to_hex(transfer.hash)
    view = node.client.wait_for_transaction(transfer.hash, timeout_s=60)
    assert view.finalized
    assert (view.status, view.reason, view.nonce, view.type) == ("success", None, 1, 2)
    assert (view.sender, view.to) == tuple(to_checksum_address(people.address(name)) for name in ("ann", "bob"))
    assert view.value == 2 * ATOMS_PER_AIT
    assert view.data == to_hex(b"thanks")
    (log,) = view.logs
    assert log.topics[0] == to_hex(TRANSFER_EVENT.topic)
    assert node.client.account(people.address("bob")).balance == 2 * ATOMS_PER_AIT
    assert node.client.block(view.height or 0).transactions == [to_hex(transfer.hash)]


def test_same_bytes_are_welcome_at_any_time(start_node: StartNode) -> None:
    node = start_node(block_interval_ms=300)
    mint = node.people.mint("ann", 5, nonce=0)
    first, second = (node.client.send_transaction(mint.raw) for _ in range(2))
    assert first == second
    assert first.status == "pending"
    height = node.client.wait_for_transaction(mint.hash).height
    again = node.client.send_transaction(mint.raw)
    assert (again.status, again.height, again.transaction_hash) == ("success", height, to_hex(mint.hash))
    assert node.client.account(node.people.address("ann")).balance == 5


def test_waiting_transaction_is_shown_as_such(start_node: StartNode) -> None:
    node = start_node(block_interval_ms=60_000)
    mint = node.people.mint("ann", 5, nonce=0)
    node.send(mint)
    view = node.client.transaction(mint.hash)
    assert (view.status, view.finalized, view.height, view.index, view.logs) == ("pending", False, None, None, [])
    account = node.client.account(node.people.address("ann"))
    assert (account.balance, account.nonce, account.pending_nonce) == (0, 0, 1)
    assert node.client.status().mempool.transactions == 1


def test_failed_call_is_final_with_its_reason(node: RunningNode) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    too_much = people.send("ann", TOKEN, nonce=1, data=TOKEN_TRANSFER.encode(people.address("bob"), 2 * ATOMS_PER_AIT))
    assert node.settle(too_much) == ["failed"]
    view = node.client.transaction(too_much.hash)
    assert (view.reason or "").startswith("insufficient_funds")
    assert view.logs == []
    assert node.client.account(people.address("ann")).nonce == 2


def test_same_nonce_double_spend_cannot_overdraw(start_node: StartNode) -> None:
    node = start_node(block_interval_ms=200)
    people = node.people
    node.settle(people.mint("ann", 10 * ATOMS_PER_AIT, nonce=0))
    spends = [people.transfer("ann", name, 8 * ATOMS_PER_AIT, nonce=1) for name in ("bob", "cat")]
    node.send(*spends)  # The second replaces the first.
    assert node.client.wait_for_transaction(spends[1].hash).status == "success"
    with pytest.raises(NodeRefused, match="replaced") as dropped:
        node.client.transaction(spends[0].hash)
    assert (dropped.value.status, dropped.value.reason) == (404, "dropped")
    assert refusal(node, spends[0].raw).reason == "nonce_too_low"
    overdraft = people.transfer("ann", "bob", 3 * ATOMS_PER_AIT, nonce=2)
    assert refusal(node, overdraft.raw).reason == "insufficient_funds"
    balances = [node.client.account(people.address(name)).balance for name in ("ann", "bob", "cat")]
    assert balances == [2 * ATOMS_PER_AIT, 0, 8 * ATOMS_PER_AIT]
    assert node.client.supply().supply == 10 * ATOMS_PER_AIT


def test_replayed_and_duplicate_receipts_are_refused_also_across_a_restart(start_node: StartNode) -> None:
    node = start_node(block_interval_ms=200)
    people = node.people
    receipt_hash = people.receipt_hash()
    mint = people.mint("ann", 7, nonce=0, receipt_hash=receipt_hash)
    twin = people.mint("bob", 7, nonce=0, receipt_hash=receipt_hash)
    node.send(mint)
    assert refusal(node, twin.raw).reason == "receipt_pending"
    node.client.wait_for_transaction(mint.hash)
    replay = people.mint("ann", 7, nonce=1, receipt_hash=receipt_hash)
    assert [refusal(node, each.raw).reason for each in (twin, replay)] == ["receipt_used"] * 2
    node.stop()
    restarted = start_node(people, path=node.path)
    assert [refusal(restarted, each.raw).reason for each in (twin, replay)] == ["receipt_used"] * 2
    assert restarted.client.supply().minted == 7


def test_any_nonempty_signature_list_is_not_an_attestation(node: RunningNode) -> None:
    """Signed by nobody known, by the provider itself, over another amount or receipt, twice, malformed, or high s."""
    people, client = node.people, node.client
    good = people.mint("ann", 5, nonce=0)
    attestation = good.data[-96:-31]
    assert len(attestation) == 65
    high_s = (CURVE_ORDER - int.from_bytes(attestation[32:64], "big")).to_bytes(32, "big")

    def with_attestation(signatures: bytes) -> Transaction:
        padded = signatures + bytes(-len(signatures) % 32)
        data = good.data[: -32 - 96] + len(signatures).to_bytes(32, "big") + padded
        return people.send("ann", MINTER, nonce=0, data=data)

    assert with_attestation(attestation).data == good.data
    attempts = {
        "not_an_attester": [
            people.mint("ann", 5, nonce=0, attester="ann"),
            people.mint("ann", 5, nonce=0, attester="validator"),
            with_attestation(people.key("attester").sign(people.receipt_hash())),
        ],
        "signature_count": [
            with_attestation(b""),
            with_attestation(b"\x01"),
            with_attestation(attestation * 2),
            with_attestation(attestation[:64]),
        ],
        "bad_signature": [with_attestation(attestation[:64] + b"\x00"), with_attestation(bytes(64) + b"\x1b")],
        "high_s": [with_attestation(attestation[:32] + high_s + bytes((55 - attestation[64],)))],
    }
    for reason, transactions in attempts.items():
        assert [refusal(node, each.raw).reason for each in transactions] == [reason] * len(transactions)
    assert client.supply().minted == 0


def test_bad_neighbours_leave_a_block_untouched(start_node: StartNode) -> None:
    node = start_node(block_interval_ms=300)
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    good = [people.mint("bob", 3, nonce=0), people.transfer("ann", "cat", 5, nonce=1)]
    node.send(good[0])
    refusal(node, people.mint("eve", 3, nonce=0, attester="eve").raw)
    refusal(node, people.transfer("ann", "cat", ATOMS_PER_AIT + 1, nonce=1).raw)
    node.send(good[1])
    assert node.settle(*good) == ["success"] * 2
    assert node.client.supply().minted == ATOMS_PER_AIT + 3


def test_whatever_cannot_be_in_a_block_is_refused_by_name(node: RunningNode) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    transfer = people.transfer("ann", "bob", 1, nonce=1)
    cases = {
        "wrong_chain_id": people.transfer("ann", "bob", 1, nonce=1, chain_id=1).raw,
        "invalid_recipient": people.send("ann", ZERO_ADDRESS, nonce=1, value=1).raw,
        "value_to_module": people.send("ann", TOKEN, nonce=1, value=1, data=TOKEN_TRANSFER.encode(b"\1" * 20, 1)).raw,
        "unknown_call": people.send("ann", TOKEN, nonce=1, data=b"\xde\xad\xbe\xef").raw,
        "data_too_large": people.transfer("ann", "bob", 1, nonce=1, data=bytes(257)).raw,
        "nonce_too_low": people.transfer("ann", "bob", 1, nonce=0).raw,
        "nonce_too_high": people.transfer("ann", "bob", 1, nonce=5).raw,
        "insufficient_funds": people.transfer("ann", "bob", ATOMS_PER_AIT + 1, nonce=1).raw,
        "newcomer_call": people.transfer("eve", "bob", 0, nonce=0).raw,
        "unsupported_transaction_type": b"\x01" + transfer.raw[1:],
        "malformed": transfer.raw[:-1],
    }
    for reason, raw in cases.items():
        refused = refusal(node, raw)
        assert refused.reason == reason
        assert 400 <= refused.status < 500
        assert refused.field
    # To the atom:
    assert node.settle(people.transfer("ann", "bob", ATOMS_PER_AIT, nonce=1)) == ["success"]
    assert node.client.account(people.address("ann")).balance == 0


def test_a_batch_has_a_result_for_each_entry_in_order(node: RunningNode) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    transfers = [people.transfer("ann", "bob", 1 + index, nonce=1 + index) for index in range(60)]
    done = people.mint("ann", ATOMS_PER_AIT, nonce=0, receipt_hash=people.receipt_hash())
    batch = [*transfers[:30], people.transfer("eve", "bob", 0, nonce=0), done, *transfers[30:], transfers[0]]
    results = node.client.send_transactions([each.raw for each in batch]).results
    assert len(results) == len(batch)
    refused = {index: entry.reason for index, entry in enumerate(results) if entry.status == "refused"}
    assert refused == {30: "newcomer_call", 31: "nonce_too_low"}
    assert all(results[index].detail and results[index].transaction_hash is None for index in refused)
    hashes = [entry.transaction_hash for index, entry in enumerate(results) if index not in refused]
    assert hashes == [to_hex(each.hash) for each in (*transfers, transfers[0])]
    assert node.client.wait_for_transaction(transfers[-1].hash).status == "success"
    assert node.client.account(people.address("bob")).balance == sum(range(1, 61))
    again = node.client.send_transactions([transfers[3].raw, b"", transfers[4].raw]).results
    assert [entry.status for entry in again] == ["success", "refused", "success"]
    assert again[0].height


def test_a_batch_is_bounded(node: RunningNode) -> None:
    with httpx.Client(base_url=node.url) as client:
        for body, status, field in (
            ({"transactions": []}, 422, "transactions"),
            ({"transactions": ["0x"] * 501}, 422, "transactions"),
            ({"transactions": ["0x02c0", 5]}, 422, "transactions.1"),
            ({"transactions": ["0x" + "00" * 40_000]}, 422, "transactions.0"),
            ({"transactions": "0x02c0"}, 422, "transactions"),
            ({"transactions": ["0x02c0"], "raw_transaction": "0x02c0"}, 422, "raw_transaction"),
            ({"transactions": ["0x" + "00" * 300] * 500}, 413, "body"),
        ):
            answer = client.post("/v1/transactions", json=body)
            assert (answer.status_code, answer.json()["field"]) == (status, field)
        full = client.post("/v1/transactions", json={"transactions": ["0x"] * 500})
        assert full.status_code == 202
        assert [entry["status"] for entry in full.json()["results"]] == ["refused"] * 500


def test_there_is_no_way_to_hand_in_a_block(start_node: StartNode) -> None:
    """Nothing but POST /v1/transactions takes anything, and JSON-RPC has no method for blocks.

    A block sent to any other path meets a 404 or 405.
    """
    node = start_node(heartbeat_ms=24 * 3600 * 1000)  # No idle block of the node's own comes in between.
    writing = {
        (path, method)
        for path, item in node.api.openapi()["paths"].items()
        for method in item
        if method not in ("get", "head")
    }
    assert writing == {("/v1/transactions", "post")}
    head = node.client.block(node.client.status().finalized.height)
    paths = ("/v1/blocks", f"/v1/blocks/{head.height + 1}", "/blocks", "/v1/block", "/receive_block", "/p2p")
    with httpx.Client(base_url=node.url) as client:
        for path, method in product(paths, ("POST", "PUT", "PATCH")):
            answer = client.request(method, path, json={"height": head.height + 1, "transactions": []})
            assert answer.status_code in (404, 405)
        answer = client.post("/rpc", json={"height": head.height + 1, "transactions": []})
        assert answer.json()["error"]["code"] == -32600
    assert node.client.status().finalized.height == head.height
