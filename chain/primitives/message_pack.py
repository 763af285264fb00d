"""Canonical MessagePack: arrays only, integers of at most 64 bits in shortest form, amounts as minimal bytes.

msgspec accepts more than it emits, so what comes from outside is decoded, encoded again and compared.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Amount

T = TypeVar("T")

_encoder: Final = msgspec.msgpack.Encoder()

encode = _encoder.encode
"""MessagePack of lists, tuples, integers, byte strings, strings and array-like Structs of these."""


@cache
def _decoder(expected: Hashable) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(cast("type[Any]", expected), strict=True)


def decode_trusted(encoded: bytes, expected: type[T]) -> T:
    """Decodes what this node has written itself; raises Rejected where it is not of that type."""
    try:
        value: T = _decoder(cast("Hashable", expected)).decode(encoded)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:  # ValidationError is a DecodeError.
        raise Rejected(RejectionReason.MALFORMED, f"MessagePack: {error}") from None
    return value


def decode(encoded: bytes, expected: type[T]) -> T:
    """Decodes what comes from outside; raises Rejected unless `encoded` is the canonical form of such a value."""
    value = decode_trusted(encoded, expected)
    if encode(value) != encoded:
        raise Rejected(RejectionReason.NON_CANONICAL, "MessagePack: not in canonical form")
    return value


def amount_to_bytes(amount: int) -> bytes:
    """Minimal big-endian bytes; 0 is empty."""
    return amount.to_bytes((amount.bit_length() + 7) // 8, "big")


def amount_from_bytes(octets: bytes) -> Amount:
    """The inverse; raises Rejected for more than 32 bytes or leading zeros."""
    if len(octets) > 32 or octets[:1] == b"\0":
        raise Rejected(RejectionReason.NON_CANONICAL, "an amount is at most 32 bytes without leading zeros")
    return Amount(int.from_bytes(octets, "big"))
