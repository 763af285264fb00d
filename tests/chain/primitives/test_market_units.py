"""Prices and quantities: what a person says becomes exactly that many ticks and lots, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.market import MAX_LOTS, MAX_PRICE_TICKS
from chain.primitives.market_units import MarketUnits
from chain.primitives.rejection import Rejected


def units(**fields: int) -> MarketUnits:
    """AIT against something with 6 decimals: lots of 0.01 AIT, steps of 0.0005 DUSD per AIT."""
    values = {"base_decimals": 18, "quote_decimals": 6, "lot": 10**16, "tick": 5, "minimum_lots": 10} | fields
    return MarketUnits(base_symbol="AIT", quote_symbol="DUSD", **values)


def test_a_worked_example() -> None:
    market = units()
    assert (market.name, market.format_price(market.tick), market.format_lots(1)) == ("AIT/DUSD", "0.0005", "0.01 AIT")
    assert market.parse_price("0.25") == 2_500  # Quote atoms for 0.01 AIT.
    assert market.parse_quantity("5") == 500
    assert market.format_value(2_500 * 500) == "1.25 DUSD"


@given(
    lot=st.integers(1, 10**24),
    tick=st.integers(1, 10**12),
    base=st.integers(0, 36),
    quote=st.integers(0, 36),
    ticks=st.integers(1, MAX_PRICE_TICKS),
    lots=st.integers(1, MAX_LOTS),
)
def test_what_is_shown_is_read_back(lot: int, tick: int, base: int, quote: int, ticks: int, lots: int) -> None:
    market = units(lot=lot, tick=tick, base_decimals=base, quote_decimals=quote, minimum_lots=1)
    assert market.parse_price(market.format_price(ticks * tick)) == ticks * tick
    assert market.parse_worst_price(market.format_price(ticks * tick), is_buy=True) == ticks * tick
    assert market.parse_quantity(market.format_quantity(lots)) == lots


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("0.2501", "nearest: 0.25 and 0.2505"),
        ("0", "nearest: 0.0005"),
        ("0.0004", "nearest: 0.0005"),
        ("1e3", "number such as"),
        ("-1", "number such as"),
        ("9" * 60, f"nearest: {units().format_price(MAX_PRICE_TICKS * 5)}"),
    ],
)
def test_a_price_between_two_ticks_is_refused_with_both(text: str, near: str) -> None:
    with pytest.raises(Rejected, match=near.replace(".", r"\.") + ("$" if "nearest" in near else "")):
        units().parse_price(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("0.111", "nearest: 0.11 AIT and 0.12 AIT"),
        ("0.05", "nearest: 0.1 AIT"),
        ("0", "nearest: 0.1 AIT"),
        ("9" * 60, f"nearest: {units().format_lots(MAX_LOTS)}"),
    ],
)
def test_a_quantity_between_two_lots_is_refused_with_both(text: str, near: str) -> None:
    with pytest.raises(Rejected, match=near.replace(".", r"\.") + "$"):
        units().parse_quantity(text)


def test_a_bound_of_any_fineness_becomes_stricter() -> None:
    assert units().parse_worst_price("0.2503", is_buy=True) == 2_500
    assert units().parse_worst_price("0.2503", is_buy=False) == 2_505
    for text, is_buy in (("0.0004", True), ("0", False), ("9" * 60, True)):
        with pytest.raises(Rejected, match=r"must be 0\.0005 to"):
            units().parse_worst_price(text, is_buy=is_buy)


def test_a_price_that_no_decimal_number_says_is_a_fraction() -> None:
    market = units(lot=3 * 10**16, tick=1)
    assert market.format_price(1) == "1/30000"
    assert market.parse_price("1/30000") == 1
