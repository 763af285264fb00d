"""Markets: what governance may create and change, and that nobody else may."""

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives import market as calls
from chain.primitives.market import MAX_FEE_BASIS_POINTS, MAX_LOTS, MarketStatus, Side, asset_address
from chain.primitives.modules import EXECUTE, GOVERNANCE, MARKET, PROPOSE, TOKEN
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import MAX_UINT256
from chain.rules.market.markets import MAX_ATOMS, find_market, market_count
from tests.chain.rules.market.conftest import LOT, TICK, Exchange


def refuse_decision(exchange: Exchange, call_data: bytes, reason: RejectionReason) -> None:
    """The proposal is made, and its execution fails."""
    chain, first = exchange.chain, exchange.chain.validators[0]
    proposal = chain.call(first, GOVERNANCE, PROPOSE, MARKET, call_data)
    execution = chain.call(first, GOVERNANCE, EXECUTE, chain.read().proposal_count() + 1, later=1)
    chain.fail(execution, reason, after=[proposal])


def test_a_market_is_created_open_under_the_next_number(exchange: Exchange) -> None:
    outcome = exchange.govern(calls.CREATE_MARKET, exchange.quote, TOKEN, 7, 3, 5, MAX_FEE_BASIS_POINTS, 0, 0)
    market = find_market(exchange.chain.read(), 2)
    assert market is not None
    assert (market.base, market.quote, market.lot, market.tick) == (exchange.quote, TOKEN, 7, 3)
    assert (market.minimum_lots, market.maker_fee, market.taker_fee) == (5, MAX_FEE_BASIS_POINTS, 0)
    assert (market.policy, market.status) == (0, MarketStatus.OPEN)
    assert market_count(exchange.chain.read()) == 2
    created, changed = outcome.results[-1].logs[:2]
    assert calls.MARKET_CREATED_EVENT.decode(created.topics, created.data) == {
        "market": 2,
        "base": exchange.quote,
        "quote": TOKEN,
        "lot": 7,
        "tick": 3,
    }
    assert calls.MARKET_CHANGED_EVENT.decode(changed.topics, changed.data) == {
        "market": 2,
        "status": 0,
        "makerFee": MAX_FEE_BASIS_POINTS,
        "takerFee": 0,
        "policy": 0,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base": asset_address(2)}, RejectionReason.UNKNOWN_ASSET),
        ({"quote": asset_address(0)}, RejectionReason.UNKNOWN_ASSET),
        ({"quote": MARKET}, RejectionReason.UNKNOWN_ASSET),
        ({"quote": TOKEN}, RejectionReason.INVALID_MARKET),
        ({"lot": 0}, RejectionReason.OUT_OF_RANGE),
        ({"tick": 0}, RejectionReason.OUT_OF_RANGE),
        ({"minimum_lots": 0}, RejectionReason.OUT_OF_RANGE),
        ({"minimum_lots": MAX_LOTS + 1}, RejectionReason.OUT_OF_RANGE),
        ({"lot": 2**200}, RejectionReason.OUT_OF_RANGE),
        ({"lot": MAX_UINT256}, RejectionReason.OUT_OF_RANGE),
        ({"lot": MAX_ATOMS // 2 + 1, "minimum_lots": 2}, RejectionReason.OUT_OF_RANGE),
        ({"tick": MAX_ATOMS // 2 + 1, "minimum_lots": 2}, RejectionReason.OUT_OF_RANGE),
        ({"maker_fee": MAX_FEE_BASIS_POINTS + 1}, RejectionReason.OUT_OF_RANGE),
        ({"taker_fee": MAX_FEE_BASIS_POINTS + 1}, RejectionReason.OUT_OF_RANGE),
        ({"policy": 1}, RejectionReason.UNKNOWN_POLICY),
    ],
    ids=str,
)
def test_an_impossible_market_is_refused(exchange: Exchange, changes: dict[str, Any], reason: RejectionReason) -> None:
    terms = {
        "base": TOKEN,
        "quote": exchange.quote,
        "lot": LOT,
        "tick": TICK,
        "minimum_lots": 1,
        "maker_fee": 0,
        "taker_fee": 0,
        "policy": 0,
    }
    refuse_decision(exchange, calls.CREATE_MARKET.encode(*{**terms, **changes}.values()), reason)
    assert market_count(exchange.chain.read()) == 1


def test_the_largest_lot_and_tick(exchange: Exchange) -> None:
    exchange.create_market(lot=MAX_ATOMS // 2, tick=MAX_ATOMS // 2, minimum_lots=2)
    assert market_count(exchange.chain.read()) == 2


def test_status_fees_and_policy_change_each_for_itself(exchange: Exchange) -> None:
    exchange.govern(calls.SET_MARKET_STATUS, 1, MarketStatus.HALTED)
    exchange.govern(calls.SET_MARKET_FEES, 1, 1, 2)
    market = find_market(exchange.chain.read(), 1)
    assert market is not None
    assert (market.status, market.maker_fee, market.taker_fee) == (MarketStatus.HALTED, 1, 2)
    assert (market.lot, market.tick) == (LOT, TICK)


def test_new_fees_hold_for_orders_that_rest(exchange: Exchange) -> None:
    exchange.place("alice", Side.SELL, 20, 2)
    exchange.govern(calls.SET_MARKET_FEES, 1, 0, 0)
    exchange.place("bob", Side.BUY, 20, 2)
    assert exchange.holdings("alice", "bob") == {
        "alice": (-2 * LOT, 2 * 20 * TICK),
        "bob": (2 * LOT, -2 * 20 * TICK),
    }


@pytest.mark.parametrize(
    ("call_data", "reason"),
    [
        (calls.SET_MARKET_STATUS.encode(2, 1), RejectionReason.UNKNOWN_MARKET),
        (calls.SET_MARKET_FEES.encode(2, 1, 1), RejectionReason.UNKNOWN_MARKET),
        (calls.SET_MARKET_POLICY.encode(2, 0), RejectionReason.UNKNOWN_MARKET),
        (calls.SET_MARKET_STATUS.encode(1, 3), RejectionReason.OUT_OF_RANGE),
        (calls.SET_MARKET_STATUS.encode(1, 0), RejectionReason.INVALID_CHANGE),
        (calls.SET_MARKET_FEES.encode(1, 1_001, 1), RejectionReason.OUT_OF_RANGE),
        (calls.SET_MARKET_FEES.encode(1, 1, 1_001), RejectionReason.OUT_OF_RANGE),
        (calls.SET_MARKET_POLICY.encode(1, 1), RejectionReason.UNKNOWN_POLICY),
    ],
)
def test_an_impossible_change_is_refused(exchange: Exchange, call_data: bytes, reason: RejectionReason) -> None:
    refuse_decision(exchange, call_data, reason)


@pytest.mark.parametrize("status", list(MarketStatus))
def test_a_market_that_closes_never_opens_again(exchange: Exchange, status: MarketStatus) -> None:
    exchange.govern(calls.SET_MARKET_STATUS, 1, MarketStatus.CANCEL_ONLY)
    refuse_decision(exchange, calls.SET_MARKET_STATUS.encode(1, status), RejectionReason.INVALID_CHANGE)


def test_nobody_governs_by_a_plain_call(exchange: Exchange) -> None:
    arguments: dict[Any, tuple[Any, ...]] = {
        calls.CREATE_MARKET: (TOKEN, exchange.quote, 1, 1, 1, 0, 0, 0),
        calls.SET_MARKET_STATUS: (1, 1),
        calls.SET_MARKET_FEES: (1, 0, 0),
        calls.SET_MARKET_POLICY: (1, 0),
    }
    for function, values in arguments.items():
        exchange.chain.fail(exchange.call("alice", function, *values), RejectionReason.NOT_GOVERNANCE)
