"""Builds and signs the receipt of a served job (DESIGN §5)."""

import hashlib
import math
import secrets
from dataclasses import dataclass
from typing import Any

import rfc8785

from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import MICRO, Receipt, compute_amount, salted_prompt_hash, sign_receipt
from chain.primitives.types import Address, Amount, Hash32
from provider.engine import FinishedImage
from provider.generation import GeneratedImage, ImageRequest

SALT_BYTES = 32
_NONCE_BYTES = 16


@dataclass(frozen=True)
class JobOrigin:
    """Whose job it is: what stands in the receipt beside the measured facts."""

    hub_id: str
    job_id: str
    client: str
    request_hash: Hash32
    client_signature: bytes | None
    nonce: str


@dataclass(frozen=True)
class Offer:
    """What this provider sells, at what price in atoms, on which chain."""

    model: str
    unit_type: str
    price_per_unit: int
    chain_id: int


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt with the provider's signature over its hash."""

    receipt: Receipt
    receipt_hash: Hash32
    signature: bytes


def direct_origin(job_id: str, client: str, request: ImageRequest, prompt_hash: str, model: str) -> JobOrigin:
    """The origin of a job that came with an API key alone: the provider itself hashes what was asked for."""
    asked: dict[str, Any] = {
        "guidance": request.guidance,
        "height": request.height,
        "model": model,
        "prompt_hash": prompt_hash,
        # A string, since RFC 8785 knows no integers above 2^53.
        "seed": str(request.seed),
        "steps": request.steps,
        "width": request.width,
    }
    return JobOrigin(
        hub_id="",
        job_id=job_id,
        client=client,
        request_hash=keccak256(rfc8785.dumps(asked)),
        client_signature=None,
        nonce=secrets.token_hex(_NONCE_BYTES),
    )


def check_origin(provider: Address, offer: Offer, origin: JobOrigin) -> None:
    """Raises Rejected, before any work is done, for an origin that no receipt could hold."""
    nothing = FinishedImage(GeneratedImage(b"", 0), 0.0, 0.0)
    _build(provider, offer, origin, nothing, salted_prompt_hash(bytes(SALT_BYTES), ""))


def issue_receipt(
    key: PrivateKey, offer: Offer, origin: JobOrigin, finished: FinishedImage, *, prompt_hash: str
) -> SignedReceipt:
    """The signed receipt; raises Rejected where a field breaks the bounds of `chain.primitives.receipt`."""
    receipt = _build(key.address, offer, origin, finished, prompt_hash)
    return SignedReceipt(receipt, receipt.hash, sign_receipt(key, receipt))


def _build(provider: Address, offer: Offer, origin: JobOrigin, finished: FinishedImage, prompt_hash: str) -> Receipt:
    """The receipt, checked.

    The times are widened to whole seconds, so that they always hold the measured units.
    """
    micro_units = MICRO if offer.unit_type == "images" else finished.image.compute_microseconds
    started_at = math.floor(finished.started_at)
    return Receipt(
        job_id=origin.job_id,
        provider=provider,
        client=origin.client,
        micro_units=micro_units,
        unit_type=offer.unit_type,
        model=offer.model,
        prompt_hash=prompt_hash,
        request_hash=origin.request_hash,
        client_signature=origin.client_signature,
        started_at=started_at,
        finished_at=max(started_at, math.ceil(finished.finished_at)),
        artifact_sha256=hashlib.sha256(finished.image.png).hexdigest(),
        nonce=origin.nonce,
        hub_id=origin.hub_id,
        chain_id=offer.chain_id,
        price_per_unit=Amount(offer.price_per_unit),
        amount=compute_amount(micro_units, offer.price_per_unit),
    ).checked()
