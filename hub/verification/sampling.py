"""Which answers are checked, and what of them: unforeseeable for the provider, replayable for an auditor.

All choices follow from a secret key of the hub's and the hash of the receipt. The provider signs the receipt, which
holds its trajectory's root, before anything can be chosen, and knows nothing of the key; the hub cannot choose freely
either, for it publishes the key's commitment before it uses the key, and the key itself once another has replaced it.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeVar

from chain.primitives.hashing import sha256
from chain.primitives.types import Hash32
from hub.verification.suspicion import Suspicion

KEY_BYTES: Final = 32
RATES: Final[Mapping[str, float]] = {"new": 1.0, "normal": 0.25, "proven": 0.05}
"""By standing: the share of answers that is checked."""

_COMMITMENT_TAG: Final = b"aitbc/hub/sampling-key/1\0"
_DRAW_TAG: Final = b"aitbc/hub/sampling-draw/1\0"
_FRACTION_BITS: Final = 53  # A double holds them exactly.

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SamplingKey:
    """The secret: 32 random bytes that the caller draws and keeps."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a sampling key has {KEY_BYTES} bytes")

    @property
    def commitment(self) -> Hash32:
        """What is published before the key is used: SHA-256 over a tag and the key."""
        return sha256(_COMMITMENT_TAG + self.key)

    def draws(self, receipt_hash: Hash32) -> "Draws":
        """All choices about the answer with this receipt."""
        return Draws(hmac.digest(self.key, _DRAW_TAG + receipt_hash, hashlib.sha256))


@dataclass(frozen=True, slots=True)
class Draws:
    """Choices that follow from a secret; each purpose has its own, so none says anything about another."""

    secret: bytes = field(repr=False)

    def fraction(self, purpose: str) -> float:
        """From 0 to less than 1."""
        return float((self._word(purpose, 0) >> (64 - _FRACTION_BITS)) / 2**_FRACTION_BITS)

    def choose(self, purpose: str, items: Sequence[T], most: int) -> list[T]:
        """So many of them, none twice, in the order in which they were drawn; all where there are fewer."""
        remaining, chosen = list(items), list[T]()
        words = (self._word(purpose, number) for number in count())
        while remaining and len(chosen) < most:
            # Words beyond the last whole multiple would make the first items a little likelier.
            fair = 2**64 - 2**64 % len(remaining)
            word = next(word for word in words if word < fair)
            chosen.append(remaining.pop(word % len(remaining)))
        return chosen

    def _word(self, purpose: str, number: int) -> int:
        text = purpose.encode() + b"\0" + number.to_bytes(8, "big")
        return int.from_bytes(hmac.digest(self.secret, text, hashlib.sha256)[:8], "big")


def check_rates(rates: Mapping[str, float]) -> None:
    """Raises ValueError unless each standing has a share above 0: nobody is ever beyond being checked."""
    for standing in RATES:
        if not 0 < rates.get(standing, 0.0) <= 1:
            raise ValueError(f"the share of {standing} providers' answers to check must be above 0 and at most 1")


def is_sampled(draws: Draws, rate: float, suspicions: Sequence[Suspicion] = ()) -> bool:
    """Whether the answer is checked: always where something about it is odd."""
    return bool(suspicions) or draws.fraction("sampled") < rate
