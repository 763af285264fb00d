"""Digests of what people and services sign off the chain: EIP-191 messages and EIP-712 typed data."""

import msgspec

from chain.primitives.hashing import keccak256
from chain.primitives.types import Address, Hash32


def eip191_digest(message: bytes) -> Hash32:
    """What `personal_sign` signs: keccak256("\\x19Ethereum Signed Message:\\n" ‖ length ‖ message) (EIP-191)."""
    return keccak256(b"\x19Ethereum Signed Message:\n%d" % len(message) + message)


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


def eip712_digest(domain: Eip712Domain, struct_hash: Hash32) -> Hash32:
    """keccak256(0x1901 ‖ domain separator ‖ hash of the struct)."""
    return keccak256(b"\x19\x01" + domain.separator() + struct_hash)
