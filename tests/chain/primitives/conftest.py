"""What the tests of the primitives share: the question why something was refused, and mutations of good bytes."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chain.primitives.rejection import Rejected, RejectionReason

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]


def _reason_of(action: Callable[..., object], *arguments: Any, **keywords: Any) -> RejectionReason | None:
    try:
        action(*arguments, **keywords)
    except Rejected as rejected:
        return rejected.reason
    return None


def _mutate(good: bytes, generator: random.Random) -> bytes:
    octets = bytearray(good)
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        place = generator.randrange(len(octets) + 1)
        kind = generator.randrange(6)
        if kind == 0 and octets:
            octets[place % len(octets)] ^= 1 << generator.randrange(8)
        elif kind == 1 and octets:
            octets[place % len(octets)] = generator.choice((0, 1, 0x7F, 0x80, 0xB7, 0xB8, 0xC0, 0xF7, 0xF8, 0xFF))
        elif kind == 2:
            octets[place:place] = generator.randbytes(generator.choice((1, 1, 2, 32)))
        elif kind == 3:
            del octets[place : place + generator.choice((1, 1, 2, 32))]
        elif kind == 4:
            end = place + generator.randrange(1, 40)
            octets[place:place] = octets[place:end]
        else:
            octets += generator.randbytes(generator.choice((1, 32)))
    return bytes(octets)


def _mutations(good: bytes, count: int, seed: int) -> Iterator[bytes]:
    generator = random.Random(seed)
    for _ in range(count):
        mutated = _mutate(good, generator)
        if mutated != good:
            yield mutated


@pytest.fixture(scope="session")
def reason_of() -> ReasonOf:
    """(action, *arguments) → why the call was refused, or None where it was not. No other exception is caught."""
    return _reason_of


@pytest.fixture(scope="session")
def mutations() -> Mutations:
    """(good bytes, count, seed) → so many variants with bits flipped, bytes replaced, inserted, removed or repeated."""
    return _mutations
