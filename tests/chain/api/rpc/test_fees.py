"""Fees: 0 by default; with a base fee, what held for each block, whatever it is now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.modules import EXECUTE, GOVERNANCE, PROPOSE, SET_PARAMETER
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode, StartNode


def test_free_by_default(node: RunningNode, rpc: RpcClient) -> None:
    node.settle(node.people.mint("ann", 5, nonce=0))
    assert rpc.call("eth_gasPrice") == "0x0"
    assert rpc.call("eth_maxPriorityFeePerGas") == "0x0"
    height = int(rpc.call("eth_blockNumber"), 16)
    history = rpc.call("eth_feeHistory", "0xa", "latest", [20.0])  # As cast asks.
    assert history["oldestBlock"] == "0x0"
    assert history["baseFeePerGas"] == ["0x0"] * (height + 2)
    assert history["reward"] == [["0x0"]] * (height + 1)
    assert len(history["gasUsedRatio"]) == height + 1
    assert history["gasUsedRatio"][0] == 0 < history["gasUsedRatio"][-1] < 1


def test_history_in_all_its_forms(node: RunningNode, rpc: RpcClient) -> None:
    node.settle(*(node.people.mint("ann", 5, nonce=nonce) for nonce in range(3)))
    head = rpc.call("eth_blockNumber")
    one = rpc.call("eth_feeHistory", 1, head, None)
    assert (one["oldestBlock"], len(one["baseFeePerGas"]), len(one["gasUsedRatio"])) == (head, 2, 1)
    assert "reward" not in one
    assert rpc.call("eth_feeHistory", "0x5", "pending", [0, 50, 50, 99.9, 100])["reward"][0] == ["0x0"] * 5
    assert rpc.call("eth_feeHistory", "0x0", "latest", []) == {
        "oldestBlock": "0x0",
        "baseFeePerGas": [],
        "gasUsedRatio": [],
    }
    huge = rpc.call("eth_feeHistory", "0xffffffffffffffff", "latest", [])
    assert huge["oldestBlock"] == "0x0"
    assert rpc.error("eth_feeHistory", "0x1", "0xffffff", []) == {
        "code": -32000,
        "message": "request beyond head block",
    }


@pytest.mark.parametrize(
    "parameters",
    [
        [],
        ["0x1"],
        [-1, "latest"],
        [1.5, "latest"],
        [True, "latest"],
        [2**64, "latest"],
        ["0x1", "latest", "20"],
        ["0x1", "latest", [101]],
        ["0x1", "latest", [-0.1]],
        ["0x1", "latest", [50, 49]],
        ["0x1", "latest", [True]],
        ["0x1", "latest", ["20"]],
        ["0x1", "latest", [1] * 101],
        ["0x1", {"blockHash": "0x" + "00" * 32}],
    ],
)
def test_bad_histories(rpc: RpcClient, parameters: list[object]) -> None:
    assert rpc.error("eth_feeHistory", *parameters)["code"] == -32602


def test_base_fee_of_each_block_is_the_one_that_held_for_it(
    start_node: StartNode, rpc_of: Callable[[RunningNode], RpcClient]
) -> None:
    node = start_node(base_fee_atoms=7)
    rpc, people = rpc_of(node), node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    changed_at: list[int] = []
    for number, fee in enumerate((9, 0, 12), start=1):
        call = SET_PARAMETER.encode("base_fee_atoms", fee)
        node.settle(people.send("validator", GOVERNANCE, nonce=2 * number - 2, data=PROPOSE.encode(GOVERNANCE, call)))
        execute = people.send("validator", GOVERNANCE, nonce=2 * number - 1, data=EXECUTE.encode(number))
        assert node.settle(execute) == ["success"]
        changed_at.append(int(rpc.call("eth_getTransactionReceipt", to_hex(execute.hash))["blockNumber"], 16))
        assert rpc.call("eth_gasPrice") == hex(fee)
        newest = rpc.call("eth_getBlockByNumber", "latest", False)
        assert rpc.call("eth_feeHistory", 1, newest["number"])["baseFeePerGas"] == [newest["baseFeePerGas"], hex(fee)]
    transfer = people.transfer("ann", "bob", 1, nonce=1, max_fee=20)
    assert node.settle(transfer) == ["success"]
    first, second, third = changed_at
    for height in range(int(rpc.call("eth_blockNumber"), 16) + 1):
        expected = 7 if height <= first else 9 if height <= second else 0 if height <= third else 12
        assert rpc.call("eth_getBlockByNumber", hex(height), False)["baseFeePerGas"] == hex(expected), height
    receipt = rpc.call("eth_getTransactionReceipt", to_hex(transfer.hash))
    assert (receipt["effectiveGasPrice"], receipt["gasUsed"]) == (hex(12), hex(21_000))
    balance = ATOMS_PER_AIT - 1 - 12 * 21_000
    assert rpc.call("eth_getBalance", to_hex(people.address("ann"))) == hex(balance)
    cheap = rpc.error(
        "eth_call", {"from": to_hex(people.address("ann")), "to": "0x" + "0b" * 20, "maxFeePerGas": "0x1"}
    )
    assert cheap["message"] == "max fee per gas less than block base fee: maxFeePerGas: 1, baseFee: 12"
    refused = rpc.error("eth_sendRawTransaction", to_hex(people.transfer("ann", "bob", 1, nonce=2, max_fee=1).raw))
    assert refused["message"].startswith("max fee per gas less than block base fee: needs 21000 gas")
