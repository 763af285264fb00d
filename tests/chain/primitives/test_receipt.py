"""Receipts: golden hash and digests, one spelling of each field, exact arithmetic, and every contradiction refused."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import eth_abi
import pytest
import rfc8785
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.modules import MINTER
from chain.primitives.receipt import (
    MAX_RECEIPT_BYTES,
    Receipt,
    attestation_digest,
    combined_artifact_sha256,
    mint_split_digest,
    recover_provider,
    sign_receipt,
)
from chain.primitives.rejection import RejectionReason
from chain.primitives.shards import MAX_SHARDS
from chain.primitives.signing import eip191_digest
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import MAX_UINT256, Address, Amount, Hash32
from chain.primitives.units import MAX_MICRO_UNITS, compute_amount

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

PROVIDER = PrivateKey(b"\x01" * 32)
CLIENT = PrivateKey(b"\x02" * 32)
REQUEST_HASH = Hash32(b"\x03" * 32)

RECEIPT = Receipt(
    job_id="job-1",
    provider=PROVIDER.address,
    client="demo",
    micro_units=1_250_001,
    unit_type="gpu_seconds",
    model="tiny-sd",
    prompt_hash="sha256:" + "ab" * 32,
    request_hash=REQUEST_HASH,
    started_at=1_760_000_000,
    finished_at=1_760_000_002,
    artifact_sha256="cd" * 32,
    nonce="nonce-1",
    hub_id="hub-1",
    chain_id=3_141_592_653,
    price_per_unit=Amount(10**18),
    amount=Amount(1_250_001 * 10**12),
)
SIGNED_REQUEST = {
    "client": to_checksum_address(CLIENT.address),
    "client_signature": to_hex(CLIENT.sign(eip191_digest(REQUEST_HASH))),
}
SHARDS = [
    {"provider": to_checksum_address(PROVIDER.address), "units": 1.25, "artifact_sha256": "ab" * 32},
    {
        "provider": to_checksum_address(CLIENT.address),
        "units": 0.000001,
        "artifact_sha256": "bc" * 32,
        "receipt_hash": "0x" + "0d" * 32,
    },
]
SPLIT = {
    "shards": SHARDS,
    "artifact_sha256": combined_artifact_sha256([b"\xab" * 32, b"\xbc" * 32]),
    "trajectory_root": "0x" + "0e" * 32,
}
CANONICAL = (
    '{"amount":"1250001000000000000","artifact_sha256":"' + "cd" * 32 + '","chain_id":3141592653,"client":"demo",'
    '"finished_at":1760000002,"hub_id":"hub-1","job_id":"job-1","model":"tiny-sd","nonce":"nonce-1",'
    '"price_per_unit":"1000000000000000000","prompt_hash":"sha256:' + "ab" * 32 + '",'
    '"provider":"0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1","request_hash":"0x' + "03" * 32 + '",'
    '"started_at":1760000000,"unit_type":"gpu_seconds","units":1.250001,"version":1}'
)

identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}", fullmatch=True)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
digests = st.binary(min_size=32, max_size=32)
times = st.integers(0, 2**40)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    """Any receipt without a client's signature."""
    micro_units = draw(st.one_of(st.integers(0, 2_000), st.integers(0, MAX_MICRO_UNITS)))
    price = draw(st.one_of(st.integers(0, 10**19), st.integers(0, MAX_UINT256 // MAX_MICRO_UNITS)))
    started_at, finished_at = sorted((draw(times), draw(times)))
    return Receipt(
        job_id=draw(identifiers),
        provider=Address(draw(st.binary(min_size=20, max_size=20))),
        client=draw(printable),
        micro_units=micro_units,
        unit_type=draw(st.sampled_from(("gpu_seconds", "images"))),
        model=draw(printable),
        prompt_hash="sha256:" + draw(digests).hex(),
        request_hash=Hash32(draw(digests)),
        started_at=started_at,
        finished_at=finished_at,
        artifact_sha256=draw(digests).hex(),
        nonce=draw(identifiers),
        hub_id=draw(st.one_of(st.just(""), identifiers)),
        chain_id=draw(st.integers(1, MAX_CHAIN_ID)),
        price_per_unit=Amount(price),
        amount=compute_amount(micro_units, price),
    ).checked()


def test_golden_receipt() -> None:
    signature = sign_receipt(PROVIDER, RECEIPT)

    assert RECEIPT.checked().canonical_bytes() == CANONICAL.encode()
    assert RECEIPT.hash.hex() == "3759330dcea6cef1c5de69d452913a86dbf289e2c6fdec6e138a70a70e64051d"
    assert signature.hex() == (
        "3e7f2b522643be5a335d54722b47c9ba6712a1a2f1de6473acde63abfd2fc18f0e"
        "2d238cbc422eb58111f6281fce4e5e0672a7e11bf180abe296989c0b365be41b"
    )
    assert recover_provider(RECEIPT, signature) == PROVIDER.address
    assert (
        attestation_digest(PROVIDER.address, RECEIPT.amount, RECEIPT.hash).hex()
        == "d7d52593448dbda93e5a8bfe0251182914e2b3430ab970ca0d5b8ef1ce81f96c"
    )
    assert (
        mint_split_digest(42, [PROVIDER.address], [7], RECEIPT.hash).hex()
        == "01b9ef61f17061222873be41bb6c41439ef9d60f3609f9bcec61dce4b71e66ab"
    )


@settings(max_examples=200)
@given(receipts())
def test_every_layout_of_a_receipt_has_one_canonical_form(receipt: Receipt) -> None:
    canonical = receipt.canonical_bytes()
    fields = json.loads(canonical)
    units = f"{Decimal(receipt.micro_units) / 10**6:f}"  # As RFC 8785 writes numbers of this size: never an exponent.
    units = units.rstrip("0").rstrip(".") if "." in units else units
    spelled = json.dumps({**fields, "units": "UNITS"}, sort_keys=True, separators=(",", ":")).replace('"UNITS"', units)

    assert canonical == spelled.encode()
    assert len(canonical) <= MAX_RECEIPT_BYTES
    assert Receipt.from_json(canonical) == receipt
    assert Receipt.from_json(canonical.decode()) == receipt
    assert Receipt.from_object(fields) == receipt
    reversed_layout = json.dumps(dict(reversed(fields.items())), indent=2)
    assert Receipt.from_json(reversed_layout).hash == receipt.hash == keccak256(canonical)


@settings(max_examples=100)
@given(receipts(), digests)
def test_signatures_agree_with_eth_account(receipt: Receipt, secret: bytes) -> None:
    key = PrivateKey((int.from_bytes(secret, "big") % (CURVE_ORDER - 1) + 1).to_bytes(32, "big"))
    message = encode_defunct(receipt.hash)

    assert sign_receipt(key, receipt) == Account.sign_message(message, key.secret).signature
    assert recover_provider(receipt, sign_receipt(key, receipt)) == key.address


@settings(max_examples=200)
@given(st.binary(min_size=20, max_size=20), st.integers(0, MAX_UINT256), digests)
def test_attestations_agree_with_the_formula_of_the_plans_contract(provider: bytes, units: int, digest: bytes) -> None:
    message = keccak(eth_abi.encode(["address", "uint256", "bytes32"], ["0x" + provider.hex(), units, digest]))
    signable = encode_defunct(message)

    expected = keccak(b"\x19" + signable.version + signable.header + signable.body)
    assert attestation_digest(Address(provider), units, Hash32(digest)) == expected


@settings(max_examples=60)
@given(
    st.integers(1, MAX_CHAIN_ID),
    st.lists(st.tuples(st.binary(min_size=20, max_size=20), st.integers(0, MAX_UINT256)), max_size=8),
    digests,
)
def test_split_digests_agree_with_eth_account(chain_id: int, shares: list[tuple[bytes, int]], digest: bytes) -> None:
    signable = encode_typed_data(
        domain_data={"name": "AITBC", "version": "1", "chainId": chain_id, "verifyingContract": to_hex(MINTER)},
        message_types={
            "MintSplit": [
                {"name": "providers", "type": "address[]"},
                {"name": "units", "type": "uint256[]"},
                {"name": "receiptHash", "type": "bytes32"},
            ]
        },
        message_data={
            "providers": [to_hex(provider) for provider, _ in shares],
            "units": [units for _, units in shares],
            "receiptHash": digest,
        },
    )
    providers = [Address(provider) for provider, _ in shares]

    ours = mint_split_digest(chain_id, providers, [units for _, units in shares], Hash32(digest))

    assert ours == keccak(b"\x19" + signable.version + signable.header + signable.body)


def test_a_receipt_may_carry_the_clients_signature(reason_of: ReasonOf) -> None:
    signed = Receipt.from_object({**RECEIPT.to_object(), **SIGNED_REQUEST})

    assert Receipt.from_json(signed.canonical_bytes()) == signed
    assert signed.hash != RECEIPT.hash
    for name in ("request_hash", "client"):
        other = {"request_hash": "0x" + "04" * 32, "client": to_checksum_address(PROVIDER.address)}[name]
        fields = {**signed.to_object(), name: other}
        assert reason_of(Receipt.from_object, fields) is RejectionReason.BAD_SIGNATURE


def test_the_clients_signature_may_be_over_the_typed_data_itself() -> None:
    signature = to_hex(CLIENT.sign(REQUEST_HASH))
    signed = Receipt.from_object({**RECEIPT.to_object(), **SIGNED_REQUEST, "client_signature": signature})
    assert Receipt.from_json(signed.canonical_bytes()) == signed
    assert signed.hash != Receipt.from_object({**RECEIPT.to_object(), **SIGNED_REQUEST}).hash


def test_golden_receipt_with_every_field() -> None:
    receipt = Receipt.from_object({**RECEIPT.to_object(), **SIGNED_REQUEST, **SPLIT})

    shards = (
        '"shards":[{"artifact_sha256":"' + "ab" * 32 + '","provider":"0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1",'
        '"units":1.25},{"artifact_sha256":"' + "bc" * 32 + '","provider":"' + SIGNED_REQUEST["client"] + '",'
        '"receipt_hash":"0x' + "0d" * 32 + '","units":0.000001}],'
    )
    text = receipt.canonical_bytes().decode()
    assert shards in text
    assert ',"trajectory_root":"0x' + "0e" * 32 + '",' in text
    assert to_hex(receipt.hash) == "0xa01333ffb3a394fd71f7acfb20701b8a9853141ea83ea3344a5652ad93ecdfb1"
    assert Receipt.from_json(text) == receipt
    assert receipt.shards is not None
    assert receipt.shards[1].micro_units == 1


def test_new_fields_change_the_hash_and_absent_ones_do_not_stand_there() -> None:
    assert set(RECEIPT.to_object()).isdisjoint({"shards", "trajectory_root", "client_signature"})
    root = Receipt.from_object({**RECEIPT.to_object(), "trajectory_root": "0x" + "0e" * 32})
    other = Receipt.from_object({**RECEIPT.to_object(), "trajectory_root": "0x" + "0f" * 32})
    assert len({RECEIPT.hash, root.hash, other.hash}) == 3


def test_largest_receipt_fits_and_is_read_again() -> None:
    """What can be issued can be read: the most of everything stays below the bound on bytes."""
    part = {
        "provider": to_checksum_address(PROVIDER.address),
        "units": 1234567.123457,
        "artifact_sha256": "ab" * 32,
    }
    shards = [part | {"receipt_hash": "0x" + bytes([number] * 32).hex()} for number in range(MAX_SHARDS)]
    micro_units = 1_234_567_123_457 * MAX_SHARDS
    fields = {
        **RECEIPT.to_object(),
        **SIGNED_REQUEST,
        **dict.fromkeys(("job_id", "nonce", "hub_id"), "x" * 64),
        "model": "m" * 256,
        "shards": shards,
        "artifact_sha256": combined_artifact_sha256([b"\xab" * 32] * MAX_SHARDS),
        "trajectory_root": "0x" + "0e" * 32,
        "units": Decimal(micro_units) / 10**6,
        "amount": str(micro_units * 10**12),
        "finished_at": 2**40,
    }
    receipt = Receipt.from_object(fields)
    assert len(receipt.canonical_bytes()) < MAX_RECEIPT_BYTES * 4 // 5
    assert Receipt.from_json(receipt.canonical_bytes()) == receipt


def test_artifact_of_one_picture_is_its_own_and_of_several_that_of_their_digests() -> None:
    one, two = bytes(range(32)), b"\x07" * 32
    assert combined_artifact_sha256([one]) == one.hex()
    assert combined_artifact_sha256([one, two]) == hashlib.sha256(one + two).hexdigest()
    assert combined_artifact_sha256([two, one]) != combined_artifact_sha256([one, two])
    # Made from those of parts as from pictures.
    assert combined_artifact_sha256([one, two, one]) != combined_artifact_sha256(
        [bytes.fromhex(combined_artifact_sha256([one, two])), one]
    )


def _split(**change: Any) -> dict[str, Any]:
    """The faulty fields of a split receipt whose second shard is bent."""
    return {**SPLIT, "shards": [SHARDS[0], SHARDS[1] | change]}


_S = int(SIGNED_REQUEST["client_signature"][66:130], 16)
_TWIN = SIGNED_REQUEST["client_signature"][:66] + f"{CURVE_ORDER - _S:064x}" + "1b"

FAULTS: list[tuple[dict[str, Any], RejectionReason]] = [
    # Wrong JSON types
    *[({name: None}, RejectionReason.MALFORMED) for name in RECEIPT.to_object()],
    *[({name: []}, RejectionReason.MALFORMED) for name in RECEIPT.to_object()],
    *[({name: {}}, RejectionReason.MALFORMED) for name in RECEIPT.to_object()],
    *[({name: True}, RejectionReason.MALFORMED) for name in RECEIPT.to_object()],
    *[({name: "1"}, RejectionReason.MALFORMED) for name in ("version", "chain_id", "started_at", "finished_at")],
    *[({name: 1.0}, RejectionReason.MALFORMED) for name in ("version", "chain_id", "started_at", "finished_at")],
    *[({name: 1}, RejectionReason.MALFORMED) for name in ("amount", "price_per_unit", "provider", "job_id", "nonce")],
    ({"units": "1.250001"}, RejectionReason.MALFORMED),
    # Units
    ({"units": 1.2500001}, RejectionReason.INVALID_RECEIPT),  # 7 decimals
    ({"units": 1.25}, RejectionReason.INVALID_RECEIPT),  # Not what the amount was computed from.
    ({"units": -1}, RejectionReason.INVALID_RECEIPT),
    ({"units": -1.250001}, RejectionReason.INVALID_RECEIPT),
    ({"units": 10**9 + 1}, RejectionReason.INVALID_RECEIPT),
    ({"units": 1e300}, RejectionReason.INVALID_RECEIPT),
    ({"units": 1e-300}, RejectionReason.INVALID_RECEIPT),
    # Numbers out of bounds
    ({"version": 0}, RejectionReason.INVALID_RECEIPT),
    ({"version": 2}, RejectionReason.INVALID_RECEIPT),
    ({"version": 10**4_000}, RejectionReason.INVALID_RECEIPT),
    ({"chain_id": 0}, RejectionReason.INVALID_RECEIPT),
    ({"chain_id": -1}, RejectionReason.INVALID_RECEIPT),
    ({"chain_id": 2**32}, RejectionReason.INVALID_RECEIPT),
    ({"started_at": -1}, RejectionReason.INVALID_RECEIPT),
    ({"started_at": 1_760_000_003}, RejectionReason.INVALID_RECEIPT),
    ({"finished_at": 2**41}, RejectionReason.INVALID_RECEIPT),
    ({"finished_at": 0}, RejectionReason.INVALID_RECEIPT),
    # Amounts
    ({"amount": "1250001000000000001"}, RejectionReason.INVALID_RECEIPT),
    ({"amount": "1250000999999999999"}, RejectionReason.INVALID_RECEIPT),
    ({"amount": "0"}, RejectionReason.INVALID_RECEIPT),
    ({"amount": "01250001000000000000"}, RejectionReason.NON_CANONICAL),
    ({"amount": "-1"}, RejectionReason.MALFORMED),
    ({"amount": "1.5"}, RejectionReason.MALFORMED),
    ({"amount": "1e18"}, RejectionReason.MALFORMED),
    ({"amount": ""}, RejectionReason.MALFORMED),
    ({"amount": "9" * 78}, RejectionReason.OUT_OF_RANGE),
    ({"price_per_unit": str(2**256 - 1)}, RejectionReason.INVALID_RECEIPT),  # The product leaves 256 bits.
    ({"price_per_unit": str(2**256)}, RejectionReason.OUT_OF_RANGE),
    # Texts
    *[({name: ""}, RejectionReason.INVALID_RECEIPT) for name in ("job_id", "client", "model", "nonce")],
    *[({name: "x" * 65}, RejectionReason.INVALID_RECEIPT) for name in ("job_id", "nonce", "hub_id")],
    *[({name: "x" * 257}, RejectionReason.INVALID_RECEIPT) for name in ("client", "model")],
    *[
        ({name: text}, RejectionReason.INVALID_RECEIPT)
        for name in ("job_id", "client", "model", "nonce", "hub_id", "unit_type", "prompt_hash", "artifact_sha256")
        for text in ("a b", "a\n", "a\0", "ä", "\ud800", "\u202e", "\U0001d4b3")
    ],
    ({"unit_type": "seconds"}, RejectionReason.INVALID_RECEIPT),
    ({"prompt_hash": "ab" * 32}, RejectionReason.INVALID_RECEIPT),
    ({"prompt_hash": "sha256:" + "AB" * 32}, RejectionReason.INVALID_RECEIPT),
    ({"prompt_hash": "sha256:" + "ab" * 31}, RejectionReason.INVALID_RECEIPT),
    ({"artifact_sha256": "CD" * 32}, RejectionReason.INVALID_RECEIPT),
    ({"artifact_sha256": "cd" * 33}, RejectionReason.INVALID_RECEIPT),
    # Other spellings of the same bytes
    ({"provider": to_hex(PROVIDER.address)}, RejectionReason.NON_CANONICAL),
    ({"provider": "0x" + PROVIDER.address.hex().upper()}, RejectionReason.NON_CANONICAL),
    ({"provider": to_checksum_address(PROVIDER.address).swapcase().replace("X", "x")}, RejectionReason.MALFORMED),
    ({"provider": "0x" + "01" * 19}, RejectionReason.MALFORMED),
    ({"request_hash": "0x" + "0A" * 32}, RejectionReason.NON_CANONICAL),
    ({"request_hash": "03" * 32}, RejectionReason.MALFORMED),
    ({"request_hash": "0x" + "03" * 31}, RejectionReason.MALFORMED),
    # The client's signature
    ({"client_signature": None}, RejectionReason.MALFORMED),
    ({"client_signature": ""}, RejectionReason.MALFORMED),
    ({"client_signature": SIGNED_REQUEST["client_signature"]}, RejectionReason.MALFORMED),  # "demo" has no key.
    ({**SIGNED_REQUEST, "client": to_hex(CLIENT.address)}, RejectionReason.INVALID_RECEIPT),
    ({**SIGNED_REQUEST, "client_signature": "0x" + "11" * 64}, RejectionReason.MALFORMED),
    ({**SIGNED_REQUEST, "client_signature": "0x" + "11" * 65}, RejectionReason.BAD_SIGNATURE),
    ({**SIGNED_REQUEST, "client_signature": _TWIN}, RejectionReason.HIGH_S),
    (
        {**SIGNED_REQUEST, "client_signature": "0x" + SIGNED_REQUEST["client_signature"][2:].upper()},
        RejectionReason.NON_CANONICAL,
    ),
    # Trajectory and shards
    *[
        ({name: wrong}, RejectionReason.MALFORMED)
        for name in ("trajectory_root", "shards")
        for wrong in (None, True, 1)
    ],
    ({"trajectory_root": "0x" + "0E" * 32}, RejectionReason.NON_CANONICAL),
    ({"trajectory_root": "0x" + "0e" * 31}, RejectionReason.MALFORMED),
    ({"trajectory_root": []}, RejectionReason.MALFORMED),
    ({"shards": {}}, RejectionReason.MALFORMED),
    ({"shards": []}, RejectionReason.INVALID_RECEIPT),
    ({**SPLIT, "shards": SHARDS[:1]}, RejectionReason.INVALID_RECEIPT),
    ({**SPLIT, "shards": SHARDS[::-1]}, RejectionReason.INVALID_RECEIPT),  # Other order, other artifact.
    ({**SPLIT, "shards": [*SHARDS, SHARDS[1] | {"units": 0}]}, RejectionReason.INVALID_RECEIPT),
    ({**SPLIT, "shards": SHARDS * 33}, RejectionReason.INVALID_RECEIPT),
    ({**SPLIT, "shards": [1] * 1_000}, RejectionReason.INVALID_RECEIPT),
    ({**SPLIT, "shards": [[], {}]}, RejectionReason.MALFORMED),
    ({"shards": SHARDS}, RejectionReason.INVALID_RECEIPT),  # Not what artifact_sha256 was made from.
    (_split(units=0.000002), RejectionReason.INVALID_RECEIPT),
    (_split(units=-0.000001), RejectionReason.INVALID_RECEIPT),
    (_split(units="0.000001"), RejectionReason.MALFORMED),
    (_split(artifact_sha256="cd" * 32), RejectionReason.INVALID_RECEIPT),
    (_split(provider=to_hex(CLIENT.address)), RejectionReason.NON_CANONICAL),
    (_split(receipt_hash="0x" + "0D" * 32), RejectionReason.NON_CANONICAL),
    (_split(receipt_hash=None), RejectionReason.MALFORMED),
    (_split(more=1), RejectionReason.UNKNOWN_FIELD),
    (
        {**SPLIT, "shards": [SHARDS[0] | {"provider": SIGNED_REQUEST["client"]}, SHARDS[1]]},
        RejectionReason.INVALID_RECEIPT,  # The receipt's own provider had no part in it.
    ),
    # Unknown fields
    ({"extra": 1}, RejectionReason.UNKNOWN_FIELD),
    ({"Amount": "1"}, RejectionReason.UNKNOWN_FIELD),
    ({"": 1}, RejectionReason.UNKNOWN_FIELD),
    ({"\ud800": 1}, RejectionReason.UNKNOWN_FIELD),
    ({"x" * 3_000: 1}, RejectionReason.UNKNOWN_FIELD),
]


@pytest.mark.parametrize(("changes", "reason"), FAULTS, ids=range(len(FAULTS)))
def test_faulty_receipts(changes: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    fields = {**RECEIPT.to_object(), **changes}

    assert reason_of(Receipt.from_object, fields) is reason
    assert reason_of(Receipt.from_json, json.dumps(fields)) is reason


@pytest.mark.parametrize("units", [float("nan"), float("inf"), -float("inf"), 10**4_000, Decimal("sNaN")])
def test_numbers_that_json_cannot_carry(units: object, reason_of: ReasonOf) -> None:
    fields = {**RECEIPT.to_object(), "units": units}
    assert reason_of(Receipt.from_object, fields) is RejectionReason.INVALID_RECEIPT


@pytest.mark.parametrize("name", RECEIPT.to_object())
def test_every_field_is_required(name: str, reason_of: ReasonOf) -> None:
    fields = RECEIPT.to_object()
    del fields[name]
    assert reason_of(Receipt.from_object, fields) is RejectionReason.MISSING_FIELD


def _with_units(number: str) -> str:
    return CANONICAL.replace('"units":1.250001', f'"units":{number}')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", RejectionReason.MALFORMED),
        ("null", RejectionReason.MALFORMED),
        ("[]", RejectionReason.MALFORMED),
        ('"receipt"', RejectionReason.MALFORMED),
        ("1", RejectionReason.MALFORMED),
        ("{}", RejectionReason.MISSING_FIELD),
        (CANONICAL + "x", RejectionReason.MALFORMED),
        (CANONICAL + CANONICAL, RejectionReason.MALFORMED),
        (CANONICAL[:-1], RejectionReason.MALFORMED),
        (CANONICAL[:-1] + ",}", RejectionReason.MALFORMED),
        (CANONICAL.replace('"', "'"), RejectionReason.MALFORMED),
        ("\ufeff" + CANONICAL, RejectionReason.MALFORMED),
        (CANONICAL[:-1] + ',"units":1.250001}', RejectionReason.DUPLICATE_KEY),
        ('{"amount":"1",' + CANONICAL[1:], RejectionReason.DUPLICATE_KEY),
        ('{"am\\u006funt":"1",' + CANONICAL[1:], RejectionReason.DUPLICATE_KEY),
        ('{"x":{"a":1,"a":2},' + CANONICAL[1:], RejectionReason.DUPLICATE_KEY),
        ('{"shards":[{"units":1,"units":1}],' + CANONICAL[1:], RejectionReason.DUPLICATE_KEY),
        (_with_units("NaN"), RejectionReason.MALFORMED),
        (_with_units("Infinity"), RejectionReason.MALFORMED),
        (_with_units("-Infinity"), RejectionReason.MALFORMED),
        (_with_units("1e400"), RejectionReason.INVALID_RECEIPT),
        (_with_units("1e-400"), RejectionReason.INVALID_RECEIPT),
        (_with_units("1e-999999999"), RejectionReason.INVALID_RECEIPT),
        (_with_units("1e999999999"), RejectionReason.INVALID_RECEIPT),
        (_with_units("0e999999999"), RejectionReason.INVALID_RECEIPT),  # Zero: the amount says otherwise.
        (_with_units("1e99999999999999999999"), RejectionReason.MALFORMED),
        (_with_units("1e-99999999999999999999"), RejectionReason.MALFORMED),
        (_with_units("9" * 100_000), RejectionReason.TOO_LARGE),
        (_with_units("9" * 7_000), RejectionReason.MALFORMED),  # More digits than Python reads into an integer.
        (_with_units("0." + "9" * 7_000), RejectionReason.INVALID_RECEIPT),
        (_with_units("1.2500010000000000000000001"), RejectionReason.INVALID_RECEIPT),
        (_with_units("01.250001"), RejectionReason.MALFORMED),
        (_with_units("+1.250001"), RejectionReason.MALFORMED),
        (_with_units("1_250001e-6"), RejectionReason.MALFORMED),
        (_with_units("true"), RejectionReason.MALFORMED),
        (_with_units('"1.250001"'), RejectionReason.MALFORMED),
        (_with_units("[" * 5_000), RejectionReason.MALFORMED),
        (_with_units('{"a":' * 1_500), RejectionReason.MALFORMED),
        (CANONICAL.replace("tiny-sd", "\\ud800"), RejectionReason.INVALID_RECEIPT),
        (CANONICAL.replace("tiny-sd", "\ud800"), RejectionReason.INVALID_RECEIPT),
        (CANONICAL.replace("tiny-sd", "\\u0000"), RejectionReason.INVALID_RECEIPT),
        (CANONICAL.encode("utf-16"), RejectionReason.MALFORMED),
        (CANONICAL.encode("utf-32-le"), RejectionReason.MALFORMED),
        (CANONICAL.encode("utf-8-sig"), RejectionReason.MALFORMED),
        (CANONICAL.replace("tiny-sd", "ä").encode("latin-1"), RejectionReason.MALFORMED),
        (CANONICAL.encode() + b"\0", RejectionReason.MALFORMED),
        (b" " * MAX_RECEIPT_BYTES + CANONICAL.encode(), RejectionReason.TOO_LARGE),
    ],
)
def test_faulty_json(text: str | bytes, reason: RejectionReason, reason_of: ReasonOf) -> None:
    started = time.thread_time()
    assert reason_of(Receipt.from_json, text) is reason
    assert time.thread_time() - started < 1


@pytest.mark.parametrize("number", ["1.250001", "1.2500010", "1250001e-6", "0.01250001E2", "1.250001e+0"])
def test_other_layouts_of_the_same_number_mean_the_same(number: str) -> None:
    assert Receipt.from_json(_with_units(number)).hash == RECEIPT.hash


@pytest.mark.parametrize("split", [{}, SPLIT], ids=["whole", "split"])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_canonicalises_an_accepted_receipt_gets_its_hash(
    seed: int, split: dict[str, Any], reason_of: ReasonOf, mutations: Mutations
) -> None:
    accepted = 0
    good = Receipt.from_object({**RECEIPT.to_object(), **split}).canonical_bytes()
    for mutated in mutations(good, 2_500, seed):
        if reason_of(Receipt.from_json, mutated) is None:
            accepted += 1
            assert keccak256(rfc8785.dumps(json.loads(mutated))) == Receipt.from_json(mutated).hash
    assert accepted > 20  # Else the mutations would say nothing about what is accepted.


def test_a_built_receipt_is_checked_like_a_read_one(reason_of: ReasonOf) -> None:
    fields = {name: getattr(RECEIPT, name) for name in RECEIPT.__struct_fields__}
    for changes in (
        {"micro_units": -1},
        {"micro_units": MAX_MICRO_UNITS + 1},
        {"price_per_unit": -(10**18), "amount": -1_250_001 * 10**12},
        {"price_per_unit": MAX_UINT256 + 1, "micro_units": 0, "amount": 0},
        {"job_id": "two words"},
        {"chain_id": 2**32},
    ):
        assert reason_of(Receipt(**{**fields, **changes}).checked) is RejectionReason.INVALID_RECEIPT
