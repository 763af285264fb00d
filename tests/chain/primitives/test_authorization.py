"""What an owner signs for somebody else to submit: the EIP's own type hashes, and agreement with eth-account."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.primitives.authorization import (
    CANCEL_TYPE_HASH,
    TYPE_HASHES,
    Authorization,
    AuthorizationKind,
    authorization_digest,
    authorization_typed_data,
    cancellation_call_data,
    cancellation_digest,
    cancellation_typed_data,
    token_domain,
    transfer_call_data,
)
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import (
    CANCEL_AUTHORIZATION,
    RECEIVE_WITH_AUTHORIZATION,
    TOKEN,
    TRANSFER_WITH_AUTHORIZATION,
)
from chain.primitives.types import Address, Hash32

KEY = PrivateKey(b"\1" * 32)
CHAIN_ID = 3_141_592_653

addresses = st.binary(min_size=20, max_size=20).map(Address)
hashes = st.binary(min_size=32, max_size=32).map(Hash32)
integers = st.sampled_from([0, 1, 2**53, 2**255, 2**256 - 1]) | st.integers(0, 2**256 - 1)
chain_ids = st.integers(1, 2**32 - 1)
authorizations = st.builds(
    Authorization,
    sender=addresses,
    recipient=addresses,
    amount=integers,
    valid_after=integers,
    valid_before=integers,
    nonce=hashes,
    kind=st.sampled_from(AuthorizationKind),
)


def hash_of(typed_data: dict[str, Any]) -> bytes:
    """What eth-account signs for this typed data."""
    return bytes(Account.sign_message(encode_typed_data(full_message=typed_data), KEY.secret).message_hash)


def test_the_type_hashes_of_the_eip() -> None:
    transfer, receive = TYPE_HASHES[AuthorizationKind.TRANSFER], TYPE_HASHES[AuthorizationKind.RECEIVE]
    assert transfer.hex() == "7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267"
    assert receive.hex() == "d099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8"
    assert CANCEL_TYPE_HASH.hex() == "158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429"


def test_golden_digests() -> None:
    authorization = Authorization(KEY.address, Address(b"\2" * 20), 10**18, 5, 2**40, Hash32(b"\3" * 32))
    assert token_domain(CHAIN_ID).verifying_contract == TOKEN
    assert authorization_digest(CHAIN_ID, authorization).hex() == (
        "7dac8d519294ce614253444385cdef8f093c66b9969ecd9dfda2cda0f0325bd7"
    )
    assert cancellation_digest(CHAIN_ID, KEY.address, authorization.nonce).hex() == (
        "89d8e5e197769b75971e12b34eb06c08b8f1c0e787c166929376c22f1dd569d7"
    )


@settings(max_examples=60)
@given(chain_ids, authorizations)
def test_an_authorization_is_the_typed_data_that_any_wallet_signs(chain_id: int, authorization: Authorization) -> None:
    typed_data = authorization_typed_data(chain_id, authorization)
    assert typed_data["primaryType"] == authorization.kind
    assert hash_of(typed_data) == authorization_digest(chain_id, authorization)


@settings(max_examples=30)
@given(chain_ids, addresses, hashes)
def test_a_cancellation_is_the_typed_data_that_any_wallet_signs(
    chain_id: int, authorizer: Address, nonce: Hash32
) -> None:
    assert hash_of(cancellation_typed_data(chain_id, authorizer, nonce)) == cancellation_digest(
        chain_id, authorizer, nonce
    )


def test_every_value_is_signed() -> None:
    authorization = Authorization(KEY.address, Address(b"\2" * 20), 1, 2, 3, Hash32(b"\3" * 32))
    others = [
        replace(authorization, sender=Address(b"\4" * 20)),
        replace(authorization, recipient=Address(b"\4" * 20)),
        replace(authorization, amount=2),
        replace(authorization, valid_after=3),
        replace(authorization, valid_before=4),
        replace(authorization, nonce=Hash32(b"\4" * 32)),
        replace(authorization, kind=AuthorizationKind.RECEIVE),
    ]
    digests = [authorization_digest(CHAIN_ID, each) for each in (authorization, *others)]
    digests.append(authorization_digest(CHAIN_ID + 1, authorization))
    digests.append(cancellation_digest(CHAIN_ID, authorization.sender, authorization.nonce))
    assert len(set(digests)) == 10


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        (AuthorizationKind.TRANSFER, TRANSFER_WITH_AUTHORIZATION),
        (AuthorizationKind.RECEIVE, RECEIVE_WITH_AUTHORIZATION),
    ],
)
def test_the_call_that_carries_it(kind: AuthorizationKind, function: Any) -> None:
    authorization = Authorization(KEY.address, Address(b"\2" * 20), 1, 2, 3, Hash32(b"\3" * 32), kind)
    signature = KEY.sign(authorization_digest(CHAIN_ID, authorization))
    *values, carried = function.decode(transfer_call_data(authorization, signature))
    assert replace(Authorization(*values), kind=kind) == authorization
    assert carried == signature

    call_data = cancellation_call_data(KEY.address, authorization.nonce, signature)
    assert CANCEL_AUTHORIZATION.decode(call_data) == (KEY.address, authorization.nonce, signature)
