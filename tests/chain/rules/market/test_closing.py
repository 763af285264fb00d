"""Cancelling always works, and never for others; sweeping and an issuer's cancelling take exactly what they may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives import market as calls
from chain.primitives import modules
from chain.primitives.market import CloseReason, MarketStatus, OrderKind, Side, asset_address
from chain.primitives.modules import GOVERNANCE, MARKET, TOKEN
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ATOMS_PER_AIT
from chain.rules.market.closing import MAX_CANCELLED, MAX_SWEPT
from chain.rules.simulation import simulate_call
from tests.chain.rules.market.auditing import BOOK_DOMAINS
from tests.chain.rules.market.conftest import LOT, QUOTE_EACH, TICK, Exchange
from tests.chain.rules.market.test_orders import closed, define_policy, grant

if TYPE_CHECKING:
    from chain.primitives.abi import Function

BUY, SELL = Side.BUY, Side.SELL
GTH = OrderKind.GOOD_TILL_HEIGHT


def answer(exchange: Exchange, sender: str, function: Function, *arguments: object) -> int:
    """What a call would return."""
    chain = exchange.chain
    call_data = function.encode(*arguments)
    simulated = simulate_call(chain.state, chain.next_block, sender=chain.address(sender), to=MARKET, data=call_data)
    (value,) = function.decode_output(simulated.output)
    assert isinstance(value, int)
    return value


def assert_no_book(exchange: Exchange) -> None:
    """Nothing is left of any order."""
    assert [key for key in exchange.chain.state.records if key[0] in BOOK_DOMAINS] == []


def test_cancelling_gives_everything_back(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, 5)
    exchange.place("bob", SELL, 21, 5)
    outcome = exchange.add(exchange.call("alice", calls.CANCEL_ORDER, 1))
    assert exchange.events(outcome) == [closed(1, "alice", CloseReason.CANCELLED, 5)]
    exchange.add(exchange.call("bob", calls.CANCEL_ORDER, 2))
    assert exchange.holdings("alice", "bob", MARKET) == {"alice": (0, 0), "bob": (0, 0), MARKET: (0, 0)}
    assert_no_book(exchange)


def test_cancelling_a_part_that_is_left(exchange: Exchange) -> None:
    exchange.place("alice", SELL, 20, 5)
    exchange.place("bob", BUY, 20, 2)
    outcome = exchange.add(exchange.call("alice", calls.CANCEL_ORDER, 1))
    assert exchange.events(outcome) == [closed(1, "alice", CloseReason.CANCELLED, 3)]
    assert exchange.holds("alice", TOKEN) == 100 * ATOMS_PER_AIT - 2 * LOT


def test_nobody_cancels_anothers_order(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, 5, client_id=4)
    chain = exchange.chain
    chain.fail(exchange.call("bob", calls.CANCEL_ORDER, 1), RejectionReason.NOT_YOUR_ORDER)
    chain.fail(exchange.call("bob", calls.CANCEL_BY_CLIENT_ID, 1, 4), RejectionReason.UNKNOWN_ORDER)
    exchange.add(exchange.call("bob", calls.CANCEL_ALL, 1, 10))
    assert exchange.open_ids("alice") == [1]


@pytest.mark.parametrize("order_id", [0, 2, 2**64 - 1])
def test_an_order_that_is_not_open_cannot_be_cancelled(exchange: Exchange, order_id: int) -> None:
    exchange.place("alice", BUY, 20, 5)
    exchange.chain.fail(exchange.call("alice", calls.CANCEL_ORDER, order_id), RejectionReason.UNKNOWN_ORDER)


def test_an_order_is_cancelled_once(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, 5)
    exchange.place("alice", BUY, 20, 5)
    exchange.add(exchange.call("alice", calls.CANCEL_ORDER, 1))
    exchange.chain.fail(exchange.call("alice", calls.CANCEL_ORDER, 1), RejectionReason.UNKNOWN_ORDER)


def test_cancelling_by_client_id(exchange: Exchange) -> None:
    exchange.place("alice", BUY, 20, 5)
    exchange.place("alice", BUY, 20, 5, client_id=4)
    chain = exchange.chain
    for market, client_id, reason in (
        (1, 0, RejectionReason.UNKNOWN_ORDER),
        (1, 5, RejectionReason.UNKNOWN_ORDER),
        (2, 4, RejectionReason.UNKNOWN_MARKET),
    ):
        chain.fail(exchange.call("alice", calls.CANCEL_BY_CLIENT_ID, market, client_id), reason)
    exchange.add(exchange.call("alice", calls.CANCEL_BY_CLIENT_ID, 1, 4))
    assert exchange.open_ids("alice") == [1]


def test_cancelling_all_takes_the_oldest_first(exchange: Exchange) -> None:
    exchange.create_market()
    first = exchange.place_many("alice", BUY, 20, 2, 5)
    exchange.place("bob", BUY, 20, 2)
    exchange.place("alice", BUY, 20, 2, market=2)
    assert answer(exchange, "alice", calls.CANCEL_ALL, 1, 3) == 3
    exchange.add(exchange.call("alice", calls.CANCEL_ALL, 1, 3))
    assert exchange.open_ids("alice") == [first + 3, first + 4]
    exchange.add(exchange.call("alice", calls.CANCEL_ALL, 1, MAX_CANCELLED))
    assert answer(exchange, "alice", calls.CANCEL_ALL, 1, 1) == 0
    exchange.add(exchange.call("alice", calls.CANCEL_ALL, 1, 1))
    assert (exchange.open_ids("bob"), exchange.open_ids("alice", 2)) == ([first + 5], [first + 6])


@pytest.mark.parametrize(
    ("market", "limit", "reason"),
    [
        (2, 1, RejectionReason.UNKNOWN_MARKET),
        (1, 0, RejectionReason.OUT_OF_RANGE),
        (1, MAX_CANCELLED + 1, RejectionReason.OUT_OF_RANGE),
    ],
)
def test_cancelling_all_is_bounded(exchange: Exchange, market: int, limit: int, reason: RejectionReason) -> None:
    exchange.chain.fail(exchange.call("alice", calls.CANCEL_ALL, market, limit), reason)


# Cancelling always works


@pytest.mark.parametrize("status", [MarketStatus.CANCEL_ONLY, MarketStatus.HALTED])
def test_whatever_the_markets_status(exchange: Exchange, status: MarketStatus) -> None:
    exchange.place_many("alice", BUY, 20, 2, 2)
    exchange.place("alice", BUY, 20, 2, client_id=1)
    exchange.govern(calls.SET_MARKET_STATUS, 1, status)
    exchange.add(
        exchange.call("alice", calls.CANCEL_ORDER, 1),
        exchange.call("alice", calls.CANCEL_BY_CLIENT_ID, 1, 1, later=1),
        exchange.call("alice", calls.CANCEL_ALL, 1, 10, later=2),
    )
    assert exchange.holdings("alice") == {"alice": (0, 0)}
    assert_no_book(exchange)


def test_for_frozen_and_unauthorised_owners_and_of_a_removed_issuer(strict_exchange: Exchange) -> None:
    exchange = strict_exchange
    exchange.place("alice", BUY, 20, 2)
    exchange.place("bob", SELL, 21, 2)
    exchange.chain.add(
        exchange.by_issuer(calls.SET_FROZEN, "alice", True),
        exchange.by_issuer(calls.SET_AUTHORIZED, "bob", False, later=1),
    )
    exchange.chain.govern(GOVERNANCE, modules.REMOVE_ISSUER.encode(exchange.chain.address("issuer")))
    exchange.add(exchange.call("alice", calls.CANCEL_ORDER, 1), exchange.call("bob", calls.CANCEL_ORDER, 2))
    assert exchange.holdings("alice", "bob") == {"alice": (0, 0), "bob": (0, 0)}


def test_for_an_owner_whose_credential_has_lapsed(exchange: Exchange) -> None:
    define_policy(exchange)
    lapses_at = exchange.chain.head.time_ms // 1000 + 4
    grant(exchange, "alice", expires_at=lapses_at)
    exchange.place("alice", BUY, 20, 2)
    while exchange.chain.next_block.time_ms // 1000 < lapses_at:
        exchange.pass_blocks(1)
    exchange.add(exchange.call("alice", calls.CANCEL_ORDER, 1))
    assert exchange.holdings("alice") == {"alice": (0, 0)}


def test_for_an_owner_that_has_put_everything_into_orders(exchange: Exchange) -> None:
    """Such an account holds nothing and is a newcomer, whose only way back is to cancel."""
    chain = exchange.chain
    chain.add(chain.call("alice", exchange.quote, modules.TOKEN_TRANSFER, chain.address("bob"), QUOTE_EACH))
    lots = 100 * ATOMS_PER_AIT // LOT // 4
    for client_id in (1, 2, 3, 4):
        exchange.place("alice", SELL, 20, lots, client_id=client_id)
    assert exchange.holds("alice", TOKEN) == 0
    chain.refuse(exchange.order("alice", SELL, 20, 2), RejectionReason.NEWCOMER_CALL)
    chain.refuse(exchange.call("alice", calls.CANCEL_ORDER, 5), RejectionReason.NEWCOMER_CALL)
    chain.refuse(exchange.call("alice", calls.SWEEP_EXPIRED, [1]), RejectionReason.NEWCOMER_CALL)
    chain.refuse(exchange.call("dave", calls.CANCEL_ORDER, 1), RejectionReason.NEWCOMER_CALL)
    chain.refuse(exchange.call("dave", calls.CANCEL_ALL, 1, 1), RejectionReason.NEWCOMER_CALL)
    cancels = [exchange.call("alice", calls.CANCEL_ORDER, 1, later=later) for later in range(2)]
    chain.refuse(cancels[1], RejectionReason.NEWCOMER_CALL, after=cancels[:1])  # Each order is a way in once.
    chain.refuse(exchange.call("alice", calls.CANCEL_ALL, 1, 0), RejectionReason.OUT_OF_RANGE)
    exchange.add(
        exchange.call("alice", calls.CANCEL_ORDER, 1),
        exchange.call("alice", calls.CANCEL_BY_CLIENT_ID, 1, 3, later=1),
        exchange.call("alice", calls.CANCEL_ALL, 1, 10, later=2),
    )
    assert exchange.holds("alice", TOKEN) == 100 * ATOMS_PER_AIT


# Sweeping


def test_anybody_sweeps_what_has_expired_and_nothing_else(exchange: Exchange) -> None:
    height = exchange.chain.head.height + 1
    exchange.place("alice", BUY, 20, 2, kind=GTH, expiry_height=height + 3)
    exchange.place("alice", SELL, 22, 2, kind=GTH, expiry_height=height + 3)
    exchange.place("alice", BUY, 20, 2, kind=GTH, expiry_height=height + 4)
    exchange.place("alice", BUY, 20, 2)
    ids = [4, 3, 2, 2, 1, 1, 0, 99]
    assert exchange.chain.head.height == height + 3
    assert answer(exchange, "carol", calls.SWEEP_EXPIRED, ids) == 2
    outcome = exchange.add(exchange.call("carol", calls.SWEEP_EXPIRED, ids))
    assert exchange.events(outcome) == [
        closed(2, "alice", CloseReason.EXPIRED, 2),
        closed(1, "alice", CloseReason.EXPIRED, 2),
    ]
    assert exchange.open_ids("alice") == [3, 4]
    outcome = exchange.add(exchange.call("carol", calls.SWEEP_EXPIRED, ids))
    assert exchange.events(outcome) == [closed(3, "alice", CloseReason.EXPIRED, 2)]
    exchange.add(exchange.call("carol", calls.SWEEP_EXPIRED, []))
    assert exchange.open_ids("alice") == [4]


def test_nothing_expires_at_its_last_height(exchange: Exchange) -> None:
    height = exchange.chain.head.height + 1
    exchange.place("alice", BUY, 20, 2, kind=GTH, expiry_height=height + 1)
    exchange.add(exchange.call("carol", calls.SWEEP_EXPIRED, [1]))
    assert exchange.open_ids("alice") == [1]
    exchange.add(exchange.call("carol", calls.SWEEP_EXPIRED, [1]))
    assert exchange.open_ids("alice") == []


# An issuer's cancelling


def test_an_issuer_cancels_the_orders_of_holders_that_it_froze(strict_exchange: Exchange) -> None:
    exchange = strict_exchange
    exchange.place("alice", BUY, 20, 2)
    exchange.place("alice", SELL, 22, 2)
    exchange.place("bob", BUY, 20, 2)
    exchange.chain.add(exchange.by_issuer(calls.SET_FROZEN, "alice", True))
    assert answer(exchange, "issuer", calls.CANCEL_FROZEN, exchange.quote, [1, 2, 3, 9, 1]) == 2
    outcome = exchange.add(exchange.by_issuer(calls.CANCEL_FROZEN, [1, 2, 3, 9, 1]))
    assert exchange.events(outcome) == [
        closed(1, "alice", CloseReason.ISSUER, 2),
        closed(2, "alice", CloseReason.ISSUER, 2),
    ]
    assert exchange.holdings("alice", "bob") == {"alice": (0, 0), "bob": (0, -2 * 20 * TICK)}
    assert exchange.open_ids("bob") == [3]


def test_an_issuer_cancels_nothing_of_markets_without_its_asset(strict_exchange: Exchange) -> None:
    exchange = strict_exchange
    exchange.chain.add(exchange.call("issuer", calls.ISSUE_ASSET, "Other", "OTHER", 6, 0, 7, b"\0" * 32))
    exchange.create_market(quote=asset_address(2))
    other = asset_address(2)
    exchange.chain.add(
        exchange.call("issuer", calls.SET_AUTHORIZED, other, "alice", True),
        exchange.call("issuer", calls.SET_FROZEN, exchange.quote, "alice", True, later=1),
    )
    exchange.place("alice", SELL, 20, 2, market=2)
    exchange.add(exchange.by_issuer(calls.CANCEL_FROZEN, [1]))
    exchange.add(exchange.call("issuer", calls.CANCEL_FROZEN, other, [1]))
    assert exchange.open_ids("alice", 2) == [1]


def test_only_a_present_issuer_with_that_power_cancels_for_others(strict_exchange: Exchange) -> None:
    exchange, chain = strict_exchange, strict_exchange.chain
    exchange.place("alice", BUY, 20, 2)
    chain.add(exchange.by_issuer(calls.SET_FROZEN, "alice", True))
    ids = [1] * (MAX_SWEPT + 1)
    chain.fail(exchange.by_issuer(calls.CANCEL_FROZEN, ids), RejectionReason.TOO_LARGE)
    by_bob = exchange.call("bob", calls.CANCEL_FROZEN, exchange.quote, [1])
    chain.fail(by_bob, RejectionReason.NOT_THE_ISSUER)
    of_nothing = exchange.call("issuer", calls.CANCEL_FROZEN, asset_address(7), [1])
    chain.fail(of_nothing, RejectionReason.UNKNOWN_ASSET)
    chain.fail(exchange.call("issuer", calls.CANCEL_FROZEN, TOKEN, [1]), RejectionReason.UNKNOWN_ASSET)
    weaker = chain.build(exchange.by_issuer(calls.WEAKEN_FLAGS, 0))
    chain.adopt(weaker)
    chain.fail(exchange.by_issuer(calls.CANCEL_FROZEN, [1]), RejectionReason.ASSET_POWER)
    chain.give("issuer")
    chain.govern(GOVERNANCE, modules.REMOVE_ISSUER.encode(chain.address("issuer")))
    chain.fail(exchange.by_issuer(calls.CANCEL_FROZEN, [1]), RejectionReason.NOT_AN_ISSUER)
    assert exchange.open_ids("alice") == [1]
