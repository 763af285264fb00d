"""Transactions that arrive before those that go first: they wait for a moment, within bounds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from chain.api.rpc.nonce_order import MAX_EARLY, PATIENCE_S
from chain.primitives.hexadecimal import to_hex
from chain.primitives.transaction import Transaction

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode, StartNode

ANSWERED_S = 60.0
ATTEMPTS = 5


@pytest.fixture
def ann(node: RunningNode) -> RunningNode:
    """A node where Ann holds something; her nonce is 1."""
    assert node.settle(node.people.mint("ann", 10**18, nonce=0)) == ["success"]
    return node


def transfers(node: RunningNode, nonces: Sequence[int], sender: str = "ann") -> list[Transaction]:
    return [node.people.transfer(sender, "bob", 1, nonce=nonce) for nonce in nonces]


def send(rpc: RpcClient, transaction: Transaction) -> dict[str, Any]:
    return rpc.request("eth_sendRawTransaction", to_hex(transaction.raw))


def send_batch(rpc: RpcClient, transactions: Sequence[Transaction]) -> list[dict[str, Any]]:
    calls = [
        {"id": index, "method": "eth_sendRawTransaction", "params": [to_hex(each.raw)]}
        for index, each in enumerate(transactions)
    ]
    answers: list[dict[str, Any]] = rpc.batch(*calls)
    return answers


def is_quicker_once(attempt: Callable[[int], None]) -> bool:
    """Than who waits: a busy machine may be slow at any of some attempts, and who waits is slow at all of them."""

    def took_s(number: int) -> float:
        started = time.monotonic()
        attempt(number)
        return time.monotonic() - started

    return any(took_s(number) < PATIENCE_S for number in range(ATTEMPTS))


def test_one_that_overtook_the_other_waits_for_it(ann: RunningNode, rpc: RpcClient) -> None:
    first, second = transfers(ann, [1, 2])
    with ThreadPoolExecutor(1) as early:
        overtaking = early.submit(send, rpc, second)
        time.sleep(0.2)
        assert not overtaking.done()
        assert send(rpc, first) == {"result": to_hex(first.hash)}
        assert overtaking.result(ANSWERED_S) == {"result": to_hex(second.hash)}
    assert ann.client.wait_for_transaction(second.hash).status == "success"


def test_what_is_missing_may_come_in_another_way(ann: RunningNode, rpc: RpcClient) -> None:
    first, second = transfers(ann, [1, 2])
    with ThreadPoolExecutor(1) as early:
        overtaking = early.submit(send, rpc, second)
        time.sleep(0.1)
        ann.settle(first)
        assert overtaking.result(ANSWERED_S) == {"result": to_hex(second.hash)}


def test_ninety_over_as_many_connections_in_any_order(
    ann: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]
) -> None:
    """On a busy machine one of them may come after the others' patience has ended; not in each of some attempts."""

    def all_were_taken(sender: str) -> bool:
        assert ann.settle(ann.people.mint(sender, 10**18, nonce=0)) == ["success"]
        sent = transfers(ann, range(1, 91), sender)  # httpx opens at most 100 connections.
        mixed = random.sample(sent, len(sent))
        with ThreadPoolExecutor(len(mixed)) as clients:
            answers = list(clients.map(send, [rpc_of(ann)] * len(mixed), mixed))
        for each, answer in zip(mixed, answers, strict=True):
            if "error" in answer:
                assert answer["error"]["message"].startswith("nonce too high")
                return False
            assert answer == {"result": to_hex(each.hash)}
        return ann.client.wait_for_transaction(sent[-1].hash).status == "success"

    assert any(all_were_taken(f"person {attempt}") for attempt in range(ATTEMPTS))


def test_a_batch_may_be_in_any_order(ann: RunningNode, rpc: RpcClient) -> None:
    def send_backwards(number: int) -> None:
        sent = transfers(ann, range(40 * number + 40, 40 * number, -1))
        assert [answer["result"] for answer in send_batch(rpc, sent)] == [to_hex(each.hash) for each in sent]

    assert is_quicker_once(send_backwards)


def test_batches_that_overtake_one_another(ann: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    sent = transfers(ann, range(1, 101))
    parts = [sent[start : start + 20] for start in (80, 40, 60, 20, 0)]
    with ThreadPoolExecutor(len(parts)) as clients:
        answering = []
        for part in parts:
            answering.append(clients.submit(send_batch, rpc_of(ann), part))
            time.sleep(0.05)
        for part, answers in zip(parts, answering, strict=True):
            assert [each["result"] for each in answers.result(ANSWERED_S)] == [to_hex(each.hash) for each in part]


def test_a_gap_that_nobody_fills_is_refused_after_a_while(ann: RunningNode, rpc: RpcClient) -> None:
    (early,) = transfers(ann, [5])
    started = time.monotonic()
    refusal = send(rpc, early)["error"]
    assert PATIENCE_S <= time.monotonic() - started < ANSWERED_S
    assert (refusal["code"], refusal["message"]) == (-32000, "nonce too high: next nonce 1, transaction 5")
    first, fifth = transfers(ann, [1, 5])
    answers = send_batch(rpc, [fifth, first])
    assert answers[1]["result"] == to_hex(first.hash)
    assert answers[0]["error"]["message"].startswith("nonce too high")


def test_others_are_answered_meanwhile(ann: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    (early,) = transfers(ann, [5])
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(send, rpc_of(ann), early)
        time.sleep(0.1)
        assert rpc_of(ann).call("eth_getTransactionCount", to_hex(ann.people.address("ann")), "pending") == "0x1"
        assert ann.settle(*transfers(ann, [1])) == ["success"]
        assert waiting.result(ANSWERED_S)["error"]["message"].startswith("nonce too high")

    def is_answered_first() -> bool:
        (early,) = transfers(ann, [9])
        with ThreadPoolExecutor(1) as clients:
            waiting = clients.submit(send, rpc_of(ann), early)
            time.sleep(0.1)
            rpc_of(ann).call("eth_blockNumber")
            return not waiting.done()

    assert any(is_answered_first() for _ in range(ATTEMPTS))


def test_no_more_wait_than_there_is_room_for(ann: RunningNode, rpc: RpcClient) -> None:
    too_many = transfers(ann, range(2, MAX_EARLY + 3))
    assert len(too_many) == MAX_EARLY + 1

    def send_them(_: int) -> None:
        refusals = send_batch(rpc, too_many)
        assert all(each["error"]["message"].startswith("nonce too high") for each in refusals)

    assert is_quicker_once(send_them)


def test_room_is_given_back(start_node: StartNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    node = start_node()
    node.settle(node.people.mint("ann", 10**18, nonce=0))
    rpc = rpc_of(node)
    for _ in range(2):
        as_many_as_fit = transfers(node, range(2, MAX_EARLY + 2))
        started = time.monotonic()
        refusals = send_batch(rpc, as_many_as_fit)
        assert time.monotonic() - started >= PATIENCE_S
        assert all(each["error"]["message"].startswith("nonce too high") for each in refusals)


def test_a_key_that_nobody_has_used_does_not_wait(ann: RunningNode, rpc: RpcClient) -> None:
    """It costs nothing, and with enough of them one client would take all the room."""
    fresh = transfers(ann, [5], sender="nobody")

    def send_it(_: int) -> None:
        assert "nonce too high" in send(rpc, fresh[0])["error"]["message"]
        assert "nonce too high" in send_batch(rpc, fresh)[0]["error"]["message"]

    assert is_quicker_once(send_it)
