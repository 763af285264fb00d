"""Latents as bytes, read and compared without a tensor library: what a trajectory's opened entries are judged by.

The bytes are the values in order, little-endian, in the dtype that the reproducibility profile names.
"""

import math
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import sub
from typing import Final

from chain.primitives.rejection import Rejected, RejectionReason

BYTES_OF_DTYPE: Final = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Of one value, by the names that a profile uses."""

_LEAST_SCALE: Final = 1e-12
_FLOAT16_MAX: Final = 65504.0
_BFLOAT16_INFINITY: Final = 0x7F80


@dataclass(frozen=True, slots=True)
class LatentDistance:
    """How far two latents of one shape are apart."""

    max_abs: float
    mean_abs: float
    relative: float
    """The root mean square of the difference over that of the first, or over the expected one if that is less."""


def widened(raw: bytes, dtype: str) -> bytes:
    """The same values in float32, which holds those of the shorter types exactly; raises Rejected (malformed)."""
    _check(raw, dtype)
    if dtype == "float32":
        return raw
    if dtype == "bfloat16":  # The upper half of a float32.
        wide = bytearray(2 * len(raw))
        wide[2::4], wide[3::4] = raw[0::2], raw[1::2]
        return bytes(wide)
    count = len(raw) // 2
    return struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", raw))


def narrowed(raw: bytes, dtype: str) -> bytes:
    """Values in float32 rounded to `dtype`, to even, and no further than its largest; raises Rejected (malformed)."""
    values = read_values(raw, "float32")
    if dtype == "float32":
        return raw
    if dtype == "float16":
        return struct.pack(f"<{len(values)}e", *(min(max(value, -_FLOAT16_MAX), _FLOAT16_MAX) for value in values))
    if dtype != "bfloat16":
        raise _incomparable("in no precision that is known here")
    words = struct.unpack(f"<{len(values)}I", raw)
    # Half of the kept part's last place is added, less a bit where that part is even.
    rounded = ((word + 0x7FFF + (word >> 16 & 1)) >> 16 for word in words)
    halves = (half - 1 if half & 0x7FFF == _BFLOAT16_INFINITY else half for half in rounded)
    return struct.pack(f"<{len(values)}H", *halves)


def compare_latents(left: bytes, right: bytes, dtype: str, expected_rms: float = math.inf) -> LatentDistance:
    """`expected_rms` as the verifier's own model gives it for this entry of the trajectory.

    Without it, whoever made the first could make it huge, and so any difference small. Raises Rejected (malformed)
    where the two cannot be compared: other sizes, another dtype, values that are not finite.
    """
    if len(left) != len(right):
        raise _incomparable("of different sizes")
    first, second = read_values(left, dtype), read_values(right, dtype)
    count = len(first)
    differences = [abs(difference) for difference in map(sub, first, second)]
    scale = max(min(root_mean_square(first), expected_rms), _LEAST_SCALE)
    return LatentDistance(
        max_abs=max(differences),
        mean_abs=math.fsum(differences) / count,
        relative=math.dist(first, second) / math.sqrt(count) / scale,
    )


def read_values(raw: bytes, dtype: str) -> Sequence[float]:
    """The values; raises Rejected (malformed) for none, for half of one, and for any that is not finite."""
    values = array("f", widened(raw, dtype))
    if sys.byteorder == "big":
        values.byteswap()
    if not math.isfinite(math.hypot(*values)):
        raise _incomparable("with values that are not numbers")
    return values


def root_mean_square(values: Sequence[float]) -> float:
    """In double precision."""
    return math.hypot(*values) / math.sqrt(len(values))


def _check(raw: bytes, dtype: str) -> None:
    if dtype not in BYTES_OF_DTYPE:
        raise _incomparable("in no precision that is known here")
    if not raw or len(raw) % BYTES_OF_DTYPE[dtype]:
        raise _incomparable("that are no whole number of values")


def _incomparable(complaint: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"latents {complaint} cannot be compared", field="latents")
