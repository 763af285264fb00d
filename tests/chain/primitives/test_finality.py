"""From the genesis file alone: who decides now, what is final, and when a node's newest block is no news."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from chain.primitives import message_pack
from chain.primitives.block import Header
from chain.primitives.certificate import (
    Certificate,
    VoteKind,
    assemble_certificate,
    quorum,
    sign_vote,
    validators_hash,
)
from chain.primitives.finality import (
    MAX_DESCENDANTS,
    MAX_PROOF_BYTES,
    EpochEnd,
    FinalityProof,
    Sighting,
    TrustedSet,
    check_head,
    end_epoch,
    genesis_set,
    max_head_age_ms,
    verify_epochs,
    verify_finality,
)
from chain.primitives.keys import PrivateKey
from chain.primitives.network import Network, Validator
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, BlockHeight, Hash32

ReasonOf = Callable[..., RejectionReason | None]

KEYS = [PrivateKey(bytes((number,)) * 32) for number in range(1, 9)]
NETWORK = Network(
    chain_id=77,
    name="small",
    validators=tuple(Validator(key.address, key.public_key) for key in KEYS[:4]),
    attesters=(),
)
BAD_CERTIFICATE, BAD_PROOF = RejectionReason.BAD_CERTIFICATE, RejectionReason.BAD_PROOF


def addresses(keys: Sequence[PrivateKey]) -> tuple[Address, ...]:
    """Of these keys, in order."""
    return tuple(key.address for key in keys)


def header_of(keys: Sequence[PrivateKey], *, epoch: int, height: int, **fields: Any) -> Header:
    """A header of the validators' epoch."""
    values: dict[str, Any] = {
        "protocol_version": 1,
        "chain_id": NETWORK.chain_id,
        "epoch": epoch,
        "height": BlockHeight(height),
        "parent_hash": Hash32(bytes(32)),
        "time_ms": 1_000 * height,
        "proposer": keys[height % len(keys)].address,
        "transactions_root": Hash32(b"\1" * 32),
        "results_root": Hash32(b"\2" * 32),
        "state_root": Hash32(b"\3" * 32),
        "next_validators_hash": validators_hash(epoch, addresses(keys)),
    }
    return Header(**{**values, **fields})


def certify(keys: Sequence[PrivateKey], header: Header, **fields: Any) -> Certificate:
    """A certificate by the first q of these keys; `fields` change what they sign."""
    values: dict[str, Any] = {
        "genesis_hash": NETWORK.genesis_hash,
        "kind": VoteKind.FINALIZE,
        "epoch": header.epoch,
        "view": header.height + 3,
        "parent_view": header.height,
        "block_hash": header.hash,
    }
    votes = [
        sign_vote(key, signer=index, **{**values, **fields}) for index, key in enumerate(keys[: quorum(len(keys))])
    ]
    return assemble_certificate(votes)


def ending(keys: Sequence[PrivateKey], following: Sequence[PrivateKey], *, epoch: int, height: int) -> EpochEnd:
    """The end of an epoch: these validators give way to the following ones."""
    named = validators_hash(epoch + 1, addresses(following))
    header = header_of(keys, epoch=epoch, height=height, next_validators_hash=named)
    return EpochEnd(header, certify(keys, header), addresses(following))


def chain_of(keys: Sequence[PrivateKey], *, epoch: int, first: int, count: int) -> list[Header]:
    """Headers that follow each other."""
    headers = [header_of(keys, epoch=epoch, height=first)]
    while len(headers) < count:
        height = first + len(headers)
        headers.append(header_of(keys, epoch=epoch, height=height, parent_hash=headers[-1].hash))
    return headers


# Four validators; then the first is replaced, then one is added, then the epoch changes alone, then one is left.
SETS = [KEYS[:4], [KEYS[4], *KEYS[1:4]], [KEYS[4], *KEYS[1:4], KEYS[5]], [KEYS[4], *KEYS[1:4], KEYS[5]], [KEYS[5]]]
HEIGHTS = [10, 11, 40, 41]
ENDS = [
    ending(old, new, epoch=epoch, height=height)
    for epoch, (old, new, height) in enumerate(zip(SETS[:-1], SETS[1:], HEIGHTS, strict=True))
]
GENESIS = genesis_set(NETWORK)
NOW = verify_epochs(GENESIS, ENDS[:2])


def test_epochs_are_followed_from_the_genesis_file() -> None:
    assert (GENESIS.epoch, GENESIS.validators, GENESIS.height) == (0, NETWORK.validator_addresses, 0)
    assert verify_epochs(GENESIS, []) == GENESIS
    for count in range(len(ENDS) + 1):
        trusted = verify_epochs(GENESIS, ENDS[:count])
        assert (trusted.epoch, trusted.validators) == (count, addresses(SETS[count]))
        assert trusted.height == (HEIGHTS[count - 1] if count else 0)
        # From a pinned checkpoint, the rest leads to the same.
        assert verify_epochs(trusted, ENDS[count:]) == verify_epochs(GENESIS, ENDS)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ([ENDS[1]], RejectionReason.WRONG_EPOCH),
        ([ENDS[0], ENDS[0]], RejectionReason.WRONG_EPOCH),
        ([ENDS[0], ENDS[2]], RejectionReason.WRONG_EPOCH),
        ([ENDS[0], ENDS[1], ENDS[0]], RejectionReason.WRONG_EPOCH),
        (list(reversed(ENDS)), RejectionReason.WRONG_EPOCH),
    ],
)
def test_epochs_in_another_order_lead_nowhere(
    ends: list[EpochEnd], reason: RejectionReason, reason_of: ReasonOf
) -> None:
    assert reason_of(verify_epochs, GENESIS, ends) is reason


@pytest.mark.parametrize("height", [1, 10])
def test_an_epoch_does_not_end_before_it_began(height: int, reason_of: ReasonOf) -> None:
    late = ending(SETS[1], SETS[2], epoch=1, height=height)
    assert reason_of(verify_epochs, GENESIS, [ENDS[0], late]) is RejectionReason.WRONG_HEIGHT


END = ENDS[2]
FIELDS = {
    "protocol_version": 2,
    "chain_id": 78,
    "epoch": 3,
    "height": BlockHeight(41),
    "parent_hash": Hash32(b"\7" * 32),
    "time_ms": 1,
    "proposer": KEYS[3].address,
    "transactions_root": Hash32(b"\7" * 32),
    "results_root": Hash32(b"\7" * 32),
    "state_root": Hash32(b"\7" * 32),
    "next_validators_hash": Hash32(b"\7" * 32),
}


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_of_a_header_can_be_changed(field: str, reason_of: ReasonOf) -> None:
    assert set(FIELDS) == set(Header.__struct_fields__)
    changed = replace(END.header, **{field: FIELDS[field]})
    assert changed.hash != END.header.hash
    assert reason_of(end_epoch, NOW, replace(END, header=changed)) is not None
    # Also where the certificate names the changed header, but was signed for the right one.
    renamed = replace(END.certificate, block_hash=changed.hash)
    assert reason_of(end_epoch, NOW, replace(END, header=changed, certificate=renamed)) is not None
    proof = FinalityProof(changed, (), END.certificate)
    assert reason_of(verify_finality, NOW, proof) is not None


def test_the_next_set_is_the_one_that_the_header_names(reason_of: ReasonOf) -> None:
    right = END.next_validators
    for wrong in (right[:-1], (*right, KEYS[7].address), tuple(reversed(right)), (KEYS[7].address, *right[1:]), ()):
        assert reason_of(end_epoch, NOW, replace(END, next_validators=wrong)) is BAD_PROOF
    # A block that changes nothing ends nothing, although a quorum has finalized it.
    header = header_of(SETS[2], epoch=2, height=40)
    assert reason_of(end_epoch, NOW, EpochEnd(header, certify(SETS[2], header), right)) is BAD_PROOF
    # Not even a quorum makes a set in which one validator has two votes.
    twice = ending(SETS[2], [KEYS[7], KEYS[7], KEYS[6]], epoch=2, height=40)
    assert reason_of(end_epoch, NOW, twice) is BAD_PROOF


def _shuffled(certificate: Certificate) -> Certificate:
    return replace(certificate, signatures=tuple(reversed(certificate.signatures)))


def _repeated(certificate: Certificate) -> Certificate:
    """One validator's signature in every place."""
    return replace(certificate, signatures=certificate.signatures[:1] * len(certificate.signatures))


def _with_fewer(certificate: Certificate) -> Certificate:
    bitmap = certificate.signer_bitmap & ~1
    return replace(certificate, signer_bitmap=bitmap, signatures=certificate.signatures[1:])


def _padded(certificate: Certificate) -> Certificate:
    """A signer who is not there is claimed, with the signature of one who is."""
    fewer = _with_fewer(certificate)
    return replace(fewer, signer_bitmap=fewer.signer_bitmap | 1 << 62, signatures=(*fewer.signatures, bytes(65)))


FORGERIES: dict[str, Callable[[Header], Certificate]] = {
    "another kind": lambda header: certify(SETS[2], header, kind=VoteKind.NOTARIZE),
    "a kind renamed": lambda header: replace(certify(SETS[2], header, kind=VoteKind.NOTARIZE), kind=VoteKind.FINALIZE),
    "another network": lambda header: certify(SETS[2], header, genesis_hash=Hash32(bytes(32))),
    "another epoch": lambda header: certify(SETS[2], header, epoch=1),
    "an epoch renamed": lambda header: replace(certify(SETS[2], header, epoch=1), epoch=2),
    "another block": lambda header: certify(SETS[2], header, block_hash=Hash32(bytes(32))),
    "another view": lambda header: replace(certify(SETS[2], header), view=1),
    "another parent view": lambda header: replace(certify(SETS[2], header), parent_view=1),
    "the first set, of which one was removed": lambda header: certify(SETS[0], header),
    "the set before": lambda header: certify(SETS[1], header),
    "the set after": lambda header: certify([*SETS[2][1:], KEYS[6]], header),
    "strangers": lambda header: certify([KEYS[6], KEYS[7], KEYS[0], KEYS[6], KEYS[7]], header),
    "shuffled": lambda header: _shuffled(certify(SETS[2], header)),
    "repeated": lambda header: _repeated(certify(SETS[2], header)),
    "one fewer": lambda header: _with_fewer(certify(SETS[2], header)),
    "padded": lambda header: _padded(certify(SETS[2], header)),
    "empty": lambda header: replace(certify(SETS[2], header), signer_bitmap=0, signatures=()),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_certificate_proves_nothing(name: str, reason_of: ReasonOf) -> None:
    # For the end of an epoch
    assert verify_epochs(NOW, [END]).epoch == 3
    assert reason_of(end_epoch, NOW, replace(END, certificate=FORGERIES[name](END.header))) is BAD_CERTIFICATE
    # For a block, and for the descendant that covers it
    first, second = chain_of(SETS[2], epoch=2, first=20, count=2)
    verify_finality(NOW, FinalityProof(first, (second,), certify(SETS[2], second)))
    for proof in (
        FinalityProof(first, (), FORGERIES[name](first)),
        FinalityProof(first, (second,), FORGERIES[name](second)),
    ):
        assert reason_of(verify_finality, NOW, proof) is BAD_CERTIFICATE


def test_more_than_a_quorum_is_as_good() -> None:
    header = header_of(SETS[2], epoch=2, height=20)
    votes = [
        sign_vote(
            key,
            genesis_hash=NETWORK.genesis_hash,
            signer=index,
            kind=VoteKind.FINALIZE,
            epoch=2,
            view=9,
            parent_view=8,
            block_hash=header.hash,
        )
        for index, key in enumerate(SETS[2])
    ]
    verify_finality(NOW, FinalityProof(header, (), assemble_certificate(votes)))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_descendants_certificate_covers_its_ancestors(count: int) -> None:
    headers = chain_of(SETS[2], epoch=2, first=20, count=count)
    certificate = certify(SETS[2], headers[-1])
    for index, header in enumerate(headers):
        proof = FinalityProof(header, tuple(headers[index + 1 :]), certificate)
        verify_finality(NOW, proof)
        assert FinalityProof.decode(proof.encode()) == proof


def test_headers_that_do_not_follow_each_other_prove_nothing(reason_of: ReasonOf) -> None:
    first, second, third = chain_of(SETS[2], epoch=2, first=20, count=3)
    certificate = certify(SETS[2], third)
    assert reason_of(verify_finality, NOW, FinalityProof(first, (third,), certificate)) is BAD_PROOF
    assert reason_of(verify_finality, NOW, FinalityProof(first, (third, second), certificate)) is BAD_PROOF
    assert reason_of(verify_finality, NOW, FinalityProof(first, (), certificate)) is BAD_CERTIFICATE
    assert reason_of(verify_finality, NOW, FinalityProof(first, (second,), certificate)) is BAD_CERTIFICATE
    other = replace(first, state_root=Hash32(b"\7" * 32))
    assert reason_of(verify_finality, NOW, FinalityProof(other, (second, third), certificate)) is BAD_PROOF
    for field, value in (("height", 23), ("time_ms", second.time_ms), ("parent_hash", Hash32(bytes(32)))):
        wrong = replace(third, **{field: value})
        proof = FinalityProof(first, (second, wrong), certify(SETS[2], wrong))
        assert reason_of(verify_finality, NOW, proof) is BAD_PROOF, field


def test_a_path_does_not_cross_the_end_of_an_epoch(reason_of: ReasonOf) -> None:
    """Certificates of the next epoch are the next validators' to give; and nothing follows an end in its epoch."""
    beyond = header_of(SETS[3], epoch=3, height=41, parent_hash=END.header.hash)
    proof = FinalityProof(END.header, (beyond,), certify(SETS[3], beyond))
    assert reason_of(verify_finality, NOW, proof) is BAD_PROOF
    within = header_of(SETS[2], epoch=2, height=41, parent_hash=END.header.hash)
    proof = FinalityProof(END.header, (within,), certify(SETS[2], within))
    assert reason_of(verify_finality, NOW, proof) is BAD_PROOF
    verify_finality(NOW, FinalityProof(END.header, (), END.certificate))


def test_a_block_of_another_epoch_or_by_a_stranger_is_refused(reason_of: ReasonOf) -> None:
    for height in (10, 11):
        header = header_of(SETS[2], epoch=2, height=height)  # Epoch 2 began after block 11.
        proof = FinalityProof(header, (), certify(SETS[2], header))
        assert reason_of(verify_finality, NOW, proof) is RejectionReason.WRONG_HEIGHT
    header = header_of(SETS[2], epoch=2, height=20, proposer=KEYS[0].address)
    proof = FinalityProof(header, (), certify(SETS[2], header))
    assert reason_of(verify_finality, NOW, proof) is RejectionReason.UNKNOWN_PROPOSER
    earlier = header_of(SETS[0], epoch=0, height=5)
    proof = FinalityProof(earlier, (), certify(SETS[0], earlier))
    assert reason_of(verify_finality, NOW, proof) is RejectionReason.WRONG_EPOCH
    verify_finality(GENESIS, proof)


def test_proofs_have_one_encoding_and_bounds(reason_of: ReasonOf) -> None:
    assert EpochEnd.decode(END.encode()) == END
    for encoded in (END.encode()[:-1], END.encode() + b"\0", b"", bytes(MAX_PROOF_BYTES + 1)):
        assert reason_of(EpochEnd.decode, encoded) in (RejectionReason.MALFORMED, RejectionReason.TOO_LARGE)
    assert reason_of(FinalityProof.decode, END.encode()) is RejectionReason.MALFORMED
    nobody = message_pack.encode((END.header, END.certificate, ()))
    crowd = message_pack.encode((END.header, END.certificate, (KEYS[0].address,) * 61))
    short = message_pack.encode((END.header, END.certificate, (b"\1" * 19,)))
    for encoded in (nobody, crowd, short):
        assert reason_of(EpochEnd.decode, encoded) is RejectionReason.MALFORMED
    header = header_of(KEYS[:1], epoch=0, height=1)
    longest = FinalityProof(header, (header,) * MAX_DESCENDANTS, certify(KEYS[:1], header))
    assert FinalityProof.decode(longest.encode()) == longest
    longer = replace(longest, descendants=(header,) * (MAX_DESCENDANTS + 1))
    assert reason_of(FinalityProof.decode, longer.encode()) is RejectionReason.MALFORMED


# Freshness

HEAD = header_of(KEYS[:4], epoch=0, height=9)  # Of the time 9 s.
SEEN = Sighting(9, HEAD.hash)


def look(header: Header, highest: Sighting | None, now_ms: int = 9_500, heartbeat_ms: int = 60_000) -> Sighting:
    """`check_head` with a delay of a second."""
    return check_head(header, highest=highest, now_ms=now_ms, heartbeat_ms=heartbeat_ms, network_delay_ms=1_000)


def test_a_newer_head_is_remembered() -> None:
    assert look(HEAD, None) == SEEN
    assert look(HEAD, SEEN) == SEEN
    assert look(HEAD, Sighting(8, Hash32(bytes(32)))) == SEEN
    assert look(HEAD, None, now_ms=0) == SEEN  # A clock that is behind makes nothing old.


def test_a_head_below_the_highest_seen_is_refused() -> None:
    with pytest.raises(Rejected, match="block 10 was final before") as caught:
        look(HEAD, Sighting(10, Hash32(bytes(32))))
    assert caught.value.reason is RejectionReason.STALE_HEAD


def test_another_head_of_the_same_height_is_an_alarm() -> None:
    with pytest.raises(Rejected, match="validators have broken") as caught:
        look(HEAD, Sighting(9, Hash32(bytes(32))))
    assert caught.value.reason is RejectionReason.CONFLICTING_HEADS


@pytest.mark.parametrize(("heartbeat_ms", "limit_ms"), [(60_000, 180_000), (3_000, 9_000), (1_000, 9_000)])
def test_a_head_older_than_three_heartbeats_is_refused(heartbeat_ms: int, limit_ms: int) -> None:
    assert max_head_age_ms(heartbeat_ms, 1_000) == limit_ms
    assert look(HEAD, SEEN, now_ms=9_000 + limit_ms, heartbeat_ms=heartbeat_ms) == SEEN
    with pytest.raises(Rejected, match="s old") as caught:
        look(HEAD, SEEN, now_ms=9_001 + limit_ms, heartbeat_ms=heartbeat_ms)
    assert caught.value.reason is RejectionReason.STALE_HEAD


def test_a_trusted_set_can_be_pinned() -> None:
    pinned = TrustedSet(
        genesis_hash=NETWORK.genesis_hash, chain_id=77, epoch=2, validators=addresses(SETS[2]), height=11
    )
    assert pinned == NOW
