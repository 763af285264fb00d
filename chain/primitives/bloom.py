"""The bloom filter over a block's or a receipt's logs, as Ethereum defines it (Yellow Paper, section 4.3.1, M3:2048).

Nothing here is part of consensus: clients may look into it before they ask for logs.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from chain.primitives.block import Log
from chain.primitives.hashing import keccak256

BLOOM_BYTES: Final = 256
_BIT_MASK: Final = 8 * BLOOM_BYTES - 1
_CACHED_VALUES: Final = 1_024
"""Modules and events are few, and in every log."""


def logs_bloom(logs: Iterable[Log]) -> bytes:
    """256 bytes in which each address and each topic has set its three bits."""
    values: set[bytes] = set()
    for log in logs:
        values.add(log.address)
        values.update(log.topics)
    bits = 0
    for value in values:
        bits |= _bits_of(value)
    return bits.to_bytes(BLOOM_BYTES, "big")


@lru_cache(_CACHED_VALUES)
def _bits_of(value: bytes) -> int:
    """The eleven low bits of each of the digest's first three pairs of bytes name a bit, the least significant is 0."""
    digest = keccak256(value)
    bits = 0
    for start in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[start : start + 2], "big") & _BIT_MASK)
    return bits
