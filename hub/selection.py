"""Which provider is next: those that offer the model at the price, in turn. Pure; the caller keeps the turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.primitives.types import Address, Amount

_SHORTEST_PAID_JOB_SECONDS: Final = 1
"""A budget that does not even pay for one GPU second is not worth a try."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an active provider has registered on the chain."""

    address: Address
    endpoint: str
    models: tuple[str, ...]
    price_per_unit: Amount
    """Atoms per unit of `unit_type`."""
    unit_type: str
    vram_mib: int


def offers_model(offer: Offer, model: str | None) -> bool:
    """Whether the provider has registered the model; any will do where the client names none."""
    return model is None or model in offer.models


def fits_budget(offer: Offer, limit_atoms: int) -> bool:
    """Whether a job can cost at most this much: the one image, or a second of GPU time."""
    if offer.unit_type == "images":
        return offer.price_per_unit <= limit_atoms
    return offer.price_per_unit * _SHORTEST_PAID_JOB_SECONDS <= limit_atoms


def next_in_turn(offers: Sequence[Offer], last: Address | None) -> Offer | None:
    """Round robin by address: the first one after `last`, around the end; None when there is none.

    Ordering by address keeps the turn fair while providers come and go: nobody's place depends on who joined when.
    """
    waiting = sorted(offers, key=lambda offer: offer.address)
    if not waiting:
        return None
    if last is not None:
        for offer in waiting:
            if offer.address > last:
                return offer
    return waiting[0]
