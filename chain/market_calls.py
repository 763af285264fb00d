"""Requests about assets, markets, orders and trades: beside those of `chain.calls`, in the same form."""

from chain.answers import Page
from chain.calls import Call, address_text, get, hash_text
from chain.market_answers import (
    AssetView,
    BalancesView,
    BookView,
    CandlesView,
    FillView,
    MarketView,
    OrderView,
    PolicyView,
    TickerView,
    TradeView,
)
from chain.primitives.types import Address


def markets(*, cursor: str | None = None, limit: int = 50) -> Call[Page[MarketView]]:
    """All markets, by number."""
    return get(Page[MarketView], "/v1/markets", cursor=cursor, limit=limit)


def market(number: int) -> Call[MarketView]:
    """One market. NodeRefused (not_found) where no market has this number."""
    return get(MarketView, _market(number))


def market_book(number: int, *, depth: int = 50) -> Call[BookView]:
    """What rests at the best `depth` prices of either side, at most 500."""
    return get(BookView, f"{_market(number)}/book", depth=depth)


def market_trades(number: int, *, cursor: str | None = None, limit: int = 50) -> Call[Page[TradeView]]:
    """A market's trades, newest first."""
    return get(Page[TradeView], f"{_market(number)}/trades", cursor=cursor, limit=limit)


def market_candles(
    number: int,
    *,
    interval: str = "1h",
    start_ms: int | None = None,
    end_ms: int | None = None,
    limit: int = 500,
) -> Call[CandlesView]:
    """At most `limit` candles, oldest first: the first from a time on, or without it the last before an end.

    `interval` is 1m, 5m, 15m, 1h, 4h, 1d or 1w; `limit` at most 1,000.
    """
    path = f"{_market(number)}/candles"
    return get(CandlesView, path, interval=interval, start=start_ms, end=end_ms, limit=limit)


def market_ticker(number: int) -> Call[TickerView]:
    """A market's last price, best prices and last 24 hours."""
    return get(TickerView, f"{_market(number)}/ticker")


def order(order_id: int) -> Call[OrderView]:
    """One order, open or closed. NodeRefused (not_found) where no order has this id."""
    return get(OrderView, f"/v1/orders/{hash_text(order_id)}")


def account_orders(
    address: Address | str,
    *,
    state: str = "open",
    market: int | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Call[Page[OrderView]]:
    """An account's orders, newest first: those that are `open`, or `all` that it ever placed."""
    path = f"/v1/accounts/{address_text(address)}/orders"
    return get(Page[OrderView], path, state=state, market=market, cursor=cursor, limit=limit)


def account_fills(
    address: Address | str, *, market: int | None = None, cursor: str | None = None, limit: int = 50
) -> Call[Page[FillView]]:
    """The trades of an account's orders, newest first."""
    path = f"/v1/accounts/{address_text(address)}/fills"
    return get(Page[FillView], path, market=market, cursor=cursor, limit=limit)


def account_assets(address: Address | str) -> Call[BalancesView]:
    """What an account has of AIT and of issued assets, at its disposal and in open orders."""
    return get(BalancesView, f"/v1/accounts/{address_text(address)}/assets")


def assets(*, cursor: str | None = None, limit: int = 50) -> Call[Page[AssetView]]:
    """AIT, then all issued assets, by number."""
    return get(Page[AssetView], "/v1/assets", cursor=cursor, limit=limit)


def asset(address: Address | str) -> Call[AssetView]:
    """One asset. NodeRefused (not_found) where there is none at this address."""
    return get(AssetView, f"/v1/assets/{address_text(address)}")


def policy(number: int) -> Call[PolicyView]:
    """Whom markets of a policy let trade. NodeRefused (not_found) where no policy has this number."""
    return get(PolicyView, f"/v1/policies/{hash_text(number)}")


def _market(number: int) -> str:
    return f"/v1/markets/{hash_text(number)}"
