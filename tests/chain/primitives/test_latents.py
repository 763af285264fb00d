"""Latents as bytes: widened without loss, compared as a tensor library compares them, and nothing that is no number."""

import math
import struct
from random import Random

import pytest

from chain.primitives.latents import compare_latents, narrowed, read_values, root_mean_square, widened
from chain.primitives.rejection import Rejected


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def test_widened_float16_and_bfloat16_are_the_same_values() -> None:
    values = (0.0, -0.0, 1.0, -2.5, 0.333251953125, 65_504.0, 6e-8)
    halves = struct.pack(f"<{len(values)}e", *values)
    assert list(read_values(widened(halves, "float16"), "float32")) == list(struct.unpack(f"<{len(values)}e", halves))
    shortened = b"".join(floats(value)[2:] for value in (1.0, -2.0, 3.5, 1e30))
    assert list(read_values(shortened, "bfloat16")) == pytest.approx([1.0, -2.0, 3.5, 1e30], rel=2**-7)
    assert widened(floats(1.5), "float32") == floats(1.5)


def test_narrowed_rounds_to_even_and_never_to_infinity() -> None:
    values = (0.0, -0.0, 1.0, -2.5, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8 + 2**-20), 3.3e38, -3.4e38)
    found = list(read_values(narrowed(floats(*values), "bfloat16"), "bfloat16"))
    assert found[:7] == [0.0, -0.0, 1.0, -2.5, 1.0, 1 + 2**-6, -(1 + 2**-7)]
    assert found[7:] == pytest.approx([3.3e38, -3.39e38], rel=2**-7)
    halves = list(read_values(narrowed(floats(1.0, 1 + 2**-11, 1 + 3 * 2**-11, 1e6, -1e6), "float16"), "float16"))
    assert halves == [1.0, 1.0, 1 + 2**-9, 65_504.0, -65_504.0]
    assert narrowed(floats(1.5), "float32") == floats(1.5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrowed_gives_back_what_was_widened(dtype: str) -> None:
    bits = range(0, 0x7C00 if dtype == "float16" else 0x7F80, 7)  # Every finite value from zero on, and its negative.
    raw = struct.pack(f"<{2 * len(bits)}H", *bits, *(word | 0x8000 for word in bits))
    assert narrowed(widened(raw, dtype), dtype) == raw


def test_nothing_that_is_no_number_is_narrowed() -> None:
    for raw, dtype in ((floats(math.nan), "bfloat16"), (floats(math.inf), "float16"), (floats(1.0), "float64")):
        with pytest.raises(Rejected):
            narrowed(raw, dtype)


def test_distance() -> None:
    distance = compare_latents(floats(3.0, 4.0), floats(3.0, 4.5), "float32")
    assert (distance.max_abs, distance.mean_abs) == (0.5, 0.25)
    assert distance.relative == pytest.approx(0.5 / 5.0)
    assert compare_latents(floats(1.0, 2.0), floats(1.0, 2.0), "float32").relative == 0.0


def test_huge_claims_do_not_make_a_difference_small() -> None:
    claimed, again = floats(3e6, 4e6), floats(3e6, 4e6 + 1)
    assert compare_latents(claimed, again, "float32").relative < 1e-6
    assert compare_latents(claimed, again, "float32", 5 / math.sqrt(2)).relative == pytest.approx(0.2, rel=0.3)


def test_as_in_arithmetic_with_numbers() -> None:
    random = Random(5)
    first = [random.gauss(0, 1) for _ in range(16_384)]
    second = [value + random.gauss(0, 1e-3) for value in first]
    found = compare_latents(floats(*first), floats(*second), "float32").relative
    assert found == pytest.approx(
        math.sqrt(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / sum(a**2 for a in first)), rel=1e-4
    )
    assert root_mean_square(first) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize(
    ("left", "right", "dtype"),
    [
        (b"", b"", "float32"),
        (b"\0" * 4, b"\0" * 8, "float32"),
        (b"\0" * 6, b"\0" * 6, "float32"),
        (b"\0" * 3, b"\0" * 3, "bfloat16"),
        (b"\0" * 4, b"\0" * 4, "float64"),
        (floats(math.nan), floats(0.0), "float32"),
        (floats(0.0), floats(math.inf), "float32"),
        (b"\x80\x7f", b"\0\0", "bfloat16"),
        (b"\0\x7e", b"\0\0", "float16"),
    ],
)
def test_what_cannot_be_compared(left: bytes, right: bytes, dtype: str) -> None:
    with pytest.raises(Rejected):
        compare_latents(left, right, dtype)
