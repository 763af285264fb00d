"""eth_getLogs over HTTP, beside what the receipts and the blocks' blooms say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from eth_bloom.bloom import BloomFilter

from chain.primitives.hexadecimal import to_hex
from chain.primitives.modules import MINTED_EVENT, MINTER, TOKEN, TOKEN_APPROVE, TRANSFER_EVENT
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import Chain, People, RunningNode

    RpcOf = Callable[[RunningNode], RpcClient]

NAMES = ("ann", "bob", "cat")


@pytest.fixture(scope="module")
def busy(node_in: Callable[[Path], RunningNode], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node with mints, transfers and approvals in several blocks."""
    node = node_in(tmp_path_factory.mktemp("busy") / "node")
    people = node.people
    node.settle(*(people.mint(name, 10 * ATOMS_PER_AIT, nonce=0) for name in NAMES))
    for nonce in range(1, 4):
        approve = TOKEN_APPROVE.encode(people.address("ann"), nonce)
        node.settle(
            people.transfer("ann", "bob", nonce, nonce=nonce), people.send("cat", TOKEN, nonce=nonce, data=approve)
        )
    node.settle(people.mint("bob", 5, nonce=1))
    yield node
    node.stop()


def topic_of(address: bytes) -> str:
    """An address as a topic."""
    return to_hex(bytes(12) + address)


def all_receipts(rpc: RpcClient) -> list[dict[str, Any]]:
    """Of every block."""
    newest = int(rpc.call("eth_blockNumber"), 16)
    return [receipt for height in range(newest + 1) for receipt in rpc.call("eth_getBlockReceipts", hex(height))]


def test_all_logs_are_those_of_the_receipts(busy: RunningNode, rpc_of: RpcOf) -> None:
    rpc = rpc_of(busy)
    logs = rpc.call("eth_getLogs", {"fromBlock": "earliest", "toBlock": "latest"})
    assert logs == [log for receipt in all_receipts(rpc) for log in receipt["logs"]]
    assert len(logs) == 3 * 2 + 3 * 2 + 2
    by_block: dict[str, list[int]] = {}
    for log in logs:
        by_block.setdefault(log["blockHash"], []).append(int(log["logIndex"], 16))
    assert all(indexes == list(range(len(indexes))) for indexes in by_block.values())


def test_addresses_and_topics(busy: RunningNode, rpc_of: RpcOf) -> None:
    rpc, people = rpc_of(busy), busy.people
    minted, transfer = to_hex(MINTED_EVENT.topic), to_hex(TRANSFER_EVENT.topic)
    bob = topic_of(people.address("bob"))

    def count(address: Any, *topics: Any) -> int:
        logs = rpc.call("eth_getLogs", {"fromBlock": "0x0", "address": address, "topics": list(topics)})
        for log in logs:
            if topics and topics[0] is not None:
                assert log["topics"][0] in topics[0] if isinstance(topics[0], list) else log["topics"][0] == topics[0]
        return len(logs)

    assert count(to_hex(MINTER), minted) == 4
    assert count(to_hex(MINTER).upper().replace("X", "x"), minted, bob) == 2
    assert count([to_hex(TOKEN), to_hex(MINTER)], transfer, None, bob) == 2 + 3
    assert count(to_hex(TOKEN), [transfer, minted], topic_of(bytes(20))) == 4
    assert count(to_hex(TOKEN), minted) == 0
    assert count(None, None, bob) == 2  # Minted for him; he has sent nothing.
    assert count(to_hex(people.address("bob"))) == 0


def test_one_block_by_its_hash(busy: RunningNode, rpc_of: RpcOf) -> None:
    rpc = rpc_of(busy)
    for receipt in all_receipts(rpc):
        found = rpc.call("eth_getLogs", {"blockHash": receipt["blockHash"]})
        assert [log for log in found if log["transactionHash"] == receipt["transactionHash"]] == receipt["logs"]
    assert rpc.error("eth_getLogs", {"blockHash": to_hex(b"\7" * 32)}) == {"code": -32000, "message": "unknown block"}


def test_ranges(busy: RunningNode, rpc_of: RpcOf) -> None:
    rpc = rpc_of(busy)
    everything = rpc.call("eth_getLogs", {"fromBlock": "0x0"})
    heights = sorted({log["blockNumber"] for log in everything}, key=lambda height: int(height, 16))
    for first, last in itertools.pairwise(heights):
        found = rpc.call("eth_getLogs", {"fromBlock": first, "toBlock": last})
        assert {log["blockNumber"] for log in found} == {first, last}
    assert rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0xffffffffff"}) == everything
    assert rpc.call("eth_getLogs", {"fromBlock": "0xffffffffff"}) == []
    assert rpc.call("eth_getLogs", {"fromBlock": "latest", "toBlock": "earliest"}) == []
    newest = rpc.call("eth_getBlockByNumber", "latest", False)["hash"]
    assert {log["blockHash"] for log in rpc.call("eth_getLogs", {})} <= {newest}


def test_blooms_have_every_log(busy: RunningNode, rpc_of: RpcOf) -> None:
    rpc = rpc_of(busy)
    for log in rpc.call("eth_getLogs", {"fromBlock": "0x0"}):
        block = rpc.call("eth_getBlockByHash", log["blockHash"], False)
        receipt = rpc.call("eth_getTransactionReceipt", log["transactionHash"])
        for bloom in (block["logsBloom"], receipt["logsBloom"]):
            values = [bytes.fromhex(value[2:]) for value in (log["address"], *log["topics"])]
            assert all(value in BloomFilter(int(bloom, 16)) for value in values)


def test_too_many_say_how_to_narrow_the_range(
    chain_class: type[Chain], make_people: Callable[..., People], running_node: type[RunningNode],
    rpc_of: RpcOf, tmp_path: Path,
) -> None:  # fmt: skip
    people = make_people(account_quota=100_000)
    chain = chain_class(people, tmp_path / "chain")
    chain.fund("ann")
    for block in range(3):
        chain.add_block(*(people.transfer("ann", "bob", 1, nonce=1 + 4_000 * block + each) for each in range(4_000)))
    chain.ledger.close()
    node = running_node(people, tmp_path / "chain")
    try:
        rpc = rpc_of(node)
        wanted = {"address": to_hex(TOKEN), "topics": [to_hex(TRANSFER_EVENT.topic)]}
        error = rpc.error("eth_getLogs", {**wanted, "fromBlock": "0x1", "toBlock": "latest"})
        message = "query returned more than 10000 results. Try with this block range [0x1, 0x3]."
        assert error == {"code": -32005, "message": message, "data": {"from": "0x1", "to": "0x3", "limit": 10_000}}
        assert len(rpc.call("eth_getLogs", {**wanted, "fromBlock": "0x1", "toBlock": "0x3"})) == 8_001
        assert len(rpc.call("eth_getLogs", {**wanted, "fromBlock": "0x4", "toBlock": "latest"})) == 4_000
    finally:
        node.stop()
