"""Amounts as people write them: exact both ways, or refused."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.decimals import format_number, format_units, parse_number, parse_units
from chain.primitives.rejection import Rejected


@given(st.integers(0, 2**256 - 1), st.integers(0, 36))
def test_what_is_shown_is_read_back(atoms: int, decimals: int) -> None:
    assert parse_units(format_units(atoms, decimals), decimals) == atoms


@given(st.fractions(min_value=0, max_denominator=10**9))
def test_any_price_is_shown_exactly(number: Fraction) -> None:
    assert parse_number(format_number(number), "price") == number


@pytest.mark.parametrize(
    ("atoms", "decimals", "text"),
    [(0, 6, "0"), (1, 6, "0.000001"), (1_500_000, 6, "1.5"), (7, 0, "7"), (10**36, 36, "1"), (-5, 1, "-0.5")],
)
def test_amounts_are_shown_without_zeros(atoms: int, decimals: int, text: str) -> None:
    assert format_units(atoms, decimals) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e5",
        " 1",
        "1 ",
        "1_0",
        "0x1",
        "1/0",
        "1.5/2",
        "\u0661",
        "9" * 81,
        "nan",
        "1\n",
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"^amount must be a number such as 1\.5"):
        parse_number(text, "amount")


def test_what_is_finer_than_an_atom_is_refused() -> None:
    with pytest.raises(Rejected, match="more than 6 decimals"):
        parse_units("0.0000001", 6)
