"""Whom an incoming order meets in the book, and what becomes of each: a plan. Nothing changes here.

Orders are met at the best price first, at one price the oldest first. One that has expired, that is the taker's own, or
whose owner may no longer trade leaves the book and is paid back, and the next one is met: no resting order can keep
another from trading.
"""

from typing import Final

import msgspec

from chain.primitives.market import CloseReason, Side
from chain.primitives.market_records import Market, Order
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules.assets.holdings import trading_refusal
from chain.rules.call import Call
from chain.rules.compliance import is_eligible
from chain.rules.market.book import orders_up_to
from chain.rules.market.prices import book_side

MAX_STEPS: Final = 64
"""Resting orders that one transaction meets."""


class Taker(msgspec.Struct, frozen=True, gc=False):
    """An incoming order, as far as the other side is concerned."""

    market_number: int
    market: Market
    side: int
    ticks: int
    """The worst price that it accepts."""
    lots: int
    may_take: bool
    """Whether it trades at all with orders that rest; a post-only one is refused instead."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """A resting order that is met."""

    order_id: int
    order: Order
    lots: int
    """Traded; 0 where it goes without trading."""
    reason: CloseReason | None
    """Why it leaves the book; None where a part of it stays."""


class Match(msgspec.Struct, frozen=True, gc=False):
    """All that happens on the other side of the book."""

    steps: tuple[Step, ...]
    lots_left: int
    """Of the incoming order."""
    is_bounded: bool
    """Whether there are lots left only because it has met MAX_STEPS orders, and would meet more."""


def match(call: Call, taker: Taker) -> Match:
    """Whom the sender's order meets. Raises Rejected where it would trade and must not."""
    opposite = Side.SELL if taker.side == Side.BUY else Side.BUY
    steps: list[Step] = []
    lots_left = taker.lots
    for order_id, order in orders_up_to(call.state, book_side(taker.market_number, opposite), taker.ticks):
        if len(steps) == MAX_STEPS:
            return Match(tuple(steps), lots_left, is_bounded=True)
        call.orders_seen += 1
        reason = _why_it_goes(call, taker.market, order)
        if reason is not None:
            steps.append(Step(order_id, order, 0, reason))
            continue
        if not taker.may_take:
            raise Rejected(RejectionReason.WOULD_TAKE, f"a post-only order that would trade with order {order_id}")
        lots = min(lots_left, order.open_lots)
        lots_left -= lots
        steps.append(Step(order_id, order, lots, CloseReason.FILLED if lots == order.open_lots else None))
        if not lots_left:
            break
    return Match(tuple(steps), lots_left, is_bounded=False)


def refusal_to_trade(call: Call, market: Market, account: Address) -> Rejected | None:
    """Why somebody may not trade in a market now, by either asset or by its policy; None where he may."""
    state = call.state
    refusal = trading_refusal(state, market.base, account) or trading_refusal(state, market.quote, account)
    if refusal is None and not is_eligible(state, market.policy, account, call.block.time_ms // 1000):
        refusal = Rejected(RejectionReason.NOT_ELIGIBLE, f"this market's policy, {market.policy}, is not met")
    return refusal


def _why_it_goes(call: Call, market: Market, order: Order) -> CloseReason | None:
    """Why a resting order leaves without trading with the sender; None where it trades."""
    if 0 < order.expiry_height < call.block.height:
        return CloseReason.EXPIRED
    if order.owner == call.sender:
        return CloseReason.SELF_TRADE
    return None if refusal_to_trade(call, market, order.owner) is None else CloseReason.NOT_ELIGIBLE
