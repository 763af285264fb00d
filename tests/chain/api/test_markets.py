"""Markets, assets, orders and fills over REST: what one sees of a history, how lists page, what is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chain.client import NodeClient, NodeRefused
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.market import (
    ADD_AUTHORITY,
    CANCEL_ORDER,
    DEFINE_POLICY,
    SET_MARKET_STATUS,
    MarketStatus,
    OrderKind,
    Side,
    asset_address,
)
from chain.primitives.modules import MARKET, MINTER, TOKEN
from tests.chain.api.test_bad_input import assert_problem
from tests.chain.api.test_reading import all_items
from tests.chain.conftest import RunningNode
from tests.chain.trading import COIN, HELD_AIT, HELD_COINS, LOT, MAKER_FEE, TAKER_FEE, TICK, Trading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.chain.conftest import Chain, StartNode

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class History:
    """A node that serves a chain whose blocks' times are chosen; `start_ms` is a full hour, about a day ago."""

    def __init__(self, chain: Chain, start_ms: int) -> None:
        self.trading = Trading(chain.people)
        self.start_ms = start_ms
        self.chain = chain

    def add(self, *transactions: Any, at_ms: int | None = None) -> None:
        """A block so long after the start."""
        time_ms = None if at_ms is None else self.start_ms + at_ms
        candidate = self.chain.propose(*transactions, time_ms=time_ms)
        assert not candidate.rejected
        assert not any(candidate.outcome.failures), candidate.outcome.failures
        self.chain.commit(candidate)

    def write(self) -> None:
        """Six trades, two rests, one cancelled order; one market more, and a policy."""
        trading = self.trading
        for number, transactions in enumerate(trading.founding()):
            self.add(*transactions, at_ms=number - 2 * DAY_MS)
        self.add(*trading.trade(700, 1), at_ms=-DAY_MS)  # Too old for the ticker.
        self.add(*trading.trade(500, 2), at_ms=0)
        self.add(*trading.trade(540, 1), at_ms=MINUTE_MS - 1)
        self.add(*trading.trade(490, 3), at_ms=MINUTE_MS)
        self.add(*trading.trade(520, 1), *trading.trade(510, 4), at_ms=2 * HOUR_MS)
        rests = (
            trading.place("ann", Side.SELL, 600, 10, client_id=77),
            trading.place("cat", Side.SELL, 600, 5),
            trading.place("cat", Side.SELL, 610, 1),
            trading.place("bob", Side.BUY, 400, 8),
            trading.place("bob", Side.BUY, 390, 2, kind=OrderKind.GOOD_TILL_HEIGHT, expiry_height=10**6),
        )
        self.add(*rests, at_ms=2 * HOUR_MS + 1)
        self.add(trading.place("bob", Side.BUY, 600, 4), at_ms=2 * HOUR_MS + 2)  # Of Ann's ten.
        self.add(trading.call("cat", MARKET, CANCEL_ORDER, 15), at_ms=2 * HOUR_MS + 3)
        self.add(*trading.open_market(), *trading.decide(MARKET, SET_MARKET_STATUS, 2, MarketStatus.HALTED))
        notary = self.chain.people.address("notary")
        self.add(*trading.decide(MARKET, ADD_AUTHORITY, notary))
        self.add(*trading.decide(MARKET, DEFINE_POLICY, [notary], False, [643], 2))


@pytest.fixture(scope="module")
def history(
    chain_in: Callable[[Path], Chain], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningNode, History]]:
    path = tmp_path_factory.mktemp("history") / "chain"
    start_ms = (int(time.time() * 1000) - DAY_MS) // HOUR_MS * HOUR_MS + 2 * HOUR_MS
    told = History(chain_in(path), start_ms)
    told.write()
    told.chain.ledger.close()
    node = RunningNode(told.chain.people, path, validator=None)
    yield node, told
    node.stop()


@pytest.fixture
def client(history: tuple[RunningNode, History]) -> NodeClient:
    return history[0].client


@pytest.fixture
def start_ms(history: tuple[RunningNode, History]) -> int:
    return history[1].start_ms


def test_markets(client: NodeClient) -> None:
    first, second = all_items(client.markets, 1)
    assert client.market(1) == first
    assert (first.market, first.lot, first.tick, first.minimum_lots) == (1, LOT, TICK, 1)
    assert (first.maker_fee, first.taker_fee, first.policy) == (MAKER_FEE, TAKER_FEE, 0)
    assert (first.base.asset, first.base.symbol, first.base.decimals) == (to_checksum_address(TOKEN), "AIT", 18)
    assert (first.quote.asset, first.quote.symbol, first.quote.decimals) == (to_checksum_address(COIN), "COIN", 6)
    assert (first.status, second.market, second.status) == ("open", 2, "halted")
    assert first.finalized


def test_book(client: NodeClient) -> None:
    book = client.market_book(1)
    assert [(level.price, level.lots, level.order_count) for level in book.asks] == [(600, 11, 2)]
    assert [(level.price, level.lots, level.order_count) for level in book.bids] == [(400, 8, 1), (390, 2, 1)]
    assert client.market_book(1, depth=1).bids == book.bids[:1]
    assert (book.height, book.finalized) == (client.status().finalized.height, True)
    empty = client.market_book(2)
    assert (empty.bids, empty.asks) == ([], [])


def test_trades(client: NodeClient, history: tuple[RunningNode, History]) -> None:
    people = history[1].chain.people
    trades = all_items(client.market_trades, 2, 1)
    assert [(trade.price, trade.lots) for trade in trades] == [
        (600, 4),
        (510, 4),
        (520, 1),
        (490, 3),
        (540, 1),
        (500, 2),
        (700, 1),
    ]
    assert trades == client.market_trades(1).items
    newest = trades[0]
    assert (newest.maker, newest.taker) == tuple(to_checksum_address(people.address(name)) for name in ("ann", "bob"))
    assert (newest.value, newest.taker_side, newest.maker_order_id, newest.taker_order_id) == (2400, "buy", 13, 18)
    assert newest.maker_fee == -(-2400 * MAKER_FEE // 10_000)
    assert newest.taker_fee == 4 * LOT * TAKER_FEE // 10_000
    assert client.transaction(newest.transaction_hash).height == newest.height
    assert newest.id == f"{newest.height}-0-0"
    assert len({trade.id for trade in trades}) == len(trades)
    assert client.market_trades(2).items == []


def test_orders_of_an_account(client: NodeClient, history: tuple[RunningNode, History]) -> None:
    address = history[1].chain.people.address
    ann = client.account_orders(address("ann")).items
    assert [(order.order_id, order.client_id, order.open_lots, order.filled_lots) for order in ann] == [(13, 77, 6, 4)]
    assert ann[0] == client.order(13)
    assert (ann[0].status, ann[0].side, ann[0].kind, ann[0].filled_value) == (
        "open",
        "sell",
        "good_till_cancelled",
        2400,
    )
    everything = all_items(lambda who, **page: client.account_orders(who, state="all", **page), 2, address("ann"))
    assert [order.order_id for order in everything] == [13, 11, 9, 7, 5, 3, 1]
    assert {order.close_reason for order in everything[1:]} == {"filled"}
    bobs = all_items(client.account_orders, 1, address("bob"))
    assert [(order.order_id, order.price) for order in bobs] == [(17, 390), (16, 400)]
    assert bobs[0].expiry_height == 10**6
    assert client.account_orders(address("bob"), market=1).items == bobs
    assert client.account_orders(address("bob"), market=2).items == []
    assert client.account_orders(address("bob"), state="all", market=2).items == []
    cancelled = client.order(15)
    assert (cancelled.status, cancelled.close_reason, cancelled.open_lots, cancelled.lots) == (
        "closed",
        "cancelled",
        0,
        1,
    )
    assert cancelled.closed_height is not None
    assert cancelled.closed_transaction_hash == client.block(cancelled.closed_height).transactions[0]  # type: ignore[index]
    assert client.account_orders(address("nobody"), state="all").items == []


def test_fills_of_an_account(client: NodeClient, history: tuple[RunningNode, History]) -> None:
    address = history[1].chain.people.address
    fills = all_items(client.account_fills, 3, address("bob"))
    trades = client.market_trades(1).items
    assert [fill.id for fill in fills] == [trade.id for trade in trades]
    newest, made = fills[0], client.account_fills(address("ann")).items[0]
    assert (newest.role, newest.side, newest.order_id, newest.fee) == ("taker", "buy", 18, trades[0].taker_fee)
    assert (made.role, made.side, made.order_id, made.fee) == ("maker", "sell", 13, trades[0].maker_fee)
    assert (newest.fee_asset, made.fee_asset) == (to_checksum_address(TOKEN), to_checksum_address(COIN))
    assert client.account_fills(address("bob"), market=1, limit=1).items == fills[:1]
    assert client.account_fills(address("bob"), market=2).items == []


def test_balances_and_what_orders_hold(client: NodeClient, history: tuple[RunningNode, History]) -> None:
    address = history[1].chain.people.address
    ait, coin = client.account_assets(address("cat")).balances
    assert (ait.symbol, ait.balance, ait.in_orders) == ("AIT", HELD_AIT - 5 * LOT, 5 * LOT)
    assert (coin.symbol, coin.balance, coin.in_orders) == ("COIN", HELD_COINS, 0)
    assert (coin.authorized, coin.frozen) == (True, False)
    bobs = {each.symbol: each for each in client.account_assets(address("bob")).balances}
    assert bobs["COIN"].in_orders == 8 * 400 + 2 * 390
    assert [each.symbol for each in client.account_assets(address("nobody")).balances] == ["AIT"]


def test_assets_and_policies(client: NodeClient, history: tuple[RunningNode, History]) -> None:
    address = history[1].chain.people.address
    ait, coin = all_items(client.assets, 1)
    assert (ait.symbol, ait.decimals, ait.issuer) == ("AIT", 18, to_checksum_address(MINTER))
    assert ait.supply == client.supply().supply
    assert (coin.asset, coin.issuer) == (to_checksum_address(COIN), to_checksum_address(address("issuer")))
    assert (coin.name, coin.decimals, coin.cap, coin.supply) == ("Coin of no worth", 6, 0, 3 * HELD_COINS)
    assert (coin.authorization_required, coin.freezable, coin.clawback) == (False, False, False)
    assert (client.asset(TOKEN), client.asset(COIN)) == (ait, coin)
    policy = client.policy(1)
    assert policy.authorities == [to_checksum_address(address("notary"))]
    assert (policy.countries_allowed, policy.countries, policy.minimum_level) == (False, [643], 2)


def test_candles(client: NodeClient, start_ms: int) -> None:
    minutes = client.market_candles(1, interval="1m", start_ms=start_ms).candles
    rows = [(each.time_ms - start_ms, each.open, each.high, each.low, each.close, each.lots) for each in minutes]
    assert rows == [
        (0, 500, 540, 500, 540, 3),
        (MINUTE_MS, 490, 490, 490, 490, 3),
        (2 * HOUR_MS, 520, 600, 510, 600, 9),
    ]
    assert [each.value for each in minutes] == [1540, 1470, 520 + 2040 + 2400]
    assert [each.trades for each in minutes] == [2, 1, 3]
    hours = client.market_candles(1, interval="1h", start_ms=start_ms)
    assert [(each.time_ms - start_ms, each.close, each.lots) for each in hours.candles] == [
        (0, 490, 6),
        (2 * HOUR_MS, 600, 9),
    ]
    assert (hours.interval, hours.interval_ms, hours.market) == ("1h", HOUR_MS, 1)
    for interval in ("5m", "15m"):
        merged = client.market_candles(1, interval=interval, start_ms=start_ms).candles
        assert [(each.time_ms, each.open, each.high, each.low, each.close) for each in merged] == [
            (start_ms, 500, 540, 490, 490),
            (start_ms + 2 * HOUR_MS, 520, 600, 510, 600),
        ]
    for interval in ("4h", "1d", "1w"):
        found = client.market_candles(1, interval=interval).candles
        assert sum(each.lots for each in found) == 16
        assert all(each.time_ms % min(hours.interval_ms, DAY_MS) == 0 for each in found)
    week = client.market_candles(1, interval="1w").candles[-1]
    assert time.gmtime(week.time_ms / 1000).tm_wday == 0  # A Monday.


def test_which_candles_are_given(client: NodeClient, start_ms: int) -> None:
    def times(**options: Any) -> list[int]:
        found = client.market_candles(1, interval="1m", **options).candles
        return [each.time_ms - start_ms for each in found]

    assert times(limit=2) == [MINUTE_MS, 2 * HOUR_MS]  # The last ones.
    assert times(start_ms=start_ms, limit=2) == [0, MINUTE_MS]  # The first ones from there.
    assert times(start_ms=start_ms + 1, limit=1) == [MINUTE_MS]
    assert times(end_ms=start_ms + MINUTE_MS) == [-DAY_MS, 0]
    assert times(end_ms=start_ms + MINUTE_MS + 1, limit=1) == [MINUTE_MS]
    assert times(start_ms=start_ms, end_ms=start_ms) == []
    assert times(start_ms=start_ms + 1, end_ms=start_ms) == []
    assert times(end_ms=0) == []
    assert times(start_ms=2**53 - 1) == []
    assert client.market_candles(2).candles == []


def test_ticker(client: NodeClient) -> None:
    ticker = client.market_ticker(1)
    assert (ticker.last, ticker.open, ticker.high, ticker.low, ticker.change) == (600, 500, 600, 490, "100")
    assert (ticker.lots, ticker.trades, ticker.value) == (15, 6, 1540 + 1470 + 4960)
    assert (ticker.bid, ticker.bid_lots, ticker.ask, ticker.ask_lots) == (400, 8, 600, 11)
    empty = client.market_ticker(2)
    assert (empty.last, empty.open, empty.change, empty.bid, empty.ask, empty.lots) == (None, None, None, None, None, 0)


def test_what_is_not_there(client: NodeClient) -> None:
    for ask in (
        lambda: client.market(3),
        lambda: client.market_book(3),
        lambda: client.market_trades(3),
        lambda: client.market_candles(3),
        lambda: client.market_ticker(3),
        lambda: client.order(19),
        lambda: client.asset(asset_address(2)),
        lambda: client.asset(MARKET),
        lambda: client.policy(2),
    ):
        with pytest.raises(NodeRefused) as refusal:
            ask()
        assert (refusal.value.status, refusal.value.reason) == (404, "not_found")


def test_answers_are_as_the_openapi_document_says(history: tuple[RunningNode, History]) -> None:
    node, told = history
    document = schemathesis.openapi.from_url(f"{node.url}/openapi.json")
    bob = to_checksum_address(told.chain.people.address("bob"))
    asked: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("/v1/markets", {}, {}),
        *((f"/v1/markets/{{market}}{rest}", {"market": 1}, {}) for rest in ("", "/book", "/trades", "/ticker")),
        ("/v1/markets/{market}/ticker", {"market": 2}, {}),
        *(("/v1/markets/{market}/candles", {"market": 1}, {"interval": interval}) for interval in ("1m", "4h", "1w")),
        *(("/v1/orders/{order_id}", {"order_id": order_id}, {}) for order_id in (1, 13, 15)),
        *(("/v1/accounts/{address}/orders", {"address": bob}, {"state": state}) for state in ("open", "all")),
        *((f"/v1/accounts/{{address}}/{rest}", {"address": bob}, {}) for rest in ("fills", "assets")),
        ("/v1/assets", {}, {}),
        ("/v1/assets/{address}", {"address": to_hex(COIN)}, {}),
        ("/v1/policies/{policy}", {"policy": 1}, {}),
    ]
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    for path, parameters, query in asked:
        case = document[path]["GET"].Case(path_parameters=parameters, query=query)
        answer = case.call_and_validate(base_url=node.url, checks=checks)
        assert answer.status_code == 200
        assert b'"finalized":true' in answer.content


ADDRESS: Final = "0x" + "ab" * 20


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *((f"/v1/markets/{number}", "market") for number in ("0", "-1", "x", "1.5", str(2**32), "9" * 4000)),
        *((f"/v1/markets/1/book?depth={depth}", "depth") for depth in ("0", "501", "-1", "1e2", "", "9" * 4000)),
        *((f"/v1/markets/1/candles?interval={word}", "interval") for word in ("", "1M", "2h", "60", "%00")),
        *(
            (f"/v1/markets/1/candles?{name}={value}", name)
            for name in ("start", "end", "limit")
            for value in ("-1", "x", "1.5", "", str(2**53), "9" * 4000)
        ),
        ("/v1/markets/1/candles?limit=0", "limit"),
        ("/v1/markets/1/candles?limit=1001", "limit"),
        ("/v1/markets?cursor=0xabab", "cursor"),
        ("/v1/markets/1/trades?cursor=0x00000002", "cursor"),
        ("/v1/markets/1/trades?limit=201", "limit"),
        ("/v1/orders/0", "order_id"),
        (f"/v1/orders/{2**53}", "order_id"),
        ("/v1/accounts/0x12/orders", "address"),
        (f"/v1/accounts/{ADDRESS}/orders?state=closed", "state"),
        (f"/v1/accounts/{ADDRESS}/orders?market=0", "market"),
        (f"/v1/accounts/{ADDRESS}/orders?cursor=0xabab", "cursor"),
        (f"/v1/accounts/{ADDRESS}/orders?state=all&cursor=0xabab", "cursor"),
        (f"/v1/accounts/{ADDRESS}/orders?cursor={ADDRESS}00000000", "cursor"),
        (f"/v1/accounts/{ADDRESS}/fills?cursor={ADDRESS}00000001", "cursor"),
        (f"/v1/accounts/{ADDRESS}/fills?market={2**32}", "market"),
        ("/v1/accounts/0x12/assets", "address"),
        ("/v1/assets/0x12", "address"),
        ("/v1/assets?cursor=0xab", "cursor"),
        (f"/v1/assets?cursor={ADDRESS}", "cursor"),
        (f"/v1/assets?cursor={ADDRESS}00", "cursor"),
        ("/v1/policies/0", "policy"),
        ("/v1/policies/x", "policy"),
        ("/v1/stream?market=0", "market"),
        ("/v1/stream?account=0x12", "account"),
        ("/v1/stream?last_event_id=-1", "last_event_id"),
        ("/v1/stream?last_event_id=" + "9" * 16, "last_event_id"),
    ],
)
def test_wrong_parameters_are_named(history: tuple[RunningNode, History], path: str, field: str) -> None:
    assert_problem(httpx.get(history[0].url + path), field=field)


def test_strange_cursors_of_the_right_form_end_the_list(history: tuple[RunningNode, History]) -> None:
    node, told = history
    bob = to_hex(told.chain.people.address("bob"))
    last_asset = to_hex(asset_address(2**32 - 1))
    for path in (
        f"/v1/accounts/{bob}/orders?cursor={bob}{'00' * 12}",
        f"/v1/accounts/{bob}/fills?cursor={bob}{'00' * 4}",
        f"/v1/assets?cursor={last_asset}",
        "/v1/markets?cursor=0xffffffff",
    ):
        answer = httpx.get(node.url + path)
        assert answer.status_code == 200
        assert answer.json() == {"items": [], "next_cursor": None}


def test_a_live_node_shows_what_becomes_final_and_keeps_it(start_node: StartNode) -> None:
    node = start_node()
    trading = Trading(node.people)
    for transactions in trading.founding():
        assert set(node.settle(*transactions)) == {"success"}
    assert set(node.settle(*trading.trade(500, 2), trading.place("cat", Side.BUY, 450, 1))) == {"success"}
    before = (
        node.client.market_trades(1),
        node.client.market_candles(1, interval="1d").candles,
        node.client.account_orders(node.people.address("cat")),
        node.client.market_book(1).bids,
    )
    assert [len(before[0].items), len(before[1]), len(before[2].items), len(before[3])] == [1, 1, 1, 1]
    metrics = httpx.get(f"{node.url}/metrics").text
    for line in ('orders_total{market="1"} 3.0', 'trades_total{market="1"} 1.0', 'lots_total{market="1"} 2.0'):
        assert f"aitbc_market_{line}" in metrics
    node.stop()

    again = start_node(node.people, path=node.path)
    after = (
        again.client.market_trades(1),
        again.client.market_candles(1, interval="1d").candles,
        again.client.account_orders(again.people.address("cat")),
        again.client.market_book(1).bids,
    )
    assert after == before
    assert again.settle(*trading.trade(510, 1)) == ["success", "success"]
    day = again.client.market_candles(1, interval="1w").candles[-1]
    assert (day.close, again.client.market_ticker(1).last) == (510, 510)
    assert sum(each.trades for each in again.client.market_candles(1, interval="1d").candles) == 2
