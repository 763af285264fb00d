"""Units of work: integers of millionths inside, a JSON number with at most 6 decimals outside."""

from decimal import Decimal
from typing import Final

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import MAX_UINT256, Amount

MICRO: Final = 10**6
_MICRO_UNIT: Final = Decimal(1) / MICRO
MAX_MICRO_UNITS: Final = 10**15  # A thousand million units: below 2^53, so every JSON reader holds it exactly.


def number_of_units(micro_units: int) -> int | float:
    """The JSON number; RFC 8785 writes it with at most 6 decimals."""
    return micro_units // MICRO if micro_units % MICRO == 0 else micro_units / MICRO


def parse_units(units: object, field: str = "units") -> int:
    """Millionths from a JSON number (int, float or Decimal) with at most 6 decimals; raises Rejected."""
    if isinstance(units, bool) or not isinstance(units, (int, float, Decimal)):
        raise Rejected(RejectionReason.MALFORMED, f"{field} must be a number", field=field)
    number = Decimal(repr(units)) if isinstance(units, float) else Decimal(units)
    if not number.is_finite() or not 0 <= number <= MAX_MICRO_UNITS // MICRO:
        raise _invalid(field, f"must be from 0 to {MAX_MICRO_UNITS // MICRO}")
    if 0 < number < _MICRO_UNIT:  # Before the exponent, which may be astronomical, becomes a denominator.
        raise _invalid(field, "must have at most 6 decimals")
    numerator, denominator = number.as_integer_ratio()
    micro_units, remainder = divmod(numerator * MICRO, denominator)
    if remainder:
        raise _invalid(field, "must have at most 6 decimals")
    return micro_units


def compute_amount(micro_units: int, price_per_unit: int) -> Amount:
    """Atoms for this many millionths of a unit at a price in atoms per unit, rounded down; Rejected above 2^256."""
    amount = micro_units * price_per_unit // MICRO
    if amount > MAX_UINT256:
        raise _invalid("amount", "must be below 2^256")
    return Amount(amount)


def most_micro_units(price_per_unit: int, max_amount: int) -> int | None:
    """The most millionths whose amount is not above `max_amount` atoms; None where the price is 0."""
    if price_per_unit == 0:
        return None
    return ((max_amount + 1) * MICRO - 1) // price_per_unit


def _invalid(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_RECEIPT, f"{field} {requirement}", field=field)
