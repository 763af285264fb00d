"""Two wallets at the exchange of a devnet's follower trade freshly minted AIT for the devnet's asset.

What they see is what the REST API, the logs, the stream and the command line say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from chain.primitives.decimals import format_units
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.market import TRADE_EVENT
from chain.primitives.modules import MARKET
from genesis.market import HOLDER_ATOMS, LOT_ATOMS, DevnetMarket
from genesis.topology import DEVNET_NAME
from tests.browser.exchange_floor import assert_quiet, visit

if TYPE_CHECKING:
    from pathlib import Path

    from chain.market_answers import TradeView
    from tests.clients.network import DevnetNetwork

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.timeout(280)]

MINTED = 100 * 10**18


def still_running() -> None:
    """The fixture's processes are looked after by the fixture."""


def command(home: Path, url: str, *words: str) -> Any:
    """What `aitbc wallet market …` prints as JSON."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AITBC_")}
    ended = subprocess.run(
        [sys.executable, "-m", "genesis.cli", "wallet", "market", *words, "--json"],
        env={**environment, "AITBC_HOME": str(home), "AITBC_NODE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def logged_trades(url: str) -> list[dict[str, Any]]:
    """The market's Trade events, by eth_getLogs."""
    wanted = {"fromBlock": "0x0", "address": to_hex(MARKET), "topics": [to_hex(TRADE_EVENT.topic)]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [wanted]}
    answer: list[dict[str, Any]] = httpx.post(f"{url}/rpc", json=body).json()["result"]
    return answer


def test_two_wallets_trade_and_everybody_tells_the_same(network: DevnetNetwork, tmp_path: Path) -> None:
    # Given a devnet's market, somebody with AIT fresh from a receipt, and bob, who was given the devnet's asset
    market = DevnetMarket(network.url, network.secrets, still_running).make()
    number = market["market"]
    seller, buyer = network.funded(MINTED), network.secrets.key("bob")
    assert network.client.account_mints(seller.address).items
    # When they trade in two browsers
    seen = visit(
        f"{network.url}/exchange/{number}",
        "trade",
        sellerKey=to_hex(seller.secret),
        buyerKey=to_hex(buyer.secret),
        price="0.25",
        shownPrice="0.2500",
    )
    # Then both were told what they signed, and signed nothing else
    for person in seen["people"]:
        assert_quiet(network.url, person)
    assert_told(seen, network.chain_id, market["quote"])
    # And API, page, command line and logs tell the same trade
    (trade,) = network.client.market_trades(number).items
    assert_traded(trade, seen, seller, buyer)
    assert_logged(trade, logged_trades(network.url), number)
    (listed,) = command(tmp_path, network.url, "trades", "AIT/DUSD")["trades"]
    assert listed["id"] == trade.id
    assert (listed["price"], listed["quantity"], listed["taker_side"]) == ("0.25", "1.5", "buy")
    assert listed["transaction_hash"] == trade.transaction_hash
    for price, quantity, side, time in seen["shown"]:
        assert (price, quantity, side) == ("0.2500", "1.50", "buy")
        assert time
    plain = httpx.get(f"{network.url}/exchange/{number}").text
    assert f'data-trade="{trade.id}" data-transaction="{trade.transaction_hash}"' in plain
    # And every atom is where it belongs
    ait, dusd = network.client.account_assets(to_checksum_address(buyer.address)).balances
    assert ait.balance == 150 * LOT_ATOMS - trade.taker_fee
    assert dusd.balance == HOLDER_ATOMS - trade.value
    assert seen["balances"] == (
        f"{format_units(ait.balance, 18)} AIT free, 0 AIT in orders\n"
        f"{format_units(dusd.balance, 6)} DUSD free, 0 DUSD in orders"
    )
    sold, earned = network.client.account_assets(to_checksum_address(seller.address)).balances
    assert (sold.balance, sold.in_orders) == (MINTED - 150 * LOT_ATOMS, 0)
    assert earned.balance == trade.value - trade.maker_fee


def assert_told(seen: dict[str, Any], chain_id: int, quote: str) -> None:
    """What the page said before each signature, and after it."""
    seller, buyer = seen["people"]
    prompts = ["eth_requestAccounts", "wallet_addEthereumChain", "eth_sendTransaction"]
    assert (seller["prompts"], buyer["prompts"]) == ([*prompts, "eth_sendTransaction"], prompts)
    told, outcomes = seen["told"], seen["outcomes"]
    assert told["soldTold"] == {
        "Action": "Sell 2 AIT",
        "Market": "AIT/DUSD, number 1",
        "Price at least": "0.25 DUSD per AIT",
        "Kind": "limit, rests until it is cancelled",
        "You pay at most": "2 AIT",
        "Stays in escrow at most": "that much, until it is filled or cancelled",
        "You receive, filled whole, at least": "0.4993 DUSD",
        "Trading fee at that price, at most": "0.0007 DUSD, of what you receive",
        "DUSD is the asset": quote,
        "Network fee at most": "none",
        "Chain": f"{DEVNET_NAME}, number {chain_id}",
        "Sent to": f"the market, {to_checksum_address(MARKET)}",
    }
    assert told["boughtTold"]["You pay at most"] == "0.375 DUSD"
    assert told["boughtTold"]["You receive, filled whole, at least"] == "1.4985 AIT"
    assert told["boughtTold"]["Stays in escrow at most"].startswith("nothing")
    assert told["boughtTold"]["Kind"] == "takes at once what it can, the rest is cancelled"
    assert "Pays at most 0.375 DUSD" in told["estimate"]
    assert told["cancelTold"]["Action"] == "Cancel order 1"
    assert all(each.startswith("Done") for each in outcomes.values())
    assert "2 AIT rest in the book as order 1" in outcomes["placed"]
    assert "bought 1.5 AIT for 0.375 DUSD" in outcomes["bought"]
    assert seen["asks"] == [["0.2500", "2.00", "2.00"]]
    assert [row[1:6] for row in seen["resting"]] == [["sell", "good till cancelled", "0.2500", "2.00", "0.00"]]
    assert [row[4:6] for row in seen["partly"]] == [["0.50", "1.50"]]


def assert_traded(trade: TradeView, seen: dict[str, Any], seller: PrivateKey, buyer: PrivateKey) -> None:
    """The trade, as the REST API tells it."""
    assert (trade.price, trade.lots, trade.value) == (2_500, 150, 375_000)
    assert (trade.taker_side, trade.transaction_hash) == ("buy", seen["transaction"])
    assert (parse_address(trade.maker), parse_address(trade.taker)) == (seller.address, buyer.address)


def assert_logged(trade: TradeView, logs: list[dict[str, Any]], number: int) -> None:
    """The same of its event."""
    (log,) = logs
    event = TRADE_EVENT.decode([parse_hex(each) for each in log["topics"]], parse_hex(log["data"]))
    assert log["transactionHash"] == trade.transaction_hash
    assert int(log["blockNumber"], 16) == trade.height
    assert (event["market"], event["price"], event["lots"]) == (number, trade.price, trade.lots)
    assert (to_checksum_address(event["maker"]), to_checksum_address(event["taker"])) == (trade.maker, trade.taker)
    assert (event["makerFee"], event["takerFee"]) == (trade.maker_fee, trade.taker_fee)
