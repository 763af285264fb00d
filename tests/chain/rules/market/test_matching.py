"""The plan of a match: it changes nothing, and it stops where it must."""

from __future__ import annotations

from chain.primitives.market import CloseReason, OrderKind, Side
from chain.primitives.modules import MARKET
from chain.rules.call import Call
from chain.rules.market.markets import known_market
from chain.rules.market.matching import MAX_STEPS, Match, Taker, match
from tests.chain.rules.market.conftest import Exchange


def plan(exchange: Exchange, owner: str, ticks: int, lots: int) -> Match:
    """Whom a buyer would meet in the next block."""
    chain = exchange.chain
    call = Call(chain.read(), chain.next_block, chain.address(owner), MARKET)
    planned = match(call, Taker(1, known_market(call.state, 1), Side.BUY, ticks, lots, may_take=True))
    assert call.state.changes() == {}
    assert call.logs == []
    return planned


def told(planned: Match) -> list[tuple[int, int, CloseReason | None]]:
    return [(step.order_id, step.lots, step.reason) for step in planned.steps]


def test_nobody_to_meet(exchange: Exchange) -> None:
    assert plan(exchange, "bob", 20, 5) == Match((), 5, is_bounded=False)
    exchange.place("alice", Side.SELL, 21, 5)
    exchange.place("alice", Side.BUY, 20, 5)
    assert plan(exchange, "bob", 20, 5) == Match((), 5, is_bounded=False)


def test_each_that_is_met_in_turn(exchange: Exchange) -> None:
    height = exchange.chain.head.height + 1
    exchange.place("alice", Side.SELL, 20, 2, kind=OrderKind.GOOD_TILL_HEIGHT, expiry_height=height)
    exchange.place("bob", Side.SELL, 20, 2)
    exchange.place("alice", Side.SELL, 20, 2)
    exchange.place("alice", Side.SELL, 21, 5)
    planned = plan(exchange, "bob", 21, 6)
    assert told(planned) == [
        (1, 0, CloseReason.EXPIRED),
        (2, 0, CloseReason.SELF_TRADE),
        (3, 2, CloseReason.FILLED),
        (4, 4, None),
    ]
    assert (planned.lots_left, planned.is_bounded) == (0, False)


def test_the_bound_counts_only_where_more_would_be_met(exchange: Exchange) -> None:
    exchange.place_many("alice", Side.SELL, 20, 2, MAX_STEPS)
    assert not plan(exchange, "bob", 20, 1_000).is_bounded
    exchange.place("alice", Side.SELL, 20, 2)
    for lots, left, is_bounded in ((2 * MAX_STEPS, 0, False), (2 * MAX_STEPS + 1, 1, True)):
        planned = plan(exchange, "bob", 20, lots)
        assert (len(planned.steps), planned.lots_left, planned.is_bounded) == (MAX_STEPS, left, is_bounded)
    assert not plan(exchange, "bob", 19, 1_000).is_bounded
