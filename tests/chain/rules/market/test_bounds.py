"""What one transaction may meet and close, what an account and a block may, and what failing over and over costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives import market as calls
from chain.primitives.market import CloseReason, OrderKind, Side
from chain.primitives.rejection import RejectionReason
from chain.rules.market.closing import MAX_CANCELLED, MAX_SWEPT
from chain.rules.market.matching import MAX_STEPS
from tests.chain.rules.market.conftest import QUOTE_EACH, Exchange
from tests.chain.rules.market.test_orders import closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import MakeChain

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK, POST_ONLY = OrderKind.IMMEDIATE_OR_CANCEL, OrderKind.FILL_OR_KILL, OrderKind.POST_ONLY
LEAST = 32
"""The lowest bound on recoveries that governance can set."""


# One transaction


def test_an_order_that_meets_the_bound_cancels_its_rest(exchange: Exchange) -> None:
    first = exchange.place_many("alice", SELL, 20, 2, MAX_STEPS + 1)
    outcome = exchange.add(exchange.order("bob", BUY, 20, 2 * MAX_STEPS + 4))
    assert exchange.events(outcome)[-1] == closed(first + MAX_STEPS + 1, "bob", CloseReason.FILL_BOUND, 4)
    assert exchange.open_ids("alice") == [first + MAX_STEPS]
    assert exchange.open_ids("bob") == []
    assert exchange.holds("bob", exchange.quote) == QUOTE_EACH - 2 * MAX_STEPS * 200


@pytest.mark.parametrize("kind", [IOC, OrderKind.MARKET])
def test_an_order_that_takes_only_hears_that_there_was_more(exchange: Exchange, kind: OrderKind) -> None:
    exchange.place_many("alice", SELL, 20, 2, MAX_STEPS + 1)
    outcome = exchange.add(exchange.order("bob", BUY, 20, 2 * MAX_STEPS + 4, kind=kind))
    assert exchange.events(outcome)[-1][4:] == (CloseReason.FILL_BOUND, 4)
    outcome = exchange.add(exchange.order("bob", BUY, 20, 4, kind=kind))
    assert exchange.events(outcome)[-1][4:] == (CloseReason.REST_CANCELLED, 2)


def test_at_the_bound_with_nothing_beyond_it_the_rest_rests(exchange: Exchange) -> None:
    first = exchange.place_many("alice", SELL, 20, 2, MAX_STEPS)
    exchange.place("alice", SELL, 21, 2)
    exchange.place("bob", BUY, 20, 2 * MAX_STEPS + 4)
    assert exchange.open_ids("bob") == [first + MAX_STEPS + 1]


def test_exactly_the_bound_fills(exchange: Exchange) -> None:
    exchange.place_many("alice", SELL, 20, 2, MAX_STEPS + 1)
    exchange.chain.fail(exchange.order("bob", BUY, 20, 2 * MAX_STEPS + 1, kind=FOK), RejectionReason.WOULD_NOT_FILL)
    outcome = exchange.add(exchange.order("bob", BUY, 20, 2 * MAX_STEPS, kind=FOK))
    assert exchange.events(outcome)[-1][4] == CloseReason.FILLED


def test_removed_orders_count_as_steps(exchange: Exchange) -> None:
    first = exchange.place_many("bob", SELL, 20, 2, MAX_STEPS)
    exchange.place("alice", SELL, 20, 2)
    outcome = exchange.add(exchange.order("bob", BUY, 20, 2, kind=POST_ONLY))
    assert exchange.events(outcome)[-1] == closed(first + MAX_STEPS + 1, "bob", CloseReason.FILL_BOUND, 2)
    assert exchange.open_ids("bob") == []
    exchange.chain.fail(exchange.order("bob", BUY, 20, 2, kind=POST_ONLY), RejectionReason.WOULD_TAKE)


# A block, and an account in it


def fill_or_kill(exchange: Exchange) -> Transaction:
    """Meets 20 orders, in vain."""
    return exchange.order("bob", BUY, 20, 41, kind=FOK)


def take(exchange: Exchange) -> Transaction:
    """Trades with 20 orders."""
    return exchange.order("bob", BUY, 20, 40, kind=IOC)


def post_only(exchange: Exchange) -> Transaction:
    """Meets 19 orders of its own and then another's, in vain."""
    return exchange.order("alice", BUY, 21, 4, kind=POST_ONLY)


def cancel_all(exchange: Exchange) -> Transaction:
    """Closes 20 orders."""
    return exchange.call("alice", calls.CANCEL_ALL, 1, MAX_CANCELLED)


def sweep_what_is_gone(exchange: Exchange) -> Transaction:
    """Names 20 orders that there are not."""
    return exchange.call("bob", calls.SWEEP_EXPIRED, [*range(900, 920), *range(900, 920)])


@pytest.mark.parametrize("call", [fill_or_kill, take, cancel_all, sweep_what_is_gone])
def test_every_further_order_counts_in_a_block_as_a_signature_does(
    make_chain: MakeChain, call: Callable[[Exchange], Transaction]
) -> None:
    exchange = Exchange(make_chain(max_block_recoveries=LEAST))
    exchange.place_many("alice", SELL, 20, 2, 20)
    big = call(exchange)
    # 20 orders count as 20 recoveries, the transaction's own signature included: 12 more are left of 32.
    others = [exchange.chain.transfer("carol", "dave", 1, later=later) for later in range(LEAST - 20 + 1)]
    exchange.chain.refuse(others[-1], RejectionReason.BLOCK_FULL, after=[big, *others[:-1]])


def test_a_refused_post_only_order_has_met_what_it_met(make_chain: MakeChain) -> None:
    exchange = Exchange(make_chain(max_block_recoveries=LEAST))
    exchange.place_many("alice", SELL, 20, 2, 19)
    exchange.place("bob", SELL, 21, 2)
    others = [exchange.chain.transfer("carol", "dave", 1, later=later) for later in range(LEAST - 20 + 1)]
    exchange.chain.refuse(others[-1], RejectionReason.BLOCK_FULL, after=[post_only(exchange), *others[:-1]])


def test_the_last_transaction_may_pass_the_bound_and_nothing_follows(make_chain: MakeChain) -> None:
    """Or a call that meets many orders could be in no block at all."""
    exchange = Exchange(make_chain(max_block_recoveries=LEAST))
    for _ in range(3):
        exchange.place_many("alice", SELL, 20, 2, 30)
    big = exchange.order("bob", BUY, 20, 2 * MAX_STEPS)
    exchange.chain.refuse(exchange.chain.transfer("carol", "dave", 1), RejectionReason.BLOCK_FULL, after=[big])
    exchange.add(big)


def test_orders_that_an_account_meets_count_towards_its_quota(make_chain: MakeChain) -> None:
    """Else one account, failing over and over, could take a whole block for itself."""
    exchange = Exchange(make_chain(account_quota=100))
    exchange.place_many("alice", SELL, 20, 2, 40)
    failing = [exchange.order("bob", BUY, 20, 200, kind=FOK, later=later) for later in range(4)]
    exchange.chain.refuse(failing[3], RejectionReason.ACCOUNT_QUOTA, after=failing[:3])
    exchange.add(exchange.order("carol", BUY, 20, 80))


def test_one_order_costs_no_more_than_any_other_transaction(make_chain: MakeChain) -> None:
    exchange = Exchange(make_chain(max_block_recoveries=LEAST))
    exchange.place_many("alice", SELL, 20, 2, LEAST)
    exchange.place_many("bob", BUY, 20, 2, LEAST)
    first = exchange.place_many("alice", SELL, 20, 2, LEAST)
    exchange.add(*(exchange.call("alice", calls.CANCEL_ORDER, first + index, later=index) for index in range(LEAST)))


def test_a_sweep_looks_at_each_order_once(exchange: Exchange) -> None:
    exchange.add(exchange.call("carol", calls.SWEEP_EXPIRED, [1] * MAX_SWEPT))
    exchange.chain.fail(exchange.call("carol", calls.SWEEP_EXPIRED, [1] * (MAX_SWEPT + 1)), RejectionReason.TOO_LARGE)
