"""A client's signed request, checked before any work is done: who signed, for whom, until when, for how much at most.

The nonce is not checked here: that it was never used is known to the database, which takes it in the same transaction
as the job. A signature does not stand for an API key: anybody can make a key, and nothing pays for a refused mint.
"""

from dataclasses import dataclass
from typing import Final

from chain.primitives.client_request import ClientClaim, check_claim, salted_hash
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.units import most_micro_units
from provider.generation import ImageRequest
from provider.receipts.issuing import JobOrigin, Offer

_PRICE_FIELD: Final = "client_request.max_price"


@dataclass(frozen=True)
class VerifiedRequest:
    """A request that its client signed for this provider, and that can be accepted now if its nonce is fresh."""

    client: str
    """EIP-55."""
    request_hash: Hash32
    signature: bytes
    salt: bytes
    """Of the receipt's prompt_hash, too: so that is the one that the client signed."""
    max_price: Amount
    nonce: Hash32
    expiry: int
    """Unix seconds."""


def request_parameters(
    request: ImageRequest,
    *,
    salt: bytes,
    seed_asked: int | None,
    model_asked: str | None,
    source_sha256: str | None = None,
) -> RequestParameters:
    """What the client asked for, with None where the provider chose.

    `source_sha256` is that of the uploaded file, which `request.source` may be a converted form of.
    """
    negative = request.negative_prompt
    return RequestParameters(
        width=request.width,
        height=request.height,
        steps=request.steps,
        guidance=float(request.guidance),
        seed=seed_asked,
        model=model_asked,
        scheduler=request.scheduler,
        count=request.count,
        negative_prompt_hash="sha256:" + salted_hash(salt, negative).hex() if negative else None,
        source_sha256=source_sha256,
        strength=None if request.source is None else float(request.source.strength),
        image_format=request.encoding.format,
        quality=None if request.encoding.format == "png" else request.encoding.quality,
    ).checked()


def verify_client_request(
    claim: ClientClaim, *, prompt: str, parameters: RequestParameters, provider: Address, chain_id: int, now_s: int
) -> VerifiedRequest:
    """Raises Rejected (request_expired, out_of_range, bad_signature, high_s) that names the field."""
    audience = to_checksum_address(provider)
    request = claim.request(chain_id=chain_id, audience=audience, prompt=prompt, parameters=parameters)
    check_claim(claim, request, now_s=now_s)
    return VerifiedRequest(
        client=to_checksum_address(claim.client),
        request_hash=request.hash,
        signature=claim.signature,
        salt=claim.salt,
        max_price=claim.max_price,
        nonce=claim.nonce,
        expiry=claim.expiry,
    )


def signed_origin(job_id: str, verified: VerifiedRequest) -> JobOrigin:
    """The origin of a job that its client signed for this provider."""
    return JobOrigin(
        hub_id="",
        job_id=job_id,
        client=verified.client,
        request_hash=verified.request_hash,
        client_signature=verified.signature,
        nonce=verified.nonce.hex(),
    )


def check_price(offer: Offer, count: int, max_price: int) -> None:
    """Raises Rejected (price_limit) where it is known beforehand that the maximum does not pay for the job.

    A price per image says what `count` of them cost. A price per GPU second is only known to be too high where the
    maximum does not pay for a millionth of one; `compute_budget_microseconds` says when to stop.
    """
    if offer.unit_type == "images":
        if offer.price_per_unit * count > max_price:
            raise Rejected(
                RejectionReason.PRICE_LIMIT,
                f"{count} picture(s) cost {offer.price_per_unit * count} atoms, the signed maximum is {max_price}",
                field=_PRICE_FIELD,
            )
    elif most_micro_units(offer.price_per_unit, max_price) == 0:
        raise Rejected(
            RejectionReason.PRICE_LIMIT,
            f"a GPU second costs {offer.price_per_unit} atoms, the signed maximum {max_price} pays for none of it",
            field=_PRICE_FIELD,
        )


def compute_budget_microseconds(offer: Offer, max_price: int) -> int | None:
    """Device time after which a job has to stop, since nobody pays for more; None where there is no such bound.

    What a job needs is not known before it ran, so it is stopped when its budget is used up, and fails; what it exceeds
    the budget by within its last step is not charged (`issue_receipt`).
    """
    if offer.unit_type != "gpu_seconds":
        return None
    return most_micro_units(offer.price_per_unit, max_price)
