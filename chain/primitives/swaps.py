"""Hash-time-locked transfers, for swaps with other chains: the declarations of the `htlc` module.

The hash is SHA-256 of a secret of 32 bytes, which every chain can compute. What a call does is decided in
`chain.rules.swaps`.
"""

from typing import Final

from chain.primitives.abi import Event, Function

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

SWAP_FUNCTIONS: Final = (LOCK, CLAIM, REFUND, SWAP)
SWAP_EVENTS: Final = (LOCKED_EVENT, CLAIMED_EVENT, REFUNDED_EVENT)
