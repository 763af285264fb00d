"""Anybody sends anything, in blocks with little room: nothing but refusals comes of it, no atom is lost or made, what a
proposer builds is what importers accept, and at the end everybody can still cancel everything."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import market as calls
from chain.primitives.market import ANY_ASSET, AssetFlag, MarketStatus, asset_address
from chain.primitives.modules import (
    ASSET_FUNCTIONS,
    FUNCTIONS,
    HTLC,
    MARKET,
    REGISTRY,
    TOKEN,
    TREASURY,
)
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules.market.closing import MAX_CANCELLED
from tests.chain.rules.market.auditing import audit, orders_in
from tests.chain.rules.market.conftest import LOT, PEOPLE, TICK, Exchange
from tests.chain.rules.test_operations import nasty_value

if TYPE_CHECKING:
    from chain.primitives.abi import AbiType, Function
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import MakeChain

SENDERS = (*PEOPLE, "issuer", "authority", "attester", "nobody")
BLOCKS = 40
_WAITS = {RejectionReason.BLOCK_FULL, RejectionReason.ACCOUNT_QUOTA, RejectionReason.NONCE_TOO_HIGH}


class Attacker:
    """Draws calls of every function that there is, with arguments that mostly make sense, now and then none at all."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        self._chance = random.Random(seed)
        self._governed = [
            function for function in FUNCTIONS[MARKET] if function.name in _GOVERNED and not function.is_view
        ]
        self._calls = [
            (module, function)
            for module in (MARKET, MARKET, HTLC, REGISTRY)
            for function in FUNCTIONS[module]
            if not function.is_view
        ] + [(ANY_ASSET, function) for function in ASSET_FUNCTIONS if not function.is_view]

    def transactions(self, count: int) -> list[Transaction]:
        """Of one block; each sender's nonces are right if all before them get in."""
        nonces: Counter[str] = Counter()
        return [self._transaction(nonces) for _ in range(count)]

    def decision(self) -> bytes:
        """What governance executes, hostile or not."""
        function = self._chance.choice(self._governed)
        return function.encode(*self._arguments(function))

    def _transaction(self, nonces: Counter[str]) -> Transaction:
        chance, sender = self._chance, self._chance.choice(SENDERS)
        later = nonces[sender]
        nonces[sender] += 1
        if chance.random() < 0.5:
            module, function = MARKET, calls.PLACE_ORDER
        else:
            module, function = chance.choice(self._calls)
        to = chance.choice(self._assets()) if module == ANY_ASSET else module
        arguments = self._order() if function is calls.PLACE_ORDER else self._arguments(function)
        return self._exchange.chain.call(sender, to, function, *arguments, later=later)

    def _order(self) -> list[Any]:
        chance = self._chance
        price = chance.randint(95, 105) * TICK
        expiry = self._exchange.chain.head.height + chance.randrange(4)
        kind = chance.choice([0, 0, 0, 0, 1, 2, 3, 4, 5])
        market = chance.choice([1, 1, 1, 2, 3])
        lots = chance.choice([2, 2, 5, 40, 500])
        return [market, chance.randrange(2), kind, price, lots, expiry if kind == 1 else 0, chance.randrange(4)]

    def _arguments(self, function: Function) -> list[Any]:
        return [self._value(parameter.type, parameter.name) for parameter in function.inputs]

    def _value(self, abi_type: AbiType, name: str) -> Any:
        chance = self._chance
        if chance.random() < 0.1:
            return nasty_value(self._exchange.chain, abi_type, chance)
        if name in ("asset", "base", "quote"):
            return chance.choice(self._assets())
        if abi_type.base == "address":
            return chance.choice(self._addresses())
        if name == "orderIds":
            return [self._order_id() for _ in range(chance.choice([0, 1, 5, 64]))]
        if name == "orderId":
            return self._order_id()
        known = {
            "market": (1, 1, 2, 3),
            "limit": (1, MAX_CANCELLED),
            "value": (1, LOT, 10**9),
            "deadline": [self._exchange.chain.next_block.time_ms // 1000 + ahead for ahead in (1, 60, 10**6)],
            "expiresAt": [self._exchange.chain.next_block.time_ms // 1000 + ahead for ahead in (1, 3, 10**6)],
            "policy": (0, 1),
            "status": (MarketStatus.OPEN, MarketStatus.OPEN, MarketStatus.HALTED),
            "country": (276,),
            "countries": ([276, 756], [276]),
            "level": (2,),
            "minimumLevel": (0, 2),
            "flags": (0, 7),
        }
        if name in known:
            return chance.choice(known[name])
        return nasty_value(self._exchange.chain, abi_type, chance)

    def _order_id(self) -> int:
        resting = list(orders_in(self._exchange.chain.state.records))
        return self._chance.choice([*resting, 0, 2**64 - 1])

    def _addresses(self) -> list[Address]:
        ordinary = [self._exchange.chain.address(name) for name in SENDERS]
        return [*ordinary, *ordinary, ZERO_ADDRESS, MARKET, HTLC, TREASURY, *self._assets()]

    def _assets(self) -> list[Address]:
        return [TOKEN, self._exchange.quote, self._exchange.quote, asset_address(2), asset_address(999), ANY_ASSET]


_GOVERNED = {
    "createMarket",
    "setMarketStatus",
    "setMarketFees",
    "setMarketPolicy",
    "definePolicy",
    "addAuthority",
    "removeAuthority",
    "spendTreasury",
}


def _hostile_exchange(make_chain: MakeChain) -> Exchange:
    exchange = Exchange(make_chain(max_block_recoveries=32, account_quota=9), flags=int(~AssetFlag(0)))
    chain = exchange.chain
    chain.govern(MARKET, calls.ADD_AUTHORITY.encode(chain.address("authority")))
    chain.govern(MARKET, calls.DEFINE_POLICY.encode([chain.address("authority")], True, [276], 2))
    exchange.create_market(policy=1)
    exchange.create_market(base=exchange.quote, quote=TOKEN, lot=1, tick=TICK, minimum_lots=1)
    return exchange


@pytest.mark.parametrize("seed", range(6))
def test_whatever_anybody_sends(make_chain: MakeChain, seed: int) -> None:
    exchange = _hostile_exchange(make_chain)
    chain, attacker = exchange.chain, Attacker(exchange, seed)
    statuses: Counter[int] = Counter()
    waiting: Counter[RejectionReason] = Counter()
    for number in range(BLOCKS):
        if number % 3 == 0:
            chain.adopt(chain.build(*chain.decision(MARKET, attacker.decision())))
        proposal = chain.build(*attacker.transactions(40))
        chain.adopt(proposal)  # As its importers do.
        audit(chain.state.records)
        statuses.update(result.status for result in proposal.outcome.results)
        waiting.update(why.reason for _, why in proposal.rejected if why.reason in _WAITS)
    assert statuses[0] > 100
    assert statuses[1] > 100
    assert waiting.keys() == _WAITS

    for name, value in (("account_quota", 500), ("max_block_recoveries", 6_000)):
        chain.set_parameter(name, value)
    while orders := orders_in(chain.state.records):
        order = next(iter(orders.values()))
        (owner,) = (name for name in SENDERS if chain.address(name) == order.owner)
        exchange.add(exchange.call(owner, calls.CANCEL_ALL, order.market, MAX_CANCELLED))
    assert [exchange.holds(MARKET, asset) for asset in (TOKEN, exchange.quote, asset_address(2))] == [0, 0, 0]
