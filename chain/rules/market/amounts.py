"""What lots and prices come to in atoms. Only fees are ever rounded: up, and never above what was received."""

from typing import Final

import msgspec

from chain.primitives.market import Side
from chain.primitives.market_records import Market
from chain.primitives.types import Address

BASIS_POINTS: Final = 10_000


class TradeAmounts(msgspec.Struct, frozen=True, gc=False):
    """What both sides of a trade receive, fees included, in atoms: a buyer base, a seller quote."""

    maker_receives: int
    maker_fee: int
    taker_receives: int
    taker_fee: int


def offered_asset(market: Market, side: int) -> Address:
    """What an order of this side pays with, and what its escrow holds."""
    return market.quote if side == Side.BUY else market.base


def wanted_asset(market: Market, side: int) -> Address:
    """What it receives."""
    return market.base if side == Side.BUY else market.quote


def escrowed(market: Market, side: int, ticks: int, lots: int) -> int:
    """Atoms of the offered asset that so many open lots hold at a price in ticks."""
    return lots * ticks * market.tick if side == Side.BUY else lots * market.lot


def fee(received: int, basis_points: int) -> int:
    """A share of what was received, rounded up."""
    return min(received, -(-received * basis_points // BASIS_POINTS))


def trade_amounts(market: Market, taker_side: int, ticks: int, lots: int) -> TradeAmounts:
    """Of so many lots at the maker's price."""
    base, quote = lots * market.lot, lots * ticks * market.tick
    taker_receives, maker_receives = (base, quote) if taker_side == Side.BUY else (quote, base)
    return TradeAmounts(
        maker_receives,
        fee(maker_receives, market.maker_fee),
        taker_receives,
        fee(taker_receives, market.taker_fee),
    )
