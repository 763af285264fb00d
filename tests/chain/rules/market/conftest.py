"""What the tests of the market share: a chain with an issued asset and one open market, where people can trade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import market as calls
from chain.primitives import modules
from chain.primitives.market import OrderKind, Side, asset_address
from chain.primitives.modules import GOVERNANCE, MARKET, TOKEN, TREASURY
from chain.primitives.types import ATOMS_PER_AIT, ZERO_HASH, Address
from chain.rules.assets.holdings import balance_of
from chain.rules.market.book import find_order, open_orders, order_count
from tests.chain.rules.market.auditing import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chain.primitives.abi import Function
    from chain.primitives.block import Log
    from chain.primitives.market_records import Order
    from chain.primitives.transaction import Transaction
    from chain.rules.execution import BlockOutcome
    from tests.chain.rules.conftest import Chain, MakeChain

LOT = 10**15
TICK = 10
MINIMUM_LOTS = 2
MAKER_FEE, TAKER_FEE = 10, 25
PEOPLE = ("alice", "bob", "carol")
QUOTE_EACH = 10**9


class Exchange:
    """alice, bob and carol hold 100 AIT and 10^9 atoms of `quote` each; market 1 trades AIT against it."""

    def __init__(self, chain: Chain, flags: int = 0) -> None:
        self.chain = chain
        self.quote = asset_address(1)
        chain.give(*PEOPLE)
        chain.govern(GOVERNANCE, modules.ADD_ISSUER.encode(chain.address("issuer")))
        chain.add(self.call("issuer", calls.ISSUE_ASSET, "Play Money", "PLAY", 6, 0, flags, ZERO_HASH))
        if flags & calls.AssetFlag.AUTHORIZATION_REQUIRED:
            chain.add(*(self.by_issuer(calls.SET_AUTHORIZED, name, True, later=i) for i, name in enumerate(PEOPLE)))
        chain.add(*(self.by_issuer(calls.MINT_ASSET, name, QUOTE_EACH, later=i) for i, name in enumerate(PEOPLE)))
        self.create_market()

    # Calls

    def call(self, sender: str, function: Function, *arguments: Any, **fields: int) -> Transaction:
        """A call of the market module; people's names stand for their addresses."""
        is_text = function is calls.ISSUE_ASSET
        named = [self.chain.address(each) if isinstance(each, str) and not is_text else each for each in arguments]
        return self.chain.call(sender, MARKET, function, *named, **fields)

    def by_issuer(self, function: Function, *arguments: Any, **fields: int) -> Transaction:
        """An issuer's call about the quote asset."""
        return self.call("issuer", function, self.quote, *arguments, **fields)

    def order(
        self,
        owner: str,
        side: Side,
        ticks: int,
        lots: int,
        *,
        kind: OrderKind = OrderKind.GOOD_TILL_CANCELLED,
        market: int = 1,
        price: int | None = None,
        expiry_height: int = 0,
        client_id: int = 0,
        **fields: int,
    ) -> Transaction:
        """placeOrder, at a price in ticks unless one in atoms is given."""
        chosen = ticks * TICK if price is None else price
        return self.call(owner, calls.PLACE_ORDER, market, side, kind, chosen, lots, expiry_height, client_id, **fields)

    def place(self, owner: str, side: Side, ticks: int, lots: int, **terms: Any) -> int:
        """A block with one order; its id."""
        self.add(self.order(owner, side, ticks, lots, **terms))
        return order_count(self.chain.read())

    def place_many(self, owner: str, side: Side, ticks: int, lots: int, count: int) -> int:
        """A block with equal orders; the first one's id."""
        first = order_count(self.chain.read()) + 1
        self.add(*(self.order(owner, side, ticks, lots, later=index) for index in range(count)))
        return first

    def add(self, *transactions: Transaction) -> BlockOutcome:
        """A block of exactly these, which all succeed; then everything is audited."""
        outcome = self.chain.add(*transactions)
        audit(self.chain.state.records)
        return outcome

    def govern(self, function: Function, *arguments: Any) -> BlockOutcome:
        """A decision about the market."""
        return self.chain.govern(MARKET, function.encode(*arguments))

    def create_market(self, **changes: Any) -> None:
        """One of AIT against the quote asset, but for these changes."""
        terms = {
            "base": TOKEN,
            "quote": self.quote,
            "lot": LOT,
            "tick": TICK,
            "minimum_lots": MINIMUM_LOTS,
            "maker_fee": MAKER_FEE,
            "taker_fee": TAKER_FEE,
            "policy": 0,
        }
        self.govern(calls.CREATE_MARKET, *{**terms, **changes}.values())

    def pass_blocks(self, count: int) -> None:
        """Empty ones."""
        for _ in range(count):
            self.chain.add()

    # Reading

    def holds(self, who: str | Address, asset: Address) -> int:
        """Atoms."""
        holder = self.chain.address(who) if isinstance(who, str) else who
        return balance_of(self.chain.read(), asset, holder)

    def holdings(self, *who: str | Address) -> dict[str | Address, tuple[int, int]]:
        """(AIT, quote) of each, in atoms, as differences to what they had at first."""
        start = dict.fromkeys(PEOPLE, (100 * ATOMS_PER_AIT, QUOTE_EACH))
        found = {}
        for each in who or (*PEOPLE, MARKET, TREASURY):
            first = start.get(each, (0, 0)) if isinstance(each, str) else (0, 0)
            found[each] = (self.holds(each, TOKEN) - first[0], self.holds(each, self.quote) - first[1])
        return found

    def resting(self, order_id: int) -> Order | None:
        """An open order."""
        return find_order(self.chain.read(), order_id)

    def open_ids(self, owner: str, market: int = 1) -> list[int]:
        """Of somebody's open orders."""
        return [order_id for order_id, _ in open_orders(self.chain.read(), market, self.chain.address(owner))]

    def events(self, outcome: BlockOutcome) -> list[tuple[Any, ...]]:
        """The last transaction's orders' events: name and values, people by name."""
        names: dict[bytes, str] = {self.chain.address(name): name for name in (*PEOPLE, "issuer")}
        return [_event_of(log, names) for log in outcome.results[-1].logs if _event_of(log, names)]


def _event_of(log: Log, names: Mapping[bytes, str]) -> tuple[Any, ...]:
    for event in (calls.ORDER_PLACED_EVENT, calls.TRADE_EVENT, calls.ORDER_CLOSED_EVENT):
        if (log.address, log.topics[0]) == (MARKET, event.topic):
            values = event.decode(log.topics, log.data).values()
            return (event.name, *(names[value] if isinstance(value, bytes) else value for value in values))
    return ()


@pytest.fixture
def exchange(make_chain: MakeChain) -> Exchange:
    """The quote asset has no flags."""
    return Exchange(make_chain())


@pytest.fixture
def strict_exchange(make_chain: MakeChain) -> Exchange:
    """The quote asset has every flag; everybody is authorised."""
    return Exchange(make_chain(), flags=7)
