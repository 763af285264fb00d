"""Builds and signs the receipt of a served job (DESIGN §5)."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.primitives.client_request import unsigned_request
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import Signer
from chain.primitives.profiles import profiles_hash
from chain.primitives.receipt import Receipt, combined_artifact_sha256, salted_prompt_hash, sign_receipt
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.trajectory import TrajectoryContext
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.units import MICRO, compute_amount, most_micro_units
from provider.generation import ReproducibilityProfile

SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 16
_DIGEST_BYTES: Final = 32


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
class ServedWork:
    """What was made, and what it took."""

    picture_digests: tuple[bytes, ...]
    """SHA-256 of each encoded picture, in order."""
    compute_microseconds: int
    """Device time of all pictures."""
    started_at: float
    """Unix seconds, as `finished_at`."""
    finished_at: float


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt with the provider's signature over its hash."""

    receipt: Receipt
    receipt_hash: Hash32
    signature: bytes


def direct_origin(
    job_id: str, client: str, *, provider: Address, chain_id: int, prompt_hash: str, parameters: RequestParameters
) -> JobOrigin:
    """The origin of a job that came with an API key alone: its request is hashed, and signed by nobody."""
    request = unsigned_request(
        chain_id=chain_id,
        audience=to_checksum_address(provider),
        prompt_hash=Hash32(bytes.fromhex(prompt_hash.removeprefix("sha256:"))),
        parameters_hash=parameters.hash,
    )
    nonce = secrets.token_hex(_NONCE_BYTES)
    return JobOrigin("", job_id, client, request.hash, client_signature=None, nonce=nonce)


def check_origin(provider: Address, offer: Offer, origin: JobOrigin) -> None:
    """Raises Rejected, before any work is done, for an origin that no receipt could hold."""
    nothing = ServedWork((bytes(_DIGEST_BYTES),), 0, 0.0, 0.0)
    _build(provider, offer, origin, nothing, salted_prompt_hash(bytes(SALT_BYTES), ""), None, None)


def trajectory_context(
    provider: Address, offer: Offer, origin: JobOrigin, work: ServedWork, profiles: Sequence[ReproducibilityProfile]
) -> TrajectoryContext:
    """What the trajectory of this job is bound to; `profiles` are those of its pictures, one each, in order."""
    assert len(profiles) == len(work.picture_digests)
    return TrajectoryContext(
        chain_id=offer.chain_id,
        hub_id=origin.hub_id,
        job_id=origin.job_id,
        provider=provider,
        request_hash=origin.request_hash,
        artifact_sha256=combined_artifact_sha256(work.picture_digests),
        profiles_hash=profiles_hash(profiles),
    )


def issue_receipt(
    key: Signer,
    offer: Offer,
    origin: JobOrigin,
    work: ServedWork,
    *,
    prompt_hash: str,
    trajectory_root: Hash32 | None = None,
    max_price: int | None = None,
) -> SignedReceipt:
    """The signed receipt of one job, however many pictures it has.

    `max_price` is what the client signed, in atoms: GPU seconds beyond it are not charged. Raises Rejected where a
    field breaks the bounds of `chain.primitives.receipt`, SignerUnavailable where the key is elsewhere and is silent.
    """
    receipt = _build(key.address, offer, origin, work, prompt_hash, trajectory_root, max_price)
    return SignedReceipt(receipt, receipt.hash, sign_receipt(key, receipt))


def _build(
    provider: Address,
    offer: Offer,
    origin: JobOrigin,
    work: ServedWork,
    prompt_hash: str,
    trajectory_root: Hash32 | None,
    max_price: int | None,
) -> Receipt:
    """The receipt, checked.

    The times are widened to whole seconds, so that they always hold the measured units.
    """
    micro_units = _billed_micro_units(offer, work, max_price)
    started_at = math.floor(work.started_at)
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
        finished_at=max(started_at, math.ceil(work.finished_at)),
        artifact_sha256=combined_artifact_sha256(work.picture_digests),
        nonce=origin.nonce,
        hub_id=origin.hub_id,
        chain_id=offer.chain_id,
        price_per_unit=Amount(offer.price_per_unit),
        amount=compute_amount(micro_units, offer.price_per_unit),
        trajectory_root=trajectory_root,
    ).checked()


def _billed_micro_units(offer: Offer, work: ServedWork, max_price: int | None) -> int:
    if offer.unit_type == "images":
        return MICRO * len(work.picture_digests)
    most = None if max_price is None else most_micro_units(offer.price_per_unit, max_price)
    return work.compute_microseconds if most is None else min(work.compute_microseconds, most)
