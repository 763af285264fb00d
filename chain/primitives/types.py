"""The names of plain values: what a run of bytes or an integer stands for."""

from typing import Final, NewType

Hash32 = NewType("Hash32", bytes)
"""32 bytes: a Keccak-256 or SHA-256 digest."""

Address = NewType("Address", bytes)
"""20 bytes: the last 20 of the Keccak-256 of an uncompressed public key, or a module's reserved address."""

Amount = NewType("Amount", int)
"""Atoms of AIT, 0 ≤ amount < 2^256."""

BlockHeight = NewType("BlockHeight", int)
"""Number of blocks since the genesis block, which has height 0."""

ATOMS_PER_AIT: Final = 10**18
MAX_UINT256: Final = 2**256 - 1
ZERO_ADDRESS: Final = Address(bytes(20))
ZERO_HASH: Final = Hash32(bytes(32))
