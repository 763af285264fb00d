"""What somebody who trusts no node checks, from the genesis file alone: which validators decide now, and what is final.

    genesis_set(network) ── verify_epochs(…, ends) ── verify_finality(…, proof) ── check_head(…)
      the file's validators   each set chooses the next   a header under a certificate   neither old nor fallen back

Each epoch ends with a block that names the next set and is finalized by the present one. Whoever follows these ends
relies on each past quorum not having been stolen since; a pinned `TrustedSet` of a later epoch relies on less.
A block's proof is its own certificate, or its nearest descendant's with the headers between, all of one epoch: the
block that ends an epoch has one of its own.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Self, TypeVar

import msgspec

from chain.primitives import message_pack
from chain.primitives.block import AddressField, Header
from chain.primitives.certificate import Certificate, VoteKind, validators_hash, verify_certificate
from chain.primitives.keys import RecoverAddress, recover_address
from chain.primitives.network import MAX_VALIDATORS, Network
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32

T = TypeVar("T")

MAX_DESCENDANTS: Final = 1_024
"""Headers between a block and the certificate that covers it. More than a few mean a network in great trouble."""
MAX_PROOF_BYTES: Final = 512 * 1024  # A thousand headers of 250 bytes and the largest certificate are half of this.


class TrustedSet(msgspec.Struct, frozen=True, kw_only=True):
    """The validators of one epoch of one network, as the verifier knows them."""

    genesis_hash: Hash32
    chain_id: int
    epoch: int
    validators: tuple[Address, ...]
    height: int
    """Of the block that set them up: the epoch's own blocks lie above."""


class EpochEnd(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last block of an epoch, its certificate, and the next set, whose hash the header names."""

    header: Header
    certificate: Certificate
    next_validators: Annotated[tuple[AddressField, ...], msgspec.Meta(min_length=1, max_length=MAX_VALIDATORS)]

    def encode(self) -> bytes:
        """Canonical MessagePack."""
        return message_pack.encode(self)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Raises Rejected unless `encoded` is exactly one canonical proof."""
        return _decode(encoded, cls)


class FinalityProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A header, those of its descendants up to the first with a certificate, oldest first, and that certificate."""

    header: Header
    descendants: Annotated[tuple[Header, ...], msgspec.Meta(max_length=MAX_DESCENDANTS)]
    certificate: Certificate

    def encode(self) -> bytes:
        """Canonical MessagePack."""
        return message_pack.encode(self)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Raises Rejected unless `encoded` is exactly one canonical proof."""
        return _decode(encoded, cls)


def _decode(encoded: bytes, expected: type[T]) -> T:
    if len(encoded) > MAX_PROOF_BYTES:
        raise Rejected(RejectionReason.TOO_LARGE, f"a proof has at most {MAX_PROOF_BYTES} bytes")
    return message_pack.decode(encoded, expected)


def genesis_set(network: Network) -> TrustedSet:
    """Epoch 0, from the network file."""
    return TrustedSet(
        genesis_hash=network.genesis_hash,
        chain_id=network.chain_id,
        epoch=0,
        validators=network.validator_addresses,
        height=0,
    )


def verify_epochs(
    trusted: TrustedSet, ends: Sequence[EpochEnd], *, recover: RecoverAddress = recover_address
) -> TrustedSet:
    """The set after these epochs' ends, which must follow each other; raises Rejected at the first that is wrong."""
    for end in ends:
        trusted = end_epoch(trusted, end, recover=recover)
    return trusted


def end_epoch(trusted: TrustedSet, end: EpochEnd, *, recover: RecoverAddress = recover_address) -> TrustedSet:
    """The next epoch's set; raises Rejected unless a quorum of this one has finalized a block that names it."""
    header, following = end.header, tuple(end.next_validators)
    _check_epoch(trusted, header)
    if len(set(following)) != len(following):
        raise Rejected(RejectionReason.BAD_PROOF, "a validator stands twice in the next set")
    if header.next_validators_hash != validators_hash(trusted.epoch + 1, following):
        raise Rejected(
            RejectionReason.BAD_PROOF,
            f"block {header.height} does not end epoch {trusted.epoch} with these next validators",
        )
    _check_certificate(trusted, header, end.certificate, recover)
    return msgspec.structs.replace(trusted, epoch=trusted.epoch + 1, validators=following, height=header.height)


def verify_finality(trusted: TrustedSet, proof: FinalityProof, *, recover: RecoverAddress = recover_address) -> None:
    """Raises Rejected unless the proof shows that its header is a final block of the trusted set's epoch."""
    newest, unchanged = proof.header, validators_hash(trusted.epoch, trusted.validators)
    _check_epoch(trusted, newest)
    for header in proof.descendants:
        if header.parent_hash != newest.hash or header.height != newest.height + 1 or header.time_ms <= newest.time_ms:
            raise Rejected(RejectionReason.BAD_PROOF, f"block {header.height} does not follow block {newest.height}")
        if newest.next_validators_hash != unchanged:
            raise Rejected(
                RejectionReason.BAD_PROOF, f"block {newest.height} ends epoch {trusted.epoch}: nothing follows it there"
            )
        _check_epoch(trusted, header)
        newest = header
    _check_certificate(trusted, newest, proof.certificate, recover)


def _check_epoch(trusted: TrustedSet, header: Header) -> None:
    """Whether the header can be one of the trusted set's own blocks."""
    if header.chain_id != trusted.chain_id:
        raise Rejected(RejectionReason.WRONG_CHAIN_ID, f"a block of chain {header.chain_id}, not {trusted.chain_id}")
    if header.epoch != trusted.epoch:
        raise Rejected(
            RejectionReason.WRONG_EPOCH, f"block {header.height} is of epoch {header.epoch}, not {trusted.epoch}"
        )
    if header.height <= trusted.height:
        raise Rejected(
            RejectionReason.WRONG_HEIGHT, f"epoch {trusted.epoch} began after block {trusted.height}, not before"
        )
    if header.proposer not in trusted.validators:
        raise Rejected(RejectionReason.UNKNOWN_PROPOSER, f"0x{header.proposer.hex()} is not a validator")


def _check_certificate(trusted: TrustedSet, header: Header, certificate: Certificate, recover: RecoverAddress) -> None:
    named = certificate.kind, certificate.epoch, certificate.block_hash
    if named != (VoteKind.FINALIZE, trusted.epoch, header.hash):
        raise Rejected(RejectionReason.BAD_CERTIFICATE, f"the certificate does not finalize block {header.height}")
    verify_certificate(certificate, genesis_hash=trusted.genesis_hash, validators=trusted.validators, recover=recover)


class Sighting(msgspec.Struct, frozen=True):
    """The highest final block that a verifier has seen, to be remembered between its runs."""

    height: int
    block_hash: Hash32


def max_head_age_ms(heartbeat_ms: int, network_delay_ms: int) -> int:
    """Three heartbeats. A heartbeat shorter than what one silent leader costs, 3Δ, cannot be kept: then that counts."""
    return 3 * max(heartbeat_ms, 3 * network_delay_ms)


def check_head(
    header: Header, *, highest: Sighting | None, now_ms: int, heartbeat_ms: int, network_delay_ms: int
) -> Sighting:
    """What to remember as the highest from now on; `header` is proven final.

    Raises Rejected for a head below the highest seen, for another one at its height, and for one that is too old by the
    verifier's clock: what a node shows that is behind, cut off, or lying.
    """
    if highest is not None and header.height < highest.height:
        raise Rejected(
            RejectionReason.STALE_HEAD,
            f"the node shows block {header.height} as the newest final one, but block {highest.height} was final "
            "before: it is behind, or hides blocks. Ask another node.",
        )
    if highest is not None and header.height == highest.height and header.hash != highest.block_hash:
        raise Rejected(
            RejectionReason.CONFLICTING_HEADS,
            f"two different blocks of height {header.height} were shown as final, 0x{highest.block_hash.hex()} before "
            f"and 0x{header.hash.hex()} now: validators have broken the chain's rules. Trust neither, and tell others.",
        )
    age_ms, limit_ms = now_ms - header.time_ms, max_head_age_ms(heartbeat_ms, network_delay_ms)
    if age_ms > limit_ms:
        raise Rejected(
            RejectionReason.STALE_HEAD,
            f"the newest final block {header.height} is {age_ms // 1000} s old, and a healthy chain's is at most "
            f"{limit_ms // 1000} s: the node is cut off, the chain stands still, or this computer's clock is wrong.",
        )
    return Sighting(header.height, header.hash)
