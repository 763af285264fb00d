"""Receipts: what stands in them, who signed them, and that their amount is the measured time times the price."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, recover_provider, salted_prompt_hash
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.trajectory import open_step, trajectory_root, verify_opening
from chain.primitives.types import Hash32
from chain.primitives.units import compute_amount
from provider.generation import ImageRequest, ReproducibilityProfile
from provider.receipts.claims import request_of
from provider.receipts.client_requests import request_parameters
from provider.receipts.issuing import (
    JobOrigin,
    Offer,
    ServedWork,
    SignedReceipt,
    check_origin,
    direct_origin,
    issue_receipt,
    trajectory_context,
)
from provider.receipts.job_file import AskedFor

KEY = PrivateKey(b"\x07" * 32)
SALT = b"s" * 32
REQUEST = ImageRequest("a red circle", steps=30, guidance=7.5, width=512, height=512, seed=2**62)
PARAMETERS = request_parameters(REQUEST, salt=SALT, seed_asked=None, model_asked=None)
PROMPT_HASH = salted_prompt_hash(SALT, REQUEST.prompt)
OFFER = Offer("aitbc/tiny-sd", "gpu_seconds", 10**17, chain_id=4242)
PROFILE = ReproducibilityProfile("ab" * 32, "PNDMScheduler", "float32", "cpu", 1, (4, 64, 64), {"torch": "2"})


def origin(job_id: str = "2025-09-26-000123", parameters: RequestParameters = PARAMETERS) -> JobOrigin:
    return direct_origin(
        job_id, "alice", provider=KEY.address, chain_id=4242, prompt_hash=PROMPT_HASH, parameters=parameters
    )


def work(microseconds: int = 1_900_000, pictures: Sequence[bytes] = (b"png",)) -> ServedWork:
    digests = tuple(hashlib.sha256(picture).digest() for picture in pictures)
    return ServedWork(digests, microseconds, 1_695_720_000.25, 1_695_720_002.5)


def issue(
    unit_type: str = "gpu_seconds",
    microseconds: int = 1_900_000,
    price: int = 10**17,
    pictures: Sequence[bytes] = (b"png",),
    max_price: int | None = None,
) -> SignedReceipt:
    offer = replace(OFFER, unit_type=unit_type, price_per_unit=price)
    done = work(microseconds, pictures)
    return issue_receipt(KEY, offer, origin(), done, prompt_hash=PROMPT_HASH, max_price=max_price)


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
    assert receipt.trajectory_root is None


def test_the_provider_signed_exactly_this_receipt() -> None:
    signed = issue()
    assert signed.receipt_hash == signed.receipt.hash
    assert recover_provider(signed.receipt, signed.signature) == KEY.address
    again = Receipt.from_json(signed.receipt.canonical_bytes())
    assert again == signed.receipt


@pytest.mark.parametrize("count", [1, 3])
def test_an_image_is_one_unit_however_long_it_took(count: int) -> None:
    receipt = issue(unit_type="images", price=5, pictures=[b"png"] * count).receipt
    assert (receipt.micro_units, receipt.amount) == (count * 1_000_000, 5 * count)


def test_several_pictures_are_one_receipt_over_their_digests() -> None:
    receipt = issue(pictures=(b"one", b"two")).receipt
    digests = hashlib.sha256(b"one").digest() + hashlib.sha256(b"two").digest()
    assert receipt.artifact_sha256 == hashlib.sha256(digests).hexdigest()
    assert receipt.micro_units == 1_900_000


def test_a_free_job_has_a_receipt_too() -> None:
    assert issue(price=0).receipt.amount == 0
    assert issue(price=0, max_price=0).receipt.micro_units == 1_900_000


@given(microseconds=st.integers(0, 10**12), price=st.integers(0, 2**128))
def test_the_amount_is_rounded_down(microseconds: int, price: int) -> None:
    receipt = issue(microseconds=microseconds, price=price).receipt
    assert receipt.amount == compute_amount(microseconds, price) == microseconds * price // 10**6


@given(microseconds=st.integers(0, 10**9), price=st.integers(0, 10**20), max_price=st.integers(0, 10**22))
def test_no_more_is_charged_than_the_signed_maximum(microseconds: int, price: int, max_price: int) -> None:
    receipt = issue(microseconds=microseconds, price=price, max_price=max_price).receipt
    assert receipt.amount <= max_price
    assert receipt.micro_units <= microseconds
    if microseconds * price // 10**6 <= max_price:
        assert receipt.micro_units == microseconds


def test_two_receipts_for_the_same_request_differ() -> None:
    assert issue().receipt_hash != issue().receipt_hash


def test_the_prompt_hash_is_salted() -> None:
    assert salted_prompt_hash(b"1" * 32, "a") != salted_prompt_hash(b"2" * 32, "a")
    assert salted_prompt_hash(b"1" * 32, "ä") == "sha256:" + hashlib.sha256(b"1" * 32 + "ä".encode()).hexdigest()


def test_a_request_hash_names_the_request_whoever_brought_it() -> None:
    more_steps = request_parameters(replace(REQUEST, steps=31), salt=SALT, seed_asked=None, model_asked=None)
    seeded = request_parameters(REQUEST, salt=SALT, seed_asked=REQUEST.seed, model_asked=None)
    assert len({origin(parameters=each).request_hash for each in (PARAMETERS, more_steps, seeded)}) == 3
    bobs = direct_origin(
        "j", "bob", provider=KEY.address, chain_id=4242, prompt_hash=PROMPT_HASH, parameters=PARAMETERS
    )
    assert bobs.request_hash == origin().request_hash


def test_whoever_has_prompt_salt_and_parameters_can_make_the_request_hash() -> None:
    asked = AskedFor("a red circle", "", SALT, PARAMETERS, seed=7, claim=None)
    receipt = issue().receipt
    check_request(receipt, request_of(receipt, asked))


def test_what_the_receipt_cannot_hold_is_refused_before_and_after_the_work() -> None:
    offer = replace(OFFER, model="a model with spaces")
    with pytest.raises(Rejected, match="model"):
        issue_receipt(KEY, offer, origin(), work(), prompt_hash=PROMPT_HASH)
    with pytest.raises(Rejected, match="model"):
        check_origin(KEY.address, offer, origin())
    check_origin(KEY.address, OFFER, origin())


def test_an_origin_with_a_forged_signature_is_refused_before_the_work() -> None:
    client = PrivateKey(b"\x08" * 32)
    forged = replace(
        origin(), client=to_checksum_address(client.address), client_signature=KEY.sign(origin().request_hash)
    )
    with pytest.raises(Rejected, match="client_signature"):
        check_origin(KEY.address, OFFER, forged)
    check_origin(KEY.address, OFFER, replace(forged, client_signature=client.sign(forged.request_hash)))


def test_the_trajectory_is_bound_to_what_stands_in_the_receipt() -> None:
    done = work(pictures=(b"one", b"two"))
    mine = origin()
    digests = [[sha256(bytes([picture, step])) for step in range(3)] for picture in range(2)]
    context = trajectory_context(KEY.address, OFFER, mine, done, [PROFILE, PROFILE])
    root = trajectory_root(context, digests)
    receipt = issue_receipt(KEY, OFFER, mine, done, prompt_hash=PROMPT_HASH, trajectory_root=root).receipt
    assert receipt.trajectory_root == root
    for name in ("chain_id", "hub_id", "job_id", "provider", "request_hash", "artifact_sha256"):
        assert getattr(context, name) == getattr(receipt, name)
    assert verify_opening(Hash32(root), context, open_step(context, digests, picture=1, step=2))
    other = trajectory_context(KEY.address, OFFER, mine, done, [PROFILE, replace(PROFILE, dtype="bfloat16")])
    assert other.hash != context.hash
