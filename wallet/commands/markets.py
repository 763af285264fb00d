"""`aitbc wallet market`: read markets, place and cancel orders, with prices and quantities as people say them."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chain.primitives.decimals import format_units
from chain.primitives.hexadecimal import parse_address
from chain.primitives.market import CANCEL_ALL, CANCEL_BY_CLIENT_ID, CANCEL_ORDER
from chain.primitives.modules import MARKET
from wallet.accounts import Accounts
from wallet.assets import all_markets, find_market, units_of
from wallet.commands.arguments import address_of
from wallet.commands.balances import NameOrAddress
from wallet.commands.calling import Calling, calls_chain
from wallet.commands.placing import MarketName, buy, sell
from wallet.market_events import read_closed
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, NodeUrl
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit
from wallet.times import format_time_ms

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.answers import TransactionView
    from chain.market_answers import LevelView, MarketView, OrderView
    from chain.primitives.market_units import MarketUnits

_MOST_CANCELLED: Final = 100

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)

Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="At most this many.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="next_cursor of the part before.")]


@app.callback()
def market() -> None:
    """Trade: read the book, place and cancel orders."""


app.command()(buy)
app.command()(sell)


@app.command("list")
def list_(home: Home, node_url: NodeUrl = None, chain_id: ChainId = None, as_json: AsJson = False) -> None:
    """All markets and their terms."""
    with open_node(node_url, home, chain_id) as (client, _):
        views = all_markets(client)
    rows = [["", "market", "status", "lot", "price step", "least order", "fees: maker", "taker", "policy"]]
    rows += [_market_row(view) for view in views]
    lines = columns(rows) if views else ["there is no market"]
    emit(as_json, {"markets": [_market_document(view) for view in views]}, lines)


def _market_row(view: "MarketView") -> list[str]:
    units = units_of(view)
    return [
        str(view.market),
        units.name,
        view.status,
        units.format_lots(1),
        f"{units.format_price(view.tick)} {units.quote_symbol}",
        units.format_lots(view.minimum_lots),
        f"{format_units(view.maker_fee, 2)} %",
        f"{format_units(view.taker_fee, 2)} %",
        str(view.policy or "-"),
    ]


def _market_document(view: "MarketView") -> dict[str, Any]:
    units = units_of(view)
    return {
        "market": view.market,
        "name": units.name,
        "base": {"asset": view.base.asset, "symbol": view.base.symbol, "decimals": view.base.decimals},
        "quote": {"asset": view.quote.asset, "symbol": view.quote.symbol, "decimals": view.quote.decimals},
        "status": view.status,
        "lot_atoms": str(view.lot),
        "tick_atoms": str(view.tick),
        "minimum_lots": str(view.minimum_lots),
        "lot": units.format_quantity(1),
        "price_step": units.format_price(view.tick),
        "maker_fee_basis_points": view.maker_fee,
        "taker_fee_basis_points": view.taker_fee,
        "policy": view.policy,
    }


@app.command()
def book(
    home: Home,
    market: MarketName,
    depth: Annotated[int, typer.Option("--depth", min=1, max=500, help="Prices on either side.")] = 10,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """What is offered and wanted, the dearest first; between both lies the spread."""
    with open_node(node_url, home, chain_id) as (client, _):
        found = find_market(client, market)
        view = client.market_book(found.market, depth=depth)
    units = units_of(found)
    rows = [["", f"price {units.quote_symbol}", f"quantity {units.base_symbol}", "orders"]]
    rows += [_level_row(units, "sell", level) for level in reversed(view.asks)]
    rows += [_level_row(units, "buy", level) for level in view.bids]
    document = {
        "market": found.market,
        "name": units.name,
        "height": view.height,
        "bids": [_level_document(units, level) for level in view.bids],
        "asks": [_level_document(units, level) for level in view.asks],
    }
    emit(as_json, document, columns(rows) if len(rows) > 1 else ["nothing is offered or wanted"])


def _level_row(units: "MarketUnits", side: str, level: "LevelView") -> list[str]:
    return [side, units.format_price(level.price), units.format_quantity(level.lots), str(level.order_count)]


def _level_document(units: "MarketUnits", level: "LevelView") -> dict[str, Any]:
    return {**_said(units, level.price, level.lots), "orders": level.order_count}


def _said(units: "MarketUnits", price: int, lots: int) -> dict[str, str]:
    """Price and quantity as people say them, and as the chain counts them."""
    return {
        "price": units.format_price(price),
        "quantity": units.format_quantity(lots),
        "price_atoms_per_lot": str(price),
        "lots": str(lots),
    }


@app.command()
def trades(
    home: Home,
    market: MarketName,
    limit: Limit = 20,
    cursor: Cursor = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """A market's trades, newest first."""
    with open_node(node_url, home, chain_id) as (client, _):
        found = find_market(client, market)
        page = client.market_trades(found.market, cursor=cursor, limit=limit)
    units = units_of(found)
    rows = [
        [
            format_time_ms(trade.time_ms),
            trade.taker_side,
            units.format_lots(trade.lots),
            f"at {units.format_price(trade.price)}",
            units.format_value(trade.value),
        ]
        for trade in page.items
    ]
    entries = [
        {
            "id": trade.id,
            **_said(units, trade.price, trade.lots),
            "value_atoms": str(trade.value),
            "taker_side": trade.taker_side,
            "maker": trade.maker,
            "taker": trade.taker,
            "height": trade.height,
            "time_ms": trade.time_ms,
            "transaction_hash": trade.transaction_hash,
        }
        for trade in page.items
    ]
    document = {"market": found.market, "name": units.name, "trades": entries, "next_cursor": page.next_cursor}
    emit(as_json, document, _with_rest(columns(rows) if rows else ["no trades yet"], page.next_cursor))


def _with_rest(lines: list[str], cursor: str | None) -> list[str]:
    return [*lines, f"more with --cursor {cursor}"] if cursor else lines


@app.command()
def orders(
    home: Home,
    account: NameOrAddress = None,
    market: Annotated[str | None, typer.Option("--market", help="Only of this market.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """An account's open orders, newest first."""
    keys = Accounts(home)
    address = address_of(keys, account)
    with open_node(node_url, home, chain_id) as (client, _):
        number = None if market is None else find_market(client, market).market
        page = client.account_orders(
            address, state="all" if all_ else "open", market=number, cursor=cursor, limit=limit
        )
        units = {each: units_of(client.market(each)) for each in {order.market for order in page.items}}
    rows = [_order_row(units[order.market], order) for order in page.items]
    document = {
        "orders": [_order_document(units[order.market], order) for order in page.items],
        "next_cursor": page.next_cursor,
    }
    lines = columns(rows) if rows else ["no orders" if all_ else "no open orders"]
    emit(as_json, document, _with_rest(lines, page.next_cursor))


def _order_row(units: "MarketUnits", order: "OrderView") -> list[str]:
    status = order.status if order.close_reason is None else f"closed: {order.close_reason.replace('_', ' ')}"
    return [
        str(order.order_id),
        units.name,
        order.side,
        units.format_lots(order.lots),
        f"at {units.format_price(order.price)}",
        f"{units.format_quantity(order.filled_lots)} traded",
        order.kind.replace("_", " ") + (f" {order.expiry_height}" if order.expiry_height else ""),
        status,
    ]


def _order_document(units: "MarketUnits", order: "OrderView") -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "client_id": str(order.client_id),
        "market": order.market,
        "name": units.name,
        "side": order.side,
        "kind": order.kind,
        **_said(units, order.price, order.lots),
        "open_lots": str(order.open_lots),
        "filled_lots": str(order.filled_lots),
        "filled_value_atoms": str(order.filled_value),
        "fee_atoms": str(order.fee),
        "expiry_height": order.expiry_height,
        "status": order.status,
        "close_reason": order.close_reason,
        "height": order.height,
        "time_ms": order.time_ms,
        "transaction_hash": order.transaction_hash,
    }


@app.command()
@calls_chain
def cancel(
    order: Annotated[int | None, typer.Argument(metavar="[ORDER]", min=1, max=2**64 - 1, help="Its id.")] = None,
    client_id: Annotated[
        int | None, typer.Option("--client-id", min=1, max=2**64 - 1, help="Your own number of it, with --market.")
    ] = None,
    market: Annotated[str | None, typer.Option("--market", help="The market of --client-id.")] = None,
    *,
    calling: Calling,
) -> None:
    """Take an order out of the book; what it held comes back. Works whatever else is forbidden."""
    if (order is None) == (client_id is None) or (client_id is None) != (market is None):
        raise CommandError("name the ORDER, or give --market and --client-id", ExitCode.USAGE)
    with calling.session() as session:
        if order is not None:
            view = session.client.order(order)
            if view.status == "closed":
                reason = str(view.close_reason).replace("_", " ")
                raise CommandError(f"order {order} is not open: {reason}", ExitCode.REFUSED)
            if parse_address(view.owner) != session.account.address:
                raise CommandError(f"order {order} is {view.owner}'s, not {session.account.name}'s", ExitCode.REFUSED)
            units = units_of(session.client.market(view.market))
            what = f"{view.side} {units.format_quantity(view.open_lots)} of {units.format_lots(view.lots)}"
            words = [("order", f"{order}: {what} at {units.format_price(view.price)} {units.quote_symbol}")]
            call_data = CANCEL_ORDER.encode(order)
        else:
            found = find_market(session.client, str(market))
            words = [("order", f"the one that you numbered {client_id}, in {units_of(found).name}")]
            call_data = CANCEL_BY_CLIENT_ID.encode(found.market, client_id)
        session.call(MARKET, call_data, words=words, details={}, read=_read_closed)


@app.command("cancel-all")
@calls_chain
def cancel_all(
    market: MarketName,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=_MOST_CANCELLED, help="At most this many, the oldest first.")
    ] = _MOST_CANCELLED,
    *,
    calling: Calling,
) -> None:
    """Take all your orders out of a market, the oldest first."""
    with calling.session() as session:
        found = find_market(session.client, market)
        words = [("orders", f"up to {limit} of yours in {units_of(found).name}, the oldest first")]
        call_data = CANCEL_ALL.encode(found.market, limit)
        session.call(MARKET, call_data, words=words, details={"market": found.market}, read=_read_closed)


def _read_closed(view: "TransactionView") -> tuple[dict[str, Any], list[str]]:
    closed = [order_id for order_id, _ in read_closed(view)]
    what = "order " if len(closed) == 1 else f"{len(closed)} orders: "
    return {"cancelled": closed}, [f"cancelled {what}{', '.join(map(str, closed))}" if closed else "nothing was open"]
