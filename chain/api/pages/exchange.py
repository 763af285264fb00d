"""/exchange: the markets as pages, for people with a browser, with or without JavaScript and a wallet."""

import json
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Response

from chain.answers import encode_answer
from chain.api.candles import Interval
from chain.api.market_reading import TradePlace, book_view, market_view, order_view, trade_view
from chain.api.markets import candles_view, ticker_view
from chain.api.pages.files import page_response, read_static_files, static_response, templates
from chain.api.pages.showing import NOTICES, Showing, basis_points, time_text, words
from chain.api.trading import balances_view, open_order_ids
from chain.market_answers import MarketView, OrderView, TradeView
from chain.node.market_records import OrderEntry, TradeEntry
from chain.node.runner import Node
from chain.primitives.abi import Function
from chain.primitives.decimals import format_units
from chain.primitives.hexadecimal import parse_address, to_checksum_address, to_hex
from chain.primitives.market import CANCEL_ALL, CANCEL_ORDER, PLACE_ORDER
from chain.primitives.modules import MARKET, TOKEN
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.rules.market.markets import find_market, market_count
from chain.rules.state import State
from chain.storage.keys import Table, market_prefix, order_key
from chain.storage.view import StateView
from chain.web.application import create_router
from chain.web.problems import not_found

MAX_LISTED_MARKETS: Final = 50
MAX_SHOWN_LEVELS: Final = 15
MAX_SHOWN_TRADES: Final = 50
MAX_SHOWN_ORDERS: Final = 200
_MAX_SHOWN_CANDLES: Final = 48
_NUMBER: Final = re.compile("[1-9][0-9]{0,8}")
_READING: Final = ["GET", "HEAD"]
_SIGNED_CALLS: Final = (PLACE_ORDER, CANCEL_ORDER, CANCEL_ALL)
"""What the page has wallets sign."""

_Account = Annotated[str, Query(max_length=100, description="Whose open orders the page shows as well.")]
_First = Annotated[int, Query(alias="from", ge=1, le=2**32 - 1, description="The first market of the list.")]


def exchange_router(node: Node) -> APIRouter:
    """The pages of one node, none of which is part of its API."""
    router = create_router(prefix="/exchange", tag="pages")
    environment, static_files = templates(), read_static_files()
    environment.globals.update(amount=format_units, basis_points=basis_points, time_text=time_text, words=words)
    environment.globals.update(native=to_checksum_address(TOKEN), notices=NOTICES, max_levels=MAX_SHOWN_LEVELS)
    network = node.ledger.network
    environment.globals.update(network={"name": network.name, "chain_id": network.chain_id})

    @router.api_route("", methods=_READING, include_in_schema=False)
    def list_markets(first: _First = 1) -> Response:
        view = node.ledger.view()
        state, count = State(view), market_count(State(view))
        last = min(first + MAX_LISTED_MARKETS - 1, count)
        rows: list[dict[str, Any]] = []
        for number in range(first, last + 1):
            market = _market(network.chain_id, view, number)
            found = find_market(state, number)
            assert market is not None
            assert found is not None
            rows.append({"market": market, "shown": Showing(market), "ticker": ticker_view(view, state, number, found)})
        following = last + 1 if last < count else None
        return page_response(environment.get_template("markets.html").render(rows=rows, following=following))

    @router.api_route("/static/{name:path}", methods=_READING, include_in_schema=False)
    async def get_static(
        name: Annotated[str, Path(max_length=100)], if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        if name not in static_files:
            raise not_found("no file has this name")
        return static_response(static_files[name], if_none_match)

    @router.api_route("/{market}", methods=_READING, include_in_schema=False)
    def get_market(market: str, interval: Interval = Interval.HOUR, account: _Account = "") -> Response:
        view = node.ledger.view()
        number = int(market) if _NUMBER.fullmatch(market) else 0
        if find_market(State(view), number) is None:
            return page_response(environment.get_template("missing.html").render(), 404)
        shown_account, fault = _asked_account(account)
        context = _market_context(network.chain_id, view, number, interval, shown_account)
        settings = _settings(network.chain_id, network.name, context["market"])
        page = environment.get_template("market.html")
        text = page.render(**context, settings=settings, asked=account, fault=fault)
        return page_response(text, 400 if fault else 200)

    return router


def _asked_account(text: str) -> tuple[Address | None, str]:
    """Whom somebody asks for, and in words what is wrong with what they typed."""
    try:
        return (parse_address(text.strip(), "address") if text.strip() else None), ""
    except Rejected as rejected:
        return None, f"The {rejected.message} – an address is 0x and 40 hexadecimal digits"


def _market(chain_id: int, view: StateView, number: int) -> MarketView | None:
    assert view.head is not None
    state = State(view)
    found = find_market(state, number)
    return None if found is None else market_view(chain_id, state, view.head, number, found)


def _market_context(
    chain_id: int, view: StateView, number: int, interval: Interval, account: Address | None
) -> dict[str, Any]:
    """What the template shows, all of one block."""
    state = State(view)
    found = find_market(state, number)
    assert view.head is not None
    assert found is not None
    market = market_view(chain_id, state, view.head, number, found)
    return {
        "market": market,
        "shown": Showing(market),
        "ticker": ticker_view(view, state, number, found),
        "book": book_view(state, view.head, number, found, MAX_SHOWN_LEVELS),
        "trades": _trades(view, number),
        "candles": candles_view(view, number, interval, None, None, _MAX_SHOWN_CANDLES).candles[::-1],
        "interval": interval.value,
        "intervals": [each.value for each in Interval],
        "height": view.head.height,
        "account": None if account is None else to_checksum_address(account),
        "orders": [] if account is None else _open_orders(view, number, account),
        "balances": [] if account is None else balances_view(view, chain_id, account).balances,
    }


def _trades(view: StateView, number: int) -> list[TradeView]:
    page = view.index_page(Table.MARKET_TRADE, market_prefix(number), limit=MAX_SHOWN_TRADES)
    return [trade_view(number, TradePlace(key), TradeEntry.decode(value)) for key, value in page.items]


def _open_orders(view: StateView, number: int, account: Address) -> list[OrderView]:
    order_ids, _ = open_order_ids(view, account, number, None, MAX_SHOWN_ORDERS)
    shown: list[OrderView] = []
    for order_id in order_ids:
        encoded = view.index_get(Table.ORDER, order_key(order_id))
        assert encoded is not None
        shown.append(order_view(order_id, OrderEntry.decode(encoded)))
    return shown


def _settings(chain_id: int, name: str, market: MarketView) -> str:
    """What the scripts need to know before they ask anything, as JSON."""
    return json.dumps(
        {
            "chainId": hex(chain_id),
            "chainName": name,
            "market": json.loads(encode_answer(market)),
            "module": to_checksum_address(MARKET),
            "native": to_checksum_address(TOKEN),
            "notices": NOTICES,
            "levels": MAX_SHOWN_LEVELS,
            "functions": {function.name: _described(function) for function in _SIGNED_CALLS},
        }
    )


def _described(function: Function) -> dict[str, Any]:
    """A function as `abi.js` takes it."""
    return {
        "name": function.name,
        "selector": to_hex(function.selector),
        "parameters": [{"name": each.name, "type": each.type.name} for each in function.inputs],
    }
