"""A market's prices and quantities as people say them, and as the chain counts them.

People say quote per base unit and base units; the chain counts quote atoms per lot, in ticks, and lots. One becomes the
other exactly or is refused: a wallet never rounds what its user typed.
"""

from fractions import Fraction

import msgspec

from chain.primitives.decimals import format_number, format_units, parse_number
from chain.primitives.market import MAX_LOTS, MAX_PRICE_TICKS
from chain.primitives.rejection import Rejected, RejectionReason


class MarketUnits(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to convert; `lot` in base atoms, `tick` in quote atoms per lot."""

    base_symbol: str
    base_decimals: int
    quote_symbol: str
    quote_decimals: int
    lot: int
    tick: int
    minimum_lots: int = 1

    @property
    def name(self) -> str:
        """`AIT/DUSD`"""
        return f"{self.base_symbol}/{self.quote_symbol}"

    @property
    def price_step(self) -> Fraction:
        """Quote per base unit that one tick makes."""
        return self.price_of(self.tick)

    @property
    def _atoms_per_lot(self) -> Fraction:
        """Quote atoms per lot at a price of 1 quote per base unit."""
        return Fraction(self.lot * 10**self.quote_decimals, 10**self.base_decimals)

    def parse_price(self, text: str, field: str = "price") -> int:
        """Quote atoms per lot of a price in quote per base unit. Raises Rejected, naming the nearest valid prices."""
        ticks = self._ticks(text, field)
        if ticks.denominator != 1 or not 1 <= ticks <= MAX_PRICE_TICKS:
            lower = min(int(ticks), MAX_PRICE_TICKS)
            near = [each for each in (lower, lower + 1) if 1 <= each <= MAX_PRICE_TICKS]
            named = " and ".join(format_number(self.price_of(each * self.tick)) for each in near)
            raise Rejected(
                RejectionReason.OFF_TICK,
                f"{field} {text} is not a multiple of {format_number(self.price_step)} {self.quote_symbol} per "
                f"{self.base_symbol} within the market's bounds; nearest: {named}",
                field=field,
            )
        return int(ticks) * self.tick

    def parse_worst_price(self, text: str, *, is_buy: bool, field: str = "price") -> int:
        """The same for a bound of any fineness: what is not a multiple of the tick is made stricter, never laxer."""
        ticks = self._ticks(text, field)
        strict = int(ticks) if is_buy else -int(-ticks // 1)
        if not 1 <= strict <= MAX_PRICE_TICKS:
            raise Rejected(
                RejectionReason.OFF_TICK,
                f"{field} must be {format_number(self.price_step)} to "
                f"{format_number(MAX_PRICE_TICKS * self.price_step)} {self.quote_symbol} per {self.base_symbol}",
                field=field,
            )
        return strict * self.tick

    def _ticks(self, text: str, field: str) -> Fraction:
        return parse_number(text, field) * self._atoms_per_lot / self.tick

    def parse_quantity(self, text: str, field: str = "quantity") -> int:
        """Lots of a quantity in base units. Raises Rejected, naming the nearest valid quantities."""
        lots = parse_number(text, field) * 10**self.base_decimals / self.lot
        low = max(1, self.minimum_lots)
        if lots.denominator != 1 or not low <= lots <= MAX_LOTS:
            below = min(max(int(lots), low - 1), MAX_LOTS)
            near = [each for each in (below, below + 1) if low <= each <= MAX_LOTS]
            raise Rejected(
                RejectionReason.BELOW_MINIMUM_LOTS if lots < low else RejectionReason.OUT_OF_RANGE,
                f"{field} {text} is not a whole number of lots of {self.format_lots(1)}, at least {low}; nearest: "
                + " and ".join(self.format_lots(each) for each in near),
                field=field,
            )
        return int(lots)

    def price_of(self, per_lot: int) -> Fraction:
        """Quote per base unit of quote atoms per lot."""
        return per_lot / self._atoms_per_lot

    def format_price(self, per_lot: int) -> str:
        """`0.25`: quote per base unit."""
        return format_number(self.price_of(per_lot))

    def format_quantity(self, lots: int) -> str:
        """`5`: base units."""
        return format_units(lots * self.lot, self.base_decimals)

    def format_lots(self, lots: int) -> str:
        """`5 AIT`"""
        return f"{self.format_quantity(lots)} {self.base_symbol}"

    def format_value(self, atoms: int) -> str:
        """`1.25 DUSD`, of quote atoms."""
        return f"{format_units(atoms, self.quote_decimals)} {self.quote_symbol}"
