"""Which provider is next: those that offer the model at the price, in turn. Pure; the caller keeps the turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.primitives.types import Address, Amount

_SHORTEST_PAID_JOB_SECONDS: Final = 1
"""A budget that does not even pay for one GPU second is not worth a try."""
_FEWEST_COMPLAINTS: Final = 3
"""One or two happen to anybody."""
_SERVED_PER_COMPLAINT: Final = 10


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
    receipts: int = 0
    """Ever minted for it, as the chain has counted."""
    complaints: int = 0
    """Failures, disputes and breaches that attesters recorded."""

    @property
    def is_in_disrepute(self) -> bool:
        """Whether complaints are more than a tenth of all that it served or failed to."""
        if self.complaints < _FEWEST_COMPLAINTS:
            return False
        return self.complaints * _SERVED_PER_COMPLAINT > self.receipts + self.complaints


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
    Who is in disrepute has a turn only where nobody else offers.
    """
    preferred = [offer for offer in offers if not offer.is_in_disrepute] or offers
    waiting = sorted(preferred, key=lambda offer: offer.address)
    if not waiting:
        return None
    if last is not None:
        for offer in waiting:
            if offer.address > last:
                return offer
    return waiting[0]
