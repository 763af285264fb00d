"""Signatures that cost nothing: a keyed hash, and one book of who has signed what that every node looks into.

Nobody can forge one without the key, as with the real ones; in a share of the seeds they are the real ones.
"""

from functools import cache
from hashlib import sha256
from typing import Final

from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey, check_signature_form, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32

_LOW: Final = b"\x01"  # First byte of r and s: within the range of real signatures.


class SignatureBook:
    """Signers by digest and signature; the one cache of all nodes."""

    def __init__(self, *, is_real: bool) -> None:
        self.is_real = is_real
        self._signers: dict[tuple[bytes, bytes], Address] = {}

    def sign(self, key: "SimulatedKey", digest: Hash32) -> bytes:
        """Enters it, so that nobody has to recover it."""
        signature = key.sign_really(digest) if self.is_real else key.sign_cheaply(digest)
        self._signers[digest, signature] = key.address
        return signature

    def recover(self, digest: Hash32, signature: bytes) -> Address:
        """Raises Rejected for a signature that nobody has made over this digest."""
        signer = self._signers.get((digest, signature))
        if signer is not None:
            return signer
        check_signature_form(signature)
        if not self.is_real:
            raise Rejected(RejectionReason.BAD_SIGNATURE, "nobody has signed this")
        signer = self._signers[digest, signature] = recover_address(digest, signature)
        return signer


class SimulatedKey(PrivateKey):
    """A key whose signatures are in the book."""

    __slots__ = ("_book",)

    def __init__(self, secret: bytes, book: SignatureBook) -> None:
        known = _real_key(secret)
        self._key, self.public_key, self.address = known._key, known.public_key, known.address
        self._book = book

    def sign(self, digest: Hash32) -> bytes:
        """Twice the same digest, twice the same bytes."""
        return self._book.sign(self, digest)

    def sign_really(self, digest: Hash32) -> bytes:
        """secp256k1."""
        return PrivateKey.sign(self, digest)

    def sign_cheaply(self, digest: Hash32) -> bytes:
        """65 bytes that look like r‖s‖v and that only the holder of the secret can know."""
        r = sha256(b"r" + self.secret + digest).digest()
        s = sha256(b"s" + self.secret + digest).digest()
        return _LOW + r[1:] + _LOW + s[1:] + b"\x1b"


@cache
def _real_key(secret: bytes) -> PrivateKey:
    return PrivateKey(secret)


def key_of(name: str, book: SignatureBook) -> SimulatedKey:
    """The same key for the same name in every run."""
    return SimulatedKey(keccak256(b"simulated key of " + name.encode()), book)
