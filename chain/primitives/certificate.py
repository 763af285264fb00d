"""Votes and certificates: what a validator signs, and what a third party can check (CONSENSUS.md).

A vote's digest has fixed widths and is never MessagePack:
Keccak-256("aitbc/1" ‖ genesis hash ‖ epoch u64 ‖ kind u8 ‖ view u64 ‖ body). Keccak, because that is the hash that
remote signers of Ethereum keys compute themselves.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, Final

import msgspec

from chain.primitives.block import HashField, Uint63
from chain.primitives.hashing import keccak256
from chain.primitives.keys import SIGNATURE_BYTES, RecoverAddress, Signer, recover_address
from chain.primitives.message_pack import encode
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32

NO_BLOCK: Final = Hash32(bytes(32))
"""Stands where a Nullify names no block."""


class VoteKind(IntEnum):
    """The three votes of Simplex."""

    NOTARIZE = 1
    NULLIFY = 2
    FINALIZE = 3


def faulty_bound(validator_count: int) -> int:
    """f: how many of n validators may be malicious, ⌊(n−1)/3⌋."""
    return (validator_count - 1) // 3


def quorum(validator_count: int) -> int:
    """q = n − f."""
    return validator_count - faulty_bound(validator_count)


VOTE_PREFIX: Final = b"aitbc/1"
"""Of every vote's preimage: nothing else that a validator signs begins so."""


def vote_preimage(
    genesis_hash: Hash32,
    *,
    epoch: int,
    kind: VoteKind,
    view: int,
    parent_view: int = 0,
    block_hash: Hash32 | None = None,
) -> bytes:
    """What a validator signs the hash of; Nullify has no body, the others name the parent's view and the block."""
    body = b"" if block_hash is None else parent_view.to_bytes(8, "big") + block_hash
    assert (kind is VoteKind.NULLIFY) == (block_hash is None)
    assert len(genesis_hash) == 32
    assert block_hash is None or len(block_hash) == 32
    return VOTE_PREFIX + genesis_hash + epoch.to_bytes(8, "big") + bytes((kind,)) + view.to_bytes(8, "big") + body


def vote_digest(
    genesis_hash: Hash32,
    *,
    epoch: int,
    kind: VoteKind,
    view: int,
    parent_view: int = 0,
    block_hash: Hash32 | None = None,
) -> Hash32:
    """What a validator's signature is over."""
    preimage = vote_preimage(
        genesis_hash, epoch=epoch, kind=kind, view=view, parent_view=parent_view, block_hash=block_hash
    )
    return keccak256(preimage)


def validators_hash(epoch: int, validators: Sequence[Address]) -> Hash32:
    """Names an epoch's validator set in headers: Keccak-256 of the canonical [epoch, addresses in order]."""
    return keccak256(encode((epoch, list(validators))))


SignatureField = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class Vote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """One validator's signed vote. A Nullify has parent view 0 and a block hash of zeros."""

    kind: VoteKind
    epoch: Uint63
    view: Uint63
    parent_view: Uint63 = 0
    block_hash: HashField = NO_BLOCK
    signer: Annotated[int, msgspec.Meta(ge=0, le=62)]
    """Index of the signer among the epoch's validators."""
    signature: SignatureField

    def digest(self, genesis_hash: Hash32) -> Hash32:
        """What the signature is over."""
        return keccak256(_preimage(self, genesis_hash))


class Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """q votes of one kind for the same. Bit i of the bitmap stands for validator i; signatures are in that order."""

    kind: VoteKind
    epoch: Uint63
    view: Uint63
    parent_view: Uint63 = 0
    block_hash: HashField = NO_BLOCK
    signer_bitmap: Uint63
    signatures: Annotated[tuple[SignatureField, ...], msgspec.Meta(max_length=63)]

    @property
    def signers(self) -> list[int]:
        """Indices of the validators that the bitmap names."""
        return [i for i in range(self.signer_bitmap.bit_length()) if self.signer_bitmap >> i & 1]


def sign_vote(
    key: Signer,
    *,
    genesis_hash: Hash32,
    signer: int,
    kind: VoteKind,
    epoch: int,
    view: int,
    parent_view: int = 0,
    block_hash: Hash32 = NO_BLOCK,
) -> Vote:
    """A vote of the validator with this index. Raises SignerUnavailable.

    Signing twice gives identical bytes with a `PrivateKey`; some vaults and HSMs behind remote signers give others.
    """
    unsigned = Vote(
        kind=kind,
        epoch=epoch,
        view=view,
        parent_view=parent_view,
        block_hash=block_hash,
        signer=signer,
        signature=bytes(SIGNATURE_BYTES),
    )
    return msgspec.structs.replace(unsigned, signature=key.sign_keccak(_preimage(unsigned, genesis_hash)))


def verify_vote(
    vote: Vote, *, genesis_hash: Hash32, validators: Sequence[Address], recover: RecoverAddress = recover_address
) -> None:
    """Raises Rejected unless the validator that the vote names has signed it."""
    if vote.signer >= len(validators):
        raise Rejected(RejectionReason.BAD_VOTE, f"there is no validator {vote.signer}")
    if recover(vote.digest(genesis_hash), vote.signature) != validators[vote.signer]:
        raise Rejected(RejectionReason.BAD_VOTE, f"the signature is not that of validator {vote.signer}")


def assemble_certificate(votes: Sequence[Vote]) -> Certificate:
    """The certificate of votes of one kind for the same, by distinct signers, in any order."""
    ordered = sorted(votes, key=lambda vote: vote.signer)
    first = ordered[0]
    assert len({vote.signer for vote in ordered}) == len(ordered)
    return Certificate(
        kind=first.kind,
        epoch=first.epoch,
        view=first.view,
        parent_view=first.parent_view,
        block_hash=first.block_hash,
        signer_bitmap=sum(1 << vote.signer for vote in ordered),
        signatures=tuple(vote.signature for vote in ordered),
    )


def verify_certificate(
    certificate: Certificate,
    *,
    genesis_hash: Hash32,
    validators: Sequence[Address],
    recover: RecoverAddress = recover_address,
) -> None:
    """Raises Rejected unless at least q distinct validators of this set signed what the certificate says.

    Whose set it must be, that of the certificate's epoch, is the caller's to know.
    """
    signers = certificate.signers
    if len(signers) != len(certificate.signatures) or any(i >= len(validators) for i in signers):
        raise Rejected(RejectionReason.BAD_CERTIFICATE, "the bitmap does not match the signatures or the validators")
    if len(signers) < quorum(len(validators)):
        raise Rejected(
            RejectionReason.BAD_CERTIFICATE,
            f"{len(signers)} signatures, but {quorum(len(validators))} of {len(validators)} are needed",
        )
    digest = keccak256(_preimage(certificate, genesis_hash))
    for index, signature in zip(signers, certificate.signatures, strict=True):
        try:
            signer = recover(digest, signature)
        except Rejected as rejected:
            raise Rejected(RejectionReason.BAD_CERTIFICATE, f"validator {index}: {rejected}") from None
        if signer != validators[index]:
            raise Rejected(RejectionReason.BAD_CERTIFICATE, f"the signature of validator {index} is not its own")


def _preimage(signed: Vote | Certificate, genesis_hash: Hash32) -> bytes:
    """Raises Rejected for a Nullify that has a body: it could be encoded in more than one way."""
    is_nullify = signed.kind is VoteKind.NULLIFY
    if is_nullify and (signed.parent_view != 0 or signed.block_hash != NO_BLOCK):
        reason = RejectionReason.BAD_VOTE if isinstance(signed, Vote) else RejectionReason.BAD_CERTIFICATE
        raise Rejected(reason, "a Nullify names no block")
    return vote_preimage(
        genesis_hash,
        epoch=signed.epoch,
        kind=signed.kind,
        view=signed.view,
        parent_view=signed.parent_view,
        block_hash=None if is_nullify else signed.block_hash,
    )
