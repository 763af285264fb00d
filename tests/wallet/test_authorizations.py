"""Documents of relayed transfers: any wallet's typed data, bound to one network and to every field of them."""

import json
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.authorization import Authorization, AuthorizationKind, authorization_typed_data
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import CANCEL_AUTHORIZATION, RECEIVE_WITH_AUTHORIZATION, TRANSFER_WITH_AUTHORIZATION
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32
from wallet.authorizations import Cancellation, SignedAuthorization, describe_statement

CHAIN_ID = 7
OWNER = PrivateKey(b"\x05" * 32)
PAYEE = Address(b"\x42" * 20)
AUTHORIZATION = Authorization(OWNER.address, PAYEE, 15 * 10**17, 0, 1_800_000_000, Hash32(b"\x07" * 32))


@pytest.fixture
def document() -> dict[str, Any]:
    """A signed transfer, as it is handed to a relayer."""
    return SignedAuthorization.sign(OWNER, CHAIN_ID, AUTHORIZATION).to_object()


def test_a_document_is_read_again(document: dict[str, Any]) -> None:
    signed = SignedAuthorization.from_json(json.dumps(document))
    assert (signed.chain_id, signed.statement) == (CHAIN_ID, AUTHORIZATION)
    assert TRANSFER_WITH_AUTHORIZATION.decode(signed.call_data)[:3] == (OWNER.address, PAYEE, 15 * 10**17)


def test_what_another_wallet_signs_is_a_document_too() -> None:
    typed_data = authorization_typed_data(CHAIN_ID, AUTHORIZATION)
    signed = Account.sign_typed_data(OWNER.secret, full_message=typed_data)
    document = {
        "chain_id": typed_data["domain"]["chainId"],
        "primary_type": typed_data["primaryType"],
        "authorization": typed_data["message"],
        "signature": to_hex(bytes(signed.signature)),
    }
    assert SignedAuthorization.from_json(json.dumps(document)).statement == AUTHORIZATION


def test_each_kind_calls_its_own_function() -> None:
    receive = Authorization(OWNER.address, PAYEE, 1, 0, 9, Hash32(bytes(32)), AuthorizationKind.RECEIVE)
    cancellation = Cancellation(OWNER.address, AUTHORIZATION.nonce)
    for statement, function in ((receive, RECEIVE_WITH_AUTHORIZATION), (cancellation, CANCEL_AUTHORIZATION)):
        signed = SignedAuthorization.sign(OWNER, CHAIN_ID, statement)
        assert SignedAuthorization.from_json(json.dumps(signed.to_object())) == signed
        assert signed.call_data[:4] == function.selector


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from", to_checksum_address(PAYEE)),
        ("to", to_checksum_address(OWNER.address)),
        ("value", "1500000000000000001"),
        ("validAfter", "1"),
        ("validBefore", "1800000001"),
        ("nonce", "0x" + "08" * 32),
    ],
)
def test_no_field_can_be_changed(document: dict[str, Any], field: str, value: str) -> None:
    document["authorization"][field] = value
    with pytest.raises(Rejected, match="over something else") as refused:
        SignedAuthorization.from_json(json.dumps(document))
    assert refused.value.reason is RejectionReason.BAD_SIGNATURE


def test_neither_network_nor_kind_can_be_changed(document: dict[str, Any]) -> None:
    for changes in ({"chain_id": 8}, {"primary_type": "ReceiveWithAuthorization"}):
        with pytest.raises(Rejected, match="over something else"):
            SignedAuthorization.from_json(json.dumps(document | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 0},
        {"chain_id": 2**32},
        {"chain_id": "7"},
        {"primary_type": "Permit"},
        {"primary_type": "CancelAuthorization"},
        {"signature": "0x00"},
        {"signature": "0x" + "00" * 65},
        {"signature": None},
        {"authorization": {}},
        {"authorization": []},
        {"authorization": {"from": 1}},
    ],
)
def test_what_is_no_document(document: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        SignedAuthorization.from_json(json.dumps(document | changes))


@pytest.mark.parametrize("value", ["-1", "1.5", "0x1", "01", str(2**256), "1" * 5000, ""])
def test_numbers_are_decimal_and_fit(document: dict[str, Any], value: str) -> None:
    for field in ("value", "validAfter", "validBefore"):
        changed = document | {"authorization": document["authorization"] | {field: value}}
        with pytest.raises(Rejected):
            SignedAuthorization.from_json(json.dumps(changed))


@given(st.binary(max_size=200) | st.text(max_size=200) | st.integers(1, 100_000).map(lambda depth: "[" * depth))
def test_any_bytes_are_read_or_refused(text: bytes | str) -> None:
    with pytest.raises(Rejected):
        SignedAuthorization.from_json(text)


def test_what_is_signed_is_shown_in_words() -> None:
    shown = dict(describe_statement(AUTHORIZATION, "alice", "test (chain id 7)"))
    assert shown["amount"] == "1.5 AIT (1500000000000000000 atoms)"
    assert (shown["valid after"], shown["valid before"]) == ("any time", "2027-01-15 08:00:00 UTC")
    assert shown["submitted by"] == "anybody"
    endless = Authorization(OWNER.address, PAYEE, 1, 2**255, 2**256 - 1, Hash32(bytes(32)), AuthorizationKind.RECEIVE)
    shown = dict(describe_statement(endless, "", "test (chain id 7)"))
    assert (shown["valid before"], shown["submitted by"]) == ("after the year 9999", "only the recipient")
    assert "cancel" in dict(describe_statement(Cancellation(OWNER.address, AUTHORIZATION.nonce), "", ""))["action"]
