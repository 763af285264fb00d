"""Units of work: exact in every number type, and amounts rounded down."""

import time
from collections.abc import Callable
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.rejection import RejectionReason
from chain.primitives.types import MAX_UINT256
from chain.primitives.units import MAX_MICRO_UNITS, compute_amount, most_micro_units, parse_units

ReasonOf = Callable[..., RejectionReason | None]


@settings(max_examples=300)
@given(st.integers(0, MAX_MICRO_UNITS))
def test_units_are_exact_in_every_number_type(micro_units: int) -> None:
    decimal = Decimal(micro_units).scaleb(-6)
    assert parse_units(decimal) == micro_units
    assert parse_units(micro_units / 10**6) == micro_units
    assert parse_units(micro_units // 10**6) == micro_units // 10**6 * 10**6


@settings(max_examples=200)
@given(st.integers(0, MAX_MICRO_UNITS), st.integers(0, MAX_UINT256 // MAX_MICRO_UNITS))
def test_amounts_are_rounded_down(micro_units: int, price: int) -> None:
    amount = compute_amount(micro_units, price)
    assert amount * 10**6 <= micro_units * price < (amount + 1) * 10**6


def test_a_huge_exponent_does_not_hang(reason_of: ReasonOf) -> None:
    started = time.process_time()
    for text in ("1e-999999999", "1e999999999", "-1e-999999999", "sNaN", "NaN", "Infinity", "1e-7", "1000000001"):
        assert reason_of(parse_units, Decimal(text)) is RejectionReason.INVALID_RECEIPT
    assert parse_units(Decimal("0e-999999999")) == parse_units(Decimal("0e999999999")) == 0
    assert time.process_time() - started < 1
    for wrong in (True, None, "1", b"1", [1], 1j):
        assert reason_of(parse_units, wrong) is RejectionReason.MALFORMED


@settings(max_examples=300)
@given(st.integers(1, 10**30), st.integers(0, 10**40))
def test_most_micro_units_is_the_last_that_the_maximum_pays_for(price: int, max_amount: int) -> None:
    most = most_micro_units(price, max_amount)
    assert most is not None
    assert most * price // 10**6 <= max_amount < (most + 1) * price // 10**6


def test_what_costs_nothing_has_no_bound() -> None:
    assert most_micro_units(0, 0) is None
    assert most_micro_units(10**18, 0) == 0
    assert most_micro_units(10**6, 0) == 0
    assert most_micro_units(10**5, 0) == 9  # 0.9 atoms are rounded down to none.
