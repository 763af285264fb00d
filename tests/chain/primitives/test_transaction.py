"""The two envelopes: what eth-account signs is read, hashed and attributed alike, and nothing else is read at all."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rlp as reference_rlp
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives import rlp
from chain.primitives.hashing import keccak256
from chain.primitives.keys import CURVE_ORDER, HALF_CURVE_ORDER, PrivateKey
from chain.primitives.rejection import RejectionReason
from chain.primitives.transaction import (
    DYNAMIC_FEE,
    LEGACY,
    MAX_CHAIN_ID,
    MAX_GAS_LIMIT,
    MAX_NONCE,
    MAX_TRANSACTION_BYTES,
    Transaction,
    decode_transaction,
    sign_transaction,
)
from chain.primitives.types import MAX_UINT256, Address

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

KEY = PrivateKey(b"\x11" * 32)
TO = Address(bytes(range(1, 21)))
CHAIN_ID = 3_141_592_653

addresses = st.binary(min_size=20, max_size=20).map(Address)
amounts = st.one_of(st.integers(0, 300), st.integers(0, MAX_UINT256))
payloads = st.one_of(st.just(b""), st.binary(max_size=100), st.binary(min_size=250, max_size=300))
secrets_of_keys = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
common_fields = {
    "chainId": st.one_of(st.integers(1, 300), st.integers(1, MAX_CHAIN_ID)),
    "nonce": st.one_of(st.integers(0, 300), st.integers(0, MAX_NONCE)),
    "gas": st.integers(0, MAX_GAS_LIMIT),
    "to": addresses,
    "value": amounts,
    "data": payloads,
}


def _encode_as_reference(transaction: Transaction) -> bytes:
    """The envelope made anew from what was read, by the rlp package."""
    integer = reference_rlp.sedes.big_endian_int.serialize
    r, s, v = transaction.signature[:32], transaction.signature[32:64], transaction.signature[64]
    scalars = [integer(int.from_bytes(r, "big")), integer(int.from_bytes(s, "big"))]
    rest = [integer(transaction.gas_limit), transaction.to, integer(transaction.value), transaction.data]
    if transaction.type == LEGACY:
        v_field = integer(35 + 2 * transaction.chain_id + v - 27)
        fields = [integer(transaction.nonce), integer(transaction.max_fee), *rest, v_field, *scalars]
        return bytes(reference_rlp.encode(fields))
    fees = [integer(transaction.max_priority_fee), integer(transaction.max_fee)]
    head = [integer(transaction.chain_id), integer(transaction.nonce), *fees]
    return b"\x02" + bytes(reference_rlp.encode([*head, *rest, [], integer(v - 27), *scalars]))


def _check_against_eth_account(transaction: Transaction, signed: Any, secret: bytes) -> None:
    assert transaction.hash == signed.hash == keccak256(transaction.raw)
    assert transaction.signature[:64] == signed.r.to_bytes(32, "big") + signed.s.to_bytes(32, "big")
    sender = "0x" + transaction.recover_sender().hex()
    assert sender == Account.from_key(secret).address.lower()
    assert sender == Account.recover_transaction(transaction.raw).lower()
    assert _encode_as_reference(transaction) == transaction.raw


@settings(max_examples=300)
@given(st.fixed_dictionaries(common_fields), amounts, amounts, secrets_of_keys)
def test_dynamic_fee_transactions_agree_with_eth_account(
    fields: dict[str, Any], fee: int, other_fee: int, secret: bytes
) -> None:
    max_fee, max_priority_fee = max(fee, other_fee), min(fee, other_fee)
    signed = Account.sign_transaction(
        {**fields, "maxFeePerGas": max_fee, "maxPriorityFeePerGas": max_priority_fee, "type": 2}, secret
    )

    transaction = decode_transaction(bytes(signed.raw_transaction))

    _check_against_eth_account(transaction, signed, secret)
    assert transaction.type == DYNAMIC_FEE
    assert (transaction.max_fee, transaction.max_priority_fee) == (max_fee, max_priority_fee)
    assert _common(transaction) == fields
    assert transaction == sign_transaction(
        PrivateKey(secret),
        chain_id=fields["chainId"],
        nonce=fields["nonce"],
        to=fields["to"],
        value=fields["value"],
        data=fields["data"],
        gas_limit=fields["gas"],
        max_fee=max_fee,
        max_priority_fee=max_priority_fee,
    )


@settings(max_examples=300)
@given(st.fixed_dictionaries(common_fields), amounts, secrets_of_keys)
def test_legacy_transactions_agree_with_eth_account(fields: dict[str, Any], gas_price: int, secret: bytes) -> None:
    signed = Account.sign_transaction({**fields, "gasPrice": gas_price}, secret)

    transaction = decode_transaction(bytes(signed.raw_transaction))

    _check_against_eth_account(transaction, signed, secret)
    assert transaction.type == LEGACY
    assert transaction.max_fee == transaction.max_priority_fee == gas_price
    assert _common(transaction) == fields


def _common(transaction: Transaction) -> dict[str, Any]:
    return {
        "chainId": transaction.chain_id,
        "nonce": transaction.nonce,
        "gas": transaction.gas_limit,
        "to": transaction.to,
        "value": transaction.value,
        "data": transaction.data,
    }


def test_the_example_of_eip_155() -> None:
    transaction = decode_transaction(
        bytes.fromhex(
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc"
            "2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb196"
            "6a3b6d83"
        )
    )

    assert transaction.signing_hash.hex() == "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    assert transaction.recover_sender() == PrivateKey(b"\x46" * 32).address
    assert (transaction.chain_id, transaction.nonce, transaction.max_fee) == (1, 9, 20 * 10**9)
    assert (transaction.gas_limit, transaction.value, transaction.data) == (21_000, 10**18, b"")


def test_golden_transaction() -> None:
    transaction = sign_transaction(KEY, chain_id=CHAIN_ID, nonce=7, to=TO, value=10**18, data=b"note")

    assert transaction.gas_used == transaction.gas_limit == 100_064
    assert transaction.raw.hex() == (
        "02f87384bb40e64d078080830186e0940102030405060708090a0b0c0d0e0f1011121314880de0b6b3a7640000846e6f7465c080a02c554978b1e2"
        "abc348c8c49594cc63cbeacb180d439d6f41f6eb9f6dea714ccba01b6362b33523da8ca02aae20ef80fdc48f4000c8df07aa88428df09d2c37f934"
    )
    assert transaction.signing_hash.hex() == "5fa1bee36063359756cae3c2c4f73965cb710b9c02a6b4ea2a98297fa6357178"
    assert transaction.hash.hex() == "6c05ea4dc0dd934dc401512c360fa38a4bdda39f039ade136355906475eb62ee"


def _dynamic_fee(**changes: Any) -> bytes:
    """A type-2 envelope from its RLP fields, with some replaced."""
    good: dict[str, Any] = {
        "chain_id": b"\x2a",
        "nonce": b"",
        "max_priority_fee": b"",
        "max_fee": b"",
        "gas_limit": b"\x52\x08",
        "to": TO,
        "value": b"\x01",
        "data": b"",
        "access_list": [],
        "parity": b"",
        "r": b"\x01" * 32,
        "s": b"\x01" * 32,
    }
    return b"\x02" + rlp.encode(list({**good, **changes}.values()))


def _legacy(**changes: Any) -> bytes:
    """A legacy envelope from its RLP fields, with some replaced."""
    good: dict[str, Any] = {
        "nonce": b"",
        "gas_price": b"",
        "gas_limit": b"\x52\x08",
        "to": TO,
        "value": b"\x01",
        "data": b"",
        "v": b"\x77",  # 35 + 2 × 42
        "r": b"\x01" * 32,
        "s": b"\x01" * 32,
    }
    return rlp.encode(list({**good, **changes}.values()))


def test_the_templates_are_good() -> None:
    assert decode_transaction(_dynamic_fee()).chain_id == decode_transaction(_legacy()).chain_id == 42
    assert decode_transaction(_legacy(v=b"\x78")).signature[64] == 28
    assert decode_transaction(_legacy(v=b"\x23")).chain_id == 0
    assert decode_transaction(_legacy(v=rlp.encode_integer(36 + 2 * MAX_CHAIN_ID))).chain_id == MAX_CHAIN_ID


SHARED_FAULTS = [
    ({"nonce": b"\0"}, RejectionReason.NON_CANONICAL),
    ({"nonce": b"\0\1"}, RejectionReason.NON_CANONICAL),
    ({"nonce": []}, RejectionReason.MALFORMED),
    ({"nonce": [b"\1"]}, RejectionReason.MALFORMED),
    ({"nonce": b"\xff" * 8}, RejectionReason.OUT_OF_RANGE),
    ({"nonce": b"\1" + bytes(8)}, RejectionReason.OUT_OF_RANGE),
    ({"gas_limit": b"\x80" + bytes(7)}, RejectionReason.OUT_OF_RANGE),
    ({"gas_limit": b"\0\1"}, RejectionReason.NON_CANONICAL),
    ({"to": b""}, RejectionReason.CONTRACT_CREATION),
    ({"to": b"\1" * 19}, RejectionReason.MALFORMED),
    ({"to": b"\1" * 21}, RejectionReason.MALFORMED),
    ({"to": bytes(12) + TO}, RejectionReason.MALFORMED),
    ({"to": []}, RejectionReason.MALFORMED),
    ({"to": [TO]}, RejectionReason.MALFORMED),
    ({"value": b"\0"}, RejectionReason.NON_CANONICAL),
    ({"value": b"\1" + bytes(32)}, RejectionReason.OUT_OF_RANGE),
    ({"value": b"\xff" * 20_000}, RejectionReason.OUT_OF_RANGE),
    ({"value": [b"\1"]}, RejectionReason.MALFORMED),
    ({"data": []}, RejectionReason.MALFORMED),
    ({"data": [b"ab"]}, RejectionReason.MALFORMED),
    ({"data": b"\1" * MAX_TRANSACTION_BYTES}, RejectionReason.TOO_LARGE),
    ({"r": b""}, RejectionReason.BAD_SIGNATURE),
    ({"s": b""}, RejectionReason.BAD_SIGNATURE),
    ({"r": b"\0" + b"\1" * 31}, RejectionReason.NON_CANONICAL),
    ({"s": b"\0" + b"\1" * 31}, RejectionReason.NON_CANONICAL),
    ({"r": b"\1" * 33}, RejectionReason.OUT_OF_RANGE),
    ({"s": b"\1" * 33}, RejectionReason.OUT_OF_RANGE),
    ({"r": CURVE_ORDER.to_bytes(32, "big")}, RejectionReason.BAD_SIGNATURE),
    ({"s": (HALF_CURVE_ORDER + 1).to_bytes(32, "big")}, RejectionReason.HIGH_S),
    ({"s": b"\xff" * 32}, RejectionReason.HIGH_S),
    ({"r": []}, RejectionReason.MALFORMED),
    ({"s": [b"\1" * 32]}, RejectionReason.MALFORMED),
]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *SHARED_FAULTS,
        ({"chain_id": b"\1\0\0\0\0"}, RejectionReason.OUT_OF_RANGE),
        ({"chain_id": b"\0\x2a"}, RejectionReason.NON_CANONICAL),
        ({"chain_id": b"\0"}, RejectionReason.NON_CANONICAL),
        ({"max_priority_fee": b"\1"}, RejectionReason.OUT_OF_RANGE),  # Above max_fee.
        ({"max_fee": b"\1" + bytes(32)}, RejectionReason.OUT_OF_RANGE),
        ({"access_list": [[TO, []]]}, RejectionReason.ACCESS_LIST),
        ({"access_list": [b""]}, RejectionReason.ACCESS_LIST),
        ({"access_list": [[]]}, RejectionReason.ACCESS_LIST),
        ({"access_list": b""}, RejectionReason.MALFORMED),
        ({"parity": b"\0"}, RejectionReason.BAD_SIGNATURE),
        ({"parity": b"\2"}, RejectionReason.BAD_SIGNATURE),
        ({"parity": b"\x1b"}, RejectionReason.BAD_SIGNATURE),
        ({"parity": b"\0\1"}, RejectionReason.BAD_SIGNATURE),
        ({"parity": []}, RejectionReason.BAD_SIGNATURE),
        ({"extra": b""}, RejectionReason.MALFORMED),
    ],
)
def test_faulty_dynamic_fee_transactions(changes: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(decode_transaction, _dynamic_fee(**changes)) is reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *SHARED_FAULTS,
        ({"gas_price": b"\1" + bytes(32)}, RejectionReason.OUT_OF_RANGE),
        ({"gas_price": b"\0\1"}, RejectionReason.NON_CANONICAL),
        ({"v": b"\x1b"}, RejectionReason.UNPROTECTED_TRANSACTION),
        ({"v": b"\x1c"}, RejectionReason.UNPROTECTED_TRANSACTION),
        *[({"v": rlp.encode_integer(v)}, RejectionReason.BAD_SIGNATURE) for v in (0, 1, 26, 29, 34)],
        ({"v": rlp.encode_integer(37 + 2 * MAX_CHAIN_ID)}, RejectionReason.BAD_SIGNATURE),
        ({"v": b"\xff" * 32}, RejectionReason.BAD_SIGNATURE),
        ({"v": b"\xff" * 33}, RejectionReason.OUT_OF_RANGE),
        ({"v": b"\0\x77"}, RejectionReason.NON_CANONICAL),
        ({"v": []}, RejectionReason.MALFORMED),
        ({"extra": b""}, RejectionReason.MALFORMED),
        ({"v": b"", "r": b"", "s": b""}, RejectionReason.BAD_SIGNATURE),  # The form that is signed, not a signed one.
    ],
)
def test_faulty_legacy_transactions(changes: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(decode_transaction, _legacy(**changes)) is reason


def test_other_envelopes_do_not_exist(reason_of: ReasonOf) -> None:
    body = _dynamic_fee()[1:]
    for kind in range(256):
        reason = reason_of(decode_transaction, bytes((kind,)) + body)
        if kind == DYNAMIC_FEE:
            assert reason is None
        elif kind < 0x80:
            assert reason is RejectionReason.UNSUPPORTED_TRANSACTION_TYPE
        else:
            assert reason in (RejectionReason.MALFORMED, RejectionReason.NON_CANONICAL)


@pytest.mark.parametrize("kind", [1, 3, 4])
def test_what_eth_account_signs_in_other_types_is_refused(kind: int, reason_of: ReasonOf) -> None:
    fields: dict[str, Any] = {"chainId": 42, "nonce": 0, "gas": 21_000, "to": TO, "value": 1, "data": b""}
    fees = {"maxFeePerGas": 1, "maxPriorityFeePerGas": 0}
    if kind == 1:
        fields |= {"gasPrice": 1, "accessList": [], "type": 1}
    elif kind == 3:
        fields |= {**fees, "type": 3, "maxFeePerBlobGas": 1, "blobVersionedHashes": [b"\1" + bytes(31)]}
    else:
        authorization = Account.from_key(KEY.secret).sign_authorization({"chainId": 42, "address": TO, "nonce": 0})
        fields |= {**fees, "type": 4, "authorizationList": [authorization]}
    signed = Account.sign_transaction(fields, KEY.secret)

    assert signed.raw_transaction[0] == kind
    reason = reason_of(decode_transaction, bytes(signed.raw_transaction))
    assert reason is RejectionReason.UNSUPPORTED_TRANSACTION_TYPE


def test_bytes_around_a_transaction_are_refused(reason_of: ReasonOf) -> None:
    for good in (_dynamic_fee(), _legacy()):
        assert reason_of(decode_transaction, good + b"\0") is RejectionReason.NON_CANONICAL
        assert reason_of(decode_transaction, good + good) is RejectionReason.NON_CANONICAL
        assert reason_of(decode_transaction, good[:-1]) is RejectionReason.MALFORMED
        assert reason_of(decode_transaction, b"\0" + good) is RejectionReason.UNSUPPORTED_TRANSACTION_TYPE
        wrapped = rlp.encode(good)
        assert reason_of(decode_transaction, wrapped) is RejectionReason.MALFORMED
        assert reason_of(decode_transaction, rlp.wrap_list(wrapped)) is RejectionReason.MALFORMED
    assert reason_of(decode_transaction, b"") is RejectionReason.MALFORMED
    assert reason_of(decode_transaction, b"\2") is RejectionReason.MALFORMED
    assert reason_of(decode_transaction, b"\2\xc0") is RejectionReason.MALFORMED
    assert reason_of(decode_transaction, b"\xc0") is RejectionReason.MALFORMED


def test_the_twin_of_a_signature_is_refused(reason_of: ReasonOf) -> None:
    good = sign_transaction(KEY, chain_id=42, nonce=0, to=TO, value=1)
    r, s, v = good.signature[:32], int.from_bytes(good.signature[32:64], "big"), good.signature[64]
    twin = _dynamic_fee(
        gas_limit=rlp.encode_integer(good.gas_limit),
        parity=rlp.encode_integer(28 - v),
        r=r.lstrip(b"\0"),
        s=rlp.encode_integer(CURVE_ORDER - s),
    )

    assert reason_of(decode_transaction, twin) is RejectionReason.HIGH_S


@pytest.mark.parametrize("seed", range(4))
def test_every_mutation_is_refused_or_is_the_one_encoding_of_what_it_says(
    seed: int, reason_of: ReasonOf, mutations: Mutations
) -> None:
    dynamic_fee = sign_transaction(KEY, chain_id=CHAIN_ID, nonce=5, to=TO, value=10**18, data=b"d" * 60).raw
    legacy = Account.sign_transaction(
        {"chainId": 42, "nonce": 5, "gas": 21_000, "to": TO, "value": 1, "data": b"", "gasPrice": 7}, KEY.secret
    )
    for good in (dynamic_fee, bytes(legacy.raw_transaction)):
        for mutated in mutations(good, 1_500, seed):
            if reason_of(decode_transaction, mutated) is not None:
                continue
            transaction = decode_transaction(mutated)
            assert _encode_as_reference(transaction) == mutated
            if reason_of(transaction.recover_sender) is None:
                assert transaction.recover_sender() != KEY.address  # Nobody can change what was signed.


def test_random_bytes_are_refused(reason_of: ReasonOf) -> None:
    generator = random.Random(11)
    for _ in range(3_000):
        octets = generator.randbytes(generator.randrange(130))
        assert reason_of(decode_transaction, b"\2" + octets) is not None
        assert reason_of(decode_transaction, octets) is not None


@pytest.mark.parametrize("element", [b"\x01", b"\xc0", b"\xc1\xc0", b"\x80", b"\xc8\xc7\xc6\xc5\xc4\xc3\xc2\xc1\xc0"])
def test_no_transaction_takes_long_to_refuse(element: bytes, reason_of: ReasonOf) -> None:
    filling = element * ((MAX_TRANSACTION_BYTES - 200) // len(element))
    started = time.thread_time()

    assert reason_of(decode_transaction, b"\2" + rlp.wrap_list(filling)) is not None
    assert reason_of(decode_transaction, b"\2" + rlp.wrap_list(rlp.wrap_list(filling))) is not None

    assert time.thread_time() - started < 10  # CPU seconds; about 0.02. Growth with the square would take minutes.
