"""Client requests: what eth_account signs is what we verify, and a signature fits one request, audience and network."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.client_request import (
    MAX_VALIDITY_S,
    ClientClaim,
    ClientRequest,
    check_claim,
    check_hub_id_is_no_address,
    is_signed_by,
    salted_hash,
    sign_client_request,
    unsigned_request,
)
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.rejection import RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.signing import eip191_digest
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import MAX_UINT256, Amount, Hash32

ReasonOf = Callable[..., RejectionReason | None]

CLIENT = PrivateKey(b"\x02" * 32)
STRANGER = PrivateKey(b"\x03" * 32)
ACCOUNT = Account.from_key(CLIENT.secret)
NOW_S = 1_770_000_000
PARAMETERS = RequestParameters(width=512, height=256, steps=20, guidance=7.5, seed=7)
CLAIM = ClientClaim(
    client=CLIENT.address,
    salt=b"\x0a" * 32,
    max_price=Amount(10**18),
    nonce=Hash32(b"\x0b" * 32),
    expiry=NOW_S + 600,
    signature=bytes(65),
)
REQUEST = CLAIM.request(chain_id=424_242, audience="hub-1", prompt="a cat", parameters=PARAMETERS)
SIGNED = msgspec.structs.replace(CLAIM, signature=sign_client_request(CLIENT, REQUEST))

digests = st.binary(min_size=32, max_size=32).map(Hash32)
requests = st.builds(
    ClientRequest,
    chain_id=st.integers(1, MAX_CHAIN_ID),
    audience=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}", fullmatch=True),
    prompt_hash=digests,
    parameters_hash=digests,
    max_price=st.integers(0, MAX_UINT256).map(Amount),
    nonce=digests,
    expiry=st.integers(0, 2**40),
)


def test_golden_request() -> None:
    assert to_hex(PARAMETERS.hash) == "0x21e77dbc7c3129519aa7a6fe832f8f04894fb0d36e4e3e6597cd4539252c8c88"
    assert to_hex(REQUEST.hash) == "0x4544aed7af83e0a59962010e99d070b7c2159f0fb03eea8c1fab6ba3c1e65ed4"
    assert SIGNED.signature.hex() == (
        "eef7f7bce696d4720d61c7814ea117803c9e0c8f1dd72d44464cff94468b4a34"
        "665755087d1ad9c4dc777a9525a968c396770c1fd94c3f39bcfe175ccd23b8f01b"
    )


def test_prompt_hash_is_salted() -> None:
    assert REQUEST.prompt_hash == sha256(b"\x0a" * 32 + b"a cat")


@settings(max_examples=100)
@given(requests)
def test_typed_data_is_what_eth_account_signs(request: ClientRequest) -> None:
    typed_data = json.loads(json.dumps(request.checked().typed_data()))
    signable = encode_typed_data(full_message=typed_data)

    signed = ACCOUNT.sign_message(signable)

    assert bytes(signed.message_hash) == request.hash
    assert bytes(signed.signature) == sign_client_request(CLIENT, request)
    assert is_signed_by(request.hash, bytes(signed.signature), CLIENT.address)


@settings(max_examples=50)
@given(requests)
def test_personal_sign_of_the_32_bytes_counts_as_well(request: ClientRequest) -> None:
    signature = bytes(ACCOUNT.sign_message(encode_defunct(request.hash)).signature)
    assert is_signed_by(request.hash, signature, CLIENT.address)
    assert not is_signed_by(request.hash, signature, STRANGER.address)


def test_other_forms_of_signing_do_not_count() -> None:
    for digest in (
        keccak256(request_hash := REQUEST.hash),
        eip191_digest(to_hex(request_hash).encode()),
        eip191_digest(request_hash.hex().encode()),
        eip191_digest(eip191_digest(request_hash)),
    ):
        assert not is_signed_by(REQUEST.hash, CLIENT.sign(digest), CLIENT.address)


def test_check_claim_takes_an_honest_one() -> None:
    check_claim(SIGNED, REQUEST, now_s=NOW_S)
    check_claim(SIGNED, REQUEST, now_s=CLAIM.expiry)
    personal = msgspec.structs.replace(CLAIM, signature=CLIENT.sign(eip191_digest(REQUEST.hash)))
    check_claim(personal, REQUEST, now_s=NOW_S)


@pytest.mark.parametrize(
    "change",
    [
        {"audience": "hub-2"},
        {"audience": "HUB-1"},
        {"audience": to_checksum_address(CLIENT.address)},
        {"chain_id": 424_243},
        {"prompt_hash": Hash32(bytes(32))},
        {"parameters_hash": Hash32(bytes(32))},
        {"max_price": Amount(10**18 + 1)},
        {"nonce": Hash32(bytes(32))},
        {"expiry": NOW_S + 601},
    ],
)
def test_signature_fits_no_other_request(change: dict[str, Any], reason_of: ReasonOf) -> None:
    other = msgspec.structs.replace(REQUEST, **change)
    assert other.hash != REQUEST.hash
    assert reason_of(check_claim, SIGNED, other, now_s=NOW_S) is RejectionReason.BAD_SIGNATURE


def test_forged_signatures(reason_of: ReasonOf) -> None:
    low = SIGNED.signature
    high_s = (CURVE_ORDER - int.from_bytes(low[32:64], "big")).to_bytes(32, "big")
    for signature, reason in (
        (sign_client_request(STRANGER, REQUEST), RejectionReason.BAD_SIGNATURE),
        (low[:64] + bytes((55 - low[64],)), RejectionReason.BAD_SIGNATURE),
        (low[:32] + high_s + bytes((55 - low[64],)), RejectionReason.HIGH_S),
        (low[:64] + b"\0", RejectionReason.BAD_SIGNATURE),
        (low + b"\0", RejectionReason.BAD_SIGNATURE),
        (bytes(65), RejectionReason.BAD_SIGNATURE),
        (b"\xff" * 64 + b"\x1b", RejectionReason.BAD_SIGNATURE),
        (b"", RejectionReason.BAD_SIGNATURE),
    ):
        forged = msgspec.structs.replace(CLAIM, signature=signature)
        assert reason_of(check_claim, forged, REQUEST, now_s=NOW_S) is reason
    other = msgspec.structs.replace(SIGNED, client=STRANGER.address)
    assert reason_of(check_claim, other, REQUEST, now_s=NOW_S) is RejectionReason.BAD_SIGNATURE


def test_expiry(reason_of: ReasonOf) -> None:
    assert reason_of(check_claim, SIGNED, REQUEST, now_s=CLAIM.expiry + 1) is RejectionReason.REQUEST_EXPIRED
    early = CLAIM.expiry - MAX_VALIDITY_S
    assert reason_of(check_claim, SIGNED, REQUEST, now_s=early) is None
    assert reason_of(check_claim, SIGNED, REQUEST, now_s=early - 1) is RejectionReason.OUT_OF_RANGE


def test_an_unsigned_request_has_expired_for_ever(reason_of: ReasonOf) -> None:
    """Whoever signs its hash all the same gets nothing for it."""
    request = unsigned_request(
        chain_id=1, audience="hub-1", prompt_hash=REQUEST.prompt_hash, parameters_hash=PARAMETERS.hash
    )
    assert (request.max_price, request.nonce, request.expiry) == (MAX_UINT256, bytes(32), 0)
    signed = msgspec.structs.replace(CLAIM, signature=sign_client_request(CLIENT, request))
    assert reason_of(check_claim, signed, request, now_s=NOW_S) is RejectionReason.REQUEST_EXPIRED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chain_id": 0}, RejectionReason.OUT_OF_RANGE),
        ({"chain_id": MAX_CHAIN_ID + 1}, RejectionReason.OUT_OF_RANGE),
        ({"max_price": -1}, RejectionReason.OUT_OF_RANGE),
        ({"max_price": MAX_UINT256 + 1}, RejectionReason.OUT_OF_RANGE),
        ({"expiry": -1}, RejectionReason.OUT_OF_RANGE),
        ({"expiry": 2**64}, RejectionReason.OUT_OF_RANGE),
        ({"audience": ""}, RejectionReason.MALFORMED),
        ({"audience": "x" * 65}, RejectionReason.MALFORMED),
        ({"audience": "hub 1"}, RejectionReason.MALFORMED),
        ({"audience": "hub-1\n"}, RejectionReason.MALFORMED),
        ({"audience": "hüb"}, RejectionReason.MALFORMED),
    ],
)
def test_requests_out_of_bounds(change: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(msgspec.structs.replace(REQUEST, **change).checked) is reason


def test_claims_travel_as_json() -> None:
    assert ClientClaim.from_object(json.loads(json.dumps(SIGNED.to_object()))) == SIGNED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *[({name: None}, RejectionReason.MALFORMED) for name in SIGNED.to_object()],
        *[({name: []}, RejectionReason.MALFORMED) for name in SIGNED.to_object()],
        *[({name: True}, RejectionReason.MALFORMED) for name in SIGNED.to_object()],
        *[({name: ""}, RejectionReason.MALFORMED) for name in SIGNED.to_object()],
        *[({name: 1.0}, RejectionReason.MALFORMED) for name in SIGNED.to_object()],
        ({"expiry": str(NOW_S)}, RejectionReason.MALFORMED),
        ({"expiry": -1}, RejectionReason.MALFORMED),
        ({"expiry": 2**41}, RejectionReason.MALFORMED),
        ({"max_price": "1.5"}, RejectionReason.MALFORMED),
        ({"max_price": "01"}, RejectionReason.NON_CANONICAL),
        ({"max_price": str(2**256)}, RejectionReason.OUT_OF_RANGE),
        ({"max_price": "9" * 10_000}, RejectionReason.MALFORMED),
        ({"nonce": "0x" + "0b" * 31}, RejectionReason.MALFORMED),
        ({"salt": "0x" + "0a" * 33}, RejectionReason.MALFORMED),
        ({"signature": "0x" + "00" * 64}, RejectionReason.MALFORMED),
        ({"client": "0x" + "aB" * 20}, RejectionReason.MALFORMED),
        ({"more": 1}, RejectionReason.UNKNOWN_FIELD),
        ({"x" * 10_000: 1}, RejectionReason.UNKNOWN_FIELD),
    ],
)
def test_faulty_claims(change: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(ClientClaim.from_object, SIGNED.to_object() | change) is reason


@pytest.mark.parametrize("name", SIGNED.to_object())
def test_claims_need_every_field(name: str, reason_of: ReasonOf) -> None:
    fields = SIGNED.to_object()
    del fields[name]
    assert reason_of(ClientClaim.from_object, fields) is RejectionReason.MISSING_FIELD


@pytest.mark.parametrize("wrong", [None, [], "0x", 1, [SIGNED.to_object()]])
def test_claims_are_objects(wrong: object, reason_of: ReasonOf) -> None:
    assert reason_of(ClientClaim.from_object, wrong) is RejectionReason.MALFORMED


def test_a_prompt_that_is_no_text(reason_of: ReasonOf) -> None:
    assert reason_of(salted_hash, bytes(32), "\ud800") is RejectionReason.MALFORMED


def test_hub_ids_that_pass_for_a_provider(reason_of: ReasonOf) -> None:
    for hub_id in (to_checksum_address(CLIENT.address), to_hex(CLIENT.address), "0X" + "AB" * 20):
        assert reason_of(check_hub_id_is_no_address, hub_id) is RejectionReason.MALFORMED
    for hub_id in ("hub-1", "", "0x", "0x" + "ab" * 19, "ab" * 20, "0x" + "ab" * 21):
        check_hub_id_is_no_address(hub_id)
