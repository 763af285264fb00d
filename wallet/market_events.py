"""What a transaction of one's own did in the market: read from its events."""

from collections.abc import Iterator
from typing import Any

import msgspec

from chain.answers import TransactionView
from chain.primitives.abi import Event
from chain.primitives.hexadecimal import parse_address, parse_hash, parse_hex
from chain.primitives.market import (
    ASSET_ISSUED_EVENT,
    ORDER_CLOSED_EVENT,
    ORDER_PLACED_EVENT,
    TRADE_EVENT,
    CloseReason,
)
from chain.primitives.modules import MARKET
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address


class Placed(msgspec.Struct, frozen=True):
    """What became of an order in the transaction that placed it."""

    order_id: int
    price: int
    """Its limit, in quote atoms per lot."""
    filled_lots: int
    filled_value: int
    """Quote atoms."""
    fee: int
    """Atoms of what it receives."""
    open_lots: int
    close_reason: str | None
    """As `CloseReason`, in lower case; None while it rests."""


def read_placed(view: TransactionView) -> Placed | None:
    """Of a transaction that placed one order; None where its events tell of none."""
    placed = next(_events(view, ORDER_PLACED_EVENT), None)
    if placed is None:
        return None
    order_id = placed["orderId"]
    fills = [trade for trade in _events(view, TRADE_EVENT) if trade["takerOrderId"] == order_id]
    filled = sum(trade["lots"] for trade in fills)
    reason = dict(read_closed(view)).get(order_id)
    return Placed(
        order_id=order_id,
        price=placed["price"],
        filled_lots=filled,
        filled_value=sum(trade["lots"] * trade["price"] for trade in fills),
        fee=sum(trade["takerFee"] for trade in fills),
        open_lots=0 if reason is not None else placed["lots"] - filled,
        close_reason=reason,
    )


def read_closed(view: TransactionView) -> list[tuple[int, str]]:
    """Ids of the orders that the transaction closed, and why."""
    return [(event["orderId"], _reason(event["reason"])) for event in _events(view, ORDER_CLOSED_EVENT)]


def read_issued(view: TransactionView) -> Address | None:
    """The asset that the transaction issued."""
    event = next(_events(view, ASSET_ISSUED_EVENT), None)
    return None if event is None else Address(event["asset"])


def _reason(number: int) -> str:
    try:
        return CloseReason(number).name.lower()
    except ValueError:
        return f"unknown ({number})"


def _events(view: TransactionView, event: Event) -> Iterator[dict[str, Any]]:
    for log in view.logs:
        topics = [parse_hash(topic) for topic in log.topics]
        if parse_address(log.address) != MARKET or not topics or topics[0] != event.topic:
            continue
        try:
            yield event.decode(topics, parse_hex(log.data))
        except Rejected:  # A node's invention: what cannot be read is not told.
            continue
