"""Amounts of a token with any number of decimals, as people write them, exactly: never rounded, never a float."""

import re
from fractions import Fraction
from typing import Final

from chain.primitives.rejection import Rejected, RejectionReason

_NUMBER: Final = re.compile(r"([0-9]{1,80})(?:\.([0-9]{1,80}))?(?:/([1-9][0-9]{0,79}))?")


def parse_number(text: str, field: str) -> Fraction:
    """`1.5`, or `1/3` for what no decimal number says; 0 or more. Raises Rejected that names `field`."""
    match = _NUMBER.fullmatch(text)
    if match is None or (match[2] and match[3]):
        raise Rejected(RejectionReason.MALFORMED, f"{field} must be a number such as 1.5", field=field)
    return Fraction(text)


def format_number(number: Fraction) -> str:
    """The decimal number without trailing zeros, or `1/3` where no decimal number is exact."""
    places, rest = 0, number.denominator
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest //= prime
            power += 1
        places = max(places, power)
    if rest != 1:
        return f"{number.numerator}/{number.denominator}"
    return format_units(int(number * 10**places), places)


def parse_units(text: str, decimals: int, field: str = "amount") -> int:
    """Atoms of `1.5`. Raises Rejected that names `field` for what is no number, or finer than an atom."""
    atoms = parse_number(text, field) * 10**decimals
    if atoms.denominator != 1:
        raise Rejected(RejectionReason.MALFORMED, f"{field} has more than {decimals} decimals", field=field)
    return int(atoms)


def format_units(atoms: int, decimals: int) -> str:
    """`1.5` of 1500000 atoms with 6 decimals: no trailing zeros."""
    sign, (whole, fraction) = "-" * (atoms < 0), divmod(abs(atoms), 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{sign}{whole}{'.' if digits else ''}{digits}"
