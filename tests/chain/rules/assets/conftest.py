"""What the tests of assets share: a chain with an issuer, its coin, and people who hold AIT."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import market, modules
from chain.primitives.market import asset_address
from chain.rules.assets.holdings import asset_count, balance_of, issued_asset

if TYPE_CHECKING:
    from chain.primitives.abi import Function
    from chain.primitives.transaction import Transaction
    from chain.primitives.types import Address
    from chain.rules.execution import BlockOutcome
    from tests.chain.rules.conftest import Chain, MakeChain

PEOPLE = ("alice", "bob", "carol")
RESERVE = b"\x07" * 32


class Issuance:
    """alice, bob and carol hold 100 AIT each; `issuer` has issued `coin`, of which there is nothing yet."""

    def __init__(self, chain: Chain, flags: int, **terms: Any) -> None:
        self.chain = chain
        chain.give(*PEOPLE)
        chain.govern(modules.GOVERNANCE, modules.ADD_ISSUER.encode(chain.address("issuer")))
        self.coin = self.issue("issuer", flags=flags, **terms)

    def issue(self, issuer: str, **terms: Any) -> Address:
        """Another asset, by an account that governance has made an issuer."""
        self.chain.add(self.issuance(issuer, **terms))
        return asset_address(asset_count(self.chain.read()))

    def issuance(self, issuer: str, **changes: Any) -> Transaction:
        """issueAsset of something acceptable, but for these changes."""
        terms = {"name": "Play Money", "symbol": "PLAY", "decimals": 6, "cap": 0, "flags": 0, "reserve": RESERVE}
        return self.chain.call(issuer, modules.MARKET, market.ISSUE_ASSET, *{**terms, **changes}.values())

    def call(self, sender: str, function: Function, *arguments: Any, **fields: int) -> Transaction:
        """A call of the market module; names stand for addresses."""
        return self.chain.call(sender, modules.MARKET, function, *self.named(arguments), **fields)

    def token(self, sender: str, function: Function, *arguments: Any, **fields: int) -> Transaction:
        """A call of the coin itself; names stand for addresses."""
        return self.chain.call(sender, self.coin, function, *self.named(arguments), **fields)

    def named(self, arguments: tuple[Any, ...]) -> list[Any]:
        """With addresses in the place of names."""
        return [self.chain.address(each) if isinstance(each, str) else each for each in arguments]

    def mint(self, **amounts: int) -> BlockOutcome:
        """Gives people atoms of the coin."""
        minting = enumerate(amounts.items())
        return self.chain.add(
            *(
                self.call("issuer", market.MINT_ASSET, self.coin, name, amount, later=later)
                for later, (name, amount) in minting
            )
        )

    def balance(self, holder: str | Address, asset: Address | None = None) -> int:
        """Atoms of the coin, or of another asset."""
        address = self.chain.address(holder) if isinstance(holder, str) else holder
        return balance_of(self.chain.read(), asset or self.coin, address)

    @property
    def supply(self) -> int:
        """Of the coin."""
        return issued_asset(self.chain.read(), self.coin).supply

    def remove_issuer(self) -> None:
        """By governance."""
        address = self.chain.address("issuer")
        self.chain.govern(modules.GOVERNANCE, modules.REMOVE_ISSUER.encode(address))


MakeIssuance = Callable[..., Issuance]


@pytest.fixture(scope="session")
def make_issuance(make_chain: MakeChain) -> MakeIssuance:
    """(flags, **terms of the coin) → a new chain."""

    def make(flags: int = 0, **terms: Any) -> Issuance:
        return Issuance(make_chain(), flags, **terms)

    return make


@pytest.fixture
def issued(make_issuance: MakeIssuance) -> Issuance:
    """The coin has no flags and no cap."""
    return make_issuance()
