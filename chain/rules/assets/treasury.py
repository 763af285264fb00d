"""The treasury: what the market's fees came to, in every asset, until governance spends it."""

import msgspec

from chain.primitives.market import SPEND_TREASURY
from chain.primitives.modules import MARKET, TREASURY
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules.assets.holdings import check_asset, check_balance, check_may_trade, move
from chain.rules.call import Call, Operation
from chain.rules.token import check_recipient


class Spending(msgspec.Struct, frozen=True):
    """A checked payment."""

    asset: Address
    recipient: Address
    amount: int


def validate_spend_treasury(call: Call, asset: Address, recipient: Address, amount: int) -> Spending:
    """spendTreasury(asset, to, value): AIT or any asset, to whoever may hold it."""
    check_asset(call.state, asset)
    check_recipient(recipient)
    if not amount:
        raise Rejected(RejectionReason.OUT_OF_RANGE, "at least one atom", field="value")
    check_may_trade(call.state, asset, recipient)
    check_balance(call.state, asset, TREASURY, amount)
    return Spending(asset, recipient, amount)


def apply_spend_treasury(call: Call, plan: Spending) -> None:
    """Pays; the asset's Transfer event tells of it."""
    move(call, plan.asset, TREASURY, plan.recipient, plan.amount)


OPERATIONS = (
    Operation(
        module=MARKET,
        function=SPEND_TREASURY,
        validate=validate_spend_treasury,
        apply=apply_spend_treasury,
        is_governed=True,
    ),
)
