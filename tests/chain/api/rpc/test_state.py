"""Accounts, now and some blocks ago."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.market import ISSUE_ASSET, MINT_ASSET, asset_address
from chain.primitives.modules import (
    ADD_ISSUER,
    EXECUTE,
    GOVERNANCE,
    MARKET,
    MODULES,
    PROPOSE,
    TOKEN_BALANCE_OF,
    TOKEN_SYMBOL,
    TOKEN_TRANSFER,
)

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode, StartNode

MINTED = 10**18


@pytest.fixture
def ann(node: RunningNode) -> str:
    """Somebody who holds a minted balance."""
    node.settle(node.people.mint("ann", MINTED, nonce=0))
    return to_hex(node.people.address("ann"))


def test_balance_and_nonce_by_every_name_of_the_newest_block(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    newest = rpc.call("eth_getBlockByNumber", "latest", False)
    names = ["latest", "safe", "finalized", "pending", newest["number"], newest["hash"], None]
    names += [{"blockNumber": newest["number"]}, {"blockHash": newest["hash"], "requireCanonical": True}]
    for name in names:
        assert rpc.call("eth_getBalance", ann, name) == hex(MINTED)
        assert rpc.call("eth_getTransactionCount", ann, name) == "0x1"
        assert rpc.call("eth_getCode", ann, name) == "0x"
    assert rpc.call("eth_getBalance", ann) == hex(MINTED)
    checksum = to_checksum_address(node.people.address("ann"))
    for spelled in (checksum, checksum.upper().replace("0X", "0x"), ann):
        assert rpc.call("eth_getBalance", spelled, "latest") == hex(MINTED)
    assert rpc.call("eth_getBalance", "0x" + "ee" * 20, "latest") == "0x0"


def test_state_some_blocks_ago(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    before = rpc.call("eth_blockNumber")
    node.settle(node.people.transfer("ann", "bob", 400, nonce=1))
    bob = to_hex(node.people.address("bob"))
    assert (rpc.call("eth_getBalance", bob, "latest"), rpc.call("eth_getBalance", bob, before)) == ("0x190", "0x0")
    assert rpc.call("eth_getBalance", ann, before) == hex(MINTED)
    assert rpc.call("eth_getTransactionCount", ann, before) == "0x1"
    before_hash = rpc.call("eth_getBlockByNumber", before, False)["hash"]
    assert rpc.call("eth_getBalance", ann, {"blockHash": before_hash}) == hex(MINTED)
    assert rpc.call("eth_getBalance", ann, "earliest") == rpc.call("eth_getBalance", ann, "0x0") == "0x0"


def test_blocks_that_are_not_there(rpc: RpcClient, ann: str) -> None:
    for method in ("eth_getBalance", "eth_getTransactionCount", "eth_getCode"):
        assert rpc.error(method, ann, "0xffffff") == {"code": -32000, "message": "header not found"}
        unknown = rpc.error(method, ann, {"blockHash": "0x" + "11" * 32})
        assert unknown == {"code": -32000, "message": "header for hash not found"}


def test_pending_nonce_counts_what_waits(start_node: StartNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    node = start_node(block_interval_ms=60_000)
    rpc = rpc_of(node)
    node.send(*(node.people.mint("ann", 10, nonce=nonce) for nonce in range(3)))
    ann = to_hex(node.people.address("ann"))
    assert rpc.call("eth_getTransactionCount", ann, "pending") == "0x3"
    assert rpc.call("eth_getTransactionCount", ann, "latest") == "0x0"
    assert rpc.call("eth_getBalance", ann, "pending") == "0x0"


def test_an_asset_has_code_once_it_is_issued(node: RunningNode, rpc: RpcClient, ann: str) -> None:
    people, coin = node.people, to_hex(asset_address(1))
    assert rpc.call("eth_getCode", coin, "latest") == "0x"
    before = rpc.call("eth_blockNumber")
    proposal = PROPOSE.encode(GOVERNANCE, ADD_ISSUER.encode(people.address("ann")))
    decision = enumerate((proposal, EXECUTE.encode(1)))
    node.settle(*(people.send("validator", GOVERNANCE, nonce=nonce, data=call) for nonce, call in decision))
    issue = ISSUE_ASSET.encode("Coin", "COIN", 2, 0, 0, bytes(32))
    mint = MINT_ASSET.encode(asset_address(1), people.address("ann"), 500)
    issuing = enumerate((issue, mint), start=1)
    node.settle(*(people.send("ann", MARKET, nonce=nonce, data=call) for nonce, call in issuing))
    assert rpc.call("eth_getCode", coin, "latest") == "0xfe"
    assert rpc.call("eth_getCode", coin, before) == "0x"
    for number in (0, 2):
        assert rpc.call("eth_getCode", to_hex(asset_address(number)), "latest") == "0x"
    assert rpc.error("eth_getCode", coin, "0xffffff") == {"code": -32000, "message": "header not found"}

    # What a wallet asks of a token, with nothing but ERC-20.
    balance = {"to": coin, "data": to_hex(TOKEN_BALANCE_OF.encode(people.address("ann")))}
    assert int(rpc.call("eth_call", balance, "latest"), 16) == 500
    symbol = rpc.call("eth_call", {"to": coin, "data": to_hex(TOKEN_SYMBOL.encode())}, "latest")
    assert TOKEN_SYMBOL.decode_output(bytes.fromhex(symbol[2:])) == ("COIN",)
    transfer = {"from": ann, "to": coin, "data": to_hex(TOKEN_TRANSFER.encode(people.address("bob"), 501))}
    for method in ("eth_call", "eth_estimateGas"):
        assert "insufficient funds: balance 500, amount 501" in rpc.error(method, transfer)["message"]
    node.settle(people.send("ann", asset_address(1), nonce=3, data=TOKEN_TRANSFER.encode(people.address("bob"), 1)))
    logs = rpc.call("eth_getLogs", {"fromBlock": "0x0", "address": coin})
    zero = "0x" + "00" * 32
    assert [(log["topics"][1] == zero, int(log["data"], 16)) for log in logs] == [(True, 500), (False, 1)]


def test_modules_have_code_and_nobody_has_storage(rpc: RpcClient, ann: str) -> None:
    for module in MODULES.values():
        assert rpc.call("eth_getCode", to_hex(module), "latest") == "0xfe"
    for slot in ("0x0", "0x00", "0x" + "00" * 31 + "07", "0x" + "ff" * 32):
        assert rpc.call("eth_getStorageAt", ann, slot, "latest") == "0x" + "00" * 32
    assert rpc.error("eth_getStorageAt", ann, "0x" + "ff" * 33, "latest")["code"] == -32602
