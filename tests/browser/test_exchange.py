"""The web exchange in Chromium: people with wallets trade, and what they see is what the chain says.

Pictures of the pages are written where AITBC_PICTURES names a folder, for whoever wants to look at them.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from chain.client import NodeClient
from chain.primitives.decimals import format_units
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.market import CANCEL_ALL, CANCEL_ORDER, PLACE_ORDER, TRADE_EVENT, OrderKind, Side
from chain.primitives.market_units import MarketUnits
from chain.primitives.modules import MARKET, TOKEN_TRANSFER
from chain.primitives.rejection import Rejected
from tests.chain.conftest import CHAIN_ID, People, RunningNode
from tests.chain.trading import COIN, HELD_AIT, HELD_COINS, LOT, TICK, Trading
from tests.clients.network import run_script

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.timeout(280)]

EXCHANGE: Final = Path(__file__).parent / "exchange.mjs"
CALLS: Final = (PLACE_ORDER, CANCEL_ORDER, CANCEL_ALL)
MOST: Final = 2**64 - 1


class Floor:
    """A node with a market of its own, and people who hold something."""

    def __init__(self, path: Path) -> None:
        people = People()
        self.node = RunningNode(people, path)
        self.trading = Trading(people)
        for transactions in self.trading.founding():
            assert set(self.node.settle(*transactions)) == {"success"}

    @property
    def client(self) -> NodeClient:
        """The node's REST."""
        return self.node.client

    @property
    def page_url(self) -> str:
        """Of the market."""
        return f"{self.node.url}/exchange/1"

    def key(self, name: str) -> str:
        """Of somebody, in hex."""
        return to_hex(self.trading.people.key(name).secret)

    def address(self, name: str) -> str:
        """Of somebody, as people write it."""
        return to_checksum_address(self.trading.people.address(name))

    def visit(self, scenario: str, **inputs: Any) -> dict[str, Any]:
        """What people in browsers saw."""
        more = {"pageUrl": self.page_url, "chromiumPath": shutil.which("chromium"), "pictures": _pictures()}
        return run_script(EXCHANGE, scenario, {**more, **inputs})

    def rpc(self, method: str, *parameters: Any) -> Any:
        """What JSON-RPC answers."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        return httpx.post(f"{self.node.url}/rpc", json=body).json()["result"]


def _pictures() -> str | None:
    return os.environ.get("AITBC_PICTURES")


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    opened = Floor(tmp_path / "chain")
    yield opened
    opened.node.stop()


def assert_quiet(floor: Floor, person: dict[str, Any]) -> None:
    """No error in the browser's console, such as one of the content-security policy's; and only the node was asked."""
    assert person["said"] == []
    assert person["asked"] == [floor.node.url]


def test_two_wallets_trade_and_everybody_tells_the_same(floor: Floor) -> None:
    seen = floor.visit("trade", sellerKey=floor.key("ann"), buyerKey=floor.key("bob"))
    for person in seen["people"]:
        assert_quiet(floor, person)
    seller, buyer = seen["people"]
    assert seller["prompts"] == [
        "eth_requestAccounts",
        "wallet_addEthereumChain",
        "eth_sendTransaction",
        "eth_sendTransaction",
    ]
    assert buyer["prompts"] == ["eth_requestAccounts", "wallet_addEthereumChain", "eth_sendTransaction"]

    told = seen["told"]
    assert told["soldTold"] == {
        "Action": "Sell 2 AIT",
        "Market": "AIT/COIN, number 1",
        "Price at least": "0.07 COIN per AIT",
        "Kind": "limit, rests until it is cancelled",
        "You pay at most": "2 AIT",
        "You receive, filled whole, at least": "0.13945 COIN",
        "Trading fee at that price, at most": "0.00055 COIN, of what you receive",
        "Network fee at most": "none",
        "Chain": f"people, number {CHAIN_ID}",
        "Sent to": f"the market, {to_checksum_address(MARKET)}",
    }
    assert told["boughtTold"]["You pay at most"] == "0.105 COIN"
    assert told["boughtTold"]["You receive, filled whole, at least"] == "1.49625 AIT"
    assert told["boughtTold"]["Kind"].startswith("takes at once what it can")
    assert "Pays at most 0.105 COIN" in told["estimate"]
    assert told["cancelTold"]["Action"] == "Cancel order 1"
    assert all(each.startswith("Done") for each in seen["outcomes"].values())

    (trade,) = floor.client.market_trades(1).items
    assert (trade.price, trade.lots, trade.value) == (700, 150, 105_000)
    assert (trade.maker, trade.taker, trade.taker_side) == (floor.address("ann"), floor.address("bob"), "buy")
    assert trade.transaction_hash == seen["transaction"]
    for price, quantity, side, _time in seen["shown"]:
        assert (price, quantity, side) == ("0.070", "1.50", "buy")
    assert seen["asks"] == [["0.070", "2.00", "2.00"]]
    assert [row[1:6] for row in seen["resting"]] == [["sell", "good till cancelled", "0.070", "2.00", "0.00"]]
    assert [row[4:6] for row in seen["partly"]] == [["0.50", "1.50"]]

    (log,) = floor.rpc(
        "eth_getLogs", {"fromBlock": "0x0", "address": to_hex(MARKET), "topics": [to_hex(TRADE_EVENT.topic)]}
    )
    event = TRADE_EVENT.decode([parse_hex(each) for each in log["topics"]], parse_hex(log["data"]))
    assert log["transactionHash"] == seen["transaction"]
    assert (event["price"], event["lots"], event["market"]) == (700, 150, 1)
    assert (to_checksum_address(event["maker"]), to_checksum_address(event["taker"])) == (trade.maker, trade.taker)
    assert (event["makerFee"], event["takerFee"]) == (trade.maker_fee, trade.taker_fee)

    ait, coins = floor.client.account_assets(floor.address("bob")).balances
    assert ait.balance == HELD_AIT + 150 * LOT - trade.taker_fee
    assert coins.balance == HELD_COINS - 105_000
    assert f"{format_units(coins.balance, 6)} COIN free" in seen["balances"]
    (sold, _) = floor.client.account_assets(floor.address("ann")).balances
    assert (sold.balance, sold.in_orders) == (HELD_AIT - 150 * LOT, 0)


def test_what_cannot_be_is_said_before_anybody_signs(floor: Floor) -> None:
    seen = floor.visit("refusals", buyerKey=floor.key("bob"))
    assert_quiet(floor, seen)
    assert seen["offTick"] == ["Prices go in steps of 0.001 COIN; nearest: 0.07 and 0.071.", "price"]
    assert seen["offLot"] == ["Quantities are whole lots of 0.01; nearest: 1 AIT and 1.01 AIT.", "quantity"]
    assert seen["noBlock"][1] == "expiry"
    assert "insufficient" in seen["tooMuch"].lower()
    assert "eth_sendTransaction" not in seen["prompts"]
    assert int(floor.client.account(floor.address("bob")).nonce) == 1


def test_the_keyboard_alone_places_an_order_on_a_telephone(floor: Floor) -> None:
    seen = floor.visit("keyboard", buyerKey=floor.key("bob"))
    assert_quiet(floor, seen)  # Nor did the other wallet's picture come from its own server.
    assert seen["offered"] == ["A wallet", "Another <b>wallet</b>"]
    assert seen["told"]["Action"] == "Sell 0.5 AIT"
    assert seen["outcome"].startswith("Done")
    assert not seen["isTooWide"]
    (order,) = floor.client.account_orders(floor.address("bob")).items
    assert (order.side, order.kind, order.price, order.lots) == ("sell", "good_till_cancelled", 900, 50)


def test_it_is_read_without_javascript_and_on_any_width(floor: Floor) -> None:
    trading = floor.trading
    orders = [trading.place("bob", Side.BUY, 690 - 10 * step, 100 + step) for step in range(6)]
    orders += [trading.place("ann", Side.SELL, 710 + 10 * step, 50 * (step + 1)) for step in range(6)]
    orders += trading.trade(700, 25)
    orders += [trading.place("cat", Side.SELL, 705 // TICK * TICK + TICK, 30, kind=OrderKind.POST_ONLY)]
    assert set(floor.node.settle(*orders)) == {"success"}
    seen = floor.visit("reading", address=floor.address("bob"), marketsUrl=f"{floor.node.url}/exchange")
    assert not seen["isForm"]
    assert seen["rows"]["bids"][0] == ["0.069", "1.00", "1.00"]
    assert seen["rows"]["bids"][1] == ["0.068", "1.01", "2.01"]
    assert seen["rows"]["asks"][0] == ["0.071", "0.80", "0.80"]
    assert [row[:3] for row in seen["rows"]["trades"]] == [["0.070", "0.25", "buy"]]
    assert len(seen["rows"]["orders"]) == 6
    for part in (
        'heading "AIT/COIN" [level=1]',
        'table "Bids',
        'region "Trades',
        'navigation "Interval',
        "contentinfo",
    ):
        assert part in seen["said"]
    assert seen["markets"][:2] == ["AIT/COIN", "0.070"]
    assert seen["widths"] == [False] * 3


def test_the_pages_encoder_and_numbers_agree_with_the_chains(floor: Floor) -> None:
    market = floor.client.market(1)
    placements = [(1, 0, 0, 700, 150, 0, 0), (2**32 - 1, 1, 5, 2**256 - 1, MOST, MOST, MOST), (0,) * 7]
    right = [
        *((PLACE_ORDER, values) for values in placements),
        *((CANCEL_ORDER, (number,)) for number in (0, 1, MOST)),
        (CANCEL_ALL, (7, 2**16 - 1)),
        (TOKEN_TRANSFER, (bytes(range(20)), 10**30)),
    ]
    calls = [
        {
            "described": _described(function),
            "values": [to_hex(each) if isinstance(each, bytes) else str(each) for each in values],
            "data": to_hex(function.encode(*values)),
        }
        for function, values in right
    ]
    data = to_hex(CANCEL_ALL.encode(7, 100))
    wrong = [(str(2**32), "1", data + "00"), ("1", str(2**16), data[:-2]), ("1", "-1", data[:10] + "f" * 128)]
    calls += [{"described": _described(CANCEL_ALL), "values": [a, b], "data": bad} for a, b, bad in wrong]
    numbers = [
        "0",
        "1",
        "0.07",
        "0.0705",
        "1/3",
        "7/100",
        "1.5",
        "0.01",
        "0.005",
        "123456789.01",
        "1e3",
        "",
        "-1",
        "1.",
        "9" * 80,
    ]
    base, quote = (
        {"symbol": each.symbol, "decimals": each.decimals, "asset": each.asset} for each in (market.base, market.quote)
    )
    described = {"base": base, "quote": quote, "lot": str(LOT), "tick": str(TICK), "minimum_lots": "1"}
    seen = floor.visit("modules", calls=calls, numbers=numbers, market=described)

    assert seen["encoded"] == [each["data"] for each in calls[:-3]] + ["RangeError"] * 3
    assert seen["decoded"] == [",".join(each["values"]) for each in calls[:-3]] + ["RangeError"] * 3
    units = MarketUnits(
        base_symbol="AIT", base_decimals=18, quote_symbol="COIN", quote_decimals=6, lot=LOT, tick=TICK, minimum_lots=1
    )
    for text, parsed in zip(numbers, seen["parsed"], strict=True):
        assert parsed == [
            _attempt(lambda text=text: units.parse_price(text)),
            _attempt(lambda text=text: units.parse_worst_price(text, is_buy=True)),
            _attempt(lambda text=text: units.parse_worst_price(text, is_buy=False)),
            _attempt(lambda text=text: units.parse_quantity(text)),
        ], text
    whole = [int(text) for text in numbers if text.isdigit()]
    assert seen["shown"] == [[units.format_price(each), units.format_quantity(each)] for each in whole]
    assert to_checksum_address(COIN) == market.quote.asset


def _described(function: Any) -> dict[str, Any]:
    """As the page's settings describe it."""
    return {
        "name": function.name,
        "selector": to_hex(function.selector),
        "parameters": [{"name": each.name, "type": each.type.name} for each in function.inputs],
    }


def _attempt(parse: Any) -> str:
    try:
        return str(parse())
    except Rejected:
        return "Refusal"
