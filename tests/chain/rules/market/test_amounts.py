"""What lots and prices come to."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.market import MAX_FEE_BASIS_POINTS, Side, asset_address
from chain.primitives.market_records import Market
from chain.primitives.modules import TOKEN
from chain.primitives.types import Amount
from chain.rules.market.amounts import TradeAmounts, escrowed, fee, offered_asset, trade_amounts, wanted_asset

MARKET = Market(
    base=TOKEN,
    quote=asset_address(1),
    lot=Amount(1_000),
    tick=Amount(7),
    minimum_lots=1,
    maker_fee=10,
    taker_fee=30,
    policy=0,
    status=0,
)


@pytest.mark.parametrize(
    ("received", "basis_points", "expected"),
    [(0, 10, 0), (1, 0, 0), (1, 1, 1), (10_000, 1, 1), (10_001, 1, 2), (9_999, 1, 1), (1, MAX_FEE_BASIS_POINTS, 1)],
)
def test_fees_round_up(received: int, basis_points: int, expected: int) -> None:
    assert fee(received, basis_points) == expected


@given(received=st.integers(0, 2**200), basis_points=st.integers(0, MAX_FEE_BASIS_POINTS))
def test_a_fee_is_the_smallest_integer_that_is_enough(received: int, basis_points: int) -> None:
    assert fee(received, basis_points) == ceil(Fraction(received * basis_points, 10_000)) <= received


def test_a_buyer_offers_quote_and_a_seller_base() -> None:
    assert (offered_asset(MARKET, Side.BUY), wanted_asset(MARKET, Side.BUY)) == (MARKET.quote, TOKEN)
    assert (offered_asset(MARKET, Side.SELL), wanted_asset(MARKET, Side.SELL)) == (TOKEN, MARKET.quote)
    assert escrowed(MARKET, Side.BUY, 20, 3) == 3 * 20 * 7
    assert escrowed(MARKET, Side.SELL, 20, 3) == 3 * 1_000


def test_both_sides_of_a_trade() -> None:
    assert trade_amounts(MARKET, Side.BUY, 20, 3) == TradeAmounts(420, 1, 3_000, 9)
    assert trade_amounts(MARKET, Side.SELL, 20, 3) == TradeAmounts(3_000, 3, 420, 2)


@given(ticks=st.integers(1, 2**32 - 1), lots=st.integers(2, 2**48 - 1))
def test_value_is_exact_however_an_order_is_split(ticks: int, lots: int) -> None:
    for side in Side:
        parts = escrowed(MARKET, side, ticks, 1) + escrowed(MARKET, side, ticks, lots - 1)
        assert parts == escrowed(MARKET, side, ticks, lots)
