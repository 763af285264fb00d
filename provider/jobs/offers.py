"""What is sold now: a model at its price, on the chain that this provider serves."""

from dataclasses import replace

from provider.errors import UnknownModel
from provider.jobs.errors import NotServing, OrderRefused
from provider.jobs.order import LeaseTerms
from provider.minting.chain_identity import ChainIdentity
from provider.receipts.issuing import Offer
from provider.settings import ProviderSettings

_RETRY_S = 2


class Offers:
    """Prices from the settings, the chain from the node."""

    def __init__(self, settings: ProviderSettings, chain: ChainIdentity) -> None:
        self._settings = settings
        self._chain = chain

    def of(self, model: str) -> Offer:
        """Raises UnknownModel, and NotServing while the chain is not known: no receipt could be signed."""
        if model not in self._settings.public_models:
            raise UnknownModel("this provider does not serve a model of that name; /v1/health lists those that it does")
        if self._chain.chain_id is None:
            message = "the chain node has not answered yet, so no receipt can be signed"
            raise NotServing(message, _RETRY_S, reason="waiting_for_node")
        return Offer(model, self._settings.unit_type, self._settings.price_of(model), self._chain.chain_id)


def agreed_offer(own: Offer, terms: LeaseTerms) -> Offer:
    """What a hub pays for its job, where that is not less than this provider asks; else OrderRefused."""
    if terms.unit_type != own.unit_type:
        message = f"paid by {terms.unit_type}, but this provider sells {own.unit_type}"
        raise OrderRefused(message, reason="unit_type_differs", field="unit_type")
    if terms.price_per_unit < own.price_per_unit:
        message = f"{terms.price_per_unit} atoms per unit, but this provider asks {own.price_per_unit}"
        raise OrderRefused(message, reason="price_too_low", field="price_per_unit")
    return replace(own, price_per_unit=terms.price_per_unit)
