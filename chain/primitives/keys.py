"""secp256k1 keys, addresses and recoverable signatures (libsecp256k1 through coincurve).

There is one form of signature everywhere: 65 bytes r‖s‖v, v 27 or 28, low s (EIP-2). Signing is deterministic
(RFC 6979), so signing the same digest twice gives the same bytes.
"""

import secrets
from collections.abc import Callable
from typing import Final, Protocol, Self

import coincurve

from chain.primitives.hashing import keccak256
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_CURVE_ORDER: Final = CURVE_ORDER // 2
SIGNATURE_BYTES: Final = 65

# As bytes, big-endian, so that the hot path compares without converting to integers.
_ZERO = bytes(32)
_ORDER = CURVE_ORDER.to_bytes(32, "big")
_HALF_ORDER = HALF_CURVE_ORDER.to_bytes(32, "big")

RecoverAddress = Callable[[Hash32, bytes], Address]
"""(digest, 65-byte signature) → signer's address; raises Rejected. `recover_address`, or a cache in front of it."""


class SignerUnavailable(Exception):
    """A signer outside this process gives no signature now, or a wrong one. `str(error)` says why."""


class Signer(Protocol):
    """Whoever signs with one key: the key itself, a service that holds it, a device.

    It is given what is hashed, not the hash: so services that hash themselves can sign, and whoever guards a key sees
    what is being signed (`chain.primitives.signable`).
    """

    @property
    def address(self) -> Address:
        """Whose signatures these are."""

    @property
    def public_key(self) -> bytes:
        """33 bytes, compressed."""

    def sign_keccak(self, message: bytes) -> bytes:
        """65 bytes r‖s‖v over keccak256(message). Raises SignerUnavailable."""


class PrivateKey:
    """A secp256k1 secret; its repr never shows it."""

    __slots__ = ("_key", "address", "public_key")

    def __init__(self, secret: bytes) -> None:
        """From 32 bytes; raises Rejected (malformed) where they are no valid secret."""
        if len(secret) != 32 or not _ZERO < secret < _ORDER:
            raise Rejected(RejectionReason.MALFORMED, "a private key is 32 bytes, above 0 and below the curve order")
        self._key = coincurve.PrivateKey(secret)
        self.public_key: bytes = self._key.public_key.format(compressed=True)
        self.address: Address = address_of_public_key(self.public_key)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        while True:
            secret = secrets.token_bytes(32)
            if _ZERO < secret < _ORDER:
                return cls(secret)

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes."""
        return self._key.secret

    def sign(self, digest: Hash32) -> bytes:
        """65 bytes r‖s‖v over a 32-byte digest."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes((27 + signature[64],))

    def sign_keccak(self, message: bytes) -> bytes:
        """65 bytes r‖s‖v over keccak256(message)."""
        return self.sign(keccak256(message))

    def __repr__(self) -> str:
        return f"PrivateKey(of 0x{self.address.hex()})"


def format_public_key(public_key: bytes, *, compressed: bool) -> bytes:
    """A public key of either form in that of 33 bytes or of 65; Rejected where it is no point."""
    try:
        if public_key[:1] not in (b"\2", b"\3", b"\4"):
            raise ValueError  # libsecp256k1 also reads the hybrid forms 6 and 7, which nobody writes.
        return coincurve.PublicKey(public_key).format(compressed=compressed)
    except ValueError:
        raise Rejected(RejectionReason.MALFORMED, "not a secp256k1 public key") from None


def address_of_public_key(public_key: bytes) -> Address:
    """Address of a compressed (33 bytes) or uncompressed (65 bytes) public key; Rejected where it is no point."""
    return Address(keccak256(format_public_key(public_key, compressed=False)[1:])[12:])


def check_signature_form(signature: bytes) -> None:
    """Raises Rejected unless the signature is 65 bytes, r and s are in range, s is low and v is 27 or 28."""
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28):
        raise Rejected(RejectionReason.BAD_SIGNATURE, "a signature is 65 bytes r‖s‖v with v 27 or 28")
    r, s = signature[:32], signature[32:64]
    if not _ZERO < r < _ORDER or s == _ZERO:
        raise Rejected(RejectionReason.BAD_SIGNATURE, "the signature's r or s is out of range")
    if s > _HALF_ORDER:
        raise Rejected(RejectionReason.HIGH_S, "the signature's s is above half the curve order (EIP-2)")


def recover_address(digest: Hash32, signature: bytes) -> Address:
    """The address whose key signed `digest`; raises Rejected for a malformed, high-s or unrecoverable signature."""
    check_signature_form(signature)
    try:
        public_key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes((signature[64] - 27,)), digest, hasher=None
        )
    except ValueError:  # No point has this r, or the recovered key is the point at infinity.
        raise Rejected(RejectionReason.BAD_SIGNATURE, "the signature recovers to no public key") from None
    return Address(keccak256(public_key.format(compressed=False)[1:])[12:])
