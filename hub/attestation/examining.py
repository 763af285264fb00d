"""Whether a receipt's evidence holds: form, signatures, request, arithmetic, prices, times, pictures. Pure.

The order: what it is for, the client's request, the providers' signatures, parts and arithmetic, prices against the
registry, plausibility, and last the pictures, whose decoding is the expensive part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chain.answers import ProviderView
from chain.primitives.client_request import MAX_VALIDITY_S
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.receipt import Receipt, combined_artifact_sha256, recover_provider
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected
from chain.primitives.settlement import settlement_of
from chain.primitives.types import ZERO_HASH, Address
from chain.primitives.units import MICRO
from hub.attestation.errors import NotEndorsed
from hub.attestation.evidence import Evidence, Part
from hub.attestation.pictures import check_picture
from hub.store.receipts import Form
from hub.verification.answers import most_device_time

_SAME_IN_PARTS: Final = (
    "client",
    "client_signature",
    "request_hash",
    "unit_type",
    "price_per_unit",
    "model",
    "hub_id",
    "job_id",
    "chain_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What this attester takes for plausible; amounts in atoms."""

    clock_tolerance_s: int = 60
    """How far others' clocks may be ahead."""
    oldest_s: int = 3 * 86_400
    """How long ago the work may have ended."""
    longest_s: int = 86_400
    """How long a job may take from its first picture to its last."""
    price_factor: int = 2
    """A job's price is at most so many times the highest that its providers have registered: prices are agreed on when
    a job comes in, and registered ones may go down meanwhile."""
    most_price_per_unit: int | None = None
    takes_unsigned: bool = True
    """Jobs of clients without a key, for whose existence there is only the word of the hub that asks."""


def check_claims(evidence: Evidence, *, chain_id: int, ceiling_atoms: int, bounds: Bounds, now_s: int) -> None:
    """Everything that needs neither registry nor pictures; raises NotEndorsed."""
    receipt = evidence.receipt
    if receipt.chain_id != chain_id:
        raise NotEndorsed("wrong_chain_id", f"the receipt is of chain {receipt.chain_id}", "receipt.chain_id")
    _check_request(evidence, bounds)
    _check_provider(receipt, evidence.provider_signature, "provider_signature")
    _check_parts(evidence)
    _check_form(evidence, ceiling_atoms)
    _check_times(receipt, bounds, now_s)
    for part in parts_of(evidence):
        _check_units(part)


def parts_of(evidence: Evidence) -> tuple[Part, ...]:
    """What each provider made; a job of one provider is its own part."""
    whole = Part(evidence.receipt, evidence.provider_signature, len(evidence.pictures))
    return evidence.parts or (whole,)


def _check_request(evidence: Evidence, bounds: Bounds) -> None:
    receipt, request = evidence.receipt, evidence.request
    try:
        check_request(receipt, request)
    except Rejected as rejected:
        raise NotEndorsed("wrong_request", rejected.message, f"receipt.{rejected.values.get('field')}") from None
    if receipt.client_signature is None:
        if request.nonce != ZERO_HASH or request.expiry != 0:
            raise NotEndorsed("wrong_request", "nobody has signed this request, which has a nonce", "request.nonce")
        if not bounds.takes_unsigned:
            raise NotEndorsed("unsigned_request", "no client has signed for this job", "receipt.client_signature")
    elif request.expiry > receipt.started_at + MAX_VALIDITY_S + bounds.clock_tolerance_s:
        raise NotEndorsed("wrong_request", "the request was not valid yet when the work began", "request.expiry")
    if not 1 <= len(evidence.pictures) <= evidence.parameters.count:
        raise NotEndorsed("wrong_count", "there are more pictures than the client asked for", "pictures")
    if evidence.parameters.model not in (None, receipt.model):
        raise NotEndorsed("wrong_model", "the client asked for another model", "receipt.model")


def _check_provider(receipt: Receipt, signature: bytes, field: str) -> None:
    try:
        signer = recover_provider(receipt, signature)
    except Rejected as rejected:
        raise NotEndorsed("wrong_signature", rejected.message, field) from None
    if signer != receipt.provider:
        raise NotEndorsed("wrong_signature", "the receipt is not signed by the provider that it names", field)


def _check_parts(evidence: Evidence) -> None:
    receipt = evidence.receipt
    shards = receipt.shards or ()
    if len(shards) != len(evidence.parts):
        raise NotEndorsed("wrong_parts", "each shard needs the receipt of its provider, and nothing else one", "parts")
    if evidence.parts and sum(part.pictures for part in evidence.parts) != len(evidence.pictures):
        raise NotEndorsed("wrong_count", "the parts have another number of pictures in all", "parts")
    for index, (shard, part) in enumerate(zip(shards, evidence.parts, strict=True)):
        field = f"parts[{index}]"
        mine = part.receipt
        _check_provider(mine, part.provider_signature, f"{field}.provider_signature")
        if mine.shards is not None:
            raise NotEndorsed("wrong_parts", "a part has no shards of its own", f"{field}.receipt.shards")
        stated = (mine.provider, mine.micro_units, mine.artifact_sha256, mine.hash)
        if stated != (shard.provider, shard.micro_units, shard.artifact_sha256, shard.receipt_hash):
            raise NotEndorsed("wrong_parts", "the shard is not what its provider has signed", f"{field}.receipt")
        for name in _SAME_IN_PARTS:
            if getattr(mine, name) != getattr(receipt, name):
                raise NotEndorsed("wrong_parts", f"the part's {name} is not the whole's", f"{field}.receipt.{name}")
        if not receipt.started_at <= mine.started_at <= mine.finished_at <= receipt.finished_at:
            raise NotEndorsed("wrong_parts", "the part was not made within the whole's time", f"{field}.receipt")


def _check_form(evidence: Evidence, ceiling_atoms: int) -> None:
    receipt, form = evidence.receipt, evidence.form
    if form == Form.SETTLE:
        try:
            settlement_of(receipt, evidence.request, fee_recipient=evidence.fee.recipient, fee=evidence.fee.amount)
        except Rejected as rejected:
            raise NotEndorsed(rejected.reason.value, rejected.message, "fee") from None
        return
    if evidence.fee.amount:
        raise NotEndorsed("wrong_form", "a fee is for what is settled only", "fee")
    if (form == Form.MINT) != (len(receipt.payouts()) == 1):
        raise NotEndorsed("wrong_form", "one provider is minted for, several in the split form", "form")
    if receipt.amount > ceiling_atoms:
        raise NotEndorsed("receipt_ceiling", f"one receipt may mint at most {ceiling_atoms} atoms", "receipt.amount")


def _check_times(receipt: Receipt, bounds: Bounds, now_s: int) -> None:
    if receipt.finished_at > now_s + bounds.clock_tolerance_s:
        raise NotEndorsed("implausible_time", "the work has not ended yet", "receipt.finished_at")
    if receipt.finished_at < now_s - bounds.oldest_s:
        raise NotEndorsed("too_old", f"the work ended more than {bounds.oldest_s} s ago", "receipt.finished_at")
    if receipt.finished_at - receipt.started_at > bounds.longest_s:
        raise NotEndorsed("implausible_time", f"the work took more than {bounds.longest_s} s", "receipt.started_at")


def _check_units(part: Part) -> None:
    """Device seconds within the wall's, as a device computes one picture at a time; images as many as there are."""
    receipt = part.receipt
    if receipt.unit_type == "images":
        if receipt.micro_units != part.pictures * MICRO:
            raise NotEndorsed("implausible_units", "other units than there are pictures", "receipt.units")
        return
    if receipt.micro_units > most_device_time(receipt, part.pictures):
        raise NotEndorsed("implausible_units", "more device seconds than can have passed", "receipt.units")


def check_registered(evidence: Evidence, registry: Mapping[Address, ProviderView | None], bounds: Bounds) -> None:
    """Every provider's entry of the chain, whether it is active still or not; raises NotEndorsed."""
    price = evidence.receipt.price_per_unit
    highest = 0
    for index, part in enumerate(parts_of(evidence)):
        receipt, field = part.receipt, f"parts[{index}].receipt"
        view = registry.get(receipt.provider)
        name = to_checksum_address(receipt.provider)
        if view is None:
            raise NotEndorsed("not_registered", f"{name} never registered as a provider", f"{field}.provider")
        if receipt.model not in view.models:
            raise NotEndorsed("wrong_model", f"{name} has not registered this model", f"{field}.model")
        if receipt.unit_type != view.unit_type:
            raise NotEndorsed("wrong_price", f"{name} has registered another type of unit", f"{field}.unit_type")
        highest = max(highest, int(view.price_per_unit))
    if price > highest * bounds.price_factor:
        raise NotEndorsed("wrong_price", "the price is far above what its providers ask", "receipt.price_per_unit")
    if bounds.most_price_per_unit is not None and price > bounds.most_price_per_unit:
        raise NotEndorsed("wrong_price", "the price is above what this attester takes", "receipt.price_per_unit")


def check_pictures(evidence: Evidence) -> None:
    """They are what the receipts name, none is another's copy, and each that is shown decodes, has the request's size
    and shows something."""
    digests = evidence.digests
    start = 0
    for index, part in enumerate(parts_of(evidence)):
        own = digests[start : start + part.pictures]
        start += part.pictures
        if part.receipt.artifact_sha256 != combined_artifact_sha256(own):
            raise NotEndorsed("wrong_artifact", "the receipt is for other pictures", f"parts[{index}].receipt")
    if len(set(digests)) != len(digests):
        raise NotEndorsed("copied_picture", "a picture stands twice in one job", "pictures")
    asked = evidence.parameters
    for index, picture in enumerate(evidence.pictures):
        if picture:
            check_picture(
                picture,
                image_format=asked.image_format,
                width=asked.width,
                height=asked.height,
                name=f"pictures[{index}]",
            )
