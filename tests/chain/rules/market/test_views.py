"""What anybody may ask of the market."""

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives import market as calls
from chain.primitives.abi import Function
from chain.primitives.market import OrderKind, Side
from chain.primitives.modules import MARKET, TOKEN
from chain.primitives.rejection import Rejected, RejectionReason
from tests.chain.rules.market.conftest import LOT, MAKER_FEE, MINIMUM_LOTS, TAKER_FEE, TICK, Exchange
from tests.chain.rules.market.test_orders import define_policy, grant


def ask(exchange: Exchange, function: Function, *arguments: Any) -> tuple[Any, ...]:
    """All that a view returns; people's names stand for their addresses."""
    named = [exchange.chain.address(each) if isinstance(each, str) else each for each in arguments]
    return function.decode_output(exchange.chain.raw_view(MARKET, function.encode(*named)))


def test_markets(exchange: Exchange) -> None:
    assert ask(exchange, calls.MARKET_COUNT) == (1,)
    assert ask(exchange, calls.MARKET_INFORMATION, 1) == (
        TOKEN,
        exchange.quote,
        LOT,
        TICK,
        MINIMUM_LOTS,
        MAKER_FEE,
        TAKER_FEE,
        0,
        0,
    )


def test_orders(exchange: Exchange) -> None:
    kind, expiry_height = OrderKind.GOOD_TILL_HEIGHT, 10**6
    exchange.place("alice", Side.SELL, 20, 7, kind=kind, expiry_height=expiry_height, client_id=3)
    exchange.place("bob", Side.BUY, 20, 2)
    alice = exchange.chain.address("alice")
    assert ask(exchange, calls.ORDER, 1) == (alice, 1, Side.SELL, kind, 20 * TICK, 7, 5, expiry_height, 3)
    exchange.place("alice", Side.BUY, 10, 2)
    assert ask(exchange, calls.OPEN_ORDERS, 1, "alice") == ([1, 3],)
    assert ask(exchange, calls.OPEN_ORDERS, 1, "bob") == ([],)


def test_best_prices(exchange: Exchange) -> None:
    assert ask(exchange, calls.BEST_PRICES, 1) == (0, 0, 0, 0)
    for ticks, lots in ((20, 3), (21, 4), (21, 5)):
        exchange.place("alice", Side.BUY, ticks, lots)
    assert ask(exchange, calls.BEST_PRICES, 1) == (21 * TICK, 9, 0, 0)
    exchange.place("alice", Side.SELL, 30, 2)
    assert ask(exchange, calls.BEST_PRICES, 1) == (21 * TICK, 9, 30 * TICK, 2)


def test_eligibility(exchange: Exchange) -> None:
    assert ask(exchange, calls.IS_ELIGIBLE, 1, "alice") == (True,)
    define_policy(exchange)
    assert ask(exchange, calls.IS_ELIGIBLE, 1, "alice") == (False,)
    grant(exchange, "alice")
    assert ask(exchange, calls.IS_ELIGIBLE, 1, "alice") == (True,)


@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        (calls.MARKET_INFORMATION, (2,), RejectionReason.UNKNOWN_MARKET),
        (calls.OPEN_ORDERS, (0, "alice"), RejectionReason.UNKNOWN_MARKET),
        (calls.BEST_PRICES, (2,), RejectionReason.UNKNOWN_MARKET),
        (calls.IS_ELIGIBLE, (2, "alice"), RejectionReason.UNKNOWN_MARKET),
        (calls.ORDER, (0,), RejectionReason.UNKNOWN_ORDER),
        (calls.ORDER, (1,), RejectionReason.UNKNOWN_ORDER),
    ],
)
def test_what_there_is_not_is_refused(
    exchange: Exchange, function: Function, arguments: tuple[Any, ...], reason: RejectionReason
) -> None:
    with pytest.raises(Rejected) as caught:
        ask(exchange, function, *arguments)
    assert caught.value.reason is reason
