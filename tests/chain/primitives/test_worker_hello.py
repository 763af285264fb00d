"""The signature with which a provider opens its session at a hub."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32
from chain.primitives.worker_hello import LOOPBACK_HOSTS, audience_of, check_hello, is_audience_of, sign_hello

KEY = PrivateKey(bytes(31) + b"\x07")
CHALLENGE: dict[str, Any] = {
    "chain_id": 271828,
    "hub_id": "main-hub",
    "audience": "hub.example.org:443",
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
                {"name": "audience", "type": "string"},
                {"name": "nonce", "type": "bytes32"},
                {"name": "genesisHash", "type": "bytes32"},
            ],
        },
        "primaryType": "WorkerHello",
        "domain": {"name": "AITBC", "version": "1", "chainId": CHALLENGE["chain_id"]},
        "message": {
            "hubId": CHALLENGE["hub_id"],
            "audience": CHALLENGE["audience"],
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
        {"audience": "hub.example.com:443"},
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


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("wss://Hub.Example.org/v1/workers", "hub.example.org:443"),
        ("ws://hub/v1/workers", "hub:80"),
        ("ws://127.0.0.1:8080/v1/workers", "127.0.0.1:8080"),
        ("wss://[::1]:9000/x", "[::1]:9000"),
    ],
)
def test_the_audience_is_where_the_url_leads(url: str, audience: str) -> None:
    assert audience_of(url) == audience


def test_a_hub_knows_itself_by_host_or_by_host_and_port() -> None:
    hosts = ("hub.example.org", "10.1.0.7:8080", "[fd00::7]")
    for audience in ("hub.example.org:443", "hub.example.org:8443", "10.1.0.7:8080", "[fd00::7]:1"):
        assert is_audience_of(audience, hosts)
    for audience in ("10.1.0.7:8081", "10.1.0.7", "ahub.example.org:443", "hub.example.org.evil.org:443", "evil:443"):
        assert not is_audience_of(audience, hosts)
    assert all(is_audience_of(f"{host}:1234", LOOPBACK_HOSTS) for host in ("127.0.0.1", "[::1]", "localhost"))
