"""A market's numbers as people say them: quote per base unit, base units, times in UTC. For the templates."""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from chain.market_answers import LevelView, MarketView
from chain.primitives.decimals import format_number
from chain.primitives.market_units import MarketUnits

NOTHING: Final = "–"
NOTICES: Final = {
    "halted": "This market is halted: it takes no orders for now. Cancelling works as ever.",
    "cancel_only": "This market has closed for good: it takes no orders any more. Cancelling works as ever.",
}
"""What those who want to place an order are told, by the market's status."""


class BookRow(NamedTuple):
    """One price of the book; `total` is all that is to be had up to it."""

    price: str
    quantity: str
    total: str
    order_count: int


class Showing:
    """How numbers of one market are written, with as many places as its tick and its lot have."""

    def __init__(self, market: MarketView) -> None:
        self.units = MarketUnits(
            base_symbol=market.base.symbol,
            base_decimals=market.base.decimals,
            quote_symbol=market.quote.symbol,
            quote_decimals=market.quote.decimals,
            lot=market.lot,
            tick=market.tick,
            minimum_lots=market.minimum_lots,
        )
        self._price_places = _places(format_number(self.units.price_step))
        self._quantity_places = _places(self.units.format_quantity(1))

    @property
    def price_step(self) -> str:
        """Of one tick."""
        return format_number(self.units.price_step)

    def price(self, per_lot: int | None) -> str:
        """`0.2500`, of quote atoms per lot."""
        return NOTHING if per_lot is None else _padded(self.units.format_price(per_lot), self._price_places)

    def change(self, per_lot: str | None) -> str:
        """`+0.0100`; a proper minus sign."""
        if per_lot is None:
            return NOTHING
        number = int(per_lot)
        sign = "+" if number > 0 else "−" if number < 0 else ""
        return sign + self.price(abs(number))

    def spread(self, bid: int | None, ask: int | None) -> str:
        """Between the best prices; a book that is not crossed has it above zero."""
        return NOTHING if bid is None or ask is None else self.price(ask - bid)

    def quantity(self, lots: int) -> str:
        """`5.00`, base units."""
        return _padded(self.units.format_quantity(lots), self._quantity_places)

    def rows(self, levels: list[LevelView]) -> list[BookRow]:
        """One side of the book, best first."""
        rows: list[BookRow] = []
        total = 0
        for level in levels:
            total += level.lots
            rows.append(
                BookRow(self.price(level.price), self.quantity(level.lots), self.quantity(total), level.order_count)
            )
        return rows


def time_text(time_ms: int) -> str:
    """`22 Nov 23:10:13`, UTC; which year it was, the API tells."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%d %b %H:%M:%S")


def words(name: str) -> str:
    """`post only` of `post_only`."""
    return name.replace("_", " ")


def basis_points(number: int) -> str:
    """`0.25 %`"""
    whole, hundredths = divmod(number, 100)
    text = f"{whole}.{hundredths:02d}".rstrip("0").rstrip(".")
    return f"{text} %"


def _places(number: str) -> int:
    """Digits behind the point; 0 for what is no decimal number."""
    return len(number.partition(".")[2])


def _padded(number: str, places: int) -> str:
    """With zeros behind, so that points stand below each other in a column."""
    if places == 0 or "/" in number:
        return number
    whole, _, fraction = number.partition(".")
    return f"{whole}.{fraction:0<{places}}"
