"""`aitbc wallet market buy|sell`: an order in people's units, said in words before it is signed."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from chain.primitives.decimals import format_units
from chain.primitives.market import PLACE_ORDER, OrderKind, Side
from chain.primitives.market_units import MarketUnits
from chain.primitives.modules import MARKET
from wallet.assets import find_market, units_of
from wallet.commands.arguments import parse_argument
from wallet.commands.calling import Calling, Words, calls_chain
from wallet.market_events import read_placed
from wallet.terminal import CommandError, ExitCode

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.answers import TransactionView
    from chain.market_answers import MarketView

_MAX_UINT64: Final = 2**64 - 1


class Kind(StrEnum):
    """How long an order lasts, and whether it may take or rest."""

    GOOD_TILL_CANCELLED = "good-till-cancelled"
    GOOD_TILL_HEIGHT = "good-till-height"
    IMMEDIATE_OR_CANCEL = "immediate-or-cancel"
    FILL_OR_KILL = "fill-or-kill"
    POST_ONLY = "post-only"
    MARKET = "market"


_MEANINGS: Final = {
    Kind.GOOD_TILL_CANCELLED: "what does not trade at once rests until you cancel it",
    Kind.IMMEDIATE_OR_CANCEL: "what does not trade at once is cancelled",
    Kind.FILL_OR_KILL: "all of it trades at once, or nothing",
    Kind.POST_ONLY: "refused if it would trade at once; else it rests until you cancel it",
    Kind.MARKET: "trades at once at the best prices there are, none worse than this; the rest is cancelled",
}
_TAKES_ONLY: Final = (Kind.IMMEDIATE_OR_CANCEL, Kind.FILL_OR_KILL, Kind.MARKET)

MarketName = Annotated[
    str, typer.Argument(metavar="MARKET", help="Its number, or BASE/QUOTE if only one is called so.")
]
Quantity = Annotated[str, typer.Argument(help="Base units, such as 5 (AIT).")]
Price = Annotated[
    str, typer.Argument(help="Quote per base unit, such as 0.25 (DUSD per AIT): the worst that you accept.")
]
KindOption = Annotated[Kind, typer.Option("--kind", help="What shall happen to what does not trade at once.")]
ExpiryHeight = Annotated[
    int | None,
    typer.Option("--expiry-height", min=1, max=_MAX_UINT64, help="Last block of a good-till-height order."),
]
ClientId = Annotated[
    int | None, typer.Option("--client-id", min=1, max=_MAX_UINT64, help="Your own number, by which you can cancel it.")
]


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it will be placed."""

    market: int
    units: MarketUnits
    side: Side
    kind: Kind
    price: int
    lots: int
    expiry_height: int
    client_id: int

    @property
    def call_data(self) -> bytes:
        """Of placeOrder."""
        return PLACE_ORDER.encode(
            self.market,
            self.side,
            OrderKind[self.kind.name],
            self.price,
            self.lots,
            self.expiry_height,
            self.client_id,
        )


@calls_chain
def buy(
    market: MarketName,
    quantity: Quantity,
    price: Price,
    kind: KindOption = Kind.GOOD_TILL_CANCELLED,
    expiry_height: ExpiryHeight = None,
    client_id: ClientId = None,
    *,
    calling: Calling,
) -> None:
    """Buy at PRICE or less. What it may cost is set aside; what a better price spares comes back."""
    _place(Side.BUY, calling, market, (quantity, price), kind, expiry_height, client_id)


@calls_chain
def sell(
    market: MarketName,
    quantity: Quantity,
    price: Price,
    kind: KindOption = Kind.GOOD_TILL_CANCELLED,
    expiry_height: ExpiryHeight = None,
    client_id: ClientId = None,
    *,
    calling: Calling,
) -> None:
    """Sell at PRICE or more. QUANTITY is set aside until it is sold or cancelled."""
    _place(Side.SELL, calling, market, (quantity, price), kind, expiry_height, client_id)


def _place(
    side: Side,
    calling: Calling,
    market: str,
    said: tuple[str, str],
    kind: Kind,
    expiry_height: int | None,
    client_id: int | None,
) -> None:
    if expiry_height is not None and kind is Kind.GOOD_TILL_CANCELLED:
        kind = Kind.GOOD_TILL_HEIGHT
    if (expiry_height is None) == (kind is Kind.GOOD_TILL_HEIGHT):
        raise CommandError("--expiry-height and --kind good-till-height belong together", ExitCode.USAGE)
    with calling.session() as session:
        found = find_market(session.client, market)
        units = units_of(found)
        lots = parse_argument(lambda: units.parse_quantity(said[0]))
        is_buy = side is Side.BUY
        price = parse_argument(
            lambda: (
                units.parse_worst_price(said[1], is_buy=is_buy) if kind is Kind.MARKET else units.parse_price(said[1])
            )
        )
        order = _Order(
            market=found.market,
            units=units,
            side=side,
            kind=kind,
            price=price,
            lots=lots,
            expiry_height=expiry_height or 0,
            client_id=client_id or 0,
        )
        session.call(
            MARKET,
            order.call_data,
            words=_words(order, found),
            details=_details(order),
            read=lambda view: _read(order, view),
        )


def _words(order: _Order, market: "MarketView") -> Words:
    units, is_buy = order.units, order.side is Side.BUY
    bound = units.format_value(order.price * order.lots)
    quantity, each = units.format_lots(order.lots), f"{units.format_price(order.price)} {units.quote_symbol}"
    fee = f"less a fee of {_fee(order.kind, market)}"
    gives, gets = (f"at most {bound}", f"{quantity}, {fee}") if is_buy else (quantity, f"at least {bound}, {fee}")
    meaning = _MEANINGS.get(order.kind) or f"what does not trade at once rests, up to block {order.expiry_height}"
    return [
        ("order", f"{'buy' if is_buy else 'sell'} {order.lots} lots (= {quantity}) at {each} each"),
        ("gives", gives),
        ("receives", f"{gets}, if all of it trades"),
        ("kind", f"{order.kind}: {meaning}"),
        ("market", f"{market.market} {units.name} ({market.status})"),
        ("base", f"{market.base.symbol} {market.base.asset}"),
        ("quote", f"{market.quote.symbol} {market.quote.asset}"),
    ]


def _fee(kind: Kind, market: "MarketView") -> str:
    """Of what it receives: as a taker, who trades at once, or as a maker, who waited."""
    maker, taker = (f"{format_units(fee, 2)} %" for fee in (market.maker_fee, market.taker_fee))
    if kind in _TAKES_ONLY or maker == taker:
        return taker
    return maker if kind is Kind.POST_ONLY else f"{taker} (of what trades at once; {maker} of what trades later)"


def _details(order: _Order) -> dict[str, Any]:
    return {
        "market": order.market,
        "name": order.units.name,
        "side": order.side.name.lower(),
        "kind": order.kind.name.lower(),
        "price": order.units.format_price(order.price),
        "quantity": order.units.format_quantity(order.lots),
        "price_atoms_per_lot": str(order.price),
        "lots": str(order.lots),
        "most_value_atoms" if order.side is Side.BUY else "least_value_atoms": str(order.price * order.lots),
        "expiry_height": order.expiry_height,
        "client_id": str(order.client_id),
    }


def _read(order: _Order, view: "TransactionView") -> tuple[dict[str, Any], list[str]]:
    placed, units = read_placed(view), order.units
    if placed is None:
        return {}, []
    document = {
        "order_id": placed.order_id,
        "filled_lots": str(placed.filled_lots),
        "filled_value_atoms": str(placed.filled_value),
        "fee_atoms": str(placed.fee),
        "open_lots": str(placed.open_lots),
        "close_reason": placed.close_reason,
    }
    done = "bought" if order.side is Side.BUY else "sold"
    traded = f"{done} {units.format_lots(placed.filled_lots)} for {units.format_value(placed.filled_value)}"
    said = [traded] if placed.filled_lots else ["nothing traded yet" if placed.open_lots else "nothing traded"]
    if placed.open_lots:
        said.append(f"{units.format_lots(placed.open_lots)} rest in the book")
    elif placed.close_reason not in (None, "filled"):
        said.append(f"the rest was cancelled ({str(placed.close_reason).replace('_', ' ')})")
    return document, [f"order {placed.order_id}: {', '.join(said)}"]
