"""/v1/markets: what is traded for what, the book, trades, candles and the last 24 hours."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from chain.answers import Atoms, BigInteger, Page
from chain.api.answering import answers, respond
from chain.api.candles import (
    DAY_S,
    MAX_CANDLES,
    Interval,
    TimedCandle,
    find_candles,
    interval_length_s,
    joined,
    kept_candles,
)
from chain.api.inputs import DEFAULT_PAGE_ITEMS, Cursor, Limit, cursor_text, parse_cursor
from chain.api.market_reading import TradePlace, book_view, level_views, market_view, trade_view
from chain.market_answers import (
    BookView,
    CandlesView,
    CandleView,
    Lots,
    MarketView,
    Price,
    TickerView,
    TradeView,
)
from chain.node.clock import now_ms
from chain.node.market_records import CANDLE_INTERVALS_S, TradeEntry
from chain.node.runner import Node
from chain.primitives.market import Side
from chain.primitives.market_records import Market
from chain.primitives.rejection import Rejected, RejectionReason
from chain.rules.market.markets import find_market, market_count
from chain.rules.state import State
from chain.storage.keys import INDEX_BYTES, Table, market_prefix
from chain.storage.view import StateView
from chain.web.application import create_router
from chain.web.problems import not_found

MAX_DEPTH: Final = 500
_MS: Final = 1_000
_MINUTE_S: Final = CANDLE_INTERVALS_S[0]

MarketPath = Annotated[int, Path(ge=1, le=2**32 - 1, description="Markets are numbered from 1.")]
_Depth = Annotated[int, Query(ge=1, le=MAX_DEPTH, description="Prices of either side at most.")]
_Time = Annotated[int | None, Query(ge=0, le=2**53 - 1, description="Unix milliseconds.")]
_CandleLimit = Annotated[int, Query(ge=1, le=MAX_CANDLES, description="How many candles at most.")]


def markets_router(node: Node) -> APIRouter:
    """Markets of one node's chain, as of its head."""
    router = create_router(prefix="/v1/markets", tag="market")
    chain_id = node.ledger.network.chain_id

    @router.get("", summary="All markets, by number", **answers(Page[MarketView]))
    def list_markets(cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view = node.ledger.view()
        assert view.head is not None
        state, first = State(view), _parse_number(cursor) + 1
        last = min(first + limit - 1, market_count(state))
        items: list[MarketView] = []
        for number in range(first, last + 1):
            market = find_market(state, number)
            assert market is not None
            items.append(market_view(chain_id, state, view.head, number, market))
        next_cursor = market_prefix(last) if items and last < market_count(state) else None
        return respond(Page(items=items, next_cursor=cursor_text(next_cursor)))

    @router.get("/{market}", summary="One market", **answers(MarketView))
    def get_market(market: MarketPath) -> Response:
        view, state, found = _known(node, market)
        assert view.head is not None
        return respond(market_view(chain_id, state, view.head, market, found))

    @router.get("/{market}/book", summary="What rests in a market, best prices first", **answers(BookView))
    def get_book(market: MarketPath, depth: _Depth = 50) -> Response:
        view, state, found = _known(node, market)
        assert view.head is not None
        return respond(book_view(state, view.head, market, found, depth))

    @router.get("/{market}/trades", summary="A market's trades, newest first", **answers(Page[TradeView]))
    def list_trades(market: MarketPath, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE_ITEMS) -> Response:
        view, _, _ = _known(node, market)
        prefix = market_prefix(market)
        page = view.index_page(Table.MARKET_TRADE, prefix, cursor=parse_cursor(cursor), limit=limit)
        items = [trade_view(market, TradePlace(key), TradeEntry.decode(value)) for key, value in page.items]
        return respond(Page(items=items, next_cursor=cursor_text(page.next_cursor)))

    @router.get(
        "/{market}/candles",
        summary="A market's candles, oldest first: the first from `start` on, or without it the last before `end`",
        **answers(CandlesView),
    )
    def list_candles(
        market: MarketPath,
        interval: Interval = Interval.HOUR,
        start: _Time = None,
        end: _Time = None,
        limit: _CandleLimit = MAX_CANDLES // 2,
    ) -> Response:
        view, _, _ = _known(node, market)
        return respond(candles_view(view, market, interval, start, end, limit))

    @router.get("/{market}/ticker", summary="A market's last price and last 24 hours", **answers(TickerView))
    def get_ticker(market: MarketPath) -> Response:
        view, state, found = _known(node, market)
        return respond(ticker_view(view, state, market, found))

    return router


def _known(node: Node, number: int) -> tuple[StateView, State, Market]:
    """The head's view and state, and a market of it."""
    view = node.ledger.view()
    state = State(view)
    market = find_market(state, number)
    if market is None:
        raise not_found("no market has this number", field="market")
    return view, state, market


def _parse_number(cursor: str | None) -> int:
    """Of the market that was given last; 0 before the first."""
    key = parse_cursor(cursor)
    if key is not None and len(key) != INDEX_BYTES:
        raise Rejected(RejectionReason.MALFORMED, "cursor does not belong to this list", field="cursor")
    return 0 if key is None else int.from_bytes(key, "big")


def candles_view(
    view: StateView, number: int, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
) -> CandlesView:
    """A market's candles: the first from a start on, else the last before an end (None: now)."""
    assert view.head is not None
    end_ms = _present_ms(view) + 1 if end_ms is None else end_ms
    found = find_candles(
        view,
        number,
        interval,
        from_s=None if start_ms is None else -(-start_ms // _MS),
        before_s=-(-end_ms // _MS),
        limit=limit,
    )
    return CandlesView(
        market=number,
        interval=interval.value,
        interval_ms=interval_length_s(interval) * _MS,
        candles=[_candle_view(candle) for candle in found],
        height=view.head.height,
        finalized=True,
    )


def _candle_view(timed: TimedCandle) -> CandleView:
    start_s, candle = timed
    return CandleView(
        time_ms=start_s * _MS,
        open=Price(candle.open),
        high=Price(candle.high),
        low=Price(candle.low),
        close=Price(candle.close),
        lots=Lots(candle.lots),
        value=Atoms(candle.value),
        trades=BigInteger(candle.trades),
    )


def _present_ms(view: StateView) -> int:
    """This node's clock, or the head's time where that is later."""
    assert view.head is not None
    return max(now_ms(), view.head.time_ms)


def ticker_view(view: StateView, state: State, number: int, market: Market) -> TickerView:
    """A market's last price, best prices and last 24 hours."""
    assert view.head is not None
    present_s = _present_ms(view) // _MS
    minutes = list(kept_candles(view, number, _MINUTE_S, from_s=present_s - DAY_S + 1, before_s=present_s + 1))
    day = joined(minutes) if minutes else None
    newest = view.index_page(Table.MARKET_TRADE, market_prefix(number), limit=1).items
    last = TradeEntry.decode(newest[0][1]).price if newest else None
    bids, asks = (level_views(state, number, market, side, 1) for side in (Side.BUY, Side.SELL))
    return TickerView(
        market=number,
        last=None if last is None else Price(last),
        open=None if day is None else Price(day.open),
        high=None if day is None else Price(day.high),
        low=None if day is None else Price(day.low),
        change=None if day is None else str(day.close - day.open),
        lots=Lots(0 if day is None else day.lots),
        value=Atoms(0 if day is None else day.value),
        trades=BigInteger(0 if day is None else day.trades),
        bid=bids[0].price if bids else None,
        bid_lots=bids[0].lots if bids else Lots(0),
        ask=asks[0].price if asks else None,
        ask_lots=asks[0].lots if asks else Lots(0),
        height=view.head.height,
        time_ms=view.head.time_ms,
        finalized=True,
    )
