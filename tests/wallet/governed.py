"""What governance decides in the wallet's tests: by the network's only validator, with real proposals."""

from typing import Any

from chain.client import NodeClient
from chain.node.governance.governing import Operator
from chain.primitives.abi import Function
from chain.primitives.hexadecimal import parse_address
from chain.primitives.keys import PrivateKey
from chain.primitives.market import CREATE_MARKET, ISSUE_ASSET, MINT_ASSET
from chain.primitives.modules import ADD_ISSUER, GOVERNANCE, IS_ISSUER, MARKET, TOKEN
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import Address
from tests.wallet.running_node import CHAIN_ID, VALIDATOR, RunningNode
from wallet.market_events import read_issued

LOT, TICK = 10**16, 1
"""0.01 AIT; with 6 decimals of the quote asset prices in steps of 0.0001."""


def decide(node: RunningNode, function: Function, *arguments: Any, target: Address = MARKET) -> None:
    """Has the call made."""
    with NodeClient(node.url) as client:
        operator = Operator(client, VALIDATOR, network=node.network, timeout_s=60)
        number = operator.propose(function.encode(*arguments), target).number
        assert operator.execute(number).status == "executed"


def call(node: RunningNode, key: PrivateKey, to: Address, function: Function, *arguments: Any) -> Any:
    """The final transaction of a call that must succeed."""
    with NodeClient(node.url) as client:
        nonce = client.account(key.address).nonce
        sent = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=to, data=function.encode(*arguments))
        client.send_transaction(sent.raw)
        view = client.wait_for_transaction(sent.hash)
        assert view.status == "success", view.reason
        return view


def make_issuer(node: RunningNode, key: PrivateKey) -> None:
    """By governance, once."""
    with NodeClient(node.url) as client:
        if client.view(GOVERNANCE, IS_ISSUER, key.address).values == (True,):
            return
    decide(node, ADD_ISSUER, key.address, target=GOVERNANCE)


def issue(
    node: RunningNode, issuer: PrivateKey, symbol: str, *, flags: int = 0, **mints: tuple[Address, int]
) -> Address:
    """An asset with 6 decimals, and atoms of it for whoever is named."""
    make_issuer(node, issuer)
    issued = read_issued(call(node, issuer, MARKET, ISSUE_ASSET, f"Test {symbol}", symbol, 6, 0, flags, bytes(32)))
    assert issued is not None
    for holder, atoms in mints.values():
        call(node, issuer, MARKET, MINT_ASSET, issued, holder, atoms)
    return issued


def open_market(node: RunningNode, quote: Address, *, fees: tuple[int, int] = (5, 10), policy: int = 0) -> int:
    """AIT against the asset; its number."""
    decide(node, CREATE_MARKET, TOKEN, quote, LOT, TICK, 10, *fees, policy)
    with NodeClient(node.url) as client:
        markets = client.markets(limit=200).items
    return next(each.market for each in reversed(markets) if parse_address(each.quote.asset) == quote)
