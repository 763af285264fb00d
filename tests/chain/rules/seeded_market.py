"""A seeded history of the market, swaps and reputation: every operation of theirs succeeds in it at least once.

`seeded_blocks` plays it after its own. Nothing here draws on anything but the seed.
"""

import random
from collections.abc import Iterator
from typing import Any

from chain.primitives import market, modules, swaps
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.market import AssetFlag, MarketStatus, OrderKind, Side, asset_address
from chain.primitives.modules import GOVERNANCE, HTLC, MARKET, REGISTRY, TOKEN
from chain.primitives.transaction import Transaction
from chain.primitives.types import ATOMS_PER_AIT, Address
from chain.rules.block import Proposal
from tests.chain.rules.conftest import BLOCK_TIME_MS, Chain

COIN = asset_address(1)
TRADERS = ("alice", "bob", "carol")
TRADING_BLOCKS = 10
LOT = ATOMS_PER_AIT // 100
TICK = 10
FAR_S = 2**40

Step = tuple[Proposal, tuple[Address, bytes] | None]
"""A block that was adopted, and the governed call that it brought about."""


class Story:
    """One chain and what has been placed on it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.chain = Chain()
        self.nonces: dict[str, int] = {}
        self.waiting: list[Transaction] = []
        self.order_ids: dict[str, list[int]] = {name: [] for name in TRADERS}

    # Writing it

    def send(self, sender: str, module: Address, function: Any, *arguments: Any) -> None:
        """Queues a call for the next block; names stand for addresses."""
        nonce = self.nonces.get(sender, self.chain.nonce(sender))
        self.nonces[sender] = nonce + 1
        named = [self.chain.address(each) if isinstance(each, str) and each in PEOPLE else each for each in arguments]
        self.waiting.append(self.chain.call(sender, module, function, *named, nonce=nonce))

    def block(self, *, later_ms: int = 0) -> Step:
        """Adopts a block of what is queued."""
        proposal = self.chain.build(*self.waiting, time_ms=self.chain.head.time_ms + BLOCK_TIME_MS + later_ms)
        self.chain.adopt(proposal)
        self.waiting, self.nonces = [], {}
        self._remember_orders(proposal)
        return proposal, None

    def decide(self, function: Any, *arguments: Any, target: Address = MARKET) -> Step:
        """Has governance make a call."""
        decision = (target, function.encode(*arguments))
        proposal = self.chain.build(*self.chain.decision(*decision))
        self.chain.adopt(proposal)
        return proposal, decision

    def _remember_orders(self, proposal: Proposal) -> None:
        names = {self.chain.address(name): name for name in TRADERS}
        for result in proposal.outcome.results:
            for log in result.logs:
                if log.topics[0] == market.ORDER_PLACED_EVENT.topic:
                    placed = market.ORDER_PLACED_EVENT.decode(log.topics, log.data)
                    self.order_ids[names[placed["owner"]]].append(placed["orderId"])

    def place(self, sender: str, side: Side, kind: OrderKind, ticks: int, lots: int, **terms: int) -> None:
        """Queues an order."""
        expiry, client_id = terms.get("expiry", 0), terms.get("client_id", 0)
        self.send(sender, MARKET, market.PLACE_ORDER, 1, side, kind, ticks * TICK, lots, expiry, client_id)

    def rest_one(self, sender: str, **terms: int) -> Iterator[Step]:
        """An order that nobody would take, in a block of its own."""
        kind = OrderKind.GOOD_TILL_HEIGHT if "expiry" in terms else OrderKind.GOOD_TILL_CANCELLED
        self.place(sender, Side.BUY, kind, 1, 1, **terms)
        yield self.block()


PEOPLE = (*TRADERS, "issuer", "notary", "registrar", "provider", "attester")


def play(seed: int) -> Iterator[Step]:
    """Block after block."""
    story = Story(seed)
    for name in (*TRADERS, "provider"):
        story.waiting.append(story.chain.mint(name, name, 100 * ATOMS_PER_AIT))
    yield story.block()
    yield from _found(story)
    yield from _trade(story)
    yield from _cancel(story)
    yield from _intervene(story)
    yield from _swap(story)
    yield from _report(story)


def _found(story: Story) -> Iterator[Step]:
    address = story.chain.address
    yield story.decide(modules.ADD_ISSUER, address("issuer"), target=GOVERNANCE)
    for name in ("notary", "registrar"):
        yield story.decide(market.ADD_AUTHORITY, address(name))
    yield story.decide(market.REMOVE_AUTHORITY, address("registrar"))
    yield story.decide(market.DEFINE_POLICY, [address("notary")], False, [643], 1)
    terms = ("Coin", "COIN", 6, 0, ~AssetFlag(0), bytes(32))
    story.send("issuer", MARKET, market.ISSUE_ASSET, *terms)
    for name in TRADERS:
        story.send("issuer", MARKET, market.SET_AUTHORIZED, COIN, name, True)
        story.send("issuer", MARKET, market.MINT_ASSET, COIN, name, 10**12)
        story.send("notary", MARKET, market.GRANT_CREDENTIAL, name, 756, 1, FAR_S, bytes(32))
    story.send("issuer", MARKET, market.MINT_ASSET, COIN, "issuer", 100)
    story.send("issuer", MARKET, market.BURN_ASSET, COIN, 40)
    story.send("issuer", MARKET, market.SET_RESERVE, COIN, b"\x07" * 32)
    yield story.block()
    story.send("issuer", COIN, modules.TOKEN_TRANSFER, "alice", 10)
    story.send("issuer", COIN, modules.TOKEN_APPROVE, "bob", 10)
    story.send("bob", COIN, modules.TOKEN_TRANSFER_FROM, "issuer", "carol", 10)
    yield story.block()
    yield story.decide(market.CREATE_MARKET, TOKEN, COIN, LOT, TICK, 1, 0, 0, 0)
    yield story.decide(market.SET_MARKET_FEES, 1, 5, 20)
    yield story.decide(market.SET_MARKET_POLICY, 1, 1)


def _trade(story: Story) -> Iterator[Step]:
    """Whatever chance brings: orders of all kinds, good and bad ones, and cancels of one's own and others'."""
    chance = story.chance
    for _ in range(TRADING_BLOCKS):
        for _ in range(20):
            sender = chance.choice(TRADERS)
            if chance.random() < 0.2:
                ids = story.order_ids[chance.choice(TRADERS)] or [1]
                story.send(sender, MARKET, market.CANCEL_ORDER, chance.choice(ids))
                continue
            kind = chance.choice(list(OrderKind))
            expiry = story.chain.head.height + chance.randrange(5) if kind is OrderKind.GOOD_TILL_HEIGHT else 0
            side = chance.choice(list(Side))
            ticks, lots = chance.randrange(95, 106), chance.randrange(0, 30)
            story.place(sender, side, kind, ticks, lots, expiry=expiry, client_id=chance.randrange(50))
        yield story.block()


def _cancel(story: Story) -> Iterator[Step]:
    for name in TRADERS:
        story.send(name, MARKET, market.CANCEL_ALL, 1, 100)
    yield story.block()
    yield from story.rest_one("alice", client_id=77)
    story.send("alice", MARKET, market.CANCEL_ORDER, story.order_ids["alice"][-1])
    yield story.block()
    yield from story.rest_one("alice", client_id=77)
    story.send("alice", MARKET, market.CANCEL_BY_CLIENT_ID, 1, 77)
    yield story.block()
    yield from story.rest_one("alice", expiry=story.chain.head.height + 1)
    yield story.block()
    story.send("carol", MARKET, market.SWEEP_EXPIRED, story.order_ids["alice"][-1:])
    yield story.block()


def _intervene(story: Story) -> Iterator[Step]:
    yield from story.rest_one("bob")
    story.send("issuer", MARKET, market.SET_FROZEN, COIN, "bob", True)
    story.send("issuer", MARKET, market.CANCEL_FROZEN, COIN, story.order_ids["bob"][-1:])
    story.send("issuer", MARKET, market.CLAW_BACK, COIN, "bob", 5)
    story.send("issuer", MARKET, market.WEAKEN_FLAGS, COIN, AssetFlag.AUTHORIZATION_REQUIRED)
    story.send("notary", MARKET, market.REVOKE_CREDENTIAL, "carol")
    yield story.block()
    yield story.decide(market.SPEND_TREASURY, COIN, story.chain.address("alice"), 1)
    yield story.decide(market.SET_MARKET_STATUS, 1, MarketStatus.HALTED)


def _swap(story: Story) -> Iterator[Step]:
    secret = keccak256(b"secret")
    deadline = story.chain.next_block.time_ms // 1000 + 100
    alice, bob = story.chain.address("alice"), story.chain.address("bob")
    terms = [(sha256(secret), bob, asset, 5, deadline) for asset in (TOKEN, COIN)]
    ids = []
    for each in terms:
        story.send("alice", HTLC, swaps.LOCK, *each)
        ids.append(swaps.swap_id(each[0], alice, *each[1:]))
    yield story.block()
    story.send("bob", HTLC, swaps.CLAIM, ids[0], secret)
    yield story.block()
    story.send("alice", HTLC, swaps.REFUND, ids[1])
    yield story.block(later_ms=200_000)


def _report(story: Story) -> Iterator[Step]:
    offer = ("http://provider", ["model"], 5, "images", 24)
    promise = b"\x03" * 32
    story.send("provider", REGISTRY, modules.REGISTER, *offer, story.chain.address("provider"))
    story.send("provider", REGISTRY, modules.PUBLISH_SLA, promise)
    story.send("attester", REGISTRY, modules.RECORD_OUTCOME, "provider", 1, 2, b"\x04" * 32)
    story.send("attester", REGISTRY, modules.RECORD_BREACH, "provider", promise, b"\x05" * 32)
    yield story.block()
