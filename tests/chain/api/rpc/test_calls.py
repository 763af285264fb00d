"""eth_call and eth_estimateGas: views, operations that change nothing, and the reasons of those that would fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from eth_abi import decode

from chain.primitives import modules
from chain.primitives.hexadecimal import to_hex
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode

TOKEN, MINTER = to_hex(modules.TOKEN), to_hex(modules.MINTER)


@pytest.fixture
def ann(node: RunningNode) -> str:
    """Somebody who holds 3 AIT."""
    node.settle(node.people.mint("ann", 3 * ATOMS_PER_AIT, nonce=0))
    return to_hex(node.people.address("ann"))


def reason_of(error: dict[str, Any]) -> str:
    """What libraries take from the data of a revert."""
    assert error["code"] == 3
    octets = bytes.fromhex(error["data"][2:])
    assert octets[:4].hex() == "08c379a0"
    (reason,) = decode(["string"], octets[4:])
    assert error["message"] == f"execution reverted: {reason}"
    return str(reason)


def test_views(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    balance_of = to_hex(modules.TOKEN_BALANCE_OF.encode(node.people.address("ann")))
    expected = to_hex((3 * ATOMS_PER_AIT).to_bytes(32, "big"))
    for call in ({"data": balance_of}, {"input": balance_of}, {"data": balance_of, "input": balance_of}):
        assert rpc.call("eth_call", {"to": TOKEN, **call}, "latest") == expected
    assert rpc.call("eth_call", {"to": TOKEN, "data": balance_of}) == expected
    assert int(rpc.call("eth_call", {"to": TOKEN, "data": balance_of}, "0x0"), 16) == 0
    symbol = rpc.call("eth_call", {"to": TOKEN, "data": to_hex(modules.TOKEN_SYMBOL.encode())}, "latest")
    assert decode(["string"], bytes.fromhex(symbol[2:])) == ("AIT",)


def test_every_member_that_wallets_send(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    transfer = modules.TOKEN_TRANSFER.encode(node.people.address("bob"), 5)
    call = {
        "from": ann,
        "to": TOKEN,
        "data": to_hex(transfer),
        "value": "0x0",
        "gas": "0xfffffff",
        "maxFeePerGas": "0x0",
        "maxPriorityFeePerGas": "0x0",
        "nonce": "0x1",
        "type": "0x2",
        "chainId": hex(node.people.network.chain_id),
        "accessList": [],
        "blobVersionedHashes": [],
    }
    assert rpc.call("eth_call", call, "latest") == to_hex((1).to_bytes(32, "big"))
    assert rpc.call("eth_call", call, "latest", None) == to_hex((1).to_bytes(32, "big"))
    assert rpc.call("eth_estimateGas", call) == hex(21_000 + 16 * len(transfer) + 79_000)
    assert rpc.call("eth_getBalance", to_hex(node.people.address("bob"))) == "0x0"


def test_reasons_of_reverts(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    bob = node.people.address("bob")
    too_much = {"from": ann, "to": TOKEN, "data": to_hex(modules.TOKEN_TRANSFER.encode(bob, 4 * ATOMS_PER_AIT))}
    for method in ("eth_call", "eth_estimateGas"):
        assert reason_of(rpc.error(method, too_much)).startswith("insufficient funds: balance 3000000000000000000")
    pause = {"from": ann, "to": to_hex(modules.GOVERNANCE), "data": to_hex(modules.PAUSE.encode())}
    assert "executed proposal" in reason_of(rpc.error("eth_call", pause))
    assert "defines no" in reason_of(rpc.error("eth_call", {"to": TOKEN, "data": "0xdeadbeef"}))
    assert "value" in reason_of(rpc.error("eth_call", {"from": ann, "to": TOKEN, "value": "0x1", "data": "0x18160ddd"}))
    loose = {"to": TOKEN, "data": "0x70a08231" + "ff" * 32}
    assert reason_of(rpc.error("eth_call", loose))


def test_mint_is_simulated_with_its_signatures(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    mint = node.people.mint("carl", 7, nonce=0)
    call = {"from": to_hex(node.people.address("carl")), "to": MINTER, "data": to_hex(mint.data)}
    assert rpc.call("eth_call", call) == "0x"
    assert rpc.call("eth_estimateGas", call) == hex(mint.gas_used)
    node.settle(mint)
    assert reason_of(rpc.error("eth_call", call)) == "receipt used"
    forged = mint.data[:-33] + bytes(32) + mint.data[-1:]
    assert reason_of(rpc.error("eth_estimateGas", {**call, "data": to_hex(forged)}))


def test_newcomer_learns_before_signing(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    newcomer = to_hex(node.people.address("nobody"))
    assert "may only mint" in reason_of(rpc.error("eth_estimateGas", {"from": newcomer, "to": ann}))
    assert rpc.call("eth_estimateGas", {"to": ann}) == hex(21_000)  # Nobody in particular.


def test_plain_transfers(rpc: RpcClient, ann: str) -> None:
    bob = "0x" + "0b" * 20
    assert rpc.call("eth_estimateGas", {"from": ann, "to": bob, "value": "0x1"}, "latest") == hex(21_000)
    assert rpc.call("eth_call", {"from": ann, "to": bob, "value": "0x1"}, "latest") == "0x"
    for method in ("eth_estimateGas", "eth_call"):
        error = rpc.error(method, {"from": ann, "to": bob, "value": hex(4 * ATOMS_PER_AIT)})
        assert error["code"] == -32000
        assert error["message"].startswith("insufficient funds for gas * price + value: balance 3000000000000000000")
        assert "data" not in error  # With any data, web3.py tells its user that a contract reverted.


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"to": None}, -32000, "contract creation"),
        ({"gas": "0x1"}, -32000, "intrinsic gas too low: have 1, want 21000"),
        ({"chainId": "0x1"}, -32602, "chainId does not match node's"),
        ({"gasPrice": "0x0", "maxFeePerGas": "0x0"}, -32602, "both gasPrice and (maxFeePerGas"),
        ({"maxPriorityFeePerGas": "0x2", "maxFeePerGas": "0x1"}, -32602, "max priority fee per gas higher"),
        ({"data": "0x01", "input": "0x02"}, -32602, '"data" and "input"'),
        ({"accessList": [{"address": "0x" + "00" * 20, "storageKeys": []}]}, -32602, "accessList must be empty"),
        ({"type": "0x1"}, -32602, "transaction type not supported"),
        ({"value": "-0x1"}, -32602, "value: "),
        ({"value": 1}, -32602, "value: "),
        ({"value": "0x1" + "0" * 64}, -32602, "value: "),
        ({"from": "0x12"}, -32602, "from: an address"),
        ({"data": "0x" + "00" * 40_000}, -32602, "data: "),
    ],
)
def test_what_cannot_be_a_call(rpc: RpcClient, change: dict[str, Any], code: int, words: str) -> None:
    call = {"from": "0x" + "0a" * 20, "to": "0x" + "0b" * 20, **change}
    for method in ("eth_call", "eth_estimateGas"):
        error = rpc.error(method, call, "latest")
        assert (error["code"], words in error["message"]) == (code, True), error


def test_overrides_are_refused_by_name(rpc: RpcClient) -> None:
    call = {"to": TOKEN, "data": "0x18160ddd"}
    overrides = {TOKEN: {"balance": "0x1", "stateDiff": {"0x" + "00" * 32: "0x" + "00" * 32}}}
    for extra in ([overrides], [None, {"number": "0x1"}]):
        error = rpc.error("eth_call", call, "latest", *extra)
        assert error["code"] == -32602
        assert "overrides are not supported" in error["message"]
    assert rpc.error("eth_estimateGas", call, "latest", overrides)["code"] == -32602
    assert rpc.call("eth_call", call, "latest", {}, {}) == rpc.call("eth_call", call)


def test_time_of_an_idle_chain_is_now(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    """An authorization that begins a second from now: the head is older, and yet it becomes valid."""
    time.sleep(2.2)  # The empty block that follows the last transaction is older than a second, too.
    period = rpc.call("aitbc_getStatus")["finalized"]["time_ms"] // 1000
    now = int(time.time())
    assert period < now
    authorization = modules.TRANSFER_WITH_AUTHORIZATION.encode(
        node.people.address("ann"), node.people.address("bob"), 1, now - 1, 2**40, bytes(32), bytes(65)
    )
    error = rpc.error("eth_call", {"to": TOKEN, "data": to_hex(authorization)})
    assert "not yet valid" not in reason_of(error)  # Its time has come; its signature is what is wrong.
