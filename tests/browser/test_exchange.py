"""The web exchange in Chromium: orders, refusals, the keyboard, a reader without JavaScript, and exact numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from chain.api.pages.showing import NOTICES
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.market import (
    CANCEL_ALL,
    CANCEL_ORDER,
    CREATE_MARKET,
    ISSUE_ASSET,
    PLACE_ORDER,
    SET_MARKET_STATUS,
    MarketStatus,
    OrderKind,
    Side,
    asset_address,
)
from chain.primitives.market_units import MarketUnits
from chain.primitives.modules import MARKET, TOKEN, TOKEN_TRANSFER
from chain.primitives.rejection import Rejected
from tests.browser.exchange_floor import Floor, assert_quiet
from tests.chain.trading import COIN, LOT, TICK

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.timeout(280)]

MOST: Final = 2**64 - 1


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    opened = Floor(tmp_path / "chain")
    yield opened
    opened.node.stop()


def test_a_market_that_was_halted_is_left_by_a_button(floor: Floor) -> None:
    trading = floor.trading
    orders = [trading.place("bob", Side.BUY, 600 + 10 * step, 100) for step in range(4)]
    assert set(floor.node.settle(*orders)) == {"success"}
    assert set(floor.node.settle(*trading.decide(MARKET, SET_MARKET_STATUS, 1, MarketStatus.HALTED))) == {"success"}
    seen = floor.visit("leaving", key=floor.key("bob"))
    assert_quiet(floor.node.url, seen)
    assert [row[1:6] for row in seen["before"]] == [
        ["buy", "good till cancelled", price, "1.00", "0.00"] for price in ("0.063", "0.062", "0.061", "0.060")
    ]
    assert seen["refused"] == "This cannot be done: market 1 is halted"
    assert seen["notice"] == NOTICES["halted"]
    assert seen["told"]["Action"] == "Cancel all your orders in market 1, the oldest 100 at most"
    assert seen["told"]["You pay"] == "nothing; what the orders hold comes back"
    assert seen["outcome"].startswith("Done")
    assert seen["balances"] == "100 AIT free, 0 AIT in orders\n1000 COIN free, 0 COIN in orders"
    assert floor.client.account_orders(floor.address("bob")).items == []


def test_what_cannot_be_is_said_before_anybody_signs(floor: Floor) -> None:
    seen = floor.visit("refusals", buyerKey=floor.key("bob"))
    assert_quiet(floor.node.url, seen)
    assert seen["offTick"] == ["Prices go in steps of 0.001 COIN; nearest: 0.07 and 0.071.", "price"]
    assert seen["offLot"] == ["Quantities are whole lots of 0.01; nearest: 1 AIT and 1.01 AIT.", "quantity"]
    assert seen["noBlock"][1] == "expiry"
    assert "insufficient" in seen["tooMuch"].lower()
    assert "eth_sendTransaction" not in seen["prompts"]
    assert int(floor.client.account(floor.address("bob")).nonce) == 1


def test_the_keyboard_alone_places_an_order_on_a_telephone(floor: Floor) -> None:
    seen = floor.visit("keyboard", buyerKey=floor.key("bob"))
    assert_quiet(floor.node.url, seen)  # Nor did the other wallet's picture come from its own server.
    assert seen["offered"] == ["A wallet", "Another <b>wallet</b>"]
    assert seen["told"]["Action"] == "Sell 0.5 AIT"
    assert seen["outcome"].startswith("Done")
    assert not seen["isTooWide"]
    (order,) = floor.client.account_orders(floor.address("bob")).items
    assert (order.side, order.kind, order.price, order.lots) == ("sell", "good_till_cancelled", 900, 50)


def test_it_is_read_without_javascript_and_on_any_width(floor: Floor) -> None:
    trading = floor.trading
    for transaction in trading.trade(700, 25):
        floor.node.settle(transaction)
    orders = [trading.place("bob", Side.BUY, 690 - 10 * step, 100 + step) for step in range(6)]
    orders += [trading.place("ann", Side.SELL, 710 + 10 * step, 50 * (step + 1)) for step in range(6)]
    orders += [trading.place("cat", Side.SELL, 705 // TICK * TICK + TICK, 30, kind=OrderKind.POST_ONLY)]
    assert set(floor.node.settle(*orders)) == {"success"}
    seen = floor.visit("reading", address=floor.address("bob"), marketsUrl=f"{floor.node.url}/exchange")
    assert not seen["isForm"]
    assert seen["rows"]["bids"][0] == ["0.069", "1.00", "1.00"]
    assert seen["rows"]["bids"][1] == ["0.068", "1.01", "2.01"]
    assert seen["rows"]["asks"][-1] == ["0.071", "0.80", "0.80"]
    assert [row[:3] for row in seen["rows"]["trades"]] == [["0.070", "0.25", "buy"]]
    assert len(seen["rows"]["orders"]) == 6
    for part in (
        'heading "AIT/COIN" [level=1]',
        'rowgroup "Asks: for sale"',
        'region "Trades',
        'navigation "Interval',
        "contentinfo",
    ):
        assert part in seen["said"]
    assert seen["markets"][:2] == ["AIT/COIN 1", "0.070"]
    assert seen["widths"] == [False] * 3


def test_names_of_any_kind_are_text_and_fit_on_a_telephone(floor: Floor) -> None:
    trading = floor.trading
    hostile, wide = "<img/src=x>", "W" * 16
    for transactions in (
        [
            trading.call("issuer", MARKET, ISSUE_ASSET, "<script>alert(1)</script>", hostile, 6, 0, 0, bytes(32)),
            trading.call("issuer", MARKET, ISSUE_ASSET, "Wide", wide, 18, 0, 0, bytes(32)),
        ],
        trading.decide(MARKET, CREATE_MARKET, TOKEN, asset_address(2), LOT, TICK, 1, 0, 0, 0),
        trading.decide(MARKET, CREATE_MARKET, asset_address(3), asset_address(2), 10**10, 7, 1, 1, 3, 0),
        [trading.place("ann", Side.SELL, 10**9, 1_234, market=2)],
    ):
        assert set(floor.node.settle(*transactions)) == {"success"}
    urls = [f"{floor.node.url}/exchange{path}" for path in ("", "/2", "/3")]
    seen = floor.visit("names", urls=urls)
    assert seen["headings"] == ["Markets", f"AIT/{hostile}", f"{wide}/{hostile}"] * 2
    assert seen["images"] == 0
    assert seen["widths"] == [False] * 6
    assert all(each.endswith(f" AIT/{hostile} · people") for each in seen["titles"][1::3])
    assert seen["said"] == []


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
