"""What an account does in the markets: its orders, its fills, its assets; and one order by its id."""

from enum import StrEnum
from itertools import islice
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from chain.answers import Atoms, Page
from chain.api.answering import answers, respond
from chain.api.inputs import DEFAULT_PAGE_ITEMS, AddressPath, Cursor, Limit, cursor_text, parse_cursor
from chain.api.market_reading import TradePlace, fill_view, order_view
from chain.market_answers import AssetBalance, BalancesView, FillView, OrderView
from chain.node.market_index import ALL_MARKETS
from chain.node.market_records import OrderEntry, TradeEntry
from chain.node.runner import Node
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.market import asset_address
from chain.primitives.market_records import Market
from chain.primitives.modules import TOKEN
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules.assets.holdings import asset_count, balance_of, is_authorized, is_frozen
from chain.rules.assets.views import describe
from chain.rules.market.amounts import escrowed, offered_asset
from chain.rules.market.book import find_order, open_orders
from chain.rules.market.markets import find_market, market_count
from chain.rules.state import State
from chain.storage.keys import (
    HEIGHT_BYTES,
    Table,
    account_market_prefix,
    account_order_key,
    market_prefix,
    order_key,
)
from chain.storage.view import StateView
from chain.web.application import create_router
from chain.web.problems import not_found

_MAX_MARKET: Final = 2**32 - 1
_OrderPath = Annotated[int, Path(ge=1, le=2**53 - 1, description="Orders are numbered from 1, over all markets.")]
_Market = Annotated[int | None, Query(ge=1, le=_MAX_MARKET, description="Of this market only.")]


class OrderState(StrEnum):
    """Which orders are wanted."""

    OPEN = "open"
    ALL = "all"


def trading_router(node: Node) -> APIRouter:
    """Orders, fills and balances of one node's chain."""
    router = create_router(prefix="/v1", tag="market")
    chain_id = node.ledger.network.chain_id

    @router.get("/orders/{order_id}", summary="One order, open or closed", **answers(OrderView))
    def get_order(order_id: _OrderPath) -> Response:
        encoded = node.ledger.view().index_get(Table.ORDER, order_key(order_id))
        if encoded is None:
            raise not_found("no order has this id", field="order_id")
        return respond(order_view(order_id, OrderEntry.decode(encoded)))

    @router.get("/accounts/{address}/orders", summary="An account's orders, newest first", **answers(Page[OrderView]))
    def list_orders(
        address: AddressPath,
        state: OrderState = OrderState.OPEN,
        market: _Market = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_PAGE_ITEMS,
    ) -> Response:
        view, account = node.ledger.view(), parse_address(address)
        market = ALL_MARKETS if market is None else market
        list_ids = open_order_ids if state is OrderState.OPEN else _order_ids
        order_ids, next_cursor = list_ids(view, account, market, parse_cursor(cursor), limit)
        items: list[OrderView] = []
        for order_id in order_ids:
            encoded = view.index_get(Table.ORDER, order_key(order_id))
            assert encoded is not None
            items.append(order_view(order_id, OrderEntry.decode(encoded)))
        return respond(Page(items=items, next_cursor=cursor_text(next_cursor)))

    @router.get(
        "/accounts/{address}/fills", summary="Trades of an account's orders, newest first", **answers(Page[FillView])
    )
    def list_fills(
        address: AddressPath, market: _Market = None, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS
    ) -> Response:
        view, account = node.ledger.view(), parse_address(address)
        prefix = account_market_prefix(account, ALL_MARKETS if market is None else market)
        page = view.index_page(Table.ACCOUNT_FILL, prefix, cursor=parse_cursor(cursor), limit=limit)
        items = [_fill(view, account, TradePlace(key), value) for key, value in page.items]
        return respond(Page(items=items, next_cursor=cursor_text(page.next_cursor)))

    @router.get(
        "/accounts/{address}/assets", summary="What an account has, AIT and issued assets", **answers(BalancesView)
    )
    def list_balances(address: AddressPath) -> Response:
        return respond(balances_view(node.ledger.view(), chain_id, parse_address(address)))

    return router


def _order_ids(
    view: StateView, account: Address, market: int, cursor: bytes | None, limit: int
) -> tuple[list[int], bytes | None]:
    """All that the account has ever placed, newest first, and the next cursor."""
    prefix = account_market_prefix(account, market)
    page = view.index_page(Table.ACCOUNT_ORDER, prefix, cursor=cursor, limit=limit)
    return [int.from_bytes(key[len(prefix) :], "big") for key, _ in page.items], page.next_cursor


def open_order_ids(
    view: StateView, account: Address, market: int, cursor: bytes | None, limit: int
) -> tuple[list[int], bytes | None]:
    """Those that rest now, as the state has them: few enough to be sorted for each page."""
    state, prefix = State(view), account_market_prefix(account, market)
    if cursor is not None and (not cursor.startswith(prefix) or len(cursor) != len(prefix) + HEIGHT_BYTES):
        raise Rejected(RejectionReason.MALFORMED, "cursor does not belong to this list", field="cursor")
    numbers = range(1, market_count(state) + 1) if market == ALL_MARKETS else (market,)
    resting = [order_id for number in numbers for order_id, _ in open_orders(state, number, account)]
    if cursor is not None:
        last_given = int.from_bytes(cursor[len(prefix) :], "big")
        resting = [order_id for order_id in resting if order_id < last_given]
    order_ids = list(islice(sorted(resting, reverse=True), limit))
    has_more = len(order_ids) < len(resting)
    return order_ids, account_order_key(account, market, order_ids[-1]) if has_more else None


def _fill(view: StateView, account: Address, place: TradePlace, market_octets: bytes) -> FillView:
    number = int.from_bytes(market_octets, "big")
    encoded = view.index_get(Table.MARKET_TRADE, market_prefix(number) + place.octets)
    market = find_market(State(view), number)
    assert encoded is not None
    assert market is not None
    return fill_view(account, number, market, place, TradeEntry.decode(encoded))


def balances_view(view: StateView, chain_id: int, account: Address) -> BalancesView:
    """AIT, and each asset of which the account has some."""
    assert view.head is not None
    state = State(view)
    in_orders = _in_orders(state, account)
    balances: list[AssetBalance] = []
    for asset in (TOKEN, *(asset_address(number) for number in range(1, asset_count(state) + 1))):
        balance, held = balance_of(state, asset, account), in_orders.get(asset, 0)
        if asset != TOKEN and not balance and not held:
            continue
        record = describe(state, chain_id, asset)
        balances.append(
            AssetBalance(
                asset=to_checksum_address(asset),
                symbol=record.symbol,
                decimals=record.decimals,
                balance=Atoms(balance),
                in_orders=Atoms(held),
                authorized=asset == TOKEN or is_authorized(state, asset, account),
                frozen=asset != TOKEN and is_frozen(state, asset, account),
            )
        )
    return BalancesView(
        address=to_checksum_address(account), balances=balances, height=view.head.height, finalized=True
    )


def _in_orders(state: State, account: Address) -> dict[Address, int]:
    """What the account's open orders hold of each asset."""
    held: dict[Address, int] = {}
    for number in range(1, market_count(state) + 1):
        listed = open_orders(state, number, account)
        market: Market | None = find_market(state, number) if listed else None
        for order_id, _ in listed:
            order = find_order(state, order_id)
            assert market is not None
            assert order is not None
            asset = offered_asset(market, order.side)
            held[asset] = held.get(asset, 0) + escrowed(market, order.side, order.ticks, order.open_lots)
    return held
