"""How orders leave the book without trading: their owners cancel them, anybody sweeps expired ones, an issuer cancels
those of holders that it froze.

Cancelling always works: whatever the market's status, whatever assets, issuers and credentials have come to, and also
for an owner that holds nothing besides. What an order still holds goes back to its owner.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from chain.primitives.market import (
    CANCEL_ALL,
    CANCEL_BY_CLIENT_ID,
    CANCEL_FROZEN,
    CANCEL_ORDER,
    ORDER_CLOSED_EVENT,
    SWEEP_EXPIRED,
    AssetFlag,
    CloseReason,
)
from chain.primitives.market_records import Order
from chain.primitives.modules import MARKET
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules.assets.holdings import is_frozen, move
from chain.rules.assets.issuing import check_issuer, check_power
from chain.rules.call import Call, Operation
from chain.rules.market.amounts import escrowed, offered_asset
from chain.rules.market.book import find_order, open_orders, remove_order
from chain.rules.market.markets import known_market
from chain.rules.state import State

MAX_CANCELLED: Final = 100
"""By one cancelAll."""
MAX_SWEPT: Final = 64
"""Ids that one sweep names."""


class Closing(msgspec.Struct, frozen=True):
    """Resting orders, by id, that leave for one reason."""

    orders: tuple[tuple[int, Order], ...]
    reason: CloseReason


def close_order(call: Call, order_id: int, order: Order, reason: CloseReason) -> None:
    """Takes a resting order out of the book and pays its owner back what it holds."""
    market = known_market(call.state, order.market)
    remove_order(call.state, order_id, order)
    atoms = escrowed(market, order.side, order.ticks, order.open_lots)
    move(call, offered_asset(market, order.side), MARKET, order.owner, atoms)
    emit_closed(call, order_id, order, reason)


def emit_closed(call: Call, order_id: int, order: Order, reason: CloseReason) -> None:
    """Says that an order is closed, with its open lots not traded."""
    call.emit(MARKET, ORDER_CLOSED_EVENT, order.market, order_id, order.owner, reason, order.open_lots)


def apply_closing(call: Call, closing: Closing) -> None:
    """Closes each."""
    for order_id, order in closing.orders:
        close_order(call, order_id, order, closing.reason)


def _answer_count(closing: Closing) -> tuple[int]:
    return (len(closing.orders),)


# By its owner


def validate_cancel_order(call: Call, order_id: int) -> Closing:
    """cancelOrder(orderId)."""
    order = find_order(call.state, order_id)
    if order is None:
        raise Rejected(RejectionReason.UNKNOWN_ORDER, f"no open order has the id {order_id}")
    if order.owner != call.sender:
        raise Rejected(RejectionReason.NOT_YOUR_ORDER, f"order {order_id} is 0x{order.owner.hex()}'s")
    return Closing(((order_id, order),), CloseReason.CANCELLED)


def validate_cancel_by_client_id(call: Call, market_number: int, client_id: int) -> Closing:
    """cancelByClientId(market, clientId)."""
    known_market(call.state, market_number)
    for order_id, listed_client_id in open_orders(call.state, market_number, call.sender):
        if client_id and listed_client_id == client_id:
            return Closing(_with_orders(call, (order_id,)), CloseReason.CANCELLED)
    raise Rejected(RejectionReason.UNKNOWN_ORDER, f"you have no open order with the client id {client_id}")


def validate_cancel_all(call: Call, market_number: int, limit: int) -> Closing:
    """cancelAll(market, limit): the oldest ones; none is no failure."""
    known_market(call.state, market_number)
    if not 1 <= limit <= MAX_CANCELLED:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"limit must be 1 to {MAX_CANCELLED}", field="limit")
    listed = open_orders(call.state, market_number, call.sender)[:limit]
    return Closing(_with_orders(call, [order_id for order_id, _ in listed]), CloseReason.CANCELLED)


def owns_order(state: State, sender: Address, order_id: int) -> bool:
    """Whether a resting order is this sender's."""
    order = find_order(state, order_id)
    return order is not None and order.owner == sender


def has_orders(state: State, sender: Address, market_number: int, _which: int) -> bool:
    """Whether this sender has resting orders in a market."""
    return bool(open_orders(state, market_number, sender))


# By others


def validate_sweep_expired(call: Call, order_ids: Sequence[int]) -> Closing:
    """sweepExpired(orderIds), by anybody: ids that are gone, or not expired, are passed over."""
    return _chosen(call, order_ids, lambda order: 0 < order.expiry_height < call.block.height, CloseReason.EXPIRED)


def validate_cancel_frozen(call: Call, asset: Address, order_ids: Sequence[int]) -> Closing:
    """cancelFrozen(asset, orderIds), by the asset's issuer: ids that are gone, orders of markets without the asset, and
    those of holders that are not frozen in it are passed over."""
    check_power(check_issuer(call, asset), AssetFlag.FREEZABLE)

    def is_meant(order: Order) -> bool:
        market = known_market(call.state, order.market)
        return asset in (market.base, market.quote) and is_frozen(call.state, asset, order.owner)

    return _chosen(call, order_ids, is_meant, CloseReason.ISSUER)


def _chosen(call: Call, order_ids: Sequence[int], is_meant: Callable[[Order], bool], reason: CloseReason) -> Closing:
    if len(order_ids) > MAX_SWEPT:
        raise Rejected(RejectionReason.TOO_LARGE, f"names more than {MAX_SWEPT} orders", field="orderIds")
    named = _with_orders(call, tuple(dict.fromkeys(order_ids)))  # Each once.
    return Closing(tuple((order_id, order) for order_id, order in named if is_meant(order)), reason)


def _with_orders(call: Call, order_ids: Sequence[int]) -> tuple[tuple[int, Order], ...]:
    """Those of these that rest."""
    call.orders_seen += len(order_ids)
    found = ((order_id, find_order(call.state, order_id)) for order_id in order_ids)
    return tuple((order_id, order) for order_id, order in found if order is not None)


OPERATIONS = (
    Operation(
        module=MARKET,
        function=CANCEL_ORDER,
        validate=validate_cancel_order,
        apply=apply_closing,
        is_open_to=owns_order,
    ),
    Operation(
        module=MARKET,
        function=CANCEL_BY_CLIENT_ID,
        validate=validate_cancel_by_client_id,
        apply=apply_closing,
        is_open_to=has_orders,
    ),
    Operation(
        module=MARKET,
        function=CANCEL_ALL,
        validate=validate_cancel_all,
        apply=apply_closing,
        answer=_answer_count,
        is_open_to=has_orders,
    ),
    Operation(
        module=MARKET,
        function=SWEEP_EXPIRED,
        validate=validate_sweep_expired,
        apply=apply_closing,
        answer=_answer_count,
    ),
    Operation(
        module=MARKET,
        function=CANCEL_FROZEN,
        validate=validate_cancel_frozen,
        apply=apply_closing,
        answer=_answer_count,
    ),
)
