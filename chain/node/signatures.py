"""Signatures recovered once are not recovered again: admission pays, proposal and import find it done.

Recovering ahead on several threads was tried and left out: coincurve releases the GIL, but two threads, or two
processes, recovered no more per second than one on the two hardware threads that this was measured on.
"""

from typing import Final

from chain.primitives.keys import recover_address
from chain.primitives.types import Address, Hash32

DEFAULT_CAPACITY: Final = 65_536
"""Entries per generation, of about 300 bytes each: the signatures of ten full blocks."""


class SignatureCache:
    """A bounded memory of who signed what, keyed by digest and signature, for any thread.

    Two generations: when the young one is full, it becomes the old one, and what was in neither is forgotten.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._young: dict[bytes, Address] = {}
        self._old: dict[bytes, Address] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def recover(self, digest: Hash32, signature: bytes) -> Address:
        """As `recover_address`; a failure is not remembered. Raises Rejected."""
        key = digest + signature
        signer = self._young.get(key)
        if signer is not None:
            self.hits += 1
            return signer
        signer = self._old.get(key)
        if signer is not None:
            self.hits += 1
        else:
            self.misses += 1
            signer = recover_address(digest, signature)
        if len(self._young) >= self._capacity:
            self._young, self._old = {}, self._young
        self._young[key] = signer
        return signer
