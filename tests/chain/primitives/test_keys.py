"""Keys and signatures: agreement with eth-account, one form of signature, and every other form refused."""

import copy
from collections.abc import Callable

import coincurve
import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import keccak256
from chain.primitives.keys import (
    CURVE_ORDER,
    HALF_CURVE_ORDER,
    PrivateKey,
    address_of_public_key,
    check_signature_form,
    recover_address,
)
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import Hash32

ReasonOf = Callable[..., RejectionReason | None]

secrets_of_keys = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32).map(Hash32)

KEY = PrivateKey(b"\x11" * 32)
DIGEST = keccak256(b"digest")


def _signature(r: int, s: int, v: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((v,))


@settings(max_examples=400)
@given(secrets_of_keys, digests)
def test_signatures_and_addresses_agree_with_eth_account(secret: bytes, digest: Hash32) -> None:
    key = PrivateKey(secret)
    theirs = Account.unsafe_sign_hash(digest, secret)

    signature = key.sign(digest)

    assert signature == theirs.signature
    assert int.from_bytes(signature[32:64], "big") <= HALF_CURVE_ORDER
    assert "0x" + key.address.hex() == Account.from_key(secret).address.lower()
    assert recover_address(digest, signature) == key.address == address_of_public_key(key.public_key)


@settings(max_examples=300)
@given(digests, st.binary(min_size=64, max_size=64), st.sampled_from((27, 28)))
def test_random_signatures_recover_to_whom_coincurve_says_or_to_nobody(
    reason_of: ReasonOf, digest: Hash32, scalars: bytes, v: int
) -> None:
    signature = scalars + bytes((v,))
    if (reason := reason_of(recover_address, digest, signature)) is not None:
        assert reason in (RejectionReason.BAD_SIGNATURE, RejectionReason.HIGH_S)
        return
    theirs = coincurve.PublicKey.from_signature_and_message(scalars + bytes((v - 27,)), digest, hasher=None)
    assert recover_address(digest, signature) == keccak256(theirs.format(compressed=False)[1:])[12:]


def test_golden_signature() -> None:
    assert KEY.address.hex() == "19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"
    assert KEY.sign(DIGEST).hex() == (
        "13c76a355a478cad0deb6f105fae8f071456db5383dd7b980bbd90efc198762d"
        "3a7db94513b55a8709bbc88ff14e05140d2ba0a152c8f224347314304a9cc6cf1b"
    )


def test_the_twin_with_high_s_is_refused(reason_of: ReasonOf) -> None:
    signature = KEY.sign(DIGEST)
    s = int.from_bytes(signature[32:64], "big")
    twin = signature[:32] + (CURVE_ORDER - s).to_bytes(32, "big") + bytes((55 - signature[64],))

    assert reason_of(recover_address, DIGEST, twin) is RejectionReason.HIGH_S
    assert reason_of(check_signature_form, twin) is RejectionReason.HIGH_S


@pytest.mark.parametrize(
    ("r", "s", "v", "reason"),
    [
        (0, 1, 27, RejectionReason.BAD_SIGNATURE),
        (CURVE_ORDER, 1, 27, RejectionReason.BAD_SIGNATURE),
        (2**256 - 1, 1, 27, RejectionReason.BAD_SIGNATURE),
        (1, 0, 27, RejectionReason.BAD_SIGNATURE),
        (1, HALF_CURVE_ORDER + 1, 27, RejectionReason.HIGH_S),
        (1, CURVE_ORDER - 1, 27, RejectionReason.HIGH_S),
        (1, CURVE_ORDER, 27, RejectionReason.HIGH_S),
        (1, 2**256 - 1, 27, RejectionReason.HIGH_S),
        *[(1, 1, v, RejectionReason.BAD_SIGNATURE) for v in (0, 1, 2, 3, 26, 29, 30, 31, 35, 255)],
        (1, HALF_CURVE_ORDER, 27, None),
        (5, 1, 27, RejectionReason.BAD_SIGNATURE),  # No point of the curve has x = 5.
    ],
)
def test_only_one_form_of_signature_is_read(
    r: int, s: int, v: int, reason: RejectionReason | None, reason_of: ReasonOf
) -> None:
    assert reason_of(recover_address, DIGEST, _signature(r, s, v)) is reason
    if r != 5:  # Which has the right form; that it belongs to nobody shows only in the recovery.
        assert reason_of(check_signature_form, _signature(r, s, v)) is reason


@pytest.mark.parametrize("length", [0, 1, 63, 64, 66, 130, 10_000])
def test_a_signature_has_65_bytes(length: int, reason_of: ReasonOf) -> None:
    assert reason_of(recover_address, DIGEST, b"\x1b" * length) is RejectionReason.BAD_SIGNATURE


def test_a_signature_that_recovers_to_the_point_at_infinity_is_refused(reason_of: ReasonOf) -> None:
    # With R = G and s·R = digest·G the recovered key (s·R − digest·G) / r is no point at all.
    generator = coincurve.PublicKey.from_secret((1).to_bytes(32, "big")).format(compressed=False)
    r, y = int.from_bytes(generator[1:33], "big"), int.from_bytes(generator[33:], "big")
    digest = Hash32((7).to_bytes(32, "big"))

    assert reason_of(recover_address, digest, _signature(r, 7, 27 + y % 2)) is RejectionReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "secret", [b"", bytes(32), CURVE_ORDER.to_bytes(32, "big"), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33]
)
def test_what_is_no_secret_is_refused(secret: bytes, reason_of: ReasonOf) -> None:
    assert reason_of(PrivateKey, secret) is RejectionReason.MALFORMED


def test_a_public_key_is_a_point_in_one_of_two_forms(reason_of: ReasonOf) -> None:
    point = coincurve.PrivateKey(KEY.secret).public_key.format(compressed=False)
    assert address_of_public_key(point) == KEY.address

    hybrid = bytes((6 + point[64] % 2,)) + point[1:]
    off_the_curve = point[:64] + bytes((point[64] ^ 1,))
    for wrong in (b"", hybrid, off_the_curve, point[1:], b"\x05" + point[1:33], b"\x02" + bytes(32), b"\x02" * 34):
        assert reason_of(address_of_public_key, wrong) is RejectionReason.MALFORMED


def test_a_key_never_shows_its_secret() -> None:
    key = PrivateKey.generate()

    assert key.secret.hex() not in repr(key) + str(key) + repr([key])
    assert PrivateKey.generate().secret != key.secret
    assert copy.copy(key).sign(DIGEST) == key.sign(DIGEST)
