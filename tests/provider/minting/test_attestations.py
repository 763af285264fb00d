"""Attestations are checked as the chain checks them, before they are believed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest, salted_prompt_hash
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.web.problems import Problem
from provider.minting.attestations import AttesterSet, check_attestation
from provider.minting.payment import Payment
from provider.receipts.issuing import Offer, ServedWork, direct_origin, issue_receipt
from provider.storage.rows import ReceiptForm, ReceiptState

WithEarner = Callable[..., None]
PROVIDER = PrivateKey(b"\x07" * 32)
ATTESTERS = sorted((PrivateKey(bytes([n]) * 32) for n in (11, 12, 13)), key=lambda key: key.address)
STRANGER = PrivateKey(b"\x63" * 32)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def receipt(microseconds: int = 1_000_000) -> Receipt:
    prompt_hash = salted_prompt_hash(b"s" * 32, "p")
    work = ServedWork((b"d" * 32,), microseconds, 1.0, 20.0)
    origin = direct_origin(
        "job-1",
        "alice",
        provider=PROVIDER.address,
        chain_id=7,
        prompt_hash=prompt_hash,
        parameters=RequestParameters(width=256, height=256, steps=5, guidance=1.0),
    )
    return issue_receipt(PROVIDER, Offer("m", "gpu_seconds", 10, 7), origin, work, prompt_hash=prompt_hash).receipt


RECEIPT = receipt()
PAYMENT = Payment.of(RECEIPT, ReceiptForm.MINT)
DIGEST = attestation_digest(RECEIPT.provider, RECEIPT.amount, RECEIPT.hash)


def attesters(threshold: int) -> AttesterSet:
    return AttesterSet(frozenset(key.address for key in ATTESTERS), threshold)


def refusal(attestation: bytes, threshold: int = 1) -> RejectionReason:
    with pytest.raises(Rejected) as caught:
        check_attestation(PAYMENT, attestation, attesters(threshold))
    return caught.value.reason


def test_one_or_several_attesters() -> None:
    assert check_attestation(PAYMENT, ATTESTERS[1].sign(DIGEST), attesters(1)) == [ATTESTERS[1].address]
    both = ATTESTERS[0].sign(DIGEST) + ATTESTERS[2].sign(DIGEST)
    assert check_attestation(PAYMENT, both, attesters(2)) == [
        ATTESTERS[0].address,
        ATTESTERS[2].address,
    ]


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


def test_attestations_are_checked_against_the_chain(with_earner: WithEarner) -> None:
    async def scenario(earner: Any) -> None:
        receipt = earner.sign_receipt(1)
        with pytest.raises(Problem, match="not signed by an attester") as caught:
            await earner.attestations.accept(receipt.hash, earner.attest(receipt, STRANGER))
        assert caught.value.reason == "not_an_attester"
        assert earner.state(receipt) is ReceiptState.SIGNED
        assert await earner.attestations.accept(receipt.hash, earner.attest(receipt)) is ReceiptState.ATTESTED
        assert await earner.attestations.accept(receipt.hash, earner.attest(receipt)) is ReceiptState.ATTESTED
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert await earner.attestations.accept(receipt.hash, earner.attest(receipt)) is ReceiptState.FINAL

    with_earner(scenario)


def test_while_the_chain_is_down_a_hub_is_asked_to_come_again(node: Any, with_earner: WithEarner) -> None:
    async def scenario(earner: Any) -> None:
        receipt = earner.sign_receipt(1)
        await asyncio.to_thread(node.kill)
        with pytest.raises(Problem) as caught:
            await earner.attestations.accept(receipt.hash, earner.attest(receipt))
        assert (caught.value.status, caught.value.reason) == (503, "node_unreachable")
        assert "Retry-After" in (caught.value.headers or {})
        assert earner.state(receipt) is ReceiptState.SIGNED
        await asyncio.to_thread(node.start)
        assert await earner.attestations.accept(receipt.hash, earner.attest(receipt)) is ReceiptState.ATTESTED

    with_earner(scenario)
