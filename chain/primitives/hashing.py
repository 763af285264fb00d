"""The two hash functions (DESIGN §3): Keccak-256 where Ethereum tools look, SHA-256 in trees.

Keccak comes from safe-pysha3, seven times as fast per call as pycryptodome's.
"""

from hashlib import sha256 as _sha256

from sha3 import keccak_256 as _keccak_256

from chain.primitives.types import Hash32


def keccak256(message: bytes) -> Hash32:
    """Keccak-256 as Ethereum uses it (the padding before FIPS 202), 32 bytes."""
    return Hash32(_keccak_256(message).digest())


def sha256(message: bytes) -> Hash32:
    """SHA-256 (FIPS 180-4), 32 bytes."""
    return Hash32(_sha256(message).digest())
