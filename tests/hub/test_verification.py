"""Each single lie of a provider is caught, with its own reason; the honest answer passes."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.receipt import sign_receipt
from chain.primitives.signing import eip191_digest
from chain.primitives.types import Amount
from hub.errors import FaultReason, ProviderFault
from hub.selection import Offer
from hub.verification import CheckedAnswer, Measured, SentJob, check_answer, max_answer_bytes

STRANGER = PrivateKey(b"\x66" * 32)
NO_LIMIT = 10**30

Check = Callable[..., CheckedAnswer]


@pytest.fixture
def check(sent_job: SentJob, offer: Offer, measured: Measured) -> Check:
    """`check_answer` with what the hub sent, registered and measured; keywords replace parts."""

    def run(answering: Any, **parts: Any) -> CheckedAnswer:
        given: dict[str, Any] = {"job": sent_job, "offer": offer, "measured": measured, "limit_atoms": NO_LIMIT} | parts
        body = answering if isinstance(answering, bytes) else answering.body()
        return check_answer(body, **given)

    return run


def refused(check: Check, answering: Any, **parts: Any) -> FaultReason:
    with pytest.raises(ProviderFault) as caught:
        check(answering, **parts)
    assert caught.value.message
    return caught.value.reason


def test_honest_answer_passes(check: Check, honest: Any, sent_job: SentJob, provider_key: PrivateKey) -> None:
    checked = check(honest)
    assert checked.png == honest.png
    assert checked.receipt.provider == provider_key.address
    assert checked.receipt.amount == 15 * 10**16
    assert checked.prompt_salt == sent_job.prompt_salt
    assert checked.provider_signature == sign_receipt(provider_key, checked.receipt)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"job_id": "another-job"}, FaultReason.WRONG_JOB),
        ({"client": "bob"}, FaultReason.WRONG_CLIENT),
        ({"provider": STRANGER.address}, FaultReason.WRONG_PROVIDER),
        ({"micro_units": 2_250_001}, FaultReason.IMPLAUSIBLE_UNITS),
        ({"micro_units": 0}, FaultReason.IMPLAUSIBLE_UNITS),
        ({"micro_units": 10**15}, FaultReason.IMPLAUSIBLE_UNITS),
        ({"unit_type": "images", "micro_units": 10**6}, FaultReason.WRONG_PRICE),
        ({"unit_type": "hours"}, FaultReason.BAD_RECEIPT),
        ({"model": "someone/else"}, FaultReason.WRONG_MODEL),
        ({"prompt_hash": "sha256:" + "00" * 32}, FaultReason.WRONG_PROMPT),
        ({"request_hash": b"\x06" * 32}, FaultReason.WRONG_REQUEST_HASH),
        ({"started_at": 1_769_999_994}, FaultReason.IMPLAUSIBLE_TIME),
        ({"finished_at": 1_770_000_009}, FaultReason.IMPLAUSIBLE_TIME),
        ({"started_at": 1_770_000_003}, FaultReason.BAD_RECEIPT),
        ({"artifact_sha256": "00" * 32}, FaultReason.WRONG_ARTIFACT),
        ({"nonce": "cd" * 16}, FaultReason.WRONG_NONCE),
        ({"hub_id": "hub-2"}, FaultReason.WRONG_HUB),
        ({"hub_id": ""}, FaultReason.WRONG_HUB),
        ({"chain_id": 424_243}, FaultReason.WRONG_CHAIN_ID),
        ({"price_per_unit": 10**17 + 1}, FaultReason.WRONG_PRICE),
        ({"price_per_unit": 10**17 - 1}, FaultReason.WRONG_PRICE),
        ({"amount": 15 * 10**16 + 1}, FaultReason.BAD_RECEIPT),
        ({"amount": 15 * 10**16 - 1}, FaultReason.BAD_RECEIPT),
    ],
)
def test_false_receipt_field(check: Check, honest: Any, fields: dict[str, Any], reason: FaultReason) -> None:
    assert refused(check, honest.with_receipt(**fields)) is reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "error"}, FaultReason.BAD_STATUS),
        ({"job_id": "another-job"}, FaultReason.WRONG_JOB),
        ({"seed": 12346}, FaultReason.WRONG_SEED),
        ({"seed": "12345"}, FaultReason.MALFORMED_ANSWER),
        ({"seed": True}, FaultReason.MALFORMED_ANSWER),
        ({"model": "other/model"}, FaultReason.WRONG_MODEL),
        ({"receipt": None}, FaultReason.BAD_RECEIPT),
        ({"receipt": []}, FaultReason.BAD_RECEIPT),
        ({"receipt": "x" * 20_000}, FaultReason.BAD_RECEIPT),
        ({"receipt_hash": "0x" + "00" * 32}, FaultReason.WRONG_RECEIPT_HASH),
        ({"receipt_hash": "latest"}, FaultReason.WRONG_RECEIPT_HASH),
        ({"provider_signature": "0x" + "00" * 65}, FaultReason.WRONG_SIGNATURE),
        ({"provider_signature": "0x"}, FaultReason.WRONG_SIGNATURE),
        ({"prompt_salt": "0x" + "78" * 32}, FaultReason.WRONG_PROMPT),
        ({"prompt_salt": "0x77"}, FaultReason.WRONG_PROMPT),
        ({"image_base64": "data:image/jpeg;base64,AAAA"}, FaultReason.BAD_PICTURE),
        ({"image_base64": "data:image/png;base64,AA AA"}, FaultReason.BAD_PICTURE),
        ({"image_base64": "data:image/png;base64,Ä"}, FaultReason.BAD_PICTURE),
        ({"image_base64": "data:image/png;base64,"}, FaultReason.WRONG_ARTIFACT),
        ({"image_base64": 1}, FaultReason.MALFORMED_ANSWER),
        ({"image_base64": "data:image/png;base64," + "A" * 790_000}, FaultReason.ANSWER_TOO_LARGE),
    ],
)
def test_false_answer_field(check: Check, honest: Any, fields: dict[str, Any], reason: FaultReason) -> None:
    assert refused(check, honest.with_fields(**fields)) is reason


@pytest.mark.parametrize(
    "missing",
    [
        "status",
        "job_id",
        "image_base64",
        "seed",
        "model",
        "receipt",
        "receipt_hash",
        "provider_signature",
        "prompt_salt",
    ],
)
def test_missing_answer_field(check: Check, honest: Any, missing: str) -> None:
    answer = honest.answer()
    del answer[missing]
    assert refused(check, json.dumps(answer).encode()) is FaultReason.MALFORMED_ANSWER


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"status": NaN}'])
def test_answer_that_is_no_object(check: Check, body: bytes) -> None:
    assert refused(check, body) is FaultReason.MALFORMED_ANSWER


def test_answer_above_the_bound(check: Check) -> None:
    assert refused(check, b" " * (max_answer_bytes(256, 256) + 1)) is FaultReason.ANSWER_TOO_LARGE


def test_receipt_signed_by_a_stranger(check: Check, honest: Any) -> None:
    signature = to_hex(sign_receipt(STRANGER, honest.make_receipt()))
    assert refused(check, honest.with_fields(provider_signature=signature)) is FaultReason.WRONG_SIGNATURE


def test_whole_answer_of_a_stranger(check: Check, honest: Any) -> None:
    assert refused(check, replace(honest, key=STRANGER)) is FaultReason.WRONG_PROVIDER


def test_signature_with_high_s(check: Check, honest: Any, provider_key: PrivateKey) -> None:
    low = sign_receipt(provider_key, honest.make_receipt())
    high_s = CURVE_ORDER - int.from_bytes(low[32:64], "big")
    twin = low[:32] + high_s.to_bytes(32, "big") + bytes((55 - low[64],))
    assert refused(check, honest.with_fields(provider_signature=to_hex(twin))) is FaultReason.WRONG_SIGNATURE


def test_receipt_with_a_key_twice_is_refused(check: Check, honest: Any) -> None:
    body = honest.body().replace(b'"receipt": {', b'"receipt": {"amount": "1", ', 1)
    assert refused(check, body) is FaultReason.BAD_RECEIPT


def test_receipt_with_an_unknown_key_is_refused(check: Check, honest: Any) -> None:
    body = honest.body().replace(b'"receipt": {', b'"receipt": {"bonus": "1", ', 1)
    assert refused(check, body) is FaultReason.BAD_RECEIPT


def test_receipt_of_an_earlier_job_is_refused(check: Check, honest: Any, sent_job: SentJob) -> None:
    earlier = replace(honest, job=replace(sent_job, job_id="2026-11-21-0011223344556677", nonce="00" * 16))
    assert refused(check, earlier) is FaultReason.WRONG_JOB
    assert refused(check, earlier.with_fields(job_id=sent_job.job_id)) is FaultReason.WRONG_JOB


def test_receipt_of_an_earlier_attempt_is_refused(check: Check, honest: Any, sent_job: SentJob) -> None:
    assert refused(check, replace(honest, job=replace(sent_job, nonce="00" * 16))) is FaultReason.WRONG_NONCE


def test_prompt_hash_with_a_salt_of_the_providers_own(check: Check, honest: Any, sent_job: SentJob) -> None:
    """It would not be the hash that the client signed."""
    bent = replace(honest, job=replace(sent_job, prompt_salt=b"\x78" * 32))
    assert refused(check, bent) is FaultReason.WRONG_PROMPT


class TestClientSignature:
    """A signed request must come back with its signature."""

    @pytest.fixture
    def signed_job(self, sent_job: SentJob, client_key: PrivateKey) -> SentJob:
        from chain.primitives.hexadecimal import to_checksum_address

        signature = client_key.sign(eip191_digest(sent_job.request_hash))
        return replace(sent_job, client=to_checksum_address(client_key.address), client_signature=signature)

    def test_is_kept(self, check: Check, honest: Any, signed_job: SentJob) -> None:
        checked = check(replace(honest, job=signed_job), job=signed_job)
        assert checked.receipt.client_signature == signed_job.client_signature

    def test_left_out(self, check: Check, honest: Any, signed_job: SentJob) -> None:
        bent = replace(honest, job=signed_job).with_receipt(client_signature=None)
        assert refused(check, bent, job=signed_job) is FaultReason.WRONG_CLIENT

    def test_of_somebody_else(self, check: Check, honest: Any, signed_job: SentJob) -> None:
        for digest in (eip191_digest(signed_job.request_hash), signed_job.request_hash):
            bent = replace(honest, job=signed_job).with_receipt(client_signature=STRANGER.sign(digest))
            assert refused(check, bent, job=signed_job) is FaultReason.BAD_RECEIPT

    def test_of_the_other_kind_than_the_clients(
        self, check: Check, honest: Any, signed_job: SentJob, client_key: PrivateKey
    ) -> None:
        """Good in itself; but the receipt must carry what the client sent."""
        bent = replace(honest, job=signed_job).with_receipt(client_signature=client_key.sign(signed_job.request_hash))
        assert refused(check, bent, job=signed_job) is FaultReason.WRONG_CLIENT

    def test_added_where_there_was_none(self, check: Check, honest: Any, signed_job: SentJob) -> None:
        bent = honest.with_receipt(client=signed_job.client, client_signature=signed_job.client_signature)
        assert refused(check, bent) is FaultReason.WRONG_CLIENT


class TestUnits:
    """What is paid for must be what was measured."""

    def test_gpu_seconds_up_to_the_measured_time_and_slack(self, check: Check, honest: Any) -> None:
        assert check(replace(honest, micro_units=2_250_000)).receipt.micro_units == 2_250_000

    def test_none_at_all_is_fine_for_a_free_job(self, check: Check, honest: Any, offer: Offer) -> None:
        free = replace(offer, price_per_unit=Amount(0))
        assert check(replace(honest, offer=free, micro_units=0), offer=free).receipt.amount == 0

    def test_free_job_cannot_inflate_its_units_either(self, check: Check, honest: Any, offer: Offer) -> None:
        free = replace(offer, price_per_unit=Amount(0))
        bent = replace(honest, offer=free, micro_units=3_000_000)
        assert refused(check, bent, offer=free) is FaultReason.IMPLAUSIBLE_UNITS

    @pytest.mark.parametrize("micro_units", [0, 1, 999_999, 1_000_001, 2_000_000])
    def test_one_picture_is_one_unit(self, check: Check, honest: Any, offer: Offer, micro_units: int) -> None:
        per_image = replace(offer, unit_type="images")
        assert check(replace(honest, offer=per_image), offer=per_image).receipt.amount == per_image.price_per_unit
        bent = replace(honest, offer=per_image).with_receipt(micro_units=micro_units)
        assert refused(check, bent, offer=per_image) is FaultReason.IMPLAUSIBLE_UNITS

    def test_amount_up_to_the_limit(self, check: Check, honest: Any) -> None:
        assert check(honest, limit_atoms=15 * 10**16).receipt.amount == 15 * 10**16
        assert refused(check, honest, limit_atoms=15 * 10**16 - 1) is FaultReason.OVER_BUDGET


def test_model_asked_for(check: Check, honest: Any, sent_job: SentJob) -> None:
    assert check(honest, job=replace(sent_job, model="aitbc/tiny-sd")).receipt.model == "aitbc/tiny-sd"
    assert refused(check, honest, job=replace(sent_job, model="other/model")) is FaultReason.OTHER_MODEL


def test_times_up_to_the_tolerance(check: Check, honest: Any) -> None:
    receipt = check(replace(honest, started_at=1_769_999_995, finished_at=1_770_000_008)).receipt
    assert (receipt.started_at, receipt.finished_at) == (1_769_999_995, 1_770_000_008)


@pytest.mark.parametrize(
    ("size", "reason"), [((256, 264), FaultReason.WRONG_SIZE), ((264, 256), FaultReason.WRONG_SIZE)]
)
def test_picture_of_another_size(
    check: Check, honest: Any, png_of: Callable[..., bytes], size: tuple[int, int], reason: FaultReason
) -> None:
    assert refused(check, replace(honest, png=png_of(*size))) is reason


def test_picture_that_does_not_decode(check: Check, honest: Any) -> None:
    assert refused(check, replace(honest, png=b"no picture")) is FaultReason.BAD_PICTURE


def test_another_picture_than_the_receipts(check: Check, honest: Any, png_of: Callable[..., bytes]) -> None:
    other = "data:image/png;base64," + base64.b64encode(png_of(colour=(0, 0, 0))).decode()
    assert refused(check, honest.with_fields(image_base64=other)) is FaultReason.WRONG_ARTIFACT
