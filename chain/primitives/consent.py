"""A new validator's word that it joins: without it, governance could name keys that nobody holds, and halt the chain.

The new key signs EIP-712 typed data under the governance module's domain, so the consent holds for one network, and it
says until when. It cannot be replayed after a removal, because a key that has left never comes back.
"""

from typing import Final

import msgspec

from chain.primitives.hashing import keccak256
from chain.primitives.keys import RecoverAddress, Signer, address_of_public_key, recover_address
from chain.primitives.modules import GOVERNANCE
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import Eip712Domain, eip712_preimage
from chain.primitives.types import Address, Hash32

PUBLIC_KEY_BYTES: Final = 33
_TYPE_HASH: Final = keccak256(b"ValidatorConsent(address validator,uint256 expiresAtMs)")


def _consent_preimage(chain_id: int, validator: Address, expires_at_ms: int) -> bytes:
    struct_hash = keccak256(_TYPE_HASH + bytes(12) + validator + expires_at_ms.to_bytes(32, "big"))
    return eip712_preimage(Eip712Domain(chain_id, GOVERNANCE).separator(), struct_hash)


def consent_digest(chain_id: int, validator: Address, expires_at_ms: int) -> Hash32:
    """What the new key signs."""
    return keccak256(_consent_preimage(chain_id, validator, expires_at_ms))


class Consent(msgspec.Struct, frozen=True):
    """A compressed public key, and its signature that it joins up to this block time (Unix milliseconds)."""

    public_key: bytes
    expires_at_ms: int
    signature: bytes


def sign_consent(key: Signer, *, chain_id: int, expires_at_ms: int) -> Consent:
    """The key's consent to become a validator of this network. Raises SignerUnavailable."""
    signature = key.sign_keccak(_consent_preimage(chain_id, key.address, expires_at_ms))
    return Consent(key.public_key, expires_at_ms, signature)


def check_consent(
    consent: Consent, *, chain_id: int, time_ms: int, recover: RecoverAddress = recover_address
) -> Address:
    """The address that joins; raises Rejected unless its own key says so, and still does at this block time."""
    if len(consent.public_key) != PUBLIC_KEY_BYTES:
        raise Rejected(RejectionReason.BAD_CONSENT, f"a validator's public key has {PUBLIC_KEY_BYTES} bytes")
    if time_ms > consent.expires_at_ms:
        raise Rejected(RejectionReason.BAD_CONSENT, "the new validator's consent has expired: it has to sign another")
    try:
        validator = address_of_public_key(consent.public_key)
        signer = recover(consent_digest(chain_id, validator, consent.expires_at_ms), consent.signature)
    except Rejected as rejected:
        raise Rejected(RejectionReason.BAD_CONSENT, f"the new validator's consent: {rejected.message}") from None
    if signer != validator:
        raise Rejected(
            RejectionReason.BAD_CONSENT, "the consent is not signed by the new validator's own key for this network"
        )
    return validator
