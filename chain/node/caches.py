"""What was worked out once is not worked out again: admission pays, proposal and import find it done.

Recovering signatures ahead on several threads was tried and left out: coincurve releases the GIL, but two threads, or
two processes, recovered no more per second than one on the two hardware threads that this was measured on.
"""

from typing import Final, Generic, TypeVar

from chain.primitives.keys import recover_address
from chain.primitives.transaction import Transaction, decode_transaction
from chain.primitives.types import Address, Hash32

K = TypeVar("K")
V = TypeVar("V")

DEFAULT_SIGNATURES: Final = 65_536
"""Entries per generation, of about 300 bytes each: the signatures of ten full blocks."""
DEFAULT_TRANSACTIONS: Final = 16_384
"""Entries per generation: the transactions of three full blocks."""
MAX_CACHED_BYTES: Final = 1_024
"""Longer raw transactions are rare, and would let a flood of them take the memory of the others."""


class RecentValues(Generic[K, V]):
    """A bounded dictionary for any thread that forgets what was not used for long.

    Two generations: when the young one is full, it becomes the old one, and what was in neither is forgotten.
    """

    def __init__(self, capacity: int) -> None:
        """At most two times `capacity` entries."""
        self._capacity = capacity
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value if it is still known."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remembers a value."""
        if len(self._young) >= self._capacity:
            self._young, self._old = {}, self._young
        self._young[key] = value


class SignatureCache:
    """Who signed what, keyed by digest and signature."""

    def __init__(self, capacity: int = DEFAULT_SIGNATURES) -> None:
        self._signers: RecentValues[bytes, Address] = RecentValues(capacity)
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._signers)

    def recover(self, digest: Hash32, signature: bytes) -> Address:
        """As `recover_address`; a failure is not remembered. Raises Rejected."""
        key = digest + signature
        signer = self._signers.get(key)
        if signer is not None:
            self.hits += 1
            return signer
        self.misses += 1
        signer = recover_address(digest, signature)
        self._signers.put(key, signer)
        return signer


class TransactionCache:
    """Decoded transactions, keyed by their raw bytes."""

    def __init__(self, capacity: int = DEFAULT_TRANSACTIONS) -> None:
        self._decoded: RecentValues[bytes, Transaction] = RecentValues(capacity)

    def __len__(self) -> int:
        return len(self._decoded)

    def decode(self, raw: bytes) -> Transaction:
        """As `decode_transaction`; a failure is not remembered. Raises Rejected."""
        transaction = self._decoded.get(raw)
        if transaction is None:
            transaction = decode_transaction(raw)
            if len(raw) <= MAX_CACHED_BYTES:
                self._decoded.put(raw, transaction)
        return transaction
