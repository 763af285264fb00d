"""Canonical MessagePack: one encoding of each value, exact types, and no exception but Rejected."""

import random
import struct
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chain.primitives import message_pack
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import MAX_UINT256

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(-(2**63), 2**64 - 1), st.binary(max_size=300), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=20),
    max_leaves=30,
)


def _specified(value: Any) -> bytes:
    """MessagePack as its specification has it, each value in its shortest form."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        for low, high, form in (
            (0, 127, "B"),
            (-32, -1, "b"),
            (0, 2**8 - 1, ">BB"),
            (0, 2**16 - 1, ">BH"),
            (0, 2**32 - 1, ">BI"),
            (0, 2**64 - 1, ">BQ"),
            (-(2**7), -1, ">Bb"),
            (-(2**15), -1, ">Bh"),
            (-(2**31), -1, ">Bi"),
            (-(2**63), -1, ">Bq"),
        ):
            if low <= value <= high:
                prefix = {"B": 0xCC, "H": 0xCD, "I": 0xCE, "Q": 0xCF, "b": 0xD0, "h": 0xD1, "i": 0xD2, "q": 0xD3}
                return struct.pack(form, value) if len(form) == 1 else struct.pack(form, prefix[form[-1]], value)
    length = len(value)
    if isinstance(value, bytes):
        form = ">BB" if length < 2**8 else ">BH"
        return struct.pack(form, 0xC4 if length < 2**8 else 0xC5, length) + value
    head = bytes((0x90 + length,)) if length < 16 else struct.pack(">BH", 0xDC, length)
    return head + b"".join(map(_specified, value))


@settings(max_examples=200)
@given(values)
@example([0, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**63 - 1, -1, -32, -33])
def test_encoding_follows_the_specification(value: Any) -> None:
    assert message_pack.encode(value) == _specified(value)


class Sample(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A little of everything that the chain's structures hold."""

    number: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    octets: Annotated[bytes, msgspec.Meta(min_length=2, max_length=2)]
    parts: tuple[bytes, ...]
    flag: bool
    name: str


GOOD = Sample(5, b"ab", (b"", b"c"), True, "n")
# [5, bin "ab", [bin "", bin "c"], true, "n"]
ENCODED = bytes.fromhex("95 05 c4026162 92 c400 c40163 c3 a16e")


def test_a_structure_is_an_array_of_its_fields() -> None:
    assert message_pack.encode(GOOD) == ENCODED
    assert message_pack.decode(ENCODED, Sample) == GOOD


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        # The same values in longer forms.
        ("95 cc05 c4026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 cd0005 c4026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 ce00000005 c4026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 cf0000000000000005 c4026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 d005 c4026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 d30000000000000005 c4026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 05 c500026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 05 c6000000026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 05 c4026162 dc0002 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 05 c4026162 dd00000002 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        ("95 05 c4026162 92 c400 c40163 c3 d9016e", RejectionReason.NON_CANONICAL),
        ("dc0005 05 c4026162 92 c400 c40163 c3 a16e", RejectionReason.NON_CANONICAL),
        # Other types that mean the same to a careless reader.
        ("95 c3 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # true for 1
        ("95 ca40a00000 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # 5.0
        ("95 cb4014000000000000 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("95 a135 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # "5"
        ("95 c0 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # nil
        ("95 05 a26162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # text for bytes
        ("95 05 c4026162 92 c400 c40163 01 a16e", RejectionReason.MALFORMED),  # 1 for true
        ("95 05 c4026162 92 c400 c40163 c3 c4016e", RejectionReason.MALFORMED),  # bytes for text
        ("95 05 c4026162 82 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # a map
        ("85 05 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("95 d600 00000005 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # an extension
        ("95 d6ff 00000005 c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),  # a timestamp
        # Out of bounds.
        ("95 ff c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("95 cfffffffffffffffff c4026162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("95 05 c40161 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("95 05 c403616263 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("95 05 c4026162 92 c400 c40163 c3 a1ff", RejectionReason.MALFORMED),  # no UTF-8
        ("95 05 c4026162 92 c400 c40163 c3 a3eda080", RejectionReason.MALFORMED),  # a surrogate
        # Too little, too much, and promises.
        ("94 05 c4026162 92 c400 c40163 c3", RejectionReason.MALFORMED),
        ("96 05 c4026162 92 c400 c40163 c3 a16e 00", RejectionReason.MALFORMED),
        ("95 05 c4026162 92 c400 c40163 c3 a16e 00", RejectionReason.MALFORMED),
        ("95 05 c4026162 92 c400 c40163 c3", RejectionReason.MALFORMED),
        ("95 05 c4026162 ddffffffff c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("95 05 c6ffffffff6162 92 c400 c40163 c3 a16e", RejectionReason.MALFORMED),
        ("ddffffffff 05", RejectionReason.MALFORMED),
        ("c1", RejectionReason.MALFORMED),
        ("", RejectionReason.MALFORMED),
    ],
)
def test_another_encoding_is_refused(encoded: str, reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(message_pack.decode, bytes.fromhex(encoded), Sample) is reason


def test_deep_nesting_is_refused(reason_of: ReasonOf) -> None:
    for deep in (b"\x91" * 500_000, b"\x95\x05\xc4\x02ab" + b"\x91" * 500_000):
        assert reason_of(message_pack.decode, deep, Sample) is RejectionReason.MALFORMED
        assert reason_of(message_pack.decode, deep, list[bytes]) is RejectionReason.MALFORMED


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bytes_are_refused_or_canonical(seed: int, reason_of: ReasonOf, mutations: Mutations) -> None:
    for mutated in mutations(ENCODED, 3_000, seed):
        if reason_of(message_pack.decode, mutated, Sample) is None:
            assert message_pack.encode(message_pack.decode(mutated, Sample)) == mutated


def test_random_bytes_are_refused_or_canonical(reason_of: ReasonOf) -> None:
    generator = random.Random(3)
    for _ in range(5_000):
        encoded = generator.randbytes(generator.randrange(12))
        for expected in (Sample, list[bytes], tuple[int, ...], bytes, str, int, bool):
            if reason_of(message_pack.decode, encoded, expected) is None:
                assert message_pack.encode(message_pack.decode(encoded, expected)) == encoded


@given(st.integers(0, MAX_UINT256))
def test_amounts_are_minimal_bytes(amount: int) -> None:
    octets = message_pack.amount_to_bytes(amount)
    assert message_pack.amount_from_bytes(octets) == amount
    assert octets[:1] != b"\0"


def test_an_amount_has_one_form(reason_of: ReasonOf) -> None:
    for octets in (b"\0", b"\0\1", b"\1" + bytes(32)):
        assert reason_of(message_pack.amount_from_bytes, octets) is RejectionReason.NON_CANONICAL
    assert message_pack.amount_from_bytes(b"") == 0
