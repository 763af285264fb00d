"""aitbc_*: the same answers as over REST, and proofs that somebody who does not believe the node can check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chain.answers import encode_answer
from chain.governance_answers import FinalityView
from chain.primitives.finality import genesis_set, verify_finality
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_hex
from chain.primitives.records import Account, Domain, ReceiptUse, state_key
from chain.primitives.state_proof import StateProof, verify_state_proof
from chain.primitives.types import Amount

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode


@pytest.fixture
def receipt_hash(node: RunningNode) -> bytes:
    """The receipt that Ann has minted 50 atoms for."""
    used = node.people.receipt_hash()
    node.settle(node.people.mint("ann", 50, nonce=0, receipt_hash=used))
    return used


def value_of(answer: dict[str, Any], key: bytes) -> bytes | None:
    """What the proof proves, against the root that it names."""
    assert answer["state_key"] == to_hex(key)
    value = None if answer["value"] is None else parse_hex(answer["value"])
    proof = StateProof.from_object(answer["proof"])
    assert verify_state_proof(parse_hash(answer["state_root"]), key, value, proof)
    assert not verify_state_proof(parse_hash(answer["state_root"]), key, b"something else", proof)
    return value


def test_status_and_parameters_are_those_of_rest(node: RunningNode, rpc: RpcClient, receipt_hash: bytes) -> None:
    for method, path in (("aitbc_getStatus", "/v1/status"), ("aitbc_networkParameters", "/v1/parameters")):
        assert rpc.call(method) == rpc.http.get(path).json()


def test_certificate_and_proof_of_finality(node: RunningNode, rpc: RpcClient, receipt_hash: bytes) -> None:
    head = int(rpc.call("eth_blockNumber"), 16)
    certificate = rpc.call("aitbc_getFinalityCertificate", hex(head))
    assert certificate == msgspec.json.decode(encode_answer(node.client.block(head)))["certificate"]
    assert certificate == rpc.call("aitbc_getFinalityCertificate", certificate["block_hash"])
    trusted = genesis_set(node.people.network)
    for height in range(1, head + 1):
        answer = rpc.call("aitbc_getFinalityProof", hex(height))
        assert answer == rpc.http.get(f"/v1/proofs/finality/{height}").json()
        proof = msgspec.convert(answer, FinalityView).proof()
        verify_finality(trusted, proof)
        assert proof.header.height == height


def test_proofs_of_the_newest_state(node: RunningNode, rpc: RpcClient, receipt_hash: bytes) -> None:
    ann, bob = node.people.address("ann"), node.people.address("bob")
    answer = rpc.call("aitbc_getProof", "account", to_hex(ann))
    block = rpc.call("eth_getBlockByNumber", hex(answer["height"]), False)
    assert (answer["state_root"], answer["block_hash"]) == (block["stateRoot"], block["hash"])
    assert Account.decode(value_of(answer, state_key(Domain.ACCOUNT, ann)) or b"") == Account(1, Amount(50))
    assert value_of(rpc.call("aitbc_getProof", "account", to_hex(bob)), state_key(Domain.ACCOUNT, bob)) is None
    used = rpc.call("aitbc_getProof", "receipt", to_hex(receipt_hash), "finalized")
    assert ReceiptUse.decode(value_of(used, state_key(Domain.RECEIPT, receipt_hash)) or b"").amount == 50


def test_proofs_of_the_past(node: RunningNode, rpc: RpcClient, receipt_hash: bytes) -> None:
    ann = node.people.address("ann")
    then = int(rpc.call("eth_blockNumber"), 16)
    node.settle(*(node.people.mint("ann", 1, nonce=nonce) for nonce in range(1, 4)))
    answer = rpc.call("aitbc_getProof", "account", to_hex(ann), hex(then))
    assert answer["height"] == then
    assert Account.decode(value_of(answer, state_key(Domain.ACCOUNT, ann)) or b"") == Account(1, Amount(50))
    earliest = rpc.call("aitbc_getProof", "receipt", to_hex(receipt_hash), "earliest")
    assert (earliest["height"], value_of(earliest, state_key(Domain.RECEIPT, receipt_hash))) == (0, None)


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("aitbc_getFinalityProof", ["0x0"], -32602),
        ("aitbc_getFinalityProof", ["0xfffff"], -32001),
        ("aitbc_getFinalityProof", ["0x1", "0x5"], -32602),
        ("aitbc_getFinalityProof", ["0x1", "5"], -32602),
        ("aitbc_getProof", [], -32602),
        ("aitbc_getProof", ["account"], -32602),
        ("aitbc_getProof", ["storage", "0x" + "00" * 20], -32602),
        ("aitbc_getProof", [["account"], "0x" + "00" * 20], -32602),
        ("aitbc_getProof", [{}, "0x" + "00" * 20], -32602),
        ("aitbc_getProof", ["account", "0x" + "00" * 32], -32602),
        ("aitbc_getProof", ["receipt", "0x" + "00" * 20], -32602),
        ("aitbc_getProof", ["receipt", "0x" + "00" * 33], -32602),
        ("aitbc_getProof", ["account", "0x" + "00" * 20, "0xfffff"], -32000),
    ],
)
def test_what_cannot_be_proven(
    node: RunningNode, rpc: RpcClient, receipt_hash: bytes, method: str, parameters: list[Any], code: int
) -> None:
    assert rpc.error(method, *parameters)["code"] == code


def test_no_certificate_of_a_block_that_is_not_there(rpc: RpcClient) -> None:
    assert rpc.call("aitbc_getFinalityCertificate", "0xfffff") is None
    assert rpc.call("aitbc_getFinalityCertificate", "0x" + "12" * 32) is None
