"""What people and services sign off the chain: EIP-191 messages and EIP-712 typed data.

The preimages are what a `Signer` takes; their Keccak-256 is the digest that a signature is over.
"""

import msgspec

from chain.primitives.hashing import keccak256
from chain.primitives.types import Address, Hash32


def eip191_preimage(message: bytes) -> bytes:
    """What `personal_sign` hashes: "\\x19Ethereum Signed Message:\\n" ‖ length ‖ message (EIP-191)."""
    return b"\x19Ethereum Signed Message:\n%d" % len(message) + message


def eip191_digest(message: bytes) -> Hash32:
    """What `personal_sign` signs."""
    return keccak256(eip191_preimage(message))


_DOMAIN_TYPE_HASH = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")


class Eip712Domain(msgspec.Struct, frozen=True):
    """Binds typed data to one network and one module (EIP-712)."""

    chain_id: int
    verifying_contract: Address
    name: str = "AITBC"
    version: str = "1"

    def separator(self) -> Hash32:
        """keccak256 of the encoded domain."""
        return keccak256(
            _DOMAIN_TYPE_HASH
            + keccak256(self.name.encode())
            + keccak256(self.version.encode())
            + self.chain_id.to_bytes(32, "big")
            + bytes(12)
            + self.verifying_contract
        )


def eip712_preimage(domain_separator: Hash32, struct_hash: Hash32) -> bytes:
    """0x1901 ‖ domain separator ‖ hash of the struct."""
    return b"\x19\x01" + domain_separator + struct_hash


def eip712_digest(domain: Eip712Domain, struct_hash: Hash32) -> Hash32:
    """What is signed of typed data."""
    return keccak256(eip712_preimage(domain.separator(), struct_hash))
