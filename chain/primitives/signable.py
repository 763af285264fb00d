"""What is being signed, told from what is hashed: each form that a key of this project signs begins in its own way.

So whoever guards a key can sign votes and refuse transactions, and a device can show what it is asked for. The forms
exclude each other: EIP-191 begins with 0x19 to be unlike any transaction (a list in RLP begins with 0xc0 or more, a
typed one with its type), and what only this project signs begins with its name.
"""

from enum import StrEnum
from typing import Final

from chain.primitives.certificate import VOTE_PREFIX, VoteKind

PROOF_PREFIX: Final = b"aitbc/p2p/1"
"""Of what a node signs to prove itself to a peer (`chain.node.peers.handshake`)."""
PROBE_PREFIX: Final = b"aitbc/probe/1"
"""Of what a node has a remote signer sign only to see that it does: random bytes follow, and nobody takes it."""
PROBE_BYTES: Final = len(PROBE_PREFIX) + 32

_PROOF_BYTES: Final = len(PROOF_PREFIX) + 32 + 1 + 2 * (20 + 32 + 33)
_VOTE_KIND_AT: Final = len(VOTE_PREFIX) + 32 + 8
_NULLIFY_BYTES: Final = _VOTE_KIND_AT + 1 + 8
_VOTE_BYTES: Final = _NULLIFY_BYTES + 8 + 32
_MESSAGE_PREFIX: Final = b"\x19Ethereum Signed Message:\n"
_TYPED_DATA_BYTES: Final = 2 + 32 + 32


class Signable(StrEnum):
    """The forms."""

    VOTE = "vote"
    """A validator's Notarize, Nullify or Finalize."""
    PEER_PROOF = "peer_proof"
    """A node's proof to a peer that it holds its key."""
    PROBE = "probe"
    """A node tries its signer."""
    MESSAGE = "message"
    """EIP-191: what `personal_sign` signs; also a receipt, and the attestation of one."""
    TYPED_DATA = "typed_data"
    """EIP-712, as the hashes of its domain and its struct."""
    TRANSACTION = "transaction"
    """Type 2, or legacy."""


def recognise(preimage: bytes) -> Signable | None:
    """The form of what is to be hashed and signed; None for anything else, which nobody here has reason to sign."""
    if preimage.startswith(PROOF_PREFIX):
        return Signable.PEER_PROOF if len(preimage) == _PROOF_BYTES else None
    if preimage.startswith(PROBE_PREFIX):
        return Signable.PROBE if len(preimage) == PROBE_BYTES else None
    if preimage.startswith(VOTE_PREFIX):
        return Signable.VOTE if _is_vote(preimage) else None
    if preimage.startswith(_MESSAGE_PREFIX):
        return Signable.MESSAGE if signed_message(preimage) is not None else None
    if preimage.startswith(b"\x19\x01"):
        return Signable.TYPED_DATA if len(preimage) == _TYPED_DATA_BYTES else None
    if preimage[:1] == b"\x02" or preimage[:1] >= b"\xc0":
        return Signable.TRANSACTION
    return None


def _is_vote(preimage: bytes) -> bool:
    if len(preimage) <= _VOTE_KIND_AT:
        return False
    kind = preimage[_VOTE_KIND_AT]
    return len(preimage) == (_NULLIFY_BYTES if kind == VoteKind.NULLIFY else _VOTE_BYTES) and kind in tuple(VoteKind)


def signed_message(preimage: bytes) -> bytes | None:
    """The message in the EIP-191 form; None where the preimage has another form, or another length than it says."""
    if not preimage.startswith(_MESSAGE_PREFIX):
        return None
    rest = preimage[len(_MESSAGE_PREFIX) :]
    # The length stands in decimal digits before the message, which may begin with digits itself: one split fits.
    for digits in range(1, min(len(rest), 20) + 1):
        message = rest[digits:]
        if rest[:digits] == b"%d" % len(message):
            return message
    return None
