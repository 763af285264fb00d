"""A provider's signed statement of its service level: one spelling, one hash, its provider's signature or nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.sla import MAX_STATEMENT_BYTES, ServiceLevel, SignedServiceLevel, sign_service_level
from chain.primitives.types import Amount

KEY, STRANGER = PrivateKey(b"\x01" * 32), PrivateKey(b"\x02" * 32)
STATEMENT = ServiceLevel(
    chain_id=3_141_592_653,
    provider=KEY.address,
    endpoint="https://gpu.example:8443",
    availability_basis_points=9_950,
    p95_latency_ms=30_000,
    price_per_unit=Amount(5 * 10**15),
    unit_type="gpu_seconds",
    valid_from=1_760_000_000,
    valid_until=1_767_776_000,
).checked()


def document(**changes: Any) -> dict[str, Any]:
    """The signed document with members of its statement replaced, and the old signature."""
    signed = sign_service_level(KEY, STATEMENT).to_object()
    return {**signed, "statement": {**signed["statement"], **changes}}


def refusal(text: bytes | dict[str, Any]) -> RejectionReason:
    with pytest.raises(Rejected) as caught:
        SignedServiceLevel.from_json(text if isinstance(text, bytes) else json.dumps(text).encode())
    return caught.value.reason


def test_what_is_signed_is_read_back() -> None:
    signed = sign_service_level(KEY, STATEMENT)
    assert SignedServiceLevel.from_json(json.dumps(signed.to_object(), indent=3).encode()) == signed
    # Pinned: what the registry links to must not change with this code.
    assert to_hex(STATEMENT.hash) == "0xcad142f6fed1a2636e30ee68d247127a0a92835aa7e0a995db45baae366a2bba"


def test_it_holds_from_its_first_second_to_before_its_last() -> None:
    for time_s, holds in ((1_759_999_999, False), (1_760_000_000, True), (1_767_775_999, True), (1_767_776_000, False)):
        assert STATEMENT.holds_at(time_s) is holds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chain_id", 0),
        ("chain_id", 2**32),
        ("endpoint", "ftp://gpu.example"),
        ("endpoint", "https://" + "x" * 241),
        ("endpoint", "https://a b"),
        ("availability_basis_points", 0),
        ("availability_basis_points", 10_001),
        ("p95_latency_ms", 0),
        ("p95_latency_ms", 86_400_001),
        ("price_per_unit", str(2**128 + 1)),
        ("unit_type", "smiles"),
        ("valid_from", -1),
        ("valid_from", 1_767_776_000),
        ("valid_until", 2**40 + 1),
        ("version", 2),
    ],
)
def test_what_is_out_of_bounds_is_refused(name: str, value: Any) -> None:
    assert refusal(document(**{name: value})) is RejectionReason.INVALID_REGISTRATION


@pytest.mark.parametrize("name", [name for name in STATEMENT.to_object() if name != "version"])
def test_every_member_is_signed(name: str) -> None:
    changed = {
        "provider": to_checksum_address(STRANGER.address),
        "endpoint": "https://gpu.example",
        "price_per_unit": "1",
        "unit_type": "images",
    }
    value = changed.get(name) or STATEMENT.to_object()[name] + 1
    assert refusal(document(**{name: value})) is RejectionReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", RejectionReason.MALFORMED),
        (b"\xff", RejectionReason.MALFORMED),
        (b"[" * 4_000, RejectionReason.TOO_LARGE),
        (b"[]", RejectionReason.MALFORMED),
        (b"1" * 4_000, RejectionReason.MALFORMED),
        (b" " * (MAX_STATEMENT_BYTES + 1), RejectionReason.TOO_LARGE),
        (b'{"statement": 1, "statement": 2, "signature": ""}', RejectionReason.DUPLICATE_KEY),
        (b'{"statement": NaN, "signature": ""}', RejectionReason.MALFORMED),
        (b'{"statement": {}, "signature": ""}', RejectionReason.MISSING_FIELD),
        ({**document(), "more": 1}, RejectionReason.UNKNOWN_FIELD),
        ({**document(), "signature": "0x00"}, RejectionReason.MALFORMED),
        ({**document(), "signature": "0x" + "00" * 65}, RejectionReason.BAD_SIGNATURE),
        (document(more=1), RejectionReason.UNKNOWN_FIELD),
        (document(p95_latency_ms=True), RejectionReason.MALFORMED),
        (document(p95_latency_ms=1.5), RejectionReason.MALFORMED),
        (document(price_per_unit=5), RejectionReason.MALFORMED),
        (document(provider=to_hex(KEY.address)), RejectionReason.NON_CANONICAL),
    ],
)
def test_what_is_no_statement_is_refused(text: bytes | dict[str, Any], reason: RejectionReason) -> None:
    assert refusal(text) is reason


def test_another_keys_signature_is_refused() -> None:
    signed = sign_service_level(STRANGER, STATEMENT)
    assert refusal(signed.to_object()) is RejectionReason.BAD_SIGNATURE
    theirs = sign_service_level(STRANGER, msgspec.structs.replace(STATEMENT, provider=STRANGER.address))
    assert SignedServiceLevel.from_json(json.dumps(theirs.to_object()).encode()).statement.provider == STRANGER.address
