"""Blocks, transactions and receipts as web3.py, eth-account and an own count of gas and logs see them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from eth_account import Account
from eth_bloom.bloom import BloomFilter
from web3 import Web3

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import MINTED_EVENT, MINTER, TOKEN, TOKEN_TRANSFER, TRANSFER_EVENT
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode, StartNode

# What broke a client where it was missing (docs/json-rpc.md), and what tools show.
BLOCK_FIELDS = {
    *("number", "hash", "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot"),
    *("logsBloom", "difficulty", "gasLimit", "gasUsed", "timestamp", "extraData", "transactions", "baseFeePerGas"),
    *("nonce", "mixHash", "size", "uncles"),
}
TRANSACTION_FIELDS = {
    *("hash", "type", "nonce", "value", "gas", "input", "r", "s", "v", "from", "to", "blockHash", "blockNumber"),
    *("transactionIndex", "chainId", "gasPrice"),
}
DYNAMIC_FEE_FIELDS = {"maxFeePerGas", "maxPriorityFeePerGas", "accessList", "yParity"}
RECEIPT_FIELDS = {
    *("transactionHash", "cumulativeGasUsed", "gasUsed", "logs", "transactionIndex", "blockHash", "blockNumber"),
    *("status", "type", "logsBloom", "from", "to", "effectiveGasPrice", "contractAddress"),
}


@pytest.fixture
def mixed(node: RunningNode) -> RunningNode:
    """Mints, transfers, a failed call, and a legacy transaction."""
    people = node.people
    node.settle(*(people.mint(name, 10 * ATOMS_PER_AIT, nonce=0) for name in ("ann", "bob")))
    too_much = TOKEN_TRANSFER.encode(people.address("bob"), 99 * ATOMS_PER_AIT)
    node.settle(
        people.transfer("ann", "bob", 1, nonce=1, data=b"thanks"),
        people.send("ann", TOKEN, nonce=2, data=too_much),
        people.mint("ann", 5, nonce=3),
        people.transfer("bob", "ann", 2, nonce=1),
    )
    return node


def all_blocks(rpc: RpcClient) -> list[dict[str, Any]]:
    count = int(rpc.call("eth_blockNumber"), 16) + 1
    return [rpc.call("eth_getBlockByNumber", hex(height), True) for height in range(count)]


def test_blocks_are_linked_and_have_every_field(mixed: RunningNode, rpc: RpcClient) -> None:
    blocks = all_blocks(rpc)
    for parent, block in pairwise(blocks):
        assert block["parentHash"] == parent["hash"]
        assert int(block["timestamp"], 16) >= int(parent["timestamp"], 16)
    for height, block in enumerate(blocks):
        assert block.keys() >= BLOCK_FIELDS
        assert block["number"] == hex(height)
        assert int(block["gasUsed"], 16) <= int(block["gasLimit"], 16)
        hashes = rpc.call("eth_getBlockByHash", block["hash"], False)
        assert hashes == {**block, "transactions": [each["hash"] for each in block["transactions"]]}
        assert rpc.call("eth_getBlockByNumber", block["number"]) == hashes
        count = hex(len(block["transactions"]))
        assert rpc.call("eth_getBlockTransactionCountByHash", block["hash"]) == count
        assert rpc.call("eth_getBlockTransactionCountByNumber", block["number"]) == count
        assert rpc.call("eth_getUncleCountByBlockHash", block["hash"]) == "0x0"
    assert blocks[-1] == rpc.call("eth_getBlockByNumber", "latest", True)
    status = mixed.client.block(len(blocks) - 1)
    assert (status.hash, status.state_root) == (blocks[-1]["hash"], blocks[-1]["stateRoot"])


def test_transactions_by_hash_and_by_place_are_what_was_signed(mixed: RunningNode, rpc: RpcClient) -> None:
    for block in all_blocks(rpc):
        for index, transaction in enumerate(block["transactions"]):
            assert transaction.keys() == TRANSACTION_FIELDS | DYNAMIC_FEE_FIELDS
            assert rpc.call("eth_getTransactionByHash", transaction["hash"]) == transaction
            assert (transaction["blockHash"], transaction["blockNumber"]) == (block["hash"], block["number"])
            place = (block["hash"], hex(index))
            assert rpc.call("eth_getTransactionByBlockHashAndIndex", *place) == transaction
            assert rpc.call("eth_getTransactionByBlockNumberAndIndex", block["number"], hex(index)) == transaction


def test_receipts_add_up(mixed: RunningNode, rpc: RpcClient) -> None:
    statuses: list[str] = []
    for block in all_blocks(rpc):
        receipts = [rpc.call("eth_getTransactionReceipt", each["hash"]) for each in block["transactions"]]
        assert rpc.call("eth_getBlockReceipts", block["number"]) == receipts
        gas_used = log_index = 0
        bloom = BloomFilter()
        for index, (transaction, receipt) in enumerate(zip(block["transactions"], receipts, strict=True)):
            assert receipt.keys() - {"revertReason"} == RECEIPT_FIELDS
            gas_used += int(receipt["gasUsed"], 16)
            assert int(receipt["cumulativeGasUsed"], 16) == gas_used
            assert int(receipt["transactionIndex"], 16) == index
            assert (receipt["from"], receipt["to"]) == (transaction["from"], transaction["to"])
            for log in receipt["logs"]:
                assert int(log["logIndex"], 16) == log_index
                assert (log["transactionHash"], log["blockHash"]) == (transaction["hash"], block["hash"])
                assert log["removed"] is False
                log_index += 1
                own = [log["address"], *log["topics"]]
                bloom.extend(bytes.fromhex(each[2:]) for each in own)
            statuses.append(receipt["status"])
        assert int(block["gasUsed"], 16) == gas_used
        assert int(block["logsBloom"], 16) == int(bloom)
    assert sorted(statuses) == ["0x0"] + ["0x1"] * 5


def test_failed_call_says_why(mixed: RunningNode, rpc: RpcClient) -> None:
    failed = [
        receipt
        for block in all_blocks(rpc)
        for receipt in rpc.call("eth_getBlockReceipts", block["hash"])
        if receipt["status"] == "0x0"
    ]
    (receipt,) = failed
    assert receipt["logs"] == []
    assert int(receipt["logsBloom"], 16) == 0
    reason = bytes.fromhex(receipt["revertReason"][2:])
    assert reason[:4].hex() == "08c379a0"
    assert b"insufficient_funds: insufficient funds: balance" in reason


def test_logs_of_a_mint(node: RunningNode, rpc: RpcClient) -> None:
    mint = node.people.mint("ann", 77, nonce=0)
    node.settle(mint)
    logs = rpc.call("eth_getTransactionReceipt", to_hex(mint.hash))["logs"]
    assert {(log["address"], log["topics"][0]) for log in logs} == {
        (to_hex(TOKEN), to_hex(TRANSFER_EVENT.topic)),
        (to_hex(MINTER), to_hex(MINTED_EVENT.topic)),
    }


def test_legacy_transaction_of_eth_account(node: RunningNode, rpc: RpcClient) -> None:
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    fields = {
        "nonce": 1,
        "gasPrice": 3,
        "gas": 21_000,
        "to": to_checksum_address(node.people.address("bob")),
        "value": 9,
        "data": b"",
        "chainId": node.people.network.chain_id,
    }
    signed = Account.sign_transaction(fields, node.people.key("ann").secret)
    transaction_hash = rpc.call("eth_sendRawTransaction", to_hex(bytes(signed.raw_transaction)))
    assert transaction_hash == to_hex(bytes(signed.hash))
    node.client.wait_for_transaction(signed.hash, timeout_s=60)
    transaction = rpc.call("eth_getTransactionByHash", transaction_hash)
    assert transaction.keys() == TRANSACTION_FIELDS
    assert (transaction["type"], transaction["gasPrice"]) == ("0x0", "0x3")
    assert [int(transaction[name], 16) for name in ("v", "r", "s")] == [signed.v, signed.r, signed.s]


def test_waiting_transaction_has_no_place(start_node: StartNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    node = start_node(block_interval_ms=60_000)
    rpc = rpc_of(node)
    mint = node.people.mint("ann", 5, nonce=0)
    node.send(mint)
    transaction = rpc.call("eth_getTransactionByHash", to_hex(mint.hash))
    assert [transaction[name] for name in ("blockHash", "blockNumber", "transactionIndex")] == [None] * 3
    assert transaction["from"] == to_hex(node.people.address("ann"))
    assert rpc.call("eth_getTransactionReceipt", to_hex(mint.hash)) is None


def test_unknown_ones_are_null(rpc: RpcClient) -> None:
    unknown = "0x" + "77" * 32
    assert rpc.call("eth_getBlockByHash", unknown, False) is None
    assert rpc.call("eth_getBlockByNumber", "0x7fffffffffffffff", True) is None
    assert rpc.call("eth_getTransactionByHash", unknown) is None
    assert rpc.call("eth_getTransactionReceipt", unknown) is None
    assert rpc.call("eth_getBlockReceipts", {"blockHash": unknown}) is None
    assert rpc.call("eth_getTransactionByBlockHashAndIndex", unknown, "0x0") is None
    assert rpc.call("eth_getTransactionByBlockNumberAndIndex", "0x0", "0xffffffffffffffff") is None
    assert rpc.call("eth_getBlockTransactionCountByHash", unknown) is None
    assert rpc.call("eth_getUncleCountByBlockHash", unknown) is None
    assert rpc.call("eth_getUncleByBlockNumberAndIndex", "0x0", "0x0") is None


def test_web3_reads_them(mixed: RunningNode) -> None:
    web3 = Web3(Web3.HTTPProvider(mixed.url))  # The bare URL.
    assert web3.is_connected()
    block = web3.eth.get_block("latest", full_transactions=True)
    assert block["number"] == web3.eth.block_number
    for transaction in block["transactions"]:
        assert not isinstance(transaction, bytes)
        receipt = web3.eth.get_transaction_receipt(transaction["hash"])
        assert receipt["blockHash"] == block["hash"]
