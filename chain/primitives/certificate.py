"""Votes and finality certificates: what a validator signs, and what a third party can check (CONSENSUS.md).

A vote's digest has fixed widths and is never MessagePack:
SHA-256("aitbc/1" ‖ genesis hash ‖ epoch u64 ‖ kind u8 ‖ view u64 ‖ body).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

import msgspec

from chain.primitives.block import HashField, Uint63
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.keys import SIGNATURE_BYTES, RecoverAddress, recover_address
from chain.primitives.message_pack import encode
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32


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


def vote_digest(
    genesis_hash: Hash32,
    *,
    epoch: int,
    kind: VoteKind,
    view: int,
    parent_view: int = 0,
    block_hash: Hash32 | None = None,
) -> Hash32:
    """What a validator signs; Nullify has no body, the others name the parent's view and the block."""
    body = b"" if block_hash is None else parent_view.to_bytes(8, "big") + block_hash
    assert (kind is VoteKind.NULLIFY) == (block_hash is None)
    assert len(genesis_hash) == 32
    assert block_hash is None or len(block_hash) == 32
    return sha256(
        b"aitbc/1" + genesis_hash + epoch.to_bytes(8, "big") + bytes((kind,)) + view.to_bytes(8, "big") + body
    )


def validators_hash(validators: Sequence[Address]) -> Hash32:
    """Names a validator set in headers: Keccak-256 of the canonical list of addresses in order."""
    return keccak256(encode(list(validators)))


class FinalityCertificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """q Finalize votes for one block. Bit i of the bitmap stands for validator i; signatures are in that order."""

    epoch: Uint63
    view: Uint63
    parent_view: Uint63
    block_hash: HashField
    signer_bitmap: Uint63
    signatures: tuple[Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)], ...]


def verify_certificate(
    certificate: FinalityCertificate,
    *,
    genesis_hash: Hash32,
    validators: Sequence[Address],
    recover: RecoverAddress = recover_address,
) -> None:
    """Raises Rejected unless at least q distinct validators of this set signed Finalize for the named block."""
    signers = [i for i in range(certificate.signer_bitmap.bit_length()) if certificate.signer_bitmap >> i & 1]
    if len(signers) != len(certificate.signatures) or any(i >= len(validators) for i in signers):
        raise Rejected(RejectionReason.BAD_CERTIFICATE, "the bitmap does not match the signatures or the validators")
    if len(signers) < quorum(len(validators)):
        raise Rejected(
            RejectionReason.BAD_CERTIFICATE,
            f"{len(signers)} signatures, but {quorum(len(validators))} of {len(validators)} are needed",
        )
    digest = vote_digest(
        genesis_hash,
        epoch=certificate.epoch,
        kind=VoteKind.FINALIZE,
        view=certificate.view,
        parent_view=certificate.parent_view,
        block_hash=certificate.block_hash,
    )
    for index, signature in zip(signers, certificate.signatures, strict=True):
        try:
            signer = recover(digest, signature)
        except Rejected as rejected:
            raise Rejected(RejectionReason.BAD_CERTIFICATE, f"validator {index}: {rejected}") from None
        if signer != validators[index]:
            raise Rejected(RejectionReason.BAD_CERTIFICATE, f"the signature of validator {index} is not its own")
