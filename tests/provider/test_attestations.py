"""Attestations are checked as the chain checks them, before they are believed."""

import pytest

from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest, salted_prompt_hash
from chain.primitives.rejection import Rejected, RejectionReason
from provider.attestations import AttesterSet, check_attestation
from provider.engine import FinishedImage
from provider.generation import GeneratedImage, ImageRequest
from provider.receipts import Offer, direct_origin, issue_receipt

PROVIDER = PrivateKey(b"\x07" * 32)
ATTESTERS = sorted((PrivateKey(bytes([n]) * 32) for n in (11, 12, 13)), key=lambda key: key.address)
STRANGER = PrivateKey(b"\x63" * 32)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def receipt(microseconds: int = 1_000_000) -> Receipt:
    request = ImageRequest("p", 5, 1.0, 256, 256, 0)
    prompt_hash = salted_prompt_hash(b"s" * 32, "p")
    finished = FinishedImage(GeneratedImage(b"png", microseconds), 1.0, 2.0)
    origin = direct_origin("job-1", "alice", request, prompt_hash, "m")
    return issue_receipt(PROVIDER, Offer("m", "gpu_seconds", 10, 7), origin, finished, prompt_hash=prompt_hash).receipt


RECEIPT = receipt()
DIGEST = attestation_digest(RECEIPT.provider, RECEIPT.amount, RECEIPT.hash)


def attesters(threshold: int) -> AttesterSet:
    return AttesterSet(frozenset(key.address for key in ATTESTERS), threshold)


def refusal(attestation: bytes, threshold: int = 1) -> RejectionReason:
    with pytest.raises(Rejected) as caught:
        check_attestation(RECEIPT, attestation, attesters(threshold))
    return caught.value.reason


def test_one_or_several_attesters() -> None:
    assert check_attestation(RECEIPT, ATTESTERS[1].sign(DIGEST), attesters(1)) == [ATTESTERS[1].address]
    both = ATTESTERS[0].sign(DIGEST) + ATTESTERS[2].sign(DIGEST)
    assert check_attestation(RECEIPT, both, attesters(2)) == [ATTESTERS[0].address, ATTESTERS[2].address]


def test_too_few_too_many_or_cut_off() -> None:
    one = ATTESTERS[0].sign(DIGEST)
    assert refusal(b"") is RejectionReason.SIGNATURE_COUNT
    assert refusal(one + ATTESTERS[1].sign(DIGEST)) is RejectionReason.SIGNATURE_COUNT
    assert refusal(one, threshold=2) is RejectionReason.SIGNATURE_COUNT
    assert refusal(one[:-1]) is RejectionReason.SIGNATURE_COUNT


def test_the_order_is_fixed_and_nobody_counts_twice() -> None:
    first, second = (key.sign(DIGEST) for key in ATTESTERS[:2])
    assert refusal(second + first, threshold=2) is RejectionReason.SIGNATURE_ORDER
    assert refusal(first + first, threshold=2) is RejectionReason.SIGNATURE_ORDER


def test_strangers_and_other_receipts() -> None:
    assert refusal(STRANGER.sign(DIGEST)) is RejectionReason.NOT_AN_ATTESTER
    assert refusal(PROVIDER.sign(DIGEST)) is RejectionReason.NOT_AN_ATTESTER
    other_amount = attestation_digest(RECEIPT.provider, RECEIPT.amount + 1, RECEIPT.hash)
    assert refusal(ATTESTERS[0].sign(other_amount)) is RejectionReason.NOT_AN_ATTESTER
    other_receipt = attestation_digest(RECEIPT.provider, RECEIPT.amount, receipt(2).hash)
    assert refusal(ATTESTERS[0].sign(other_receipt)) is RejectionReason.NOT_AN_ATTESTER


def test_malformed_signatures() -> None:
    good = ATTESTERS[0].sign(DIGEST)
    assert refusal(bytes(65)) is RejectionReason.BAD_SIGNATURE
    assert refusal(good[:64] + bytes([good[64] - 27])) is RejectionReason.BAD_SIGNATURE
    mirrored = (
        good[:32] + (CURVE_ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big") + bytes([55 - good[64]])
    )
    assert refusal(mirrored) is RejectionReason.HIGH_S
