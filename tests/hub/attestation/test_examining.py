"""What an attester sees for itself: true evidence passes, and each lie in it is found under its own name."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chain.primitives.hashing import sha256
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import combined_artifact_sha256, sign_receipt
from chain.primitives.types import Address
from hub.attestation.errors import NotEndorsed
from hub.attestation.evidence import Evidence
from hub.attestation.examining import Bounds, check_claims, check_pictures, check_registered
from hub.attestation.forms import Fee
from hub.store.receipts import Form
from tests.hub.attestation.evidences import (
    CEILING,
    CHAIN_ID,
    PRICE,
    PROVIDERS,
    SPLIT,
    Job,
    blank,
    picture,
    registry,
    showing,
    view_of,
)

BOUNDS = Bounds()
STRANGER = PrivateKey(b"\x77" * 32)
RECIPIENT = Address(b"\x09" * 20)


def examine(evidence: Evidence, *, bounds: Bounds = BOUNDS, ceiling: int = CEILING) -> None:
    check_claims(evidence, chain_id=CHAIN_ID, ceiling_atoms=ceiling, bounds=bounds, now_s=int(time.time()))
    check_registered(evidence, registry(), bounds)
    check_pictures(evidence)


def refusal(evidence: Evidence, **options: Any) -> str:
    with pytest.raises(NotEndorsed) as refused:
        examine(evidence, **options)
    return refused.value.reason


@pytest.mark.parametrize(
    "job",
    [
        Job(),
        SPLIT,
        Job(client=None),
        SPLIT.but(client=None),
        Job(is_paid=True),
        SPLIT.but(is_paid=True, fee=Fee(RECIPIENT, 17)),
        # Two shards of one provider are minted in the single form.
        Job(makers=((PROVIDERS[0], 1), (PROVIDERS[0], 1))),
        # A cancelled job: fewer pictures than were asked for.
        SPLIT.but(asked={"count": 9}),
        Job(asked={"model": "aitbc/tiny-sd"}),
    ],
)
def test_what_is_true_passes(job: Job) -> None:
    examine(job.evidence())


LIES: list[tuple[str, Job]] = [
    ("wrong_chain_id", Job(chain_id=CHAIN_ID + 1)),
    ("wrong_request", Job(max_price=5)),
    ("wrong_request", SPLIT.but(whole={"prompt_hash": "sha256:" + "00" * 32})),
    ("wrong_request", Job(expiry_s=-4_000)),
    ("wrong_request", Job(expiry_s=2 * 86_400)),
    ("wrong_model", Job(asked={"model": "better/model"})),
    ("wrong_model", SPLIT.but(whole={"model": "better/model"}, part={"model": "better/model"}, asked={"model": "x"})),
    ("wrong_count", SPLIT.but(asked={"count": 3})),
    ("wrong_parts", SPLIT.but(part={"unit_type": "images"})),
    ("wrong_parts", SPLIT.but(part={"price_per_unit": PRICE + 1, "amount": 1_234_567 * (PRICE + 1) // 10**6})),
    ("wrong_parts", SPLIT.but(part={"job_id": "job-2"})),
    ("wrong_parts", SPLIT.but(part={"hub_id": "other"})),
    ("wrong_parts", SPLIT.but(part={"client": "bob", "client_signature": None})),
    ("wrong_parts", SPLIT.but(part={"started_at": int(time.time()) - 100})),
    ("implausible_units", Job(micro_units=13_000_000)),
    ("implausible_units", Job(makers=((PROVIDERS[0], 2),), micro_units=12_000_001, took_s=10)),
    ("implausible_time", Job(finished_at=int(time.time()) + 3_600)),
    ("too_old", Job(finished_at=int(time.time()) - 4 * 86_400)),
    ("implausible_time", Job(client=None, took_s=86_401)),
    ("wrong_price", Job(price=2 * PRICE + 1)),
    ("wrong_form", Job(form=Form.MINT_SPLIT)),
    ("wrong_form", SPLIT.but(form=Form.MINT)),
    ("wrong_form", Job(fee=Fee(RECIPIENT, 1))),
    ("missing_field", Job(client=None, form=Form.SETTLE)),
    ("price_limit", Job(is_paid=True, fee=Fee(RECIPIENT, 10**18))),
    ("invalid_recipient", Job(is_paid=True, fee=Fee(Address(bytes(20)), 5))),
]


@pytest.mark.parametrize(("reason", "job"), LIES, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(LIES)])
def test_a_lie_is_found(reason: str, job: Job) -> None:
    assert refusal(job.evidence()) == reason


def with_other_signature(evidence: Evidence) -> Evidence:
    return replace(evidence, provider_signature=sign_receipt(STRANGER, evidence.receipt))


def with_other_part_signature(evidence: Evidence) -> Evidence:
    first, *others = evidence.parts
    return replace(evidence, parts=(replace(first, provider_signature=sign_receipt(STRANGER, first.receipt)), *others))


def without_a_part(evidence: Evidence) -> Evidence:
    return replace(evidence, parts=evidence.parts[:-1])


def with_parts_in_another_order(evidence: Evidence) -> Evidence:
    return replace(evidence, parts=(evidence.parts[1], evidence.parts[0], evidence.parts[2]))


def with_pictures_swapped(evidence: Evidence) -> Evidence:
    return showing(evidence, (*evidence.pictures[:2], evidence.pictures[3], evidence.pictures[2]))


def with_counts_moved(evidence: Evidence) -> Evidence:
    first, second, third = evidence.parts
    return replace(evidence, parts=(replace(first, pictures=1), replace(second, pictures=2), third))


def with_another_client(evidence: Evidence) -> Evidence:
    request = msgspec.structs.replace(evidence.request, max_price=evidence.request.max_price + 1)
    return replace(evidence, request=request)


@pytest.mark.parametrize(
    ("reason", "bend"),
    [
        ("wrong_signature", with_other_signature),
        ("wrong_signature", with_other_part_signature),
        ("wrong_parts", without_a_part),
        ("wrong_parts", with_parts_in_another_order),
        ("wrong_artifact", with_pictures_swapped),
        ("wrong_artifact", with_counts_moved),
        ("wrong_request", with_another_client),
    ],
)
def test_what_does_not_belong_together_is_refused(reason: str, bend: Callable[[Evidence], Evidence]) -> None:
    assert refusal(bend(SPLIT.evidence())) == reason


def test_a_part_claims_units_of_another() -> None:
    # Units moved between shards, the sum as before: the shard is not what its provider has signed.
    evidence = SPLIT.evidence()
    assert evidence.receipt.shards is not None
    first, second, third = evidence.receipt.shards
    moved = (
        msgspec.structs.replace(first, micro_units=first.micro_units + 1_000),
        msgspec.structs.replace(second, micro_units=second.micro_units - 1_000),
        third,
    )
    receipt = msgspec.structs.replace(evidence.receipt, shards=moved)
    bent = replace(evidence, receipt=receipt, provider_signature=sign_receipt(PROVIDERS[0], receipt))
    assert refusal(bent) == "wrong_parts"


def test_a_receipt_above_the_ceiling_is_not_minted_but_may_be_settled() -> None:
    amount = Job().evidence().receipt.amount
    assert refusal(Job().evidence(), ceiling=amount - 1) == "receipt_ceiling"
    examine(Job(is_paid=True).evidence(), ceiling=amount - 1)


def test_images_are_counted() -> None:
    registered = registry() | {PROVIDERS[0].address: view_of(PROVIDERS[0], unit_type="images")}
    for micro_units, is_true in ((2_000_000, True), (3_000_000, False)):
        fields = {"unit_type": "images", "micro_units": micro_units, "amount": micro_units * PRICE // 10**6}
        evidence = Job(makers=((PROVIDERS[0], 2),), whole=fields).evidence()
        if is_true:
            check_claims(evidence, chain_id=CHAIN_ID, ceiling_atoms=CEILING, bounds=Bounds(), now_s=int(time.time()))
            check_registered(evidence, registered, Bounds())
        else:
            assert refusal(evidence) == "implausible_units"


def test_a_provider_with_two_devices_is_paid_for_both() -> None:
    evidence = Job(makers=((PROVIDERS[0], 2),), micro_units=10_000_000, took_s=10).evidence()
    check_claims(evidence, chain_id=CHAIN_ID, ceiling_atoms=CEILING, bounds=Bounds(), now_s=int(time.time()))


@pytest.mark.parametrize(
    ("reason", "view"),
    [
        ("not_registered", None),
        ("wrong_model", view_of(PROVIDERS[1], models=["another/model"])),
        ("wrong_price", view_of(PROVIDERS[1], unit_type="images")),
    ],
)
def test_who_is_not_registered_for_it_is_not_paid(reason: str, view: Any) -> None:
    with pytest.raises(NotEndorsed) as refused:
        check_registered(SPLIT.evidence(), registry() | {PROVIDERS[1].address: view}, Bounds())
    assert refused.value.reason == reason


def test_jobs_that_no_client_signed_for_are_the_operators_choice() -> None:
    assert refusal(Job(client=None).evidence(), bounds=Bounds(takes_unsigned=False)) == "unsigned_request"
    examine(Job().evidence(), bounds=Bounds(takes_unsigned=False))
    assert refusal(Job().evidence(), bounds=Bounds(most_price_per_unit=PRICE - 1)) == "wrong_price"


def bytes_of_pictures(change: Callable[[bytes], bytes]) -> Evidence:
    """The receipt is for the changed picture: the provider has signed what it delivered."""
    evidence = Job().evidence()
    changed = change(evidence.pictures[0])
    receipt = msgspec.structs.replace(evidence.receipt, artifact_sha256=sha256(changed).hex())
    signature = sign_receipt(PROVIDERS[0], receipt)
    return showing(replace(evidence, receipt=receipt, provider_signature=signature), (changed,))


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("bad_picture", lambda png: png[:-60]),
        ("bad_picture", lambda png: b"\0" + png),
        ("bad_picture", lambda png: png + bytes(64 * 48 * 8 + 64 * 1024)),
        ("wrong_size", lambda _: picture(1, width=48, height=64)),
        ("blank_picture", lambda _: blank()),
    ],
)
def test_a_picture_that_is_none(reason: str, change: Callable[[bytes], bytes]) -> None:
    assert refusal(bytes_of_pictures(change)) == reason


def test_a_picture_twice() -> None:
    evidence = Job(makers=((PROVIDERS[0], 2),)).evidence()
    twice = (evidence.pictures[0],) * 2
    receipt = msgspec.structs.replace(
        evidence.receipt, artifact_sha256=combined_artifact_sha256([sha256(each) for each in twice])
    )
    signature = sign_receipt(PROVIDERS[0], receipt)
    evidence = showing(replace(evidence, receipt=receipt, provider_signature=signature), twice)
    assert refusal(evidence) == "copied_picture"
