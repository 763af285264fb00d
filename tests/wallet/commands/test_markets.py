"""`aitbc wallet market`: two people trade through a real node, with words, exact amounts and every refusal."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.market import SET_MARKET_STATUS, MarketStatus
from chain.primitives.types import ATOMS_PER_AIT, Address
from tests.wallet.governed import decide, issue, open_market
from tests.wallet.running_node import RunningNode

RunWallet = Callable[..., Any]
ISSUER = PrivateKey(b"\x51" * 32)
MILLION = 1_000_000
NUMBERS = itertools.count(1)


class Trading(msgspec.Struct):
    """A market of its own for a test; alice has 100 AIT, bob 100 of the quote asset."""

    market: int
    symbol: str
    quote: Address
    run: RunWallet

    @property
    def name(self) -> str:
        return f"AIT/{self.symbol}"

    def __call__(self, *words: object, sender: str = "alice", code: int = 0) -> Any:
        ran = self.run("market", *map(str, words), "--from", sender, "--yes", "--json")
        assert ran.code == code, ran.stderr
        return ran.json if code == 0 else ran.stderr

    def read(self, *words: object) -> Any:
        ran = self.run("market", *map(str, words), "--json")
        assert ran.code == 0, ran.stderr
        return ran.json

    def balances(self, who: str) -> dict[str, tuple[int, int]]:
        """Free atoms and those in orders, by symbol."""
        listed = self.run("asset", "balance", who, "--json").json["balances"]
        return {each["symbol"]: (int(each["balance_atoms"]), int(each["in_orders_atoms"])) for each in listed}


@pytest.fixture
def trading(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> Trading:
    symbol = f"USD{next(NUMBERS)}"
    quote = issue(node, ISSUER, symbol, bob=(people["bob"].address, 100 * MILLION))
    node.fund(people["alice"], 100 * ATOMS_PER_AIT)
    return Trading(open_market(node, quote), symbol, quote, wallet)


def test_two_people_trade(trading: Trading) -> None:
    # Alice offers 5 AIT, and they rest
    sold = trading("sell", trading.name, "5", "0.25")
    assert (sold["status"], sold["lots"], sold["price_atoms_per_lot"]) == ("success", "500", "2500")
    assert (sold["filled_lots"], sold["open_lots"], sold["close_reason"]) == ("0", "500", None)
    book = trading.read("book", trading.name)
    assert book["bids"] == []
    assert book["asks"] == [
        {"price": "0.25", "quantity": "5", "price_atoms_per_lot": "2500", "lots": "500", "orders": 1}
    ]
    assert trading.balances("alice")["AIT"] == (95 * ATOMS_PER_AIT, 5 * ATOMS_PER_AIT)
    # Bob takes 3 of them, at her price
    bought = trading("buy", trading.market, "3", "0.3", sender="bob")
    assert (bought["filled_lots"], bought["filled_value_atoms"]) == ("300", "750000")
    assert (bought["open_lots"], bought["close_reason"]) == ("0", "filled")
    fee = 3 * ATOMS_PER_AIT // 1_000  # A taker's 0.1 %.
    assert int(bought["fee_atoms"]) == fee
    assert trading.balances("bob") == {
        "AIT": (3 * ATOMS_PER_AIT - fee, 0),
        trading.symbol: (100 * MILLION - 750_000, 0),
    }
    assert trading.balances("alice") == {
        "AIT": (95 * ATOMS_PER_AIT, 2 * ATOMS_PER_AIT),
        trading.symbol: (750_000 - 375, 0),  # A maker's 0.05 %.
    }
    # Everybody sees it
    (trade,) = trading.read("trades", trading.name)["trades"]
    assert (trade["price"], trade["quantity"], trade["taker_side"]) == ("0.25", "3", "buy")
    assert trade["transaction_hash"] == bought["transaction_hash"]
    (order,) = trading.read("orders", "alice")["orders"]
    assert (order["order_id"], order["open_lots"], order["filled_lots"]) == (sold["order_id"], "200", "300")
    # What is left comes back
    assert trading("cancel", sold["order_id"])["cancelled"] == [sold["order_id"]]
    assert trading.balances("alice")["AIT"] == (97 * ATOMS_PER_AIT, 0)
    assert trading.read("orders", "alice")["orders"] == []
    (order,) = trading.read("orders", "alice", "--all", "--market", trading.market)["orders"]
    assert (order["status"], order["close_reason"]) == ("closed", "cancelled")


def test_an_order_is_said_in_words_and_nothing_is_signed_without_a_yes(trading: Trading, node: RunningNode) -> None:
    order = ("market", "buy", trading.name, "5", "0.25", "--from", "bob")
    asked = trading.run(*order)
    assert (asked.code, asked.stdout) == (9, "")
    for text in (
        f"buy 500 lots (= 5 AIT) at 0.25 {trading.symbol} each",
        f"at most 1.25 {trading.symbol}",
        "5 AIT, less a fee of 0.1 % (of what trades at once; 0.05 % of what trades later), if all of it trades",
        "good-till-cancelled: what does not trade at once rests until you cancel it",
        to_checksum_address(trading.quote),
        "placeOrder",
        "2500 quote atoms per lot",
    ):
        assert text in asked.stderr
    tried = trading.run(*order, "--dry-run")
    assert tried.code == 0
    assert "it would succeed now" in tried.stdout
    sold = trading.run("market", "sell", trading.name, "5", "0.25", "--kind", "post-only", "--from", "alice")
    assert f"at least 1.25 {trading.symbol}, less a fee of 0.05 %, if all of it trades" in sold.stderr
    assert trading.read("book", trading.name)["bids"] == trading.read("book", trading.name)["asks"] == []
    assert node.network.chain_id == trading.run(*order, "--dry-run", "--json").json["chain_id"]


def test_people_read_lines(trading: Trading) -> None:
    for words in (["sell", trading.name, "2", "0.5"], ["sell", trading.name, "1", "0.4"]):
        trading(*words)
    ran = trading.run("market", "buy", trading.name, "2", "0.4", "--from", "bob", "--yes")
    assert f"bought 1 AIT for 0.4 {trading.symbol}, 1 AIT rest in the book" in ran.stdout
    lines = [line.split() for line in trading.run("market", "book", trading.name).stdout.splitlines()]
    assert lines == [
        ["price", trading.symbol, "quantity", "AIT", "orders"],
        ["sell", "0.5", "2", "1"],
        ["buy", "0.4", "1", "1"],
    ]
    assert "1 AIT  at 0.4" in trading.run("market", "trades", trading.name).stdout
    assert "at 0.5  0 traded" in trading.run("market", "orders", "alice").stdout
    listed = trading.run("market", "list").stdout
    row = next(line.split() for line in listed.splitlines() if trading.name in line)
    assert row == [
        *(str(trading.market), trading.name, "open", "0.01", "AIT", "0.0001", trading.symbol),
        *("0.1", "AIT", "0.05", "%", "0.1", "%", "-"),
    ]


def test_what_cannot_be_placed(trading: Trading) -> None:
    for words, code, says in (
        (("5", "0.25005"), 2, "nearest: 0.25 and 0.2501"),
        (("0.005", "0.25"), 2, "nearest: 0.1 AIT"),
        (("1.001", "0.25"), 2, "nearest: 1 AIT and 1.01 AIT"),
        (("five", "0.25"), 2, "must be a number"),
        (("5", "1e3"), 2, "must be a number"),
        (("5", "0"), 2, "nearest: 0.0001"),
        (("5", "0.25", "--kind", "good-till-height"), 2, "belong together"),
        (("5", "0.25", "--kind", "fill-or-kill", "--expiry-height", "9"), 2, "belong together"),
        (("5", "0.25", "--expiry-height", "1"), 7, "expired_on_arrival"),
        (("101", "0.25"), 7, "insufficient_funds"),
        (("5", "0.25", "--client-id", "0"), 2, ""),
        (("-5", "0.25"), 2, ""),
    ):
        ran = trading.run("market", "sell", trading.name, *words, "--from", "alice", "--yes")
        assert (ran.code, says in " ".join(ran.stderr.split())) == (code, True), (words, ran.stderr)
    assert trading.balances("alice")["AIT"] == (100 * ATOMS_PER_AIT, 0)


def test_markets_that_are_not_there_or_not_the_only_one(trading: Trading, node: RunningNode) -> None:
    assert "there is no market 'AIT/NONE'" in trading("buy", "AIT/NONE", "1", "1", code=1)
    assert "not_found" in trading("buy", "4000000000", "1", "1", code=5)
    second = open_market(node, trading.quote)
    refused = trading("buy", trading.name, "1", "1", code=1)
    assert f"2 markets are called '{trading.name}': choose a number ({trading.market}, {second})" in refused
    decide(node, SET_MARKET_STATUS, second, MarketStatus.HALTED)
    assert "market_halted" in trading("sell", second, "1", "1", code=7)
    assert {each["market"]: each["status"] for each in trading.read("list")["markets"]}[second] == "halted"


def test_cancelling_by_number_and_all_at_once(trading: Trading) -> None:
    placed = [trading("sell", trading.name, "1", f"0.{price}", "--client-id", price) for price in (5, 6, 7, 8)]
    ids = [each["order_id"] for each in placed]
    assert "not bob's" in trading("cancel", ids[0], sender="bob", code=5)
    assert trading("cancel", "--client-id", "6", "--market", trading.name)["cancelled"] == [ids[1]]
    assert "duplicate_client_id" in trading("sell", trading.name, "1", "0.9", "--client-id", "5", code=7)
    assert trading("cancel-all", trading.name, "--limit", "2")["cancelled"] == [ids[0], ids[2]]
    assert trading("cancel-all", trading.market)["cancelled"] == [ids[3]]
    assert "not_found" in trading("cancel", 10**15, code=5)
    for wrong in ((), (ids[0], "--client-id", "5", "--market", trading.name), ("--client-id", "5")):
        assert "name the ORDER, or give" in trading("cancel", *wrong, code=2)


def test_kinds_of_orders(trading: Trading) -> None:
    trading("sell", trading.name, "1", "0.5")
    assert "would_take" in trading("buy", trading.name, "1", "0.5", "--kind", "post-only", sender="bob", code=7)
    assert "would_not_fill" in trading("buy", trading.name, "2", "0.5", "--kind", "fill-or-kill", sender="bob", code=7)
    taken = trading("buy", trading.name, "2", "0.55555", "--kind", "market", sender="bob")
    assert (taken["price_atoms_per_lot"], taken["filled_lots"], taken["close_reason"]) == (
        "5555",
        "100",
        "rest_cancelled",
    )
    waits = trading("sell", trading.name, "1", "0.5", "--expiry-height", 10**6)
    assert (waits["kind"], waits["expiry_height"], waits["open_lots"]) == ("good_till_height", 10**6, "100")
    killed = trading("buy", trading.name, "1", "0.5", "--kind", "immediate-or-cancel", sender="bob")
    assert (killed["filled_lots"], killed["close_reason"]) == ("100", "filled")
