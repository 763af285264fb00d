"""RLP: whatever the rlp package's strict decoder accepts is accepted with the same meaning, and nothing else is."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rlp as reference
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chain.primitives import rlp
from chain.primitives.rejection import RejectionReason

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

octets = st.one_of(st.binary(max_size=60), st.binary(min_size=54, max_size=300), st.binary(min_size=1, max_size=1))
items: st.SearchStrategy[Any] = st.recursive(octets, lambda inner: st.lists(inner, max_size=6), max_leaves=12)


def _depth(item: rlp.Item) -> int:
    return 0 if isinstance(item, bytes) else 1 + max(map(_depth, item), default=0)


def _thaw(item: Any) -> rlp.Item:
    return bytes(item) if isinstance(item, (bytes, bytearray)) else [_thaw(element) for element in item]


def _agrees_with_reference(encoded: bytes, reason_of: ReasonOf) -> bool:
    """Checks that both decoders say the same; whether they accept."""
    try:
        theirs = _thaw(reference.decode(encoded, strict=True))
    except reference.exceptions.DecodingError:
        assert reason_of(rlp.decode, encoded) is not None
        return False
    if _depth(theirs) > rlp.MAX_DEPTH:
        assert reason_of(rlp.decode, encoded) is RejectionReason.TOO_LARGE
        return False
    assert rlp.decode(encoded) == theirs
    assert rlp.encode(theirs) == encoded
    return True


@settings(max_examples=400)
@given(items)
@example([[[[[[[[b""]]]]]]]])
@example([[[[[[[[[b""]]]]]]]]])
@example([b"\x00", b"\x7f", b"\x80", b"", [], b"a" * 55, b"a" * 56, [b"a" * 55], b"a" * 256])
def test_encoding_agrees_with_the_rlp_package(item: Any) -> None:
    encoded = rlp.encode(item)

    assert encoded == reference.encode(item)
    if _depth(item) <= rlp.MAX_DEPTH:
        assert rlp.decode(encoded) == item
    if isinstance(item, bytes):
        assert rlp.encoded_length(item) == len(encoded)


@pytest.mark.parametrize("seed", range(6))
def test_decoding_mutated_bytes_agrees_with_the_rlp_package(
    seed: int, reason_of: ReasonOf, mutations: Mutations
) -> None:
    good = rlp.encode([b"\x01", b"", b"\x80" * 2, b"x" * 60, [b"\x02", [b"y" * 58], []], b"\x7f"])
    accepted = sum(_agrees_with_reference(mutated, reason_of) for mutated in mutations(good, 1_500, seed))
    assert accepted > 100  # Else the mutations would say nothing about what is accepted.


def test_decoding_random_bytes_agrees_with_the_rlp_package(reason_of: ReasonOf) -> None:
    generator = random.Random(7)
    for _ in range(3_000):
        _agrees_with_reference(generator.randbytes(generator.randrange(1, 12)), reason_of)


@settings(max_examples=300)
@given(st.integers(0, 2**256 - 1))
def test_integers_agree_with_the_rlp_package(number: int) -> None:
    encoded = rlp.encode_integer(number)
    assert encoded == reference.sedes.big_endian_int.serialize(number)
    assert rlp.decode_integer(encoded, 2**256 - 1, "number") == number


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", RejectionReason.MALFORMED),
        ("8100", RejectionReason.NON_CANONICAL),  # One small byte with a length of its own.
        ("817f", RejectionReason.NON_CANONICAL),
        ("c3817f01", RejectionReason.NON_CANONICAL),
        ("b801ff", RejectionReason.NON_CANONICAL),  # A long form for a short string.
        ("b837" + "00" * 55, RejectionReason.NON_CANONICAL),
        ("b90038" + "00" * 56, RejectionReason.NON_CANONICAL),  # A length with leading zeros.
        ("f800", RejectionReason.NON_CANONICAL),
        ("f837" + "00" * 55, RejectionReason.NON_CANONICAL),
        ("f90038" + "00" * 56, RejectionReason.NON_CANONICAL),
        ("8000", RejectionReason.NON_CANONICAL),  # Bytes after the end.
        ("c000", RejectionReason.NON_CANONICAL),
        ("0000", RejectionReason.NON_CANONICAL),
        ("81", RejectionReason.MALFORMED),  # Cut off.
        ("82ff", RejectionReason.MALFORMED),
        ("b8", RejectionReason.MALFORMED),
        ("b838", RejectionReason.MALFORMED),
        ("c1", RejectionReason.MALFORMED),
        ("f8", RejectionReason.MALFORMED),
        ("ff" + "ff" * 8, RejectionReason.MALFORMED),  # 2^64 − 1 bytes to come.
        ("bf" + "ff" * 8, RejectionReason.MALFORMED),
        ("c281ff80", RejectionReason.NON_CANONICAL),
        ("c182ffff", RejectionReason.MALFORMED),  # An item that reaches out of its list.
        ("c2b838" + "00" * 56, RejectionReason.MALFORMED),
        ("c1b8", RejectionReason.MALFORMED),
        ("c9" * 9 + "c0", RejectionReason.MALFORMED),
    ],
)
def test_length_tricks_are_refused(encoded: str, reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(rlp.decode, bytes.fromhex(encoded)) is reason


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"\x00", RejectionReason.NON_CANONICAL),
        (b"\x00\x01", RejectionReason.NON_CANONICAL),
        (b"\x01" + bytes(32), RejectionReason.OUT_OF_RANGE),
        (b"\xff" * 30_000, RejectionReason.OUT_OF_RANGE),
        ([], RejectionReason.MALFORMED),
        ([b"\x01"], RejectionReason.MALFORMED),
        (b"", None),
    ],
)
def test_integers_have_one_form(field: rlp.Item, reason: RejectionReason | None, reason_of: ReasonOf) -> None:
    assert reason_of(rlp.decode_integer, field, 2**256 - 1, "number") is reason


def test_deep_nesting_is_refused_before_it_recurses(reason_of: ReasonOf) -> None:
    deep: bytes = b""
    for _ in range(5_000):
        deep = rlp.wrap_list(deep)
    assert reason_of(rlp.decode, deep) is RejectionReason.TOO_LARGE
