"""Placing orders: every rule and every refusal, to the atom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chain.primitives import market as calls
from chain.primitives.market import MAX_LOTS, MAX_PRICE_TICKS, CloseReason, MarketStatus, OrderKind, Side
from chain.primitives.market_records import Level
from chain.primitives.modules import GOVERNANCE, MARKET, SET_PARAMETER, TOKEN, TREASURY
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256
from chain.rules.market.book import MAX_LEVEL_LOTS
from chain.rules.market.orders import MAX_OPEN_ORDERS
from tests.chain.rules.market.conftest import LOT, MINIMUM_LOTS, QUOTE_EACH, TICK, Exchange

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK, POST_ONLY = OrderKind.IMMEDIATE_OR_CANCEL, OrderKind.FILL_OR_KILL, OrderKind.POST_ONLY
GTH = OrderKind.GOOD_TILL_HEIGHT
MATCHED = OrderKind.MARKET


def closed(order_id: int, owner: str, reason: CloseReason, lots_left: int) -> tuple[Any, ...]:
    return ("OrderClosed", 1, order_id, owner, reason, lots_left)


def trades(exchange: Exchange, transaction: Transaction) -> list[tuple[int, int, int]]:
    """(maker's order, price in ticks, lots) of each trade of an order that is placed now."""
    events = exchange.events(exchange.add(transaction))
    return [(event[4], event[7] // TICK, event[8]) for event in events if event[0] == "Trade"]


# Resting


def test_an_order_that_meets_nothing_rests_with_its_escrow(exchange: Exchange) -> None:
    outcome = exchange.add(exchange.order("alice", BUY, 20, 5, client_id=9))

    assert exchange.events(outcome) == [("OrderPlaced", 1, 1, "alice", BUY, 0, 20 * TICK, 5, 0, 9)]
    assert exchange.holdings("alice", MARKET) == {"alice": (0, -5 * 20 * TICK), MARKET: (0, 5 * 20 * TICK)}
    assert exchange.open_ids("alice") == [1]

    exchange.place("bob", SELL, 21, 7)
    assert exchange.holdings("bob", MARKET) == {"bob": (-7 * LOT, 0), MARKET: (7 * LOT, 5 * 20 * TICK)}
    resting = exchange.resting(2)
    assert resting is not None
    assert (resting.lots, resting.open_lots, resting.ticks, resting.side) == (7, 7, 21, SELL)


def test_ids_count_over_all_markets_and_also_orders_that_never_rest(exchange: Exchange) -> None:
    exchange.create_market()
    assert exchange.place("alice", BUY, 20, 5) == 1
    assert exchange.place("alice", BUY, 20, 5, kind=IOC) == 2
    assert exchange.place("alice", BUY, 20, 5, market=2) == 3
    assert (exchange.open_ids("alice"), exchange.open_ids("alice", 2)) == ([1], [3])


# Trading


def test_a_trade_to_the_atom(exchange: Exchange) -> None:
    maker = exchange.place("alice", SELL, 333, 7)
    outcome = exchange.add(exchange.order("bob", BUY, 400, 7))

    value = 7 * 333 * TICK
    maker_fee, taker_fee = 24, 7 * LOT * 25 // 10_000  # 23.31 rounded up, and 17.5 * 10^12 exactly.
    assert exchange.events(outcome) == [
        ("OrderPlaced", 1, 2, "bob", BUY, 0, 400 * TICK, 7, 0, 0),
        ("Trade", 1, "alice", "bob", maker, 2, BUY, 333 * TICK, 7, maker_fee, taker_fee),
        closed(1, "alice", CloseReason.FILLED, 0),
        closed(2, "bob", CloseReason.FILLED, 0),
    ]
    assert exchange.holdings() == {
        "alice": (-7 * LOT, value - maker_fee),
        "bob": (7 * LOT - taker_fee, -value),  # What the better price spares is his.
        "carol": (0, 0),
        MARKET: (0, 0),
        TREASURY: (taker_fee, maker_fee),
    }


def test_a_seller_who_takes_gets_the_buyers_price(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 30, 6)
    outcome = exchange.add(exchange.order("bob", SELL, 10, 4))

    taker_fee, maker_fee = 3, 4 * LOT * 10 // 10_000  # 1,200 atoms at 25 basis points.
    assert exchange.events(outcome)[1:] == [
        ("Trade", 1, "alice", "bob", 1, 2, SELL, 30 * TICK, 4, maker_fee, taker_fee),
        closed(2, "bob", CloseReason.FILLED, 0),
    ]
    assert exchange.holdings("alice", "bob", MARKET) == {
        "alice": (4 * LOT - maker_fee, -6 * 30 * TICK),
        "bob": (-4 * LOT, 4 * 30 * TICK - taker_fee),
        MARKET: (0, 2 * 30 * TICK),
    }
    resting = exchange.resting(1)
    assert resting is not None
    assert (resting.lots, resting.open_lots) == (6, 2)


def test_what_is_not_filled_rests_at_its_own_price(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 20, 3)
    exchange.place("bob", BUY, 25, 10)

    resting = exchange.resting(2)
    assert resting is not None
    assert (resting.ticks, resting.lots, resting.open_lots) == (25, 10, 7)
    assert exchange.holds("bob", exchange.quote) == QUOTE_EACH - 3 * 20 * TICK - 7 * 25 * TICK
    assert exchange.holds(MARKET, exchange.quote) == 7 * 25 * TICK


def test_the_best_price_goes_first_then_the_oldest(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 22, 2)
    exchange.place("bob", SELL, 21, 2)
    exchange.place("alice", SELL, 21, 2)
    exchange.place("bob", SELL, 20, 2)
    exchange.place("alice", SELL, 23, 2)

    assert trades(exchange, exchange.order("carol", BUY, 22, 7)) == [(4, 20, 2), (2, 21, 2), (3, 21, 2), (1, 22, 1)]
    assert exchange.open_ids("carol") == []


def test_an_order_keeps_its_place_when_a_part_of_it_has_traded(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, 6)
    exchange.place("bob", BUY, 20, 6)
    assert trades(exchange, exchange.order("carol", SELL, 20, 4)) == [(1, 20, 4)]
    assert trades(exchange, exchange.order("carol", SELL, 20, 4)) == [(1, 20, 2), (2, 20, 2)]


def test_fees_never_exceed_what_is_received(exchange: Exchange) -> None:
    exchange.create_market(lot=1, tick=1, minimum_lots=1, maker_fee=1_000, taker_fee=1_000)
    exchange.place("alice", SELL, 0, 1, price=1, market=2)
    exchange.place("bob", BUY, 0, 1, price=1, market=2)
    assert exchange.holdings("alice", "bob", TREASURY) == {"alice": (-1, 0), "bob": (0, -1), TREASURY: (1, 1)}


def test_fees_of_each_trade_round_up_for_themselves(exchange: Exchange) -> None:
    exchange.create_market(lot=1, tick=1, minimum_lots=1, maker_fee=0, taker_fee=1)
    exchange.place("alice", SELL, 0, 10, price=1, market=2)
    exchange.place("bob", SELL, 0, 10, price=2, market=2)
    exchange.place("carol", BUY, 0, 20, price=2, market=2)
    assert exchange.holdings("carol", TREASURY) == {"carol": (20 - 2, -30), TREASURY: (2, 0)}


# Kinds


def test_immediate_or_cancel_keeps_what_it_got(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 20, 3)
    outcome = exchange.add(exchange.order("bob", BUY, 20, 10, kind=IOC))
    assert exchange.events(outcome)[-1] == closed(2, "bob", CloseReason.REST_CANCELLED, 7)
    assert exchange.holds("bob", exchange.quote) == QUOTE_EACH - 3 * 20 * TICK
    assert exchange.open_ids("bob") == []


def test_fill_or_kill_is_all_or_nothing(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 20, 3)
    exchange.place("alice", SELL, 22, 3)
    chain = exchange.chain
    refused = chain.fail(exchange.order("bob", BUY, 21, 4, kind=FOK), RejectionReason.WOULD_NOT_FILL)
    assert refused.values["left"] == 1
    outcome = exchange.add(exchange.order("bob", BUY, 22, 4, kind=FOK))
    assert exchange.events(outcome)[-1] == closed(3, "bob", CloseReason.FILLED, 0)


def test_a_refused_fill_or_kill_removes_nobody(exchange: Exchange) -> None:
    exchange.place("bob", SELL, 20, 3)
    exchange.chain.fail(exchange.order("bob", BUY, 20, 3, kind=FOK), RejectionReason.WOULD_NOT_FILL)
    assert exchange.open_ids("bob") == [1]


def test_post_only_rests_or_is_refused(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 20, 3)
    exchange.chain.fail(exchange.order("bob", BUY, 20, 3, kind=POST_ONLY), RejectionReason.WOULD_TAKE)
    exchange.place("bob", BUY, 19, 3, kind=POST_ONLY)
    assert exchange.open_ids("bob") == [2]


def test_post_only_removes_what_is_in_the_way_and_cannot_trade(exchange: Exchange) -> None:
    exchange.place("bob", SELL, 20, 3)
    height = exchange.chain.head.height + 1
    exchange.place("alice", SELL, 20, 3, kind=GTH, expiry_height=height)
    exchange.pass_blocks(1)
    outcome = exchange.add(exchange.order("bob", BUY, 20, 3, kind=POST_ONLY))
    assert exchange.events(outcome)[1:] == [
        closed(1, "bob", CloseReason.SELF_TRADE, 3),
        closed(2, "alice", CloseReason.EXPIRED, 3),
    ]
    assert exchange.open_ids("bob") == [3]
    assert exchange.holdings("alice") == {"alice": (0, 0)}


@pytest.mark.parametrize(("worst", "filled"), [(20 * TICK + 9, 3), (21 * TICK, 6), (22 * TICK - 1, 6)])
def test_a_market_buy_rounds_its_worst_price_down(exchange: Exchange, worst: int, filled: int) -> None:
    exchange.place("alice", SELL, 20, 3)
    exchange.place("alice", SELL, 21, 3)
    outcome = exchange.add(exchange.order("bob", BUY, 0, 6, kind=MATCHED, price=worst))
    assert sum(event[8] for event in exchange.events(outcome) if event[0] == "Trade") == filled
    assert exchange.events(outcome)[0][6] == worst // TICK * TICK


def test_a_market_sell_rounds_its_worst_price_up(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, 3)
    exchange.place("alice", BUY, 21, 3)
    outcome = exchange.add(exchange.order("bob", SELL, 0, 6, kind=MATCHED, price=20 * TICK + 1))
    assert [event[7:9] for event in exchange.events(outcome) if event[0] == "Trade"] == [(21 * TICK, 3)]
    assert exchange.events(outcome)[-1] == closed(3, "bob", CloseReason.REST_CANCELLED, 3)
    outcome = exchange.add(exchange.order("bob", SELL, 0, 3, kind=MATCHED, price=1))
    assert exchange.events(outcome)[-1] == closed(4, "bob", CloseReason.FILLED, 0)


def test_good_till_height_trades_up_to_its_height_and_no_longer(exchange: Exchange) -> None:
    height = exchange.chain.head.height + 1
    exchange.place("alice", SELL, 20, 3, kind=GTH, expiry_height=height + 1)
    exchange.place("alice", SELL, 20, 3, kind=GTH, expiry_height=height + 2)
    assert exchange.chain.head.height == height + 1
    outcome = exchange.add(exchange.order("bob", BUY, 20, 4))

    assert exchange.events(outcome)[1:] == [
        closed(1, "alice", CloseReason.EXPIRED, 3),
        ("Trade", 1, "alice", "bob", 2, 3, BUY, 20 * TICK, 3, 1, 3 * LOT * 25 // 10_000),
        closed(2, "alice", CloseReason.FILLED, 0),
    ]
    assert exchange.holdings("alice") == {"alice": (-3 * LOT, 3 * 20 * TICK - 1)}


# Orders that go when they are met


def test_ones_own_older_order_yields(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 20, 3)
    exchange.place("bob", SELL, 20, 3)
    outcome = exchange.add(exchange.order("alice", BUY, 20, 3))
    assert exchange.events(outcome)[1:] == [
        closed(1, "alice", CloseReason.SELF_TRADE, 3),
        ("Trade", 1, "bob", "alice", 2, 3, BUY, 20 * TICK, 3, 1, 3 * LOT * 25 // 10_000),
        closed(2, "bob", CloseReason.FILLED, 0),
        closed(3, "alice", CloseReason.FILLED, 0),
    ]


def test_a_frozen_maker_is_paid_back_and_cannot_fail_the_taker(strict_exchange: Exchange) -> None:
    exchange = strict_exchange
    exchange.place("alice", SELL, 20, 3)
    exchange.place("bob", SELL, 21, 3)
    exchange.chain.add(exchange.by_issuer(calls.SET_FROZEN, "alice", True))
    outcome = exchange.add(exchange.order("carol", BUY, 21, 3))
    assert exchange.events(outcome)[1:] == [
        closed(1, "alice", CloseReason.NOT_ELIGIBLE, 3),
        ("Trade", 1, "bob", "carol", 2, 3, BUY, 21 * TICK, 3, 1, 3 * LOT * 25 // 10_000),
        closed(2, "bob", CloseReason.FILLED, 0),
        closed(3, "carol", CloseReason.FILLED, 0),
    ]
    assert exchange.holdings("alice") == {"alice": (0, 0)}


def test_a_maker_that_is_no_longer_authorised_goes(strict_exchange: Exchange) -> None:
    exchange = strict_exchange
    exchange.place("alice", BUY, 20, 3)
    exchange.chain.add(exchange.by_issuer(calls.SET_AUTHORIZED, "alice", False))
    outcome = exchange.add(exchange.order("bob", SELL, 20, 3))
    assert exchange.events(outcome)[1:] == [closed(1, "alice", CloseReason.NOT_ELIGIBLE, 3)]
    assert exchange.holdings("alice") == {"alice": (0, 0)}
    assert exchange.open_ids("bob") == [2]


def define_policy(exchange: Exchange) -> None:
    chain = exchange.chain
    authority = chain.address("authority")
    chain.govern(MARKET, calls.ADD_AUTHORITY.encode(authority))
    chain.govern(MARKET, calls.DEFINE_POLICY.encode([authority], True, [276], 2))
    chain.give("authority")
    exchange.govern(calls.SET_MARKET_POLICY, 1, 1)


def grant(exchange: Exchange, *names: str, expires_at: int = 2**40) -> None:
    exchange.chain.add(
        *(
            exchange.call("authority", calls.GRANT_CREDENTIAL, name, 276, 2, expires_at, b"\x05" * 32, later=index)
            for index, name in enumerate(names)
        )
    )


def test_a_policy_is_checked_at_placement_and_again_at_the_fill(exchange: Exchange) -> None:
    define_policy(exchange)
    chain = exchange.chain
    chain.fail(exchange.order("alice", SELL, 20, 3), RejectionReason.NOT_ELIGIBLE)
    lapses_at = chain.head.time_ms // 1000 + 4
    grant(exchange, "alice", expires_at=lapses_at)
    grant(exchange, "bob", "carol")
    exchange.place("alice", SELL, 20, 3)
    exchange.place("bob", SELL, 21, 3)
    while chain.next_block.time_ms // 1000 < lapses_at:
        exchange.pass_blocks(1)

    outcome = exchange.add(exchange.order("carol", BUY, 21, 3))
    assert [event[0] for event in exchange.events(outcome)] == [
        "OrderPlaced",
        "OrderClosed",
        "Trade",
        "OrderClosed",
        "OrderClosed",
    ]
    assert exchange.events(outcome)[1] == closed(1, "alice", CloseReason.NOT_ELIGIBLE, 3)
    assert exchange.holdings("alice") == {"alice": (0, 0)}
    chain.fail(exchange.order("alice", SELL, 20, 3), RejectionReason.NOT_ELIGIBLE)


# Refusals


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"market": 2}, RejectionReason.UNKNOWN_MARKET),
        ({"market": 0}, RejectionReason.UNKNOWN_MARKET),
        ({"side": 2}, RejectionReason.OUT_OF_RANGE),
        ({"side": 255}, RejectionReason.OUT_OF_RANGE),
        ({"kind": 6}, RejectionReason.OUT_OF_RANGE),
        ({"price": 20 * TICK + 1}, RejectionReason.OFF_TICK),
        ({"price": 1}, RejectionReason.OFF_TICK),
        ({"price": 0}, RejectionReason.OUT_OF_RANGE),
        ({"price": (MAX_PRICE_TICKS + 1) * TICK}, RejectionReason.OUT_OF_RANGE),
        ({"price": MAX_UINT256 - MAX_UINT256 % TICK}, RejectionReason.OUT_OF_RANGE),
        ({"price": MAX_UINT256}, RejectionReason.OFF_TICK),
        ({"kind": MATCHED, "price": TICK - 1}, RejectionReason.OUT_OF_RANGE),
        ({"kind": MATCHED, "price": 0}, RejectionReason.OUT_OF_RANGE),
        ({"kind": MATCHED, "side": SELL, "price": 0}, RejectionReason.OUT_OF_RANGE),
        ({"kind": MATCHED, "side": SELL, "price": MAX_PRICE_TICKS * TICK + 1}, RejectionReason.OUT_OF_RANGE),
        ({"kind": MATCHED, "price": MAX_UINT256}, RejectionReason.OUT_OF_RANGE),
        ({"lots": 0}, RejectionReason.OUT_OF_RANGE),
        ({"lots": MAX_LOTS + 1}, RejectionReason.OUT_OF_RANGE),
        ({"lots": 2**64 - 1}, RejectionReason.OUT_OF_RANGE),
        ({"lots": MINIMUM_LOTS - 1}, RejectionReason.BELOW_MINIMUM_LOTS),
        ({"expiry_height": 10**6}, RejectionReason.OUT_OF_RANGE),
        ({"kind": GTH}, RejectionReason.EXPIRED_ON_ARRIVAL),
        ({"lots": MAX_LOTS}, RejectionReason.INSUFFICIENT_FUNDS),
        ({"lots": QUOTE_EACH // (20 * TICK) + 1}, RejectionReason.INSUFFICIENT_FUNDS),
        ({"side": SELL, "lots": 100 * ATOMS_PER_AIT // LOT + 1}, RejectionReason.INSUFFICIENT_FUNDS),
    ],
    ids=str,
)
def test_an_order_is_refused(exchange: Exchange, terms: dict[str, Any], reason: RejectionReason) -> None:
    side, lots = terms.pop("side", BUY), terms.pop("lots", 5)
    exchange.chain.fail(exchange.order("alice", side, 20, lots, **terms), reason)
    assert exchange.holdings("alice", MARKET) == {"alice": (0, 0), MARKET: (0, 0)}


def test_exactly_all_that_one_has_is_enough(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, QUOTE_EACH // (20 * TICK))
    exchange.place("alice", SELL, 21, 100 * ATOMS_PER_AIT // LOT)
    assert exchange.holdings("alice") == {"alice": (-100 * ATOMS_PER_AIT, -QUOTE_EACH)}


def test_the_full_escrow_is_needed_even_where_a_better_price_would_do(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 1, 5)
    lots = QUOTE_EACH // (20 * TICK) + 1
    exchange.chain.fail(exchange.order("bob", BUY, 20, lots), RejectionReason.INSUFFICIENT_FUNDS)


def test_an_order_of_2_to_the_200_atoms_overflows(exchange: Exchange) -> None:
    lots, atoms = 2**20, 2**180
    exchange.create_market(lot=atoms, tick=1, minimum_lots=1)
    exchange.create_market(lot=1, tick=atoms, minimum_lots=1)
    for market, price in ((2, 1), (3, atoms)):
        for side in Side:
            at_bound = exchange.order("alice", side, 0, lots, price=price, market=market)
            assert exchange.chain.fail(at_bound, RejectionReason.OUT_OF_RANGE).values["field"] == "lots"
    below = exchange.order("alice", BUY, 0, lots - 1, price=1, market=2)
    exchange.add(below)


def test_an_order_that_expires_with_this_block_is_in_time(exchange: Exchange) -> None:
    height = exchange.chain.head.height + 1
    late = exchange.order("alice", BUY, 20, 5, kind=GTH, expiry_height=height - 1)
    exchange.chain.fail(late, RejectionReason.EXPIRED_ON_ARRIVAL)
    exchange.place("alice", BUY, 20, 5, kind=GTH, expiry_height=height + 1)


def test_a_client_id_names_one_open_order_of_an_owner_and_market(exchange: Exchange) -> None:
    exchange.create_market()
    exchange.place("alice", BUY, 20, 5, client_id=7)
    duplicate = exchange.order("alice", SELL, 30, 5, client_id=7)
    exchange.chain.fail(duplicate, RejectionReason.DUPLICATE_CLIENT_ID)
    exchange.place("alice", BUY, 20, 5, client_id=7, market=2)
    exchange.place("bob", BUY, 20, 5, client_id=7)
    exchange.add(exchange.call("alice", calls.CANCEL_BY_CLIENT_ID, 1, 7))
    exchange.place("alice", BUY, 20, 5, client_id=7)
    exchange.place("alice", BUY, 20, 5)
    exchange.place("alice", BUY, 20, 5)


def test_open_orders_are_bounded_for_each_owner_and_market(exchange: Exchange) -> None:
    exchange.create_market()
    exchange.place_many("alice", BUY, 20, 2, MAX_OPEN_ORDERS)
    for kind in (OrderKind.GOOD_TILL_CANCELLED, POST_ONLY):
        one_more = exchange.order("alice", BUY, 20, 2, kind=kind)
        exchange.chain.fail(one_more, RejectionReason.TOO_MANY_OPEN_ORDERS)
    exchange.place("alice", BUY, 20, 2, kind=IOC)
    exchange.place("alice", BUY, 20, 2, market=2)
    exchange.add(exchange.call("alice", calls.CANCEL_ORDER, 1))
    exchange.place("alice", BUY, 20, 2)
    assert len(exchange.open_ids("alice")) == MAX_OPEN_ORDERS


def test_lots_at_one_price_never_pass_what_can_be_counted(exchange: Exchange) -> None:
    """2^15 of the largest orders would fill a level: here its record says so at once."""
    chain = exchange.chain
    exchange.create_market(lot=1, tick=1, minimum_lots=1)
    exchange.place("carol", BUY, 0, 5, price=1, market=2)
    key = state_key(Domain.LEVEL, (2).to_bytes(4, "big") + bytes((BUY,)) + (1).to_bytes(4, "big"))
    crowded = msgspec.structs.replace(Level.decode(chain.state.records[key]), open_lots=MAX_LEVEL_LOTS - 9)
    chain.state = chain.state.with_changes({key: crowded.encode()})

    chain.fail(exchange.order("alice", BUY, 0, 10, price=1, market=2), RejectionReason.LEVEL_FULL)
    chain.add(exchange.order("alice", BUY, 0, 9, price=1, market=2))
    assert Level.decode(chain.state.records[key]).open_lots == MAX_LEVEL_LOTS


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (MarketStatus.CANCEL_ONLY, RejectionReason.MARKET_CLOSING),
        (MarketStatus.HALTED, RejectionReason.MARKET_HALTED),
    ],
)
def test_a_market_that_is_not_open_takes_no_orders(
    exchange: Exchange, status: MarketStatus, reason: RejectionReason
) -> None:
    exchange.place("alice", BUY, 20, 5)
    exchange.govern(calls.SET_MARKET_STATUS, 1, status)
    exchange.chain.fail(exchange.order("bob", SELL, 20, 5), reason)
    exchange.add(exchange.call("alice", calls.CANCEL_ORDER, 1))
    assert exchange.holdings("alice") == {"alice": (0, 0)}


def test_a_halted_market_may_go_on(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, 5)
    exchange.govern(calls.SET_MARKET_STATUS, 1, MarketStatus.HALTED)
    exchange.govern(calls.SET_MARKET_STATUS, 1, MarketStatus.OPEN)
    assert trades(exchange, exchange.order("bob", SELL, 20, 5)) == [(1, 20, 5)]


def test_who_may_not_hold_an_asset_places_no_order(strict_exchange: Exchange) -> None:
    exchange = strict_exchange
    exchange.chain.add(exchange.by_issuer(calls.SET_FROZEN, "alice", True))
    for side in Side:
        exchange.chain.fail(exchange.order("alice", side, 20, 5), RejectionReason.ASSET_FROZEN)
    exchange.chain.add(exchange.by_issuer(calls.SET_AUTHORIZED, "bob", False))
    for side in Side:
        exchange.chain.fail(exchange.order("bob", side, 20, 5), RejectionReason.NOT_AUTHORIZED)


def test_several_blocks_of_one_owner_in_one_block_follow_one_another(exchange: Exchange) -> None:
    """Within a block each order sees what the one before has done."""
    outcome = exchange.add(
        exchange.order("alice", SELL, 20, 3),
        exchange.order("bob", BUY, 20, 2),
        exchange.order("bob", BUY, 20, 2, later=1),
        exchange.order("alice", SELL, 20, 2, later=1),
    )
    assert [result.status for result in outcome.results] == [1] * 4
    assert exchange.open_ids("alice") == [4]
    resting = exchange.resting(4)
    assert resting is not None
    assert resting.open_lots == 1
    assert exchange.open_ids("bob") == []


def test_an_asset_makes_its_holder_no_newcomer(exchange: Exchange) -> None:
    """Whoever sells all AIT for the quote asset can go on trading."""
    exchange.place("bob", BUY, 20, 100_000)
    exchange.place("alice", SELL, 20, 100 * ATOMS_PER_AIT // LOT)
    assert exchange.holds("alice", TOKEN) == 0
    exchange.place("alice", BUY, 19, 5)
    assert exchange.open_ids("alice") == [3]


def test_a_fee_is_burned_whatever_becomes_of_the_order(exchange: Exchange) -> None:
    exchange.chain.govern(GOVERNANCE, SET_PARAMETER.encode("base_fee_atoms", 1))
    order = exchange.order("alice", BUY, 20, 5, market=9, max_fee=1)
    exchange.chain.fail(order, RejectionReason.UNKNOWN_MARKET, fee=order.gas_used)
