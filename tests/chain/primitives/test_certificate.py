"""Votes and certificates: golden digests, and what is not signed by a quorum is no certificate."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from msgspec.structs import replace

from chain.primitives import message_pack
from chain.primitives.certificate import (
    Certificate,
    VoteKind,
    faulty_bound,
    quorum,
    validators_hash,
    verify_certificate,
    vote_digest,
)
from chain.primitives.hashing import keccak256
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import Hash32

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

KEYS = [PrivateKey(bytes((number,)) * 32) for number in (1, 2, 3, 4)]
VALIDATORS = [key.address for key in KEYS]
GENESIS = Hash32(b"\xaa" * 32)
BLOCK_HASH = Hash32(b"\xbb" * 32)


def _certificate(
    signers: Sequence[int] = (0, 1, 3),
    *,
    genesis_hash: Hash32 = GENESIS,
    kind: VoteKind = VoteKind.FINALIZE,
    epoch: int = 1,
    view: int = 9,
    parent_view: int = 8,
    block_hash: Hash32 = BLOCK_HASH,
) -> Certificate:
    digest = vote_digest(
        genesis_hash, epoch=epoch, kind=kind, view=view, parent_view=parent_view, block_hash=block_hash
    )
    return Certificate(
        kind=VoteKind.FINALIZE,
        epoch=1,
        view=9,
        parent_view=8,
        block_hash=BLOCK_HASH,
        signer_bitmap=sum(1 << index for index in signers),
        signatures=tuple(KEYS[index].sign(digest) for index in signers),
    )


def _reason(reason_of: ReasonOf, certificate: Certificate) -> RejectionReason | None:
    return reason_of(verify_certificate, certificate, genesis_hash=GENESIS, validators=VALIDATORS)


def test_bounds_of_validator_sets() -> None:
    counts = (1, 2, 3, 4, 5, 6, 7, 10, 30, 60)
    assert [faulty_bound(count) for count in counts] == [0, 0, 0, 1, 1, 1, 2, 3, 9, 19]
    assert [quorum(count) for count in counts] == [1, 2, 3, 3, 4, 5, 5, 7, 21, 41]
    for count in range(1, 61):  # Two quorums share an honest validator.
        assert 2 * quorum(count) - count >= faulty_bound(count) + 1


def test_golden_digests() -> None:
    body = (8).to_bytes(8, "big") + BLOCK_HASH
    finalize = vote_digest(GENESIS, epoch=1, kind=VoteKind.FINALIZE, view=9, parent_view=8, block_hash=BLOCK_HASH)

    assert finalize == keccak256(b"aitbc/1" + GENESIS + bytes(7) + b"\1" + b"\3" + bytes(7) + b"\x09" + body)
    assert finalize.hex() == "ab483f18b5185be4a8a6f0227b1dd9f74afd9d4d74bfe555785a86d35abb45b0"
    assert (
        vote_digest(GENESIS, epoch=1, kind=VoteKind.NULLIFY, view=9).hex()
        == "b8d229acb7d936473a61a3af40b352a180ed7ad5751e10c6e2bfa32905471a0a"
    )
    assert validators_hash(3, VALIDATORS).hex() == "49633d588d5c32c94f0cc910aef03169ad8604197df55ac1fcd69c122cf6ce8e"


def test_votes_differ_in_everything_that_they_name() -> None:
    digests = {
        vote_digest(genesis, epoch=epoch, kind=kind, view=view, parent_view=parent, block_hash=block)
        for genesis in (GENESIS, BLOCK_HASH)
        for epoch in (0, 1)
        for kind in (VoteKind.NOTARIZE, VoteKind.FINALIZE)
        for view in (1, 2)
        for parent in (0, 1)
        for block in (BLOCK_HASH, GENESIS)
    }
    assert len(digests) == 64


@pytest.mark.parametrize("signers", [(0, 1, 2), (1, 2, 3), (0, 2, 3), (0, 1, 2, 3)])
def test_a_quorum_suffices(signers: Sequence[int], reason_of: ReasonOf) -> None:
    assert _reason(reason_of, _certificate(signers)) is None


def test_one_validator_is_its_own_quorum(reason_of: ReasonOf) -> None:
    certificate = _certificate((0,))
    assert reason_of(verify_certificate, certificate, genesis_hash=GENESIS, validators=VALIDATORS[:1]) is None
    assert _reason(reason_of, certificate) is RejectionReason.BAD_CERTIFICATE


GOOD = _certificate()
_R, _S = GOOD.signatures[0][:32], int.from_bytes(GOOD.signatures[0][32:64], "big")
_TWIN = _R + (CURVE_ORDER - _S).to_bytes(32, "big") + bytes((55 - GOOD.signatures[0][64],))


@pytest.mark.parametrize(
    "certificate",
    [
        _certificate(()),
        _certificate((0,)),
        _certificate((0, 1)),
        _certificate(kind=VoteKind.NOTARIZE),
        _certificate(genesis_hash=Hash32(b"\xab" * 32)),
        _certificate(epoch=2),
        _certificate(view=10),
        _certificate(parent_view=7),
        _certificate(block_hash=GENESIS),
        replace(GOOD, kind=VoteKind.NOTARIZE),
        replace(GOOD, kind=VoteKind.NULLIFY),
        replace(GOOD, epoch=0),
        replace(GOOD, view=8),
        replace(GOOD, parent_view=9),
        replace(GOOD, block_hash=GENESIS),
        replace(GOOD, signer_bitmap=0b0111),  # Somebody else's signature under a name.
        replace(GOOD, signer_bitmap=0b1111),
        replace(GOOD, signer_bitmap=0b0011),
        replace(GOOD, signer_bitmap=0b10011),  # Nobody has the fifth place.
        replace(GOOD, signer_bitmap=2**62 | 0b0011),
        replace(GOOD, signatures=GOOD.signatures[:2]),
        replace(GOOD, signatures=GOOD.signatures[::-1]),
        replace(GOOD, signatures=(GOOD.signatures[0],) * 3),  # One signer thrice.
        replace(GOOD, signatures=(_TWIN, *GOOD.signatures[1:])),
        replace(GOOD, signatures=(bytes(65), *GOOD.signatures[1:])),
        replace(GOOD, signatures=(*GOOD.signatures, GOOD.signatures[0])),
    ],
)
def test_what_is_no_certificate(certificate: Certificate, reason_of: ReasonOf) -> None:
    assert _reason(reason_of, certificate) is RejectionReason.BAD_CERTIFICATE


def test_nobody_can_certify_for_an_empty_set(reason_of: ReasonOf) -> None:
    for certificate in (GOOD, _certificate(())):
        reason = reason_of(verify_certificate, certificate, genesis_hash=GENESIS, validators=[])
        assert reason is RejectionReason.BAD_CERTIFICATE


@pytest.mark.parametrize("seed", range(2))
def test_mutated_certificates_never_verify(seed: int, reason_of: ReasonOf, mutations: Mutations) -> None:
    encoded = message_pack.encode(GOOD)
    assert message_pack.decode(encoded, Certificate) == GOOD
    for mutated in mutations(encoded, 800, seed):
        if reason_of(message_pack.decode, mutated, Certificate) is None:
            certificate = message_pack.decode(mutated, Certificate)
            assert message_pack.encode(certificate) == mutated
            assert _reason(reason_of, certificate) is RejectionReason.BAD_CERTIFICATE


def test_signatures_have_65_bytes(reason_of: ReasonOf) -> None:
    for signature in (b"", GOOD.signatures[0][:64], GOOD.signatures[0] + b"\0"):
        encoded = message_pack.encode(replace(GOOD, signatures=(signature,) * 3))
        assert reason_of(message_pack.decode, encoded, Certificate) is RejectionReason.MALFORMED
