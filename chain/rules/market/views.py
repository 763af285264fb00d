"""What anybody may ask of the market without changing anything."""

from typing import Any, Final

from chain.primitives.market import (
    BEST_PRICES,
    IS_ELIGIBLE,
    MARKET_COUNT,
    MARKET_INFORMATION,
    OPEN_ORDERS,
    ORDER,
    Side,
)
from chain.primitives.modules import MARKET
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules.call import Call, ViewTable
from chain.rules.compliance import is_eligible
from chain.rules.market.book import find_order, levels, open_orders
from chain.rules.market.markets import known_market, market_count


def _market(call: Call, number: int) -> tuple[Any, ...]:
    market = known_market(call.state, number)
    return tuple(getattr(market, name) for name in market.__struct_fields__)


def _order(call: Call, order_id: int) -> tuple[Any, ...]:
    order = find_order(call.state, order_id)
    if order is None:
        raise Rejected(RejectionReason.UNKNOWN_ORDER, f"no open order has the id {order_id}")
    price = order.ticks * known_market(call.state, order.market).tick
    return (
        order.owner,
        order.market,
        order.side,
        order.kind,
        price,
        order.lots,
        order.open_lots,
        order.expiry_height,
        order.client_id,
    )


def _open_orders(call: Call, number: int, owner: Address) -> tuple[list[int]]:
    known_market(call.state, number)
    return ([order_id for order_id, _ in open_orders(call.state, number, owner)],)


def _best_prices(call: Call, number: int) -> tuple[int, ...]:
    """Price and lots of the best level of either side; 0 and 0 where there is none."""
    market = known_market(call.state, number)
    found: list[int] = []
    for side in (Side.BUY, Side.SELL):
        best = levels(call.state, number, side, 1)
        found += [best[0].ticks * market.tick, best[0].open_lots] if best else [0, 0]
    return tuple(found)


def _is_eligible(call: Call, number: int, account: Address) -> tuple[bool]:
    """Whether somebody meets the market's policy; an issuer's flags are another matter."""
    policy = known_market(call.state, number).policy
    return (is_eligible(call.state, policy, account, call.block.time_ms // 1000),)


VIEWS: Final[ViewTable] = {
    (MARKET, MARKET_COUNT): lambda call: (market_count(call.state),),
    (MARKET, MARKET_INFORMATION): _market,
    (MARKET, ORDER): _order,
    (MARKET, OPEN_ORDERS): _open_orders,
    (MARKET, BEST_PRICES): _best_prices,
    (MARKET, IS_ELIGIBLE): _is_eligible,
}
