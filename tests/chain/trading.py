"""A market among named people, for tests of the node's index, its API and its streams: who sends what, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chain.primitives.market import (
    CREATE_MARKET,
    ISSUE_ASSET,
    MINT_ASSET,
    PLACE_ORDER,
    OrderKind,
    Side,
    asset_address,
)
from chain.primitives.modules import ADD_ISSUER, EXECUTE, GOVERNANCE, MARKET, PROPOSE, TOKEN
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from chain.primitives.abi import Function
    from chain.primitives.transaction import Transaction
    from chain.primitives.types import Address
    from tests.chain.conftest import People

COIN: Final = asset_address(1)
LOT: Final = ATOMS_PER_AIT // 100
TICK: Final = 10
MAKER_FEE: Final = 10
TAKER_FEE: Final = 25
HELD_COINS: Final = 10**9
HELD_AIT: Final = 100 * ATOMS_PER_AIT
TRADERS: Final = ("ann", "bob", "cat")


class Trading:
    """Signs what its people send, with their nonces in order. Market 1 trades AIT for COIN."""

    def __init__(self, people: People, *, nonces: dict[str, int] | None = None, proposals: int = 0) -> None:
        """`nonces` of those who have sent something before, `proposals` that were made before."""
        self.people = people
        self._nonces = dict(nonces or {})
        self._proposals = proposals

    def call(self, sender: str, to: Address, function: Function, *arguments: Any) -> Transaction:
        """One call."""
        return self.people.send(sender, to, nonce=self._next_nonce(sender), data=function.encode(*arguments))

    def decide(self, target: Address, function: Function, *arguments: Any) -> list[Transaction]:
        """What the single validator sends for a governed call."""
        self._proposals += 1
        return [
            self.call("validator", GOVERNANCE, PROPOSE, target, function.encode(*arguments)),
            self.call("validator", GOVERNANCE, EXECUTE, self._proposals),
        ]

    def founding(self) -> list[list[Transaction]]:
        """Blocks after which the traders hold AIT and COIN, and market 1 is open."""
        address = self.people.address
        founders = (*TRADERS, "issuer")
        return [
            [self.people.mint(name, HELD_AIT, nonce=self._next_nonce(name)) for name in founders],
            self.decide(GOVERNANCE, ADD_ISSUER, address("issuer")),
            [
                self.call("issuer", MARKET, ISSUE_ASSET, "Coin of no worth", "COIN", 6, 0, 0, bytes(32)),
                *(self.call("issuer", MARKET, MINT_ASSET, COIN, address(name), HELD_COINS) for name in TRADERS),
            ],
            self.open_market(),
        ]

    def open_market(self) -> list[Transaction]:
        """Another market of AIT for COIN."""
        return self.decide(MARKET, CREATE_MARKET, TOKEN, COIN, LOT, TICK, 1, MAKER_FEE, TAKER_FEE, 0)

    def place(
        self,
        sender: str,
        side: Side,
        price: int,
        lots: int,
        *,
        kind: OrderKind = OrderKind.GOOD_TILL_CANCELLED,
        expiry_height: int = 0,
        client_id: int = 0,
        market: int = 1,
    ) -> Transaction:
        """An order; `price` in atoms of COIN per lot."""
        return self.call(sender, MARKET, PLACE_ORDER, market, side, kind, price, lots, expiry_height, client_id)

    def trade(self, price: int, lots: int, *, market: int = 1) -> list[Transaction]:
        """Ann sells to Bob: two orders that fill each other."""
        return [
            self.place("ann", Side.SELL, price, lots, market=market),
            self.place("bob", Side.BUY, price, lots, market=market),
        ]

    def _next_nonce(self, sender: str) -> int:
        nonce = self._nonces.get(sender, 0)
        self._nonces[sender] = nonce + 1
        return nonce
