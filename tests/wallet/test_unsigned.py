"""The unsigned form is the standard one, says exactly what will be signed, and nothing loose is read."""

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives import rlp
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.transaction import (
    MAX_CHAIN_ID,
    MAX_GAS_LIMIT,
    MAX_NONCE,
    Transaction,
    decode_transaction,
    sign_transaction,
)
from chain.primitives.types import MAX_UINT256, Address
from wallet.unsigned import decode_unsigned, draft_transaction, encode_unsigned, is_signed

KEY = PrivateKey(b"\x05" * 32)
PAYEE = Address(b"\x42" * 20)

transactions = st.builds(
    draft_transaction,
    chain_id=st.integers(1, MAX_CHAIN_ID),
    nonce=st.integers(0, MAX_NONCE),
    to=st.binary(min_size=20, max_size=20).map(Address),
    value=st.integers(0, MAX_UINT256),
    data=st.binary(max_size=300),
    gas_limit=st.none() | st.integers(0, MAX_GAS_LIMIT),
    max_fee=st.integers(0, MAX_UINT256),
)


@given(transactions)
def test_what_is_written_is_read_again(transaction: Transaction) -> None:
    unsigned = encode_unsigned(transaction)
    assert decode_unsigned(unsigned) == transaction
    assert not is_signed(unsigned)
    assert is_signed(transaction.raw)


@given(transactions)
def test_the_bytes_are_what_another_library_signs(transaction: Transaction) -> None:
    fields = {
        "type": 2,
        "chainId": transaction.chain_id,
        "nonce": transaction.nonce,
        "maxPriorityFeePerGas": transaction.max_priority_fee,
        "maxFeePerGas": transaction.max_fee,
        "gas": transaction.gas_limit,
        "to": transaction.to,
        "value": transaction.value,
        "data": transaction.data,
    }
    assert bytes(TypedTransaction.from_dict(fields).hash()) == transaction.signing_hash
    signed = Account.sign_transaction(fields, KEY.secret)
    theirs = decode_transaction(bytes(signed.raw_transaction))
    assert encode_unsigned(theirs) == encode_unsigned(transaction)


def test_a_signature_is_over_these_bytes() -> None:
    signed = sign_transaction(KEY, chain_id=7, nonce=3, to=PAYEE, value=5, max_fee=2)
    unsigned = encode_unsigned(signed)
    assert decode_unsigned(unsigned).signing_hash == signed.signing_hash
    assert KEY.sign_keccak(unsigned) == signed.signature


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x02",
        b"\x02\xc0",
        b"\x02\x80",
        b"\x01" + rlp.encode([b""] * 9),
        b"\x02" + rlp.encode([b""] * 8),
        b"\x02" + rlp.encode([b""] * 10),
        b"\x02" + rlp.encode([b"\x07", b"", b"", b"", b"", PAYEE, b"", b"", [b"\x01"]]),
        b"\x02" + rlp.encode([b"\x07", b"\0", b"", b"", b"", PAYEE, b"", b"", []]),
        b"\x02" + rlp.encode([b"\x07", b"", b"", b"", b"", b"", b"", b"", []]),
        b"\x02" + rlp.encode([b"\x07", b"", b"", b"", b"", PAYEE, b"", b"", []]) + b"\0",
        encode_unsigned(draft_transaction(chain_id=7, nonce=0, to=PAYEE))[:-1],
        b"\x02" + bytes(40_000),
        sign_transaction(KEY, chain_id=7, nonce=0, to=PAYEE).raw,
    ],
)
def test_what_is_no_unsigned_transaction(octets: bytes) -> None:
    with pytest.raises(Rejected):
        decode_unsigned(octets)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(octets: bytes) -> None:
    for prefixed in (octets, b"\x02" + octets):
        try:
            transaction = decode_unsigned(prefixed)
        except Rejected:
            continue
        assert encode_unsigned(transaction) == prefixed
