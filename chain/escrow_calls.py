"""Requests about clients' deposits: beside those of `chain.calls`, in the same form."""

from chain.calls import Call, address_text, get
from chain.escrow_answers import DepositsView, DepositView
from chain.primitives.client_request import check_audience
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address


def deposits(client: Address | str) -> Call[DepositsView]:
    """What a client has put aside, for whichever audience."""
    return get(DepositsView, f"/v1/accounts/{address_text(client)}/deposits")


def deposit(client: Address | str, audience: str) -> Call[DepositView]:
    """What a client has put aside for one audience. NodeRefused (not_found) where that is nothing."""
    try:
        check_audience(audience)  # It becomes a part of a path.
    except Rejected as error:
        raise ValueError(error.message) from None
    return get(DepositView, f"/v1/accounts/{address_text(client)}/deposits/{audience}")
