"""The ccxt exchange against a real node: the book is read, an order placed and cancelled, a trade made."""

from __future__ import annotations

from typing import Any

import ccxt
import pytest

from chain.primitives.keys import PrivateKey
from chain.primitives.types import ATOMS_PER_AIT
from tests.wallet.governed import issue, open_market
from tests.wallet.running_node import RunningNode
from wallet.ccxt_exchange import AitbcExchange


def test_two_programs_trade(node: RunningNode) -> None:
    alice, bob = PrivateKey.generate(), PrivateKey.generate()
    number = open_market(node, issue(node, PrivateKey(b"\x53" * 32), "CCXT", bob=(bob.address, 100_000_000)))
    node.fund(alice, 10 * ATOMS_PER_AIT)
    seller, buyer = (
        AitbcExchange({"nodeUrl": node.url, "privateKey": "0x" + key.secret.hex()}) for key in (alice, bob)
    )
    market = seller.load_markets()["AIT/CCXT"]
    assert (market["id"], market["taker"], market["precision"]) == (
        str(number),
        0.001,
        {"amount": 0.01, "price": 0.0001},
    )
    order: Any = seller.create_order("AIT/CCXT", "limit", "sell", 5, 0.25)
    assert (order["status"], order["amount"], order["remaining"]) == ("open", 5.0, 5.0)
    book = buyer.fetch_order_book("AIT/CCXT")
    assert (book["asks"], book["bids"]) == ([[0.25, 5.0]], [])
    bought = buyer.create_order("AIT/CCXT", "market", "buy", "2", "0.3")
    assert (bought["status"], bought["filled"]) == ("closed", 2.0)
    (trade,) = seller.fetch_trades("AIT/CCXT")
    assert (trade["price"], trade["amount"], trade["cost"], trade["side"]) == (0.25, 2.0, 0.5, "buy")
    (candle,) = seller.fetch_ohlcv("AIT/CCXT", "1m")
    assert candle[1:] == [0.25, 0.25, 0.25, 0.25, 2.0]
    ticker = seller.fetch_ticker("AIT/CCXT")
    assert (ticker["last"], ticker["ask"], ticker["bid"]) == (0.25, 0.25, None)
    (left,) = seller.fetch_open_orders("AIT/CCXT")
    assert (left["id"], left["remaining"]) == (order["id"], 3.0)
    assert seller.fetch_balance()["AIT"] == {"free": 5.0, "used": 3.0, "total": 8.0}
    assert seller.cancel_order(order["id"])["status"] == "closed"
    assert seller.fetch_open_orders() == []
    assert seller.fetch_balance()["AIT"]["free"] == 8.0
    # What cannot be has ccxt's own errors
    with pytest.raises(ccxt.InvalidOrder, match="nearest"):
        seller.create_order("AIT/CCXT", "limit", "sell", 5, 0.25005)
    with pytest.raises(ccxt.InsufficientFunds):
        seller.create_order("AIT/CCXT", "limit", "sell", 500, 0.25)
    for params in (
        {"timeInForce": "GTD"},
        {"timeInForce": "IOC", "postOnly": True},
        {"clientOrderId": "mine"},
        {"clientOrderId": -1},
        {"clientOrderId": 2**64},
    ):
        with pytest.raises(ccxt.InvalidOrder):
            seller.create_order("AIT/CCXT", "limit", "sell", 5, 0.25, params)
    for amount in (-5, float("nan"), float("inf"), "5 AIT", 10**80):
        with pytest.raises(ccxt.InvalidOrder):
            seller.create_order("AIT/CCXT", "limit", "sell", amount, 0.25)
    with pytest.raises(ccxt.InvalidOrder):
        seller.create_order("AIT/CCXT", "market", "sell", 5, 0.25, {"postOnly": True})
    for order_id in ("mine", "-1", str(2**64), "9" * 30):
        with pytest.raises(ccxt.InvalidOrder):
            seller.cancel_order(order_id)
    with pytest.raises(ccxt.BadSymbol):
        seller.fetch_order_book("AIT/NONE")
    assert seller.fetch_order_book("AIT/CCXT", limit=10_000)["asks"] == []
    with pytest.raises(ccxt.ArgumentsRequired):
        seller.create_order("AIT/CCXT", "market", "sell", 5)
    with pytest.raises(ccxt.AuthenticationError):
        AitbcExchange({"nodeUrl": node.url}).fetch_balance()
    with pytest.raises(ccxt.NetworkError):
        AitbcExchange({"nodeUrl": "http://127.0.0.1:1"}).fetch_markets()
