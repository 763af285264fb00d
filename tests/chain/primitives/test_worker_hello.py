"""The signature with which a provider opens its session at a hub."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32
from chain.primitives.worker_hello import check_hello, sign_hello

KEY = PrivateKey(bytes(31) + b"\x07")
CHALLENGE: dict[str, Any] = {
    "chain_id": 271828,
    "hub_id": "main-hub",
    "nonce": Hash32(b"\x01" * 32),
    "genesis_hash": Hash32(b"\x02" * 32),
}


def test_it_is_what_any_wallet_signs_as_typed_data() -> None:
    typed = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
            ],
            "WorkerHello": [
                {"name": "hubId", "type": "string"},
                {"name": "nonce", "type": "bytes32"},
                {"name": "genesisHash", "type": "bytes32"},
            ],
        },
        "primaryType": "WorkerHello",
        "domain": {"name": "AITBC", "version": "1", "chainId": CHALLENGE["chain_id"]},
        "message": {
            "hubId": CHALLENGE["hub_id"],
            "nonce": CHALLENGE["nonce"],
            "genesisHash": CHALLENGE["genesis_hash"],
        },
    }
    account = Account.from_key(to_hex(bytes(31) + b"\x07"))
    signed = account.sign_message(encode_typed_data(full_message=typed))
    assert sign_hello(KEY, **CHALLENGE) == bytes(signed.signature)
    check_hello(KEY.address, bytes(signed.signature), **CHALLENGE)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 271829},
        {"hub_id": "other-hub"},
        {"nonce": Hash32(b"\x03" * 32)},
        {"genesis_hash": Hash32(b"\x03" * 32)},
    ],
)
def test_it_is_for_one_challenge(change: dict[str, Any]) -> None:
    signature = sign_hello(KEY, **CHALLENGE)
    with pytest.raises(Rejected):
        check_hello(KEY.address, signature, **(CHALLENGE | change))


def test_a_signature_of_another_key_is_rejected() -> None:
    signature = sign_hello(PrivateKey(bytes(31) + b"\x08"), **CHALLENGE)
    with pytest.raises(Rejected):
        check_hello(KEY.address, signature, **CHALLENGE)
