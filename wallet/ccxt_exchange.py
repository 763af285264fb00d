"""The market as an exchange of ccxt's, for programs that know ccxt: needs `pip install aitbc[ccxt]`.

    exchange = AitbcExchange({"nodeUrl": "http://127.0.0.1:8545", "privateKey": "0x…"})
    exchange.create_order("AIT/DUSD", "limit", "buy", 5, 0.25)

Everything goes through `chain.client` and is signed here: there is no account with anybody. Amounts are exact or
refused, never rounded; ccxt's own numbers are floats, so pass strings where more than 15 digits matter. A symbol that
two markets share has the market's number behind it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ccxt

from chain.answers import TransactionView
from chain.client import NodeClient, NodeError, NodeRefused, NodeUnavailable
from chain.market_answers import LevelView, MarketView, OrderView
from chain.primitives.abi import Function
from chain.primitives.decimals import format_units
from chain.primitives.hexadecimal import parse_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.market import CANCEL_ORDER, PLACE_ORDER, OrderKind, Side
from chain.primitives.modules import MARKET
from chain.primitives.rejection import Rejected
from chain.primitives.transaction import sign_transaction
from wallet.assets import all_markets, units_of
from wallet.market_events import read_placed

_TIMEFRAMES: Final = ("1m", "5m", "15m", "1h", "4h", "1d", "1w")
_KINDS: Final = {
    "GTC": OrderKind.GOOD_TILL_CANCELLED,
    "IOC": OrderKind.IMMEDIATE_OR_CANCEL,
    "FOK": OrderKind.FILL_OR_KILL,
}
_CLIENT_WAIT_S: Final = 60.0
_MAX_ID: Final = 2**64 - 1
_MAX_DIGITS: Final = 20


class AitbcExchange(ccxt.Exchange):  # type: ignore[misc]
    """Methods raise ccxt's own errors. A market order needs a price: the worst that is accepted."""

    nodeUrl: str = "http://127.0.0.1:8545"  # noqa: N815 - ccxt's way of naming what a user sets

    def describe(self) -> Any:
        """What ccxt wants to know."""
        can = (
            *("fetchMarkets", "fetchOrderBook", "fetchTrades", "fetchOHLCV", "fetchTicker", "fetchBalance"),
            *("createOrder", "cancelOrder", "fetchOpenOrders"),
        )
        return self.deep_extend(
            super().describe(),
            {
                "id": "aitbc",
                "name": "AITBC",
                "has": {"spot": True, **dict.fromkeys(can, True)},
                "timeframes": {each: each for each in _TIMEFRAMES},
                "requiredCredentials": {"apiKey": False, "secret": False, "privateKey": True},
                "precisionMode": ccxt.TICK_SIZE,
            },
        )

    # Reading

    def fetch_markets(self, params: Any = None) -> list[Any]:
        """Every market; fees as fractions."""
        with self._node() as client:
            markets = all_markets(client)
        names = [units_of(market).name for market in markets]
        return [self._market(market, shared=names.count(name) > 1) for market, name in zip(markets, names, strict=True)]

    def _market(self, view: MarketView, *, shared: bool) -> Any:
        units = units_of(view)
        least = float(units.format_quantity(units.minimum_lots))
        return {
            "id": str(view.market),
            "symbol": f"{units.name}:{view.market}" if shared else units.name,
            "base": units.base_symbol,
            "quote": units.quote_symbol,
            "baseId": view.base.asset,
            "quoteId": view.quote.asset,
            "type": "spot",
            "spot": True,
            "active": view.status == "open",
            "maker": view.maker_fee / 10_000,
            "taker": view.taker_fee / 10_000,
            "precision": {"amount": float(units.format_quantity(1)), "price": float(units.price_step)},
            "limits": {"amount": {"min": least}, "price": {"min": float(units.price_step)}},
            "info": view,
        }

    def fetch_order_book(self, symbol: str, limit: int | None = None, params: Any = None) -> Any:
        """Best prices first on both sides."""
        market = self._known(symbol)
        units = units_of(market)
        with self._node() as client:
            book = client.market_book(market.market, depth=min(limit or 50, 500))

        def side(levels: list[LevelView]) -> list[list[float]]:
            return [[float(units.price_of(each.price)), float(units.format_quantity(each.lots))] for each in levels]

        return {
            "symbol": symbol,
            "bids": side(book.bids),
            "asks": side(book.asks),
            "timestamp": book.time_ms,
            "datetime": self.iso8601(book.time_ms),
            "nonce": book.height,
        }

    def fetch_trades(self, symbol: str, since: int | None = None, limit: int | None = None, params: Any = None) -> Any:
        """The newest, oldest of them first."""
        market = self._known(symbol)
        units = units_of(market)
        with self._node() as client:
            page = client.market_trades(market.market, limit=min(limit or 50, 200))
        return [
            {
                "id": each.id,
                "timestamp": each.time_ms,
                "datetime": self.iso8601(each.time_ms),
                "symbol": symbol,
                "side": each.taker_side,
                "price": float(units.price_of(each.price)),
                "amount": float(units.format_quantity(each.lots)),
                "cost": float(format_units(each.value, units.quote_decimals)),
                "info": each,
            }
            for each in reversed(page.items)
            if since is None or each.time_ms >= since
        ]

    def fetch_ohlcv(
        self, symbol: str, timeframe: str = "1h", since: int | None = None, limit: int | None = None, params: Any = None
    ) -> Any:
        """[time in ms, open, high, low, close, base volume]; none where nothing was traded."""
        market = self._known(symbol)
        units = units_of(market)
        with self._node() as client:
            view = client.market_candles(
                market.market, interval=timeframe, start_ms=since, limit=min(limit or 500, 1_000)
            )
        return [
            [
                each.time_ms,
                *(float(units.price_of(price)) for price in (each.open, each.high, each.low, each.close)),
                float(units.format_quantity(each.lots)),
            ]
            for each in view.candles
        ]

    def fetch_ticker(self, symbol: str, params: Any = None) -> Any:
        """The last 24 hours and the best prices."""
        market = self._known(symbol)
        units = units_of(market)
        with self._node() as client:
            view = client.market_ticker(market.market)
        names = {"last": view.last, "close": view.last, "open": view.open, "high": view.high, "low": view.low}
        prices = {**names, "bid": view.bid, "ask": view.ask}
        return {
            "symbol": symbol,
            "timestamp": view.time_ms,
            "datetime": self.iso8601(view.time_ms),
            **{name: None if price is None else float(units.price_of(price)) for name, price in prices.items()},
            "baseVolume": float(units.format_quantity(view.lots)),
            "quoteVolume": float(format_units(view.value, units.quote_decimals)),
            "info": view,
        }

    def fetch_balance(self, params: Any = None) -> Any:
        """By symbol; of assets that share one, by symbol and address."""
        with self._node() as client:
            view = client.account_assets(self._key().address)
        symbols = [each.symbol for each in view.balances]
        result: dict[str, Any] = {"info": view}
        for each in view.balances:
            name = each.symbol if symbols.count(each.symbol) == 1 else f"{each.symbol}:{each.asset}"
            free, used = (format_units(atoms, each.decimals) for atoms in (each.balance, each.in_orders))
            result[name] = {"free": free, "used": used}
        return self.safe_balance(result)

    def fetch_open_orders(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> Any:
        """One's own, oldest first."""
        number = None if symbol is None else self._known(symbol).market
        self.load_markets()
        with self._node() as client:
            page = client.account_orders(self._key().address, market=number, limit=min(limit or 200, 200))
        return [self._order(each) for each in reversed(page.items) if since is None or each.time_ms >= since]

    def _order(self, view: OrderView) -> Any:
        market = self.markets_by_id[str(view.market)][0]
        units = units_of(market["info"])
        return {
            "id": str(view.order_id),
            "clientOrderId": str(view.client_id) if view.client_id else None,
            "timestamp": view.time_ms,
            "datetime": self.iso8601(view.time_ms),
            "symbol": market["symbol"],
            "type": "market" if view.kind == "market" else "limit",
            "side": view.side,
            "price": float(units.price_of(view.price)),
            "amount": float(units.format_quantity(view.lots)),
            "filled": float(units.format_quantity(view.filled_lots)),
            "remaining": float(units.format_quantity(view.open_lots)),
            "status": "open" if view.status == "open" else "closed",
            "info": view,
        }

    # Trading

    def create_order(
        self,
        symbol: str,
        type: str,  # noqa: A002 - ccxt's name for it
        side: str,
        amount: Any,
        price: Any = None,
        params: Any = None,
    ) -> Any:
        """Waits until it is final. `params`: timeInForce GTC, IOC, FOK or PO; postOnly; clientOrderId, a number."""
        market, given = self._known(symbol), params or {}
        units, is_buy = units_of(market), side == "buy"
        if side not in ("buy", "sell"):
            raise ccxt.InvalidOrder("the side is to buy or to sell")
        kind = _kind(type, given)
        client_id = _number(given.get("clientOrderId", 0), "clientOrderId")
        if price is None:
            raise ccxt.ArgumentsRequired("a price: for a market order the worst that is accepted")
        with self._node() as client:
            try:
                lots = units.parse_quantity(self._text(amount))
                text = self._text(price)
                is_bound = kind is OrderKind.MARKET
                bound = units.parse_worst_price(text, is_buy=is_buy) if is_bound else units.parse_price(text)
            except Rejected as refused:
                raise ccxt.InvalidOrder(str(refused)) from None
            arguments = (market.market, Side.BUY if is_buy else Side.SELL, kind, bound, lots, 0, client_id)
            placed = read_placed(self._send(client, PLACE_ORDER, *arguments))
            assert placed is not None
            return self._order(client.order(placed.order_id))

    def cancel_order(self, id: str, symbol: str | None = None, params: Any = None) -> Any:  # noqa: A002
        """Waits until it is final."""
        self.load_markets()
        number = _number(id, "id")
        with self._node() as client:
            self._send(client, CANCEL_ORDER, number)
            return self._order(client.order(number))

    def _send(self, client: NodeClient, function: Function, *arguments: Any) -> TransactionView:
        key = self._key()
        transaction = sign_transaction(
            key,
            chain_id=client.status().chain_id,
            nonce=client.account(key.address).pending_nonce,
            to=MARKET,
            data=function.encode(*arguments),
            max_fee=client.parameters().parameters.get("base_fee_atoms", 0),
        )
        client.send_transaction(transaction.raw)
        view = client.wait_for_transaction(transaction.hash, timeout_s=_CLIENT_WAIT_S)
        if view.status != "success":
            reason = str(view.reason)
            error = ccxt.InsufficientFunds if reason.startswith("insufficient_funds") else ccxt.InvalidOrder
            raise error(reason)
        return view

    def _text(self, number: Any) -> str:
        """ccxt's way from a float to decimals. Raises InvalidOrder for what is no number."""
        try:
            return str(self.number_to_string(number))
        except (ArithmeticError, TypeError, ValueError):
            raise ccxt.InvalidOrder(f"{str(number)[:40]!r} is no number") from None

    def _key(self) -> PrivateKey:
        self.check_required_credentials()
        return PrivateKey(parse_hex(self.privateKey, length=32, field="privateKey"))

    def _known(self, symbol: str) -> MarketView:
        self.load_markets()
        view: MarketView = self.market(symbol)["info"]
        return view

    @contextmanager
    def _node(self) -> Iterator[NodeClient]:
        with NodeClient(self.nodeUrl) as client:
            try:
                yield client
            except NodeUnavailable as error:
                raise ccxt.NetworkError(str(error)) from error
            except NodeRefused as error:
                kind = ccxt.OrderNotFound if error.reason == "not_found" else ccxt.ExchangeError
                raise kind(str(error)) from error
            except NodeError as error:
                raise ccxt.RequestTimeout(str(error)) from error


def _kind(type_: str, params: Mapping[str, Any]) -> OrderKind:
    """Of ccxt's words. Raises InvalidOrder for what this chain has not: nothing is left out in silence."""
    in_force, is_post_only = params.get("timeInForce"), bool(params.get("postOnly"))
    if type_ == "market" and in_force in (None, "IOC") and not is_post_only:
        return OrderKind.MARKET
    if type_ == "limit" and (is_post_only or in_force == "PO"):
        if in_force in (None, "GTC", "PO"):
            return OrderKind.POST_ONLY
    elif type_ == "limit" and (in_force or "GTC") in _KINDS:
        return _KINDS[in_force or "GTC"]
    raise ccxt.InvalidOrder(f"there is no {type_} order with timeInForce {in_force} and postOnly {is_post_only}")


def _number(value: Any, name: str) -> int:
    """An order's id or client id. Raises InvalidOrder."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) <= _MAX_ID):
        raise ccxt.InvalidOrder(f"{name} must be a whole number below 2^64")
    return int(text)
