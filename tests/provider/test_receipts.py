"""Receipts: what stands in them, who signed them, and that their amount is the measured time times the price."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, compute_amount, recover_provider, salted_prompt_hash
from chain.primitives.rejection import Rejected
from provider.engine import FinishedImage
from provider.generation import GeneratedImage, ImageRequest
from provider.receipts import JobOrigin, Offer, SignedReceipt, direct_origin, issue_receipt

KEY = PrivateKey(b"\x07" * 32)
REQUEST = ImageRequest("a red circle", steps=30, guidance=7.5, width=512, height=512, seed=2**62)
PROMPT_HASH = salted_prompt_hash(b"s" * 32, REQUEST.prompt)


def origin(job_id: str = "2025-09-26-000123") -> JobOrigin:
    return direct_origin(job_id, "alice", REQUEST, PROMPT_HASH, "aitbc/tiny-sd")


def issue(unit_type: str = "gpu_seconds", microseconds: int = 1_900_000, price: int = 10**17) -> SignedReceipt:
    finished = FinishedImage(GeneratedImage(b"png", microseconds), 1_695_720_000.25, 1_695_720_002.5)
    return issue_receipt(
        KEY, Offer("aitbc/tiny-sd", unit_type, price, chain_id=4242), origin(), finished, prompt_hash=PROMPT_HASH
    )


def test_every_field_says_what_happened() -> None:
    receipt = issue().receipt
    assert receipt.provider == KEY.address
    assert (receipt.job_id, receipt.client, receipt.hub_id, receipt.chain_id) == (
        "2025-09-26-000123",
        "alice",
        "",
        4242,
    )
    assert receipt.to_object()["units"] == 1.9
    assert receipt.amount == 19 * 10**16
    assert (receipt.started_at, receipt.finished_at) == (1_695_720_000, 1_695_720_003)
    assert receipt.artifact_sha256 == hashlib.sha256(b"png").hexdigest()
    assert receipt.client_signature is None


def test_the_provider_signed_exactly_this_receipt() -> None:
    signed = issue()
    assert signed.receipt_hash == signed.receipt.hash
    assert recover_provider(signed.receipt, signed.signature) == KEY.address
    again = Receipt.from_json(signed.receipt.canonical_bytes())
    assert again == signed.receipt


def test_an_image_is_one_unit_however_long_it_took() -> None:
    receipt = issue(unit_type="images", price=5).receipt
    assert (receipt.micro_units, receipt.amount) == (1_000_000, 5)


def test_a_free_job_has_a_receipt_too() -> None:
    assert issue(price=0).receipt.amount == 0


@given(microseconds=st.integers(0, 10**12), price=st.integers(0, 2**128))
def test_the_amount_is_rounded_down(microseconds: int, price: int) -> None:
    receipt = issue(microseconds=microseconds, price=price).receipt
    assert receipt.amount == compute_amount(microseconds, price) == microseconds * price // 10**6


def test_two_receipts_for_the_same_request_differ() -> None:
    assert issue().receipt_hash != issue().receipt_hash


def test_the_prompt_hash_is_salted() -> None:
    assert salted_prompt_hash(b"1" * 32, "a") != salted_prompt_hash(b"2" * 32, "a")
    assert salted_prompt_hash(b"1" * 32, "ä") == "sha256:" + hashlib.sha256(b"1" * 32 + "ä".encode()).hexdigest()


def test_a_request_hash_names_the_request() -> None:
    other = ImageRequest("a red circle", steps=31, guidance=7.5, width=512, height=512, seed=2**62)
    assert direct_origin("j", "alice", other, PROMPT_HASH, "m").request_hash != origin().request_hash
    assert direct_origin("j", "bob", REQUEST, PROMPT_HASH, "aitbc/tiny-sd").request_hash == origin().request_hash


def test_what_the_receipt_cannot_hold_is_refused() -> None:
    finished = FinishedImage(GeneratedImage(b"png", 1), 1.0, 2.0)
    offer = Offer("a model with spaces", "gpu_seconds", 1, chain_id=4242)
    with pytest.raises(Rejected, match="model"):
        issue_receipt(KEY, offer, origin(), finished, prompt_hash=PROMPT_HASH)
