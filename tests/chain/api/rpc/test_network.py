"""What a wallet asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_hex

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode


def test_which_network_this_is(node: RunningNode, rpc: RpcClient) -> None:
    chain_id = node.people.network.chain_id
    assert rpc.call("eth_chainId") == hex(chain_id)
    assert rpc.call("net_version") == str(chain_id)
    assert rpc.call("web3_clientVersion").startswith("aitbc/vtest/")
    assert rpc.call("web3_sha3", "0x68656c6c6f") == to_hex(keccak256(b"hello"))
    assert rpc.call("web3_sha3", "0x") == to_hex(keccak256(b""))


def test_the_rest(rpc: RpcClient) -> None:
    assert rpc.call("eth_accounts") == []
    assert rpc.call("eth_syncing") is False
    assert rpc.call("net_listening") is True
    assert rpc.call("net_peerCount") == "0x0"
    assert rpc.call("eth_blockNumber").startswith("0x")
    assert int(rpc.call("eth_protocolVersion"), 16) > 0


def test_methods_that_a_node_without_keys_has_not(rpc: RpcClient) -> None:
    for method in ("eth_sendTransaction", "eth_sign", "personal_unlockAccount", "debug_traceCall", "", "x" * 10_000):
        error = rpc.error(method)
        assert error["code"] == -32601
        assert error["message"].startswith("the method ")
        assert error["message"].endswith(" does not exist/is not available")
        assert len(error["message"]) < 200
