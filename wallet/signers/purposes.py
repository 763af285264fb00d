"""What a signer signs, by the form of what is hashed: a validator's votes, an attester's attestations, governance.

So a node that was broken into can misuse its key for what the node does anyway, and for nothing else: not for a
transfer, and not for a typed authorization to make one.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from chain.primitives import rlp
from chain.primitives.modules import ESCROW, GOVERNANCE, MINTER
from chain.primitives.rejection import Rejected
from chain.primitives.signable import Signable, recognise, signed_message
from chain.primitives.signing import Eip712Domain

MAX_SIGNED_BYTES: Final = 64 * 1024
"""Twice the longest transaction."""
_ATTESTED_BYTES: Final = 32
_TYPE_2_FIELDS: Final = 9
_CHAIN_ID_AT: Final = 0
_TO_AT: Final = 5
_VALUE_AT: Final = 6


class Purpose(StrEnum):
    """What a key is served for."""

    VOTES = "votes"
    """A validator's votes, and its node's proofs to peers."""
    ATTESTATIONS = "attestations"
    """An attester's word for a receipt: EIP-191 messages of 32 bytes, and typed data of the minter and the escrow."""
    GOVERNANCE = "governance"
    """A validator's transactions to the governance module, and its consent to join."""
    ANYTHING = "anything"
    """Whatever comes, transfers included, as Web3Signer does."""


_TYPED_DATA: Final = {
    GOVERNANCE: Purpose.GOVERNANCE,  # A validator's consent.
    MINTER: Purpose.ATTESTATIONS,  # MintSplit.
    ESCROW: Purpose.ATTESTATIONS,  # Settle.
}
"""Whose typed data is signed for what: each domain has types for this purpose only."""


def is_allowed(preimage: bytes, purposes: Sequence[Purpose], *, chain_id: int | None) -> bool:
    """Whether this may be signed. Without a chain id, nothing of governance is, nor any typed data."""
    if Purpose.ANYTHING in purposes:
        return True
    match recognise(preimage):
        case Signable.PROBE:
            return True
        case Signable.VOTE | Signable.PEER_PROOF:
            return Purpose.VOTES in purposes
        case Signable.MESSAGE:
            return Purpose.ATTESTATIONS in purposes and len(signed_message(preimage) or b"") == _ATTESTED_BYTES
        case Signable.TYPED_DATA if chain_id is not None:
            return any(
                purpose in purposes and preimage[2:34] == Eip712Domain(chain_id, module).separator()
                for module, purpose in _TYPED_DATA.items()
            )
        case Signable.TRANSACTION if chain_id is not None:
            return Purpose.GOVERNANCE in purposes and _is_call_of_governance(preimage, chain_id)
    return False


def _is_call_of_governance(preimage: bytes, chain_id: int) -> bool:
    if preimage[:1] != b"\x02":
        return False
    try:
        fields = rlp.decode(preimage[1:])
    except Rejected:
        return False
    return (
        isinstance(fields, list)
        and len(fields) == _TYPE_2_FIELDS
        and fields[_CHAIN_ID_AT] == rlp.encode_integer(chain_id)
        and fields[_TO_AT] == GOVERNANCE
        and fields[_VALUE_AT] == b""
    )
