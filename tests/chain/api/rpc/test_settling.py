"""Receipts that are asked for at once: they come a moment later, and null comes where there is nothing to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from chain.api.rpc.settling import HOLD_MS, PATIENCE_MS
from chain.primitives.hexadecimal import to_hex
from chain.primitives.transaction import Transaction

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode, StartNode

SLOWNESS_MS = 30_000  # Of a busy machine.


@pytest.fixture
def slow(start_node: StartNode) -> RunningNode:
    """A node whose first block comes in a minute."""
    return start_node(block_interval_ms=60_000)


def send(rpc: RpcClient, transaction: Transaction) -> None:
    rpc.call("eth_sendRawTransaction", to_hex(transaction.raw))


def timed_receipt(rpc: RpcClient, transaction: Transaction) -> tuple[Any, float]:
    """The receipt, and after how many milliseconds it came."""
    started = time.monotonic()
    receipt = rpc.call("eth_getTransactionReceipt", to_hex(transaction.hash))
    return receipt, (time.monotonic() - started) * 1000


def test_asked_for_at_once_it_is_there_a_moment_later(node: RunningNode, rpc: RpcClient) -> None:
    mint = node.people.mint("ann", 5, nonce=0)
    started = time.monotonic()
    send(rpc, mint)
    receipt, _ = timed_receipt(rpc, mint)
    assert receipt["status"] == "0x1"
    assert HOLD_MS <= (time.monotonic() - started) * 1000 < HOLD_MS + SLOWNESS_MS
    again = [timed_receipt(rpc, mint) for _ in range(3)]
    assert [each for each, _ in again] == [receipt] * 3
    assert min(waited_ms for _, waited_ms in again) < PATIENCE_MS  # It is old enough now.


def test_what_does_not_get_into_a_block_is_waited_for_once(
    slow: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]
) -> None:
    rpc = rpc_of(slow)
    mints = [slow.people.mint(name, 5, nonce=0) for name in ("ann", "bob", "carol", "dan", "eve")]
    for mint in mints:
        send(rpc, mint)
    started = time.monotonic()
    assert [timed_receipt(rpc, mint)[0] for mint in mints] == [None] * 5
    assert (time.monotonic() - started) * 1000 > PATIENCE_MS / 2
    again = [timed_receipt(rpc, mint) for mint in mints]
    assert [receipt for receipt, _ in again] == [None] * 5
    assert min(waited_ms for _, waited_ms in again) < PATIENCE_MS  # A busy machine may be slow at any one.


def test_what_nobody_has_sent_is_not_waited_for(node: RunningNode, rpc: RpcClient) -> None:
    unknown = [timed_receipt(rpc, node.people.mint(name, 5, nonce=0)) for name in ("ann", "bob", "carol")]
    assert [receipt for receipt, _ in unknown] == [None] * 3
    assert min(waited_ms for _, waited_ms in unknown) < PATIENCE_MS


def test_others_are_answered_meanwhile(slow: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    asking, other = rpc_of(slow), rpc_of(slow)
    mint = slow.people.mint("ann", 5, nonce=0)
    send(asking, mint)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(timed_receipt, asking, mint)
        time.sleep(0.05)
        pending = other.call("eth_getTransactionByHash", to_hex(mint.hash))
        assert pending["blockNumber"] is None
        assert not waiting.done()
        assert waiting.result()[1] > HOLD_MS
