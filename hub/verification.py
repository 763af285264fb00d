"""Every claim in a provider's answer, held against what the hub asked, measured and reads on the chain. Pure.

The order is: the answer's form, the receipt's form and signature, what the receipt is for, what it costs, and last the
picture, whose decoding is the expensive part. Nothing in an answer is passed on that is not checked here.
"""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Final

import msgspec

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address
from chain.primitives.receipt import Receipt, recover_provider, salted_prompt_hash
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32
from chain.primitives.units import MICRO
from hub.errors import FaultReason, ProviderFault
from hub.picture import check_png, max_png_bytes
from hub.request import SALT_BYTES
from hub.selection import Offer

_DATA_URL_PREFIX: Final = "data:image/png;base64,"
_SIGNATURE_BYTES: Final = 65
_FRAMING_BYTES: Final = 64 * 1024  # The receipt (at most 24 KiB) and the answer's other fields.


class _Answer(msgspec.Struct):
    """The fields of an answer that the hub reads; others are ignored and never passed on."""

    status: str
    job_id: str
    image_base64: str
    seed: int
    model: str
    receipt: msgspec.Raw
    receipt_hash: str
    provider_signature: str
    prompt_salt: str


@dataclass(frozen=True, slots=True)
class SentJob:
    """What the hub sent in one attempt."""

    hub_id: str
    chain_id: int
    job_id: str
    nonce: str
    client: str
    request_hash: Hash32
    client_signature: bytes | None
    prompt: str
    prompt_salt: bytes
    """Of the receipt's prompt_hash: so that is the one in the request that the client signed."""
    width: int
    height: int
    seed: int
    model: str | None
    """The model asked for, None where any will do."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The hub's own clock around the call, and how far it trusts it."""

    sent_at_s: float
    """Unix time."""
    received_at_s: float
    wall_s: float
    """Monotonic: from sending the request to the last byte of the answer."""
    clock_tolerance_s: float
    """How far the provider's wall clock may differ from the hub's."""
    metering_slack_s: float
    """How much more GPU time than `wall_s` is taken for rounding."""


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """An answer in which everything holds."""

    png: bytes
    receipt: Receipt
    provider_signature: bytes
    prompt_salt: bytes


def max_answer_bytes(width: int, height: int) -> int:
    """The most bytes that the JSON of an honest answer can have."""
    return 4 * math.ceil(max_png_bytes(width, height) / 3) + _FRAMING_BYTES


def check_answer(body: bytes, *, job: SentJob, offer: Offer, measured: Measured, limit_atoms: int) -> CheckedAnswer:
    """The answer of the provider with this offer, or ProviderFault with the first thing that is wrong.

    `limit_atoms` is the lower of the client's maximum and the network's ceiling per receipt.
    """
    answer = _read_answer(body, job)
    receipt, signature = _read_receipt(answer, offer)
    _check_subject(receipt, job)
    _check_model(receipt, answer, job, offer)
    prompt_salt = _check_prompt(receipt, answer, job)
    _check_times(receipt, measured)
    _check_amount(receipt, offer, measured, limit_atoms)
    png = _read_picture(answer, job)
    if receipt.artifact_sha256 != sha256(png).hex():
        raise ProviderFault(FaultReason.WRONG_ARTIFACT, "the receipt's artifact_sha256 is not that of the picture")
    check_png(png, width=job.width, height=job.height)
    return CheckedAnswer(png, receipt, signature, prompt_salt)


def _read_answer(body: bytes, job: SentJob) -> _Answer:
    if len(body) > max_answer_bytes(job.width, job.height):
        raise ProviderFault(FaultReason.ANSWER_TOO_LARGE, f"an answer of {len(body)} bytes")
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ProviderFault(FaultReason.MALFORMED_ANSWER, f"the answer is malformed: {error}") from None
    if answer.status != "ok":
        raise ProviderFault(FaultReason.BAD_STATUS, f"the answer's status is {answer.status[:32]!r}")
    if answer.job_id != job.job_id:
        raise ProviderFault(FaultReason.WRONG_JOB, "the answer is for another job")
    if answer.seed != job.seed:
        raise ProviderFault(FaultReason.WRONG_SEED, f"asked for seed {job.seed}, the answer names {answer.seed}")
    return answer


def _read_receipt(answer: _Answer, offer: Offer) -> tuple[Receipt, bytes]:
    try:
        receipt = Receipt.from_json(bytes(answer.receipt))
    except Rejected as error:
        raise ProviderFault(FaultReason.BAD_RECEIPT, f"the receipt is not valid: {error.message}") from None
    if receipt.provider != offer.address:
        raise ProviderFault(
            FaultReason.WRONG_PROVIDER, f"the receipt names provider {to_checksum_address(receipt.provider)}"
        )
    try:
        if parse_hash(answer.receipt_hash, "receipt_hash") != receipt.hash:
            raise ProviderFault(FaultReason.WRONG_RECEIPT_HASH, "receipt_hash is not the hash of the receipt")
    except Rejected as error:
        raise ProviderFault(FaultReason.WRONG_RECEIPT_HASH, error.message) from None
    try:
        signature = parse_hex(answer.provider_signature, length=_SIGNATURE_BYTES, field="provider_signature")
        signer = recover_provider(receipt, signature)
    except Rejected as error:
        raise ProviderFault(FaultReason.WRONG_SIGNATURE, error.message) from None
    if signer != offer.address:
        raise ProviderFault(FaultReason.WRONG_SIGNATURE, "the receipt is not signed by the registered provider")
    return receipt, signature


def _check_subject(receipt: Receipt, job: SentJob) -> None:
    """What the receipt says it is for must be what was sent, field by field."""
    for reason, name, stated, sent in (
        (FaultReason.WRONG_CHAIN_ID, "chain_id", receipt.chain_id, job.chain_id),
        (FaultReason.WRONG_HUB, "hub_id", receipt.hub_id, job.hub_id),
        (FaultReason.WRONG_JOB, "job_id", receipt.job_id, job.job_id),
        (FaultReason.WRONG_NONCE, "nonce", receipt.nonce, job.nonce),
        (FaultReason.WRONG_CLIENT, "client", receipt.client, job.client),
        (FaultReason.WRONG_REQUEST_HASH, "request_hash", receipt.request_hash, job.request_hash),
        (FaultReason.WRONG_CLIENT, "client_signature", receipt.client_signature, job.client_signature),
    ):
        if stated != sent:
            raise ProviderFault(reason, f"the receipt's {name} is not what the hub sent")


def _check_model(receipt: Receipt, answer: _Answer, job: SentJob, offer: Offer) -> None:
    if receipt.model != answer.model:
        raise ProviderFault(FaultReason.WRONG_MODEL, "the answer and its receipt name different models")
    if receipt.model not in offer.models:
        raise ProviderFault(FaultReason.WRONG_MODEL, f"the provider has not registered the model {receipt.model}")
    if job.model is not None and receipt.model != job.model:
        # No lie: the provider's interface has no field to name a model in, it serves the one that it has loaded.
        raise ProviderFault(FaultReason.OTHER_MODEL, f"asked for {job.model}, the receipt names {receipt.model}")


def _check_prompt(receipt: Receipt, answer: _Answer, job: SentJob) -> bytes:
    try:
        salt = parse_hex(answer.prompt_salt, length=SALT_BYTES, field="prompt_salt")
    except Rejected as error:
        raise ProviderFault(FaultReason.WRONG_PROMPT, error.message) from None
    if salt != job.prompt_salt or receipt.prompt_hash != salted_prompt_hash(salt, job.prompt):
        raise ProviderFault(
            FaultReason.WRONG_PROMPT, "prompt_hash is not that of the prompt and the salt that was sent"
        )
    return salt


def _check_times(receipt: Receipt, measured: Measured) -> None:
    earliest = math.floor(measured.sent_at_s - measured.clock_tolerance_s)
    latest = math.ceil(measured.received_at_s + measured.clock_tolerance_s)
    if not earliest <= receipt.started_at <= receipt.finished_at <= latest:
        raise ProviderFault(
            FaultReason.IMPLAUSIBLE_TIME,
            f"the receipt says {receipt.started_at} to {receipt.finished_at}, the hub's clock {earliest} to {latest}",
        )


def _check_amount(receipt: Receipt, offer: Offer, measured: Measured, limit_atoms: int) -> None:
    """Price and units; that the amount is their product was checked when the receipt was read."""
    if receipt.unit_type != offer.unit_type or receipt.price_per_unit != offer.price_per_unit:
        raise ProviderFault(
            FaultReason.WRONG_PRICE,
            f"registered {offer.price_per_unit} atoms per {offer.unit_type}, the receipt asks "
            f"{receipt.price_per_unit} per {receipt.unit_type}",
        )
    if receipt.unit_type == "images" and receipt.micro_units != MICRO:
        raise ProviderFault(FaultReason.IMPLAUSIBLE_UNITS, "one picture is exactly one unit")
    if receipt.unit_type == "gpu_seconds":
        most = math.floor((measured.wall_s + measured.metering_slack_s) * MICRO)
        if receipt.micro_units > most:
            raise ProviderFault(
                FaultReason.IMPLAUSIBLE_UNITS,
                f"{receipt.micro_units / MICRO} GPU seconds, but the hub waited {measured.wall_s:.3f} s",
            )
        if receipt.micro_units == 0 and receipt.price_per_unit > 0:
            raise ProviderFault(FaultReason.IMPLAUSIBLE_UNITS, "no GPU time at all for a paid picture")
    if receipt.amount > limit_atoms:
        raise ProviderFault(FaultReason.OVER_BUDGET, f"{receipt.amount} atoms, at most {limit_atoms} were to be spent")


def _read_picture(answer: _Answer, job: SentJob) -> bytes:
    if not answer.image_base64.startswith(_DATA_URL_PREFIX):
        raise ProviderFault(FaultReason.BAD_PICTURE, f"image_base64 does not start with {_DATA_URL_PREFIX}")
    digits = answer.image_base64[len(_DATA_URL_PREFIX) :]
    if len(digits) > 4 * math.ceil(max_png_bytes(job.width, job.height) / 3):
        raise ProviderFault(FaultReason.ANSWER_TOO_LARGE, "the picture is larger than any of this size")
    try:
        return base64.b64decode(digits, validate=True)
    except (binascii.Error, ValueError):
        raise ProviderFault(FaultReason.BAD_PICTURE, "image_base64 is not base64") from None
