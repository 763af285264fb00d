"""A devnet's market: an issuer, a quote asset that is worth nothing, and a market for AIT, through real governance.

Asks the chain before each step, so that whatever cut an earlier start off, this one goes on where it ended.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from chain.answers import TransactionView
from chain.client import NodeClient, NodeRefused, NodeUnavailable
from chain.market_answers import AssetView, MarketView
from chain.primitives.abi import Function
from chain.primitives.certificate import quorum
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.market import CREATE_MARKET, ISSUE_ASSET, MINT_ASSET
from chain.primitives.modules import (
    ADD_ISSUER,
    APPROVE_PROPOSAL,
    EXECUTE,
    GOVERNANCE,
    IS_ISSUER,
    MARKET,
    PROPOSE,
    PROPOSED_EVENT,
    TOKEN,
)
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import Address
from genesis.processes import ProcessFailed
from genesis.secrets import HOLDER_NAMES, ISSUER_NAME, DevnetSecrets

ASSET_NAME: Final = "Devnet dollar, worth nothing"
SYMBOL: Final = "DUSD"
DECIMALS: Final = 6
LOT_ATOMS: Final = 10**16
"""0.01 AIT."""
TICK_ATOMS: Final = 1
"""So a price is a multiple of 0.0001 DUSD per AIT."""
MAKER_FEE_BASIS_POINTS: Final = 5
TAKER_FEE_BASIS_POINTS: Final = 10
HOLDER_ATOMS: Final = 10_000 * 10**DECIMALS
"""What alice and bob are given each: with it they can buy AIT before they ever had any."""

_STEP_S: Final = 120.0  # A view whose leader was lost takes a while, and so does a follower that starts again.
_POLL_S: Final = 0.05

T = TypeVar("T")


class DevnetMarket:
    """Makes the market where it is missing. `check` raises ProcessFailed where the network cannot go on."""

    def __init__(self, node_url: str, secrets: DevnetSecrets, check: Callable[[], None]) -> None:
        self._client = NodeClient(node_url)
        self._secrets = secrets
        self._check = check
        self._issuer = secrets.key(ISSUER_NAME)

    def make(self) -> dict[str, Any]:
        """The market as devnet.json tells it; raises ProcessFailed."""
        try:
            with self._client:
                return self._make()
        except NodeRefused as refused:
            raise ProcessFailed(f"the node refused what makes the devnet's market: {refused}") from None

    def _make(self) -> dict[str, Any]:
        asset = self._ask(self._find_asset) or self._issue()
        self._give(asset)
        market = self._ask(lambda: self._find_market(asset)) or self._open(asset)
        return {
            "market": market.market,
            "base": market.base.asset,
            "quote": market.quote.asset,
            "quote_symbol": market.quote.symbol,
            "quote_name": asset.name,
            "quote_decimals": market.quote.decimals,
            "lot_atoms": str(market.lot),
            "tick_atoms": str(market.tick),
            "issuer": to_checksum_address(self._issuer.address),
        }

    # What there is

    def _find_asset(self) -> AssetView | None:
        issuer = to_checksum_address(self._issuer.address)
        assets = self._client.assets(limit=200).items
        return next((each for each in assets if (each.issuer, each.symbol) == (issuer, SYMBOL)), None)

    def _find_market(self, asset: AssetView) -> MarketView | None:
        markets = self._client.markets(limit=200).items
        return next((each for each in markets if each.quote.asset == asset.asset), None)

    # What is missing

    def _issue(self) -> AssetView:
        if self._ask(lambda: self._client.view(GOVERNANCE, IS_ISSUER, self._issuer.address)).values != (True,):
            self._decide(GOVERNANCE, ADD_ISSUER, self._issuer.address)
        # No reserve stands behind it, and its issuer has no power over holders.
        self._call(self._issuer, MARKET, ISSUE_ASSET, ASSET_NAME, SYMBOL, DECIMALS, 0, 0, bytes(32))
        return self._there(self._ask(self._find_asset), "the asset")

    def _give(self, asset: AssetView) -> None:
        """Once: later nobody is given anything, whatever was spent."""
        if int(self._ask(lambda: self._client.asset(asset.asset)).supply) >= HOLDER_ATOMS * len(HOLDER_NAMES):
            return
        quote = parse_address(asset.asset)
        for name in HOLDER_NAMES:
            holder = self._secrets.key(name).address
            if not self._ask(partial(self._holds, holder, asset)):
                self._call(self._issuer, MARKET, MINT_ASSET, quote, holder, HOLDER_ATOMS)

    def _holds(self, holder: Address, asset: AssetView) -> bool:
        return any(each.asset == asset.asset for each in self._client.account_assets(holder).balances)

    def _open(self, asset: AssetView) -> MarketView:
        fees = MAKER_FEE_BASIS_POINTS, TAKER_FEE_BASIS_POINTS
        self._decide(MARKET, CREATE_MARKET, TOKEN, parse_address(asset.asset), LOT_ATOMS, TICK_ATOMS, 1, *fees, 0)
        return self._there(self._ask(lambda: self._find_market(asset)), "the market")

    @staticmethod
    def _there(found: T | None, what: str) -> T:
        if found is None:
            raise ProcessFailed(f"{what} was made, but the follower does not show it")
        return found

    # How

    def _decide(self, target: Address, function: Function, *arguments: Any) -> None:
        """As many validators as are needed propose, approve and execute a call."""
        names = self._secrets.validator_names
        first, *others = (self._secrets.key(name) for name in names[: quorum(len(names))])
        view = self._call(first, GOVERNANCE, PROPOSE, target, function.encode(*arguments))
        (number,) = (int(log.topics[1], 16) for log in view.logs if parse_hex(log.topics[0]) == PROPOSED_EVENT.topic)
        sent = [self._send(key, GOVERNANCE, APPROVE_PROPOSAL.encode(number)) for key in others]
        for transaction in sent:
            self._wait(transaction)
        self._call(first, GOVERNANCE, EXECUTE, number)

    def _call(self, key: PrivateKey, to: Address, function: Function, *arguments: Any) -> TransactionView:
        return self._wait(self._send(key, to, function.encode(*arguments)))

    def _send(self, key: PrivateKey, to: Address, call_data: bytes) -> Transaction:
        nonce = self._ask(lambda: self._client.account(key.address)).pending_nonce
        transaction = sign_transaction(key, chain_id=self._secrets.chain_id, nonce=nonce, to=to, data=call_data)
        self._ask(lambda: self._client.send_transaction(transaction.raw))
        return transaction

    def _wait(self, transaction: Transaction) -> TransactionView:
        """Until it is final; what a killed follower forgot is handed in again."""
        deadline = time.monotonic() + _STEP_S
        while time.monotonic() < deadline:
            try:
                view = self._ask(lambda: self._client.transaction(transaction.hash))
            except NodeRefused:
                self._ask(lambda: self._client.send_transaction(transaction.raw))
                continue
            if view.finalized:
                if view.status != "success":
                    raise ProcessFailed(f"the chain refused what makes the devnet's market: {view.reason}")
                return view
            self._check()
            time.sleep(_POLL_S)
        raise ProcessFailed(f"a step of making the devnet's market was not final within {_STEP_S:.0f} s")

    def _ask(self, question: Callable[[], T]) -> T:
        """Until somebody answers: a lost follower comes back. Raises NodeRefused as it is."""
        deadline = time.monotonic() + _STEP_S
        while True:
            self._check()
            try:
                return question()
            except NodeUnavailable as error:
                if time.monotonic() > deadline:
                    raise ProcessFailed(f"no answer for the devnet's market: {error}") from None
            time.sleep(_POLL_S)
