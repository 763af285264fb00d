"""eth_sendRawTransaction: alone, in batches, twice, and refused in words that clients look for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import CURVE_ORDER
from chain.primitives.modules import TOKEN
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode, StartNode


@pytest.fixture
def slow(start_node: StartNode) -> RunningNode:
    """A node at which things wait."""
    return start_node(block_interval_ms=60_000)


def send(rpc: RpcClient, raw: bytes) -> dict[str, Any]:
    return rpc.request("eth_sendRawTransaction", to_hex(raw))


def sends(*raws: bytes) -> list[dict[str, Any]]:
    return [
        {"id": number, "method": "eth_sendRawTransaction", "params": [to_hex(raw)]} for number, raw in enumerate(raws)
    ]


def test_answers_the_hash_and_the_transaction_becomes_final(node: RunningNode, rpc: RpcClient) -> None:
    mint = node.people.mint("ann", 5, nonce=0)
    assert send(rpc, mint.raw) == {"result": to_hex(mint.hash)}
    node.client.wait_for_transaction(mint.hash, timeout_s=60)
    assert rpc.call("eth_getTransactionReceipt", to_hex(mint.hash))["status"] == "0x1"


def test_the_same_bytes_again(slow: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    rpc = rpc_of(slow)
    mint = slow.people.mint("ann", 5, nonce=0)
    assert "result" in send(rpc, mint.raw)
    known = {"code": -32000, "message": "already known", "data": {"reason": "already_known"}}
    assert send(rpc, mint.raw) == {"error": known}
    later = slow.people.mint("ann", 5, nonce=1)
    answers = rpc.batch(*sends(later.raw, mint.raw, later.raw))
    assert answers[0]["result"] == to_hex(later.hash)
    assert [answer["error"] for answer in answers[1:]] == [known, known]


def test_what_is_final_already_is_too_low(node: RunningNode, rpc: RpcClient) -> None:
    mint = node.people.mint("ann", 5, nonce=0)
    node.settle(mint)
    assert send(rpc, mint.raw)["error"]["message"] == "nonce too low: next nonce 1, transaction 0"


def test_phrases_of_geth(node: RunningNode, rpc: RpcClient) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    for transaction, phrase in (
        (people.transfer("ann", "bob", 1, nonce=0), "nonce too low"),
        (people.transfer("ann", "bob", 1, nonce=9), "nonce too high"),
        (people.transfer("ann", "bob", 2 * ATOMS_PER_AIT, nonce=1), "insufficient funds for gas * price + value"),
        (people.transfer("ann", "bob", 1, nonce=1, chain_id=1), "invalid chain id for signer"),
        (people.transfer("zoe", "bob", 0, nonce=0), "an account that holds less than"),
        (people.send("ann", TOKEN, nonce=1, data=b"\xde\xad\xbe\xef"), "module 0x"),
    ):
        error = send(rpc, transaction.raw)["error"]
        assert error["code"] == -32000
        assert error["message"].startswith(phrase), error
        assert error["data"]["reason"]
    assert rpc.call("eth_getTransactionCount", to_hex(people.address("ann")), "pending") == "0x1"


def test_replacing_too_often(slow: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    rpc = rpc_of(slow)
    answers = [send(rpc, slow.people.mint("ann", 5 + number, nonce=0).raw) for number in range(5)]
    assert ["result" in answer for answer in answers] == [True] * 4 + [False]
    assert answers[-1]["error"]["message"].startswith("replacement transaction underpriced")


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x02", b"\x02\xc0", b"\xc0", b"\x01\xc0", b"\x03\xc0", b"\x7f", b"\x80", b"\xff" * 100, bytes(32 * 1024)],
)
def test_what_is_no_transaction(rpc: RpcClient, raw: bytes) -> None:
    error = send(rpc, raw)["error"]
    assert error["code"] == -32000
    assert rpc.error("eth_sendRawTransaction", "0x" + "00" * (32 * 1024 + 1))["code"] == -32602


def test_twin_signature_is_refused(node: RunningNode, rpc: RpcClient) -> None:
    mint = node.people.mint("ann", 5, nonce=0)
    s = int.from_bytes(mint.signature[32:64], "big")
    twin = mint.raw.replace(mint.signature[32:64], (CURVE_ORDER - s).to_bytes(32, "big"))
    assert send(rpc, twin)["error"]["data"]["reason"] == "high_s"


def test_batch_is_taken_in_its_order_with_what_is_refused_in_its_place(node: RunningNode, rpc: RpcClient) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    transfers = [people.transfer("ann", "bob", 10**12, nonce=nonce) for nonce in range(1, 101)]
    raws = [transfer.raw for transfer in transfers]
    calls = sends(*raws[:50], b"\x02", *raws[50:])
    calls[3]["params"] = [7]
    calls[3]["id"] = "bad"
    calls.insert(60, {"id": "other", "method": "eth_chainId", "params": []})
    answers = rpc.batch(*calls)
    assert [answer["id"] for answer in answers] == [call["id"] for call in calls]
    # What follows the one that is missing has a gap before it.
    assert [answer["result"] for answer in answers[:3]] == [to_hex(each.hash) for each in transfers[:3]]
    assert answers[3]["error"]["code"] == -32602
    assert all(answer["error"]["message"].startswith("nonce too high") for answer in answers[4:50])
    again = rpc.batch(*sends(*raws[3:]))
    assert [answer["result"] for answer in again] == [to_hex(each.hash) for each in transfers[3:]]
    node.client.wait_for_transaction(transfers[-1].hash, timeout_s=60)
    assert rpc.call("eth_getBalance", to_hex(people.address("bob"))) == hex(100 * 10**12)


def test_twice_in_a_batch_is_known_the_second_time_unless_it_was_refused(node: RunningNode, rpc: RpcClient) -> None:
    mint = node.people.mint("ann", ATOMS_PER_AIT, nonce=0)
    poor = node.people.transfer("bob", "ann", 10**30, nonce=0)
    answers = rpc.batch(*sends(mint.raw, poor.raw, mint.raw, poor.raw))
    assert answers[0]["result"] == to_hex(mint.hash)
    assert answers[2]["error"]["message"] == "already known"
    assert answers[1]["error"] == answers[3]["error"]
    assert answers[1]["error"]["message"] != "already known"
