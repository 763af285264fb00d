"""Hash-time-locked transfers, for swaps with other chains: the declarations of the `htlc` module.

The hash is SHA-256 of a secret of 32 bytes, which every chain can compute. What a call does is decided in
`chain.rules.swaps`.
"""

from typing import Final

from chain.primitives.abi import AbiType, Event, Function, encode_values
from chain.primitives.hashing import keccak256
from chain.primitives.types import Address, Hash32

SECRET_BYTES: Final = 32
MAX_LOCK_S: Final = 30 * 24 * 3600
"""How far ahead of a block's time a deadline may lie."""

LOCK: Final = Function(
    "lock(bytes32 hash, address recipient, address asset, uint256 value, uint64 deadline) returns (bytes32)"
)
CLAIM: Final = Function("claim(bytes32 id, bytes32 secret)")
REFUND: Final = Function("refund(bytes32 id)")
SWAP: Final = Function(
    "swap(bytes32 id) view returns (address sender, address recipient, address asset, uint256 value, bytes32 hash, "
    "uint64 deadline, uint8 status, bytes32 secret)"
)
LOCKED_EVENT: Final = Event(
    "Locked(bytes32 indexed id, address indexed sender, address indexed recipient, address asset, uint256 value, "
    "bytes32 hash, uint64 deadline)"
)
CLAIMED_EVENT: Final = Event("Claimed(bytes32 indexed id, bytes32 secret)")
REFUNDED_EVENT: Final = Event("Refunded(bytes32 indexed id)")

_ID_TYPES: Final = tuple(AbiType(name) for name in ("bytes32", "address", "address", "address", "uint256", "uint64"))


def swap_id(hash_: Hash32, sender: Address, recipient: Address, asset: Address, value: int, deadline: int) -> Hash32:
    """keccak256(abi.encode(hash, sender, recipient, asset, value, deadline)): on any chain, its terms name a swap."""
    return keccak256(encode_values(_ID_TYPES, (hash_, sender, recipient, asset, value, deadline)))


SWAP_FUNCTIONS: Final = (LOCK, CLAIM, REFUND, SWAP)
SWAP_EVENTS: Final = (LOCKED_EVENT, CLAIMED_EVENT, REFUNDED_EVENT)
