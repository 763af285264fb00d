"""Filters of clients that poll: nothing is told twice or left out, and they are bounded in number, size and time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from chain.api.reading import BlockCache
from chain.api.rpc.errors import RpcError
from chain.api.rpc.filters import Filters
from chain.api.rpc.log_queries import LogQuery, parse_log_query
from chain.api.rpc.served_chain import ServedChain
from chain.primitives.hexadecimal import to_hex
from chain.primitives.modules import TOKEN, TRANSFER_EVENT
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode

TRANSFERS = {"address": to_hex(TOKEN), "topics": [to_hex(TRANSFER_EVENT.topic)]}


def make_filters(node: RunningNode, **bounds: Any) -> Filters:
    """With bounds that a test can reach."""
    return Filters(ServedChain(node.node, BlockCache(), version="test"), **bounds)


def test_logs_are_told_once(node: RunningNode, rpc: RpcClient) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    transfers, everything = rpc.call("eth_newFilter", TRANSFERS), rpc.call("eth_newFilter", {"fromBlock": "0x0"})
    assert rpc.call("eth_getFilterChanges", transfers) == []
    for nonce in range(1, 3):
        node.settle(people.transfer("ann", "bob", nonce, nonce=nonce))
    told = rpc.call("eth_getFilterChanges", transfers)
    assert told == rpc.call("eth_getLogs", {**TRANSFERS, "fromBlock": told[0]["blockNumber"]})
    assert [int(log["data"], 16) for log in told] == [1, 2]
    assert rpc.call("eth_getFilterChanges", transfers) == []
    assert (
        rpc.call("eth_getFilterChanges", everything) == told
    )  # What is older than the filter is for eth_getFilterLogs.
    assert rpc.call("eth_getFilterLogs", everything) == rpc.call("eth_getLogs", {"fromBlock": "0x0"})


def test_bounds_of_blocks(node: RunningNode, rpc: RpcClient) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    newest = int(rpc.call("eth_blockNumber"), 16)
    until = rpc.call("eth_newFilter", {"toBlock": hex(newest)})
    later = rpc.call("eth_newFilter", {"fromBlock": hex(newest + 1_000_000)})
    node.settle(people.transfer("ann", "bob", 1, nonce=1))
    assert rpc.call("eth_getFilterChanges", until) == rpc.call("eth_getFilterChanges", later) == []
    error = rpc.error("eth_newFilter", {"blockHash": "0x" + "00" * 32})
    assert (error["code"], error["message"]) == (-32602, "a filter is of blocks to come: blockHash has no meaning")


def test_block_hashes_without_gaps(node: RunningNode, rpc: RpcClient) -> None:
    first = int(rpc.call("eth_blockNumber"), 16) + 1
    watched = rpc.call("eth_newBlockFilter")
    first = min(first, int(rpc.call("eth_blockNumber"), 16) + 1)
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    hashes: list[str] = []
    for nonce in range(1, 5):
        node.settle(node.people.transfer("ann", "bob", 1, nonce=nonce))
        hashes += rpc.call("eth_getFilterChanges", watched)
    heights = [int(rpc.call("eth_getBlockByHash", each, False)["number"], 16) for each in hashes]
    assert heights == list(range(heights[0], heights[0] + len(heights)))
    assert heights[0] - first in (0, 1)
    assert len(heights) >= 5


def test_transactions_once(node: RunningNode, rpc: RpcClient) -> None:
    people = node.people
    before = people.mint("ann", ATOMS_PER_AIT, nonce=0)
    node.settle(before)
    watched, other = rpc.call("eth_newPendingTransactionFilter"), rpc.call("eth_newPendingTransactionFilter")
    sent = [people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 4)]
    node.send(sent[0])
    told = rpc.call("eth_getFilterChanges", watched)
    node.settle(*sent[1:])
    told += rpc.call("eth_getFilterChanges", watched)
    assert told == rpc.call("eth_getFilterChanges", other) == [to_hex(each.hash) for each in sent]
    assert rpc.call("eth_getFilterChanges", watched) == []
    assert rpc.error("eth_getFilterLogs", watched)["message"].startswith("filter not found")


def test_ended_and_unknown_filters(rpc: RpcClient) -> None:
    watched = rpc.call("eth_newBlockFilter")
    assert rpc.call("eth_uninstallFilter", watched) is True
    assert rpc.call("eth_uninstallFilter", watched) is False
    for method in ("eth_getFilterChanges", "eth_getFilterLogs"):
        assert rpc.error(method, watched) == {"code": -32000, "message": "filter not found"}
    assert len({rpc.call("eth_newBlockFilter") for _ in range(20)}) == 20


def test_a_filter_that_nobody_asks_about_is_gone(node: RunningNode) -> None:
    filters = make_filters(node, expires_s=0.3)
    kept, forgotten = filters.watch_blocks(), filters.watch_blocks()
    for _ in range(6):
        time.sleep(0.1)
        filters.changes(kept)
    with pytest.raises(RpcError, match="filter not found"):
        filters.changes(forgotten)
    assert len(filters) == 1


def test_the_one_longest_unasked_makes_room(node: RunningNode) -> None:
    filters = make_filters(node, max_filters=3)
    first, second, third = filters.watch_blocks(), filters.watch_transactions(), filters.watch_logs(LogQuery())
    filters.changes(first)
    fourth = filters.watch_blocks()
    for each in (first, third, fourth):
        assert filters.changes(each) == []
    with pytest.raises(RpcError, match="filter not found"):
        filters.changes(second)


def test_large_filters_make_room_too(node: RunningNode) -> None:
    filters = make_filters(node)
    topics = [[to_hex(number.to_bytes(32, "big")) for number in range(1_000)]] * 4
    query = parse_log_query({"topics": topics})
    ids = [filters.watch_logs(query) for _ in range(20)]
    assert len(filters) == 12  # 48,000 topics.
    assert filters.changes(ids[-12]) == []
    for each in ids:
        filters.forget(each)
    assert len(filters) == 0
    assert [len(filters) for _ in range(3) if filters.watch_logs(query)] == [1, 2, 3]


def test_questions_at_the_same_time_are_not_told_the_same(
    node: RunningNode, rpc_client: Callable[..., RpcClient]
) -> None:
    """Several threads poll one filter while blocks come."""
    rpc = rpc_client(node.url)
    watched = rpc.call("eth_newFilter", TRANSFERS)
    told: list[str] = []
    is_over = threading.Event()

    def poll() -> None:
        client = rpc_client(node.url)
        while not is_over.is_set():
            told.extend(log["transactionHash"] for log in client.call("eth_getFilterChanges", watched))
        client.http.close()

    threads = [threading.Thread(target=poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    sent = [node.people.mint("ann", ATOMS_PER_AIT, nonce=0)]
    sent += [node.people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 15)]
    for transaction in sent:
        node.settle(transaction)
    is_over.set()
    for thread in threads:
        thread.join()
    told.extend(log["transactionHash"] for log in rpc.call("eth_getFilterChanges", watched))
    rpc.http.close()
    assert sorted(told) == sorted(to_hex(each.hash) for each in sent)
