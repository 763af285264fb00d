"""Placing an order: what it must be, whom it meets, and what becomes of it.

`validate` makes the whole plan without changing anything; `apply` carries it out. The sender pays in once, for what it
buys and for what rests, and is paid out once, less fees; each order that it meets is settled on its own.
"""

from typing import Final

import msgspec

from chain.primitives.market import (
    MAX_LOTS,
    MAX_PRICE_TICKS,
    ORDER_PLACED_EVENT,
    PLACE_ORDER,
    TRADE_EVENT,
    CloseReason,
    MarketStatus,
    OrderKind,
    Side,
)
from chain.primitives.market_records import Market, Order
from chain.primitives.modules import MARKET, TREASURY
from chain.primitives.rejection import Rejected, RejectionReason
from chain.rules.assets.holdings import check_balance, move
from chain.rules.call import Call, Operation
from chain.rules.market.amounts import TradeAmounts, escrowed, offered_asset, trade_amounts, wanted_asset
from chain.rules.market.book import (
    MAX_LEVEL_LOTS,
    add_order,
    find_level,
    open_orders,
    order_count,
    reduce_order,
    remove_order,
    set_order_count,
)
from chain.rules.market.closing import close_order, emit_closed
from chain.rules.market.markets import MAX_ATOMS, known_market, out_of_range
from chain.rules.market.matching import Match, Step, Taker, match, refusal_to_trade
from chain.rules.market.prices import book_side

MAX_OPEN_ORDERS: Final = 200
"""Of one owner in one market."""

_SIDES: Final = frozenset(Side)
_KINDS: Final = frozenset(OrderKind)
_TAKES_ONLY: Final = frozenset({OrderKind.IMMEDIATE_OR_CANCEL, OrderKind.FILL_OR_KILL, OrderKind.MARKET})
"""Kinds of which nothing ever rests."""


class Placement(msgspec.Struct, frozen=True, gc=False):
    """A checked order, and all that will come of it."""

    order_id: int
    order: Order
    """Its open lots are those that nobody takes at once."""
    market: Market
    match: Match
    close_reason: CloseReason | None
    """Why nothing of it rests; None where its open lots do."""


# What an order must be


def validate_place_order(
    call: Call,
    market_number: int,
    side: int,
    kind: int,
    price: int,
    lots: int,
    expiry_height: int,
    client_id: int,
) -> Placement:
    """placeOrder(…). What the order itself says is checked first, then what its owner may and has, then the book."""
    market = _open_market(call, market_number)
    ticks = _price_in_ticks(market, side, kind, price)
    _check_lots(market, ticks, lots)
    _check_expiry(call, kind, expiry_height)
    _check_open_orders(call, market_number, kind, client_id)
    refusal = refusal_to_trade(call, market, call.sender)
    if refusal is not None:
        raise refusal
    check_balance(call.state, offered_asset(market, side), call.sender, escrowed(market, side, ticks, lots))
    taker = Taker(market_number, market, side, ticks, lots, may_take=kind != OrderKind.POST_ONLY)
    matched = match(call, taker)
    close_reason = _why_nothing_rests(kind, matched)
    if close_reason is None:
        _check_level(call, taker, matched.lots_left)
    order = Order(call.sender, market_number, side, kind, ticks, lots, matched.lots_left, expiry_height, client_id)
    return Placement(order_count(call.state) + 1, order, market, matched, close_reason)


def _open_market(call: Call, number: int) -> Market:
    market = known_market(call.state, number)
    if market.status == MarketStatus.CANCEL_ONLY:
        raise Rejected(RejectionReason.MARKET_CLOSING, f"market {number} takes no more orders")
    if market.status == MarketStatus.HALTED:
        raise Rejected(RejectionReason.MARKET_HALTED, f"market {number} is halted")
    return market


def _price_in_ticks(market: Market, side: int, kind: int, price: int) -> int:
    """The worst price that the order accepts; a market order's may lie between ticks: the better one counts then."""
    if side not in _SIDES:
        raise out_of_range("side", "0 (buy) or 1 (sell)")
    if kind not in _KINDS:
        raise out_of_range("kind", f"0 to {max(_KINDS)}")
    ticks, beyond = divmod(price, market.tick)
    if beyond and kind != OrderKind.MARKET:
        raise Rejected(RejectionReason.OFF_TICK, f"the price is not a multiple of {market.tick}", field="price")
    if beyond and side == Side.SELL:
        ticks += 1
    if not 1 <= ticks <= MAX_PRICE_TICKS:
        raise out_of_range("price", f"1 to {MAX_PRICE_TICKS} ticks of {market.tick}")
    return ticks


def _check_lots(market: Market, ticks: int, lots: int) -> None:
    if not 1 <= lots <= MAX_LOTS:
        raise out_of_range("lots", f"1 to {MAX_LOTS}")
    if lots < market.minimum_lots:
        raise Rejected(
            RejectionReason.BELOW_MINIMUM_LOTS, f"an order is of {market.minimum_lots} lots at least", field="lots"
        )
    if lots * max(market.lot, ticks * market.tick) > MAX_ATOMS:
        raise out_of_range("lots", "fewer: the order comes to 2^200 atoms or more")


def _check_expiry(call: Call, kind: int, expiry_height: int) -> None:
    if kind != OrderKind.GOOD_TILL_HEIGHT:
        if expiry_height:
            raise out_of_range("expiryHeight", "0 for an order of this kind")
    elif expiry_height < call.block.height:
        raise Rejected(
            RejectionReason.EXPIRED_ON_ARRIVAL,
            f"the order's last height is {expiry_height}, and this is block {call.block.height}",
            field="expiryHeight",
        )


def _check_open_orders(call: Call, market_number: int, kind: int, client_id: int) -> None:
    listed = open_orders(call.state, market_number, call.sender)
    if len(listed) >= MAX_OPEN_ORDERS and kind not in _TAKES_ONLY:
        raise Rejected(
            RejectionReason.TOO_MANY_OPEN_ORDERS, f"an account has at most {MAX_OPEN_ORDERS} open orders in a market"
        )
    if client_id and any(client_id == listed_client_id for _, listed_client_id in listed):
        raise Rejected(
            RejectionReason.DUPLICATE_CLIENT_ID, f"an open order has the client id {client_id}", field="clientId"
        )


def _why_nothing_rests(kind: int, matched: Match) -> CloseReason | None:
    """None where what is left rests. Raises Rejected where a part is not enough."""
    if not matched.lots_left:
        return CloseReason.FILLED
    if kind == OrderKind.FILL_OR_KILL:
        raise Rejected(
            RejectionReason.WOULD_NOT_FILL, f"{matched.lots_left} lots would be left", left=matched.lots_left
        )
    if matched.is_bounded:
        return CloseReason.FILL_BOUND
    return CloseReason.REST_CANCELLED if kind in _TAKES_ONLY else None


def _check_level(call: Call, taker: Taker, lots: int) -> None:
    level = find_level(call.state, book_side(taker.market_number, taker.side), taker.ticks)
    if level is not None and level.open_lots + lots > MAX_LEVEL_LOTS:
        raise Rejected(RejectionReason.LEVEL_FULL, f"orders at this price hold {level.open_lots} lots")


# What becomes of it


def apply_place_order(call: Call, plan: Placement) -> None:
    """Pays in, settles each order that is met, pays out, and lets the rest stand in the book."""
    order = plan.order
    set_order_count(call.state, plan.order_id)
    move(call, offered_asset(plan.market, order.side), order.owner, MARKET, _paid_in(plan))
    _emit_placed(call, plan)
    if plan.match.steps:
        _settle(call, plan)
    if plan.close_reason is None:
        add_order(call.state, plan.order_id, order)
    else:
        emit_closed(call, plan.order_id, order, plan.close_reason)


def _settle(call: Call, plan: Placement) -> None:
    """Closes or pays each order that is met, then pays the sender and the treasury, once."""
    order = plan.order
    received = taker_fees = maker_fees = 0
    for step in plan.match.steps:
        if not step.lots:
            assert step.reason is not None
            close_order(call, step.order_id, step.order, step.reason)
            continue
        amounts = trade_amounts(plan.market, order.side, step.order.ticks, step.lots)
        _settle_maker(call, plan, step, amounts)
        received += amounts.taker_receives
        taker_fees += amounts.taker_fee
        maker_fees += amounts.maker_fee
    wanted = wanted_asset(plan.market, order.side)
    move(call, wanted, MARKET, order.owner, received - taker_fees)
    move(call, wanted, MARKET, TREASURY, taker_fees)
    move(call, offered_asset(plan.market, order.side), MARKET, TREASURY, maker_fees)


def _paid_in(plan: Placement) -> int:
    """What the trades cost at the makers' prices, and what rests holds; a better price is never paid for."""
    market, side = plan.market, plan.order.side
    paid = sum(escrowed(market, side, step.order.ticks, step.lots) for step in plan.match.steps)
    return paid + (escrowed(market, side, plan.order.ticks, plan.order.open_lots) if plan.close_reason is None else 0)


def _emit_placed(call: Call, plan: Placement) -> None:
    order = plan.order
    call.emit(
        MARKET,
        ORDER_PLACED_EVENT,
        order.market,
        plan.order_id,
        order.owner,
        order.side,
        order.kind,
        order.ticks * plan.market.tick,
        order.lots,
        order.expiry_height,
        order.client_id,
    )


def _settle_maker(call: Call, plan: Placement, step: Step, amounts: TradeAmounts) -> None:
    """One trade: the maker is paid out of what the sender has paid in, and its order shrinks or leaves."""
    maker, taker = step.order, plan.order
    call.emit(
        MARKET,
        TRADE_EVENT,
        taker.market,
        maker.owner,
        taker.owner,
        step.order_id,
        plan.order_id,
        taker.side,
        maker.ticks * plan.market.tick,
        step.lots,
        amounts.maker_fee,
        amounts.taker_fee,
    )
    asset = wanted_asset(plan.market, maker.side)
    move(call, asset, MARKET, maker.owner, amounts.maker_receives - amounts.maker_fee)
    if step.reason is None:
        reduce_order(call.state, step.order_id, maker, step.lots)
    else:
        remove_order(call.state, step.order_id, maker)
        emit_closed(call, step.order_id, maker.with_open_lots(0), step.reason)


OPERATIONS = (
    Operation(
        module=MARKET,
        function=PLACE_ORDER,
        validate=validate_place_order,
        apply=apply_place_order,
        answer=lambda plan: (plan.order_id,),
    ),
)
