"""What the market's rules cost: placements, cancels and fills through `apply_block`, with few and many resting orders.

A block is built once by a proposer, then `apply_block` judges it as a follower's does: transactions decoded, signers
recovered, every order executed, every root recomputed, the state tree's included. Nothing is written while the clock
runs. As in `importing`, building the block has read its records before.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from chain.node.caches import SignatureCache, TransactionCache
from chain.node.ledger import Candidate, Ledger
from chain.node.runner import settle_interpreter
from chain.primitives import message_pack
from chain.primitives.abi import Function
from chain.primitives.block import TransactionResult, decode_block
from chain.primitives.keys import PrivateKey
from chain.primitives.market import (
    CANCEL_ORDER,
    ORDER_CLOSED_EVENT,
    ORDER_PLACED_EVENT,
    PLACE_ORDER,
    TRADE_EVENT,
    MarketStatus,
    OrderKind,
    Side,
    asset_address,
)
from chain.primitives.market_records import Asset, Market, Order
from chain.primitives.message_pack import amount_to_bytes
from chain.primitives.modules import MARKET, TOKEN
from chain.primitives.network import AttesterAllowance, Network, Validator
from chain.primitives.records import Domain, Supply, state_key
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_HASH, Address, Amount
from chain.rules.block import apply_block
from chain.rules.genesis import genesis_block, genesis_changes
from chain.rules.market.book import add_order, order_count, set_order_count
from chain.rules.state import State
from chain.storage.store import CommittedBlock, Store
from tests.benchmarks.chains import finality_certificate
from tests.benchmarks.measuring import Reference, Table, measure

CHAIN_ID: Final = 4_000_000_007
SENDERS: Final = 5_000
OWNERS: Final = 10_000
"""Whose orders rest from the start; the first of them send."""
BLOCK: Final = 2_500
MIDDLE: Final = 1_000_000
PRICES: Final = 10_000
"""Of either side, in ticks from the middle."""
QUOTE: Final = asset_address(1)
_LOT: Final = 10**15
_TICK: Final = 10**3
_HOLDING: Final = 10**9 * ATOMS_PER_AIT
_FIRST_MS: Final = 1_700_000_000_000


class _Nothing:
    def get(self, state_key: bytes) -> bytes | None:
        """No record."""
        return None


class Exchange:
    """A ledger whose genesis state has one market, rich owners, and so many resting orders: only a benchmark may."""

    def __init__(self, folder: Path, resting: int, rng: random.Random) -> None:
        self.validator = PrivateKey(b"\x01" * 32)
        self.network = Network(
            chain_id=CHAIN_ID,
            name="market",
            validators=(Validator(self.validator.address, self.validator.public_key),),
            attesters=(AttesterAllowance(self.validator.address, 2**200, 2**62),),
        )
        self.keys = [PrivateKey(rng.randbytes(32)) for _ in range(SENDERS)]
        owners = [key.address for key in self.keys]
        owners += [Address(rng.randbytes(20)) for _ in range(OWNERS - SENDERS)]
        self.nonces = [0] * SENDERS
        store = Store.open(folder, genesis_hash=self.network.genesis_hash, create=True)
        pending = store.prepare(genesis_changes(self.network) | _records(owners, resting, rng), on=store.view())
        block = genesis_block(self.network, pending.state_root)
        results = message_pack.encode(([], [], []))
        store.commit(CommittedBlock(block.header, block.encode(), [], results, None), pending)
        self.ledger = Ledger(store, self.network)

    def sign(self, sender: int, function: Function, *arguments: object) -> Transaction:
        """A call of the market's by one of the senders."""
        nonce = self.nonces[sender]
        self.nonces[sender] += 1
        call_data = function.encode(*arguments)
        return sign_transaction(self.keys[sender], chain_id=CHAIN_ID, nonce=nonce, to=MARKET, data=call_data)

    def place(self, sender: int, kind: OrderKind, side: Side, ticks: int, lots: int) -> Transaction:
        """An order."""
        return self.sign(sender, PLACE_ORDER, 1, side, kind, ticks * _TICK, lots, 0, 0)

    def next_order(self) -> int:
        """The id of the first order that is placed next."""
        return order_count(State(self.ledger.view())) + 1

    def propose(self, transactions: Sequence[Transaction]) -> Candidate:
        """The next block, with all of these."""
        time_ms = max(_FIRST_MS, self.ledger.head.time_ms + 1_000)
        candidate = self.ledger.propose(transactions, proposer=self.validator.address, time_ms=time_ms)
        assert [str(reason) for _, reason in candidate.rejected] == []
        return candidate

    def commit(self, candidate: Candidate) -> None:
        """Makes it the head. What is known of signatures is forgotten."""
        floor = self.ledger.floor()
        certificate = finality_certificate(
            [self.validator],
            genesis_hash=self.network.genesis_hash,
            view=floor.view + 1,
            parent_view=floor.view,
            block_hash=candidate.block.header.hash,
        )
        self.ledger.commit(candidate, certificate, self.ledger.floor_after(candidate, certificate), sync=False)
        self.ledger.signatures, self.ledger.transactions = SignatureCache(), TransactionCache()

    def add(self, transactions: Sequence[Transaction]) -> float:
        """Makes a block of these the head; seconds that `apply_block` took to judge it. Each call has succeeded."""
        candidate = self.propose(transactions)
        assert [str(failure) for failure in candidate.outcome.failures if failure is not None] == []
        view, store = self.ledger.view(), self.ledger.store
        started = time.perf_counter()
        apply_block(
            view,
            self.ledger.head.header,
            candidate.block,
            chain_id=CHAIN_ID,
            compute_state_root=lambda changes: store.prepare(changes, on=view).state_root,
        )
        seconds = time.perf_counter() - started
        self.commit(candidate)
        return seconds


def _records(owners: Sequence[Address], resting: int, rng: random.Random) -> dict[bytes, bytes | None]:
    """A genesis state's records: what everybody holds, the market, and its book, made by the book's own rules."""
    state = State(_Nothing())
    escrow = {Side.BUY: 0, Side.SELL: 0}
    for order_id in range(1, resting + 1):
        side = Side(order_id % 2)
        ticks, lots = _price_away(side, rng), rng.randrange(1, 1_000)
        owner = owners[order_id // 2 % len(owners)]
        kind = OrderKind.GOOD_TILL_CANCELLED
        add_order(state, order_id, Order(owner, 1, side, kind, ticks, lots, lots, 0, 0))
        escrow[side] += lots * (ticks * _TICK if side == Side.BUY else _LOT)
    set_order_count(state, resting)
    held = len(owners) * _HOLDING
    for owner in owners:
        state.credit(owner, _HOLDING)
    state.credit(MARKET, escrow[Side.SELL])
    state.set_supply(Supply(held + escrow[Side.SELL], 0))
    balance = message_pack.encode(amount_to_bytes(_HOLDING))
    asset = Asset(
        issuer=owners[0],
        name="Worth nothing",
        symbol="TEST",
        decimals=6,
        cap=Amount(0),
        flags=0,
        reserve_hash=ZERO_HASH,
        supply=Amount(held + escrow[Side.BUY]),
    )
    market = Market(
        base=TOKEN,
        quote=QUOTE,
        lot=Amount(_LOT),
        tick=Amount(_TICK),
        minimum_lots=1,
        maker_fee=5,
        taker_fee=10,
        policy=0,
        status=MarketStatus.OPEN,
    )
    return {
        **state.changes(),
        **{state_key(Domain.ASSET_BALANCE, QUOTE + owner): balance for owner in owners},
        **{state_key(Domain.ASSETS_HELD, owner): message_pack.encode(1) for owner in owners},
        state_key(Domain.ASSET_BALANCE, QUOTE + MARKET): message_pack.encode(amount_to_bytes(escrow[Side.BUY])),
        state_key(Domain.ASSET_COUNT): message_pack.encode(1),
        state_key(Domain.ASSET, QUOTE[16:]): asset.encode(),
        state_key(Domain.MARKET_COUNT): message_pack.encode(1),
        state_key(Domain.MARKET, (1).to_bytes(4, "big")): market.encode(),
    }


def _price_away(side: Side, rng: random.Random) -> int:
    """A price that meets nothing of the other side."""
    distance = rng.randrange(1, PRICES)
    return MIDDLE - distance if side == Side.BUY else MIDDLE + distance


class Trading:
    """Blocks of one kind of work on an exchange; each method gives the next one's seconds."""

    def __init__(self, exchange: Exchange, rng: random.Random, orders_each: int) -> None:
        self._exchange = exchange
        self._rng = rng
        self._orders_each = orders_each

    def placements(self) -> float:
        """Orders that meet nothing and rest. They are cancelled again, so that every block finds the book alike."""
        first = self._exchange.next_order()
        seconds = self._exchange.add(self._placements())
        self._exchange.add(self._cancels(first))
        return seconds

    def cancels(self) -> float:
        """Of orders that a block before has placed."""
        first = self._exchange.next_order()
        self._exchange.add(self._placements())
        return self._exchange.add(self._cancels(first))

    def fills(self) -> float:
        """Orders that each fill one that a block before has placed, whole, at the best price."""
        owners = self._senders()
        sell, buy = OrderKind.GOOD_TILL_CANCELLED, OrderKind.IMMEDIATE_OR_CANCEL
        self._exchange.add([self._exchange.place(owner, sell, Side.SELL, MIDDLE, 5) for owner in owners])
        takers = [(owner + 1) % SENDERS for owner in owners]
        return self._exchange.add([self._exchange.place(taker, buy, Side.BUY, MIDDLE, 5) for taker in takers])

    def _senders(self) -> list[int]:
        return [number // self._orders_each for number in range(BLOCK)]

    def _placements(self) -> list[Transaction]:
        transactions = []
        for owner in self._senders():
            side = self._rng.choice(list(Side))
            ticks, lots = _price_away(side, self._rng), self._rng.randrange(1, 1_000)
            transactions.append(self._exchange.place(owner, OrderKind.GOOD_TILL_CANCELLED, side, ticks, lots))
        return transactions

    def _cancels(self, first: int) -> list[Transaction]:
        owners = enumerate(self._senders())
        return [self._exchange.sign(owner, CANCEL_ORDER, first + number) for number, owner in owners]


def market_rules(rounds: int, sizes: Sequence[int], folder: Path) -> Table:
    """Every kind of work, with each number of orders that rest from the start."""
    rng = random.Random(20261123)
    reference = Reference(rng)
    rows: list[tuple[str, ...]] = []
    at_first: dict[str, float] = {}
    recovery = 0.0
    for size in sizes:
        exchange = Exchange(folder / str(size), size, rng)
        settle_interpreter()
        many, single = Trading(exchange, rng, 10), Trading(exchange, rng, 1)
        for what, once in (
            ("placed, 10 by each sender", many.placements),
            ("placed, 1 by each sender", single.placements),
            ("cancelled, 10 by each sender", many.cancels),
            ("filled, 10 by each sender", many.fills),
        ):
            seconds, recovery = measure(once, reference, rounds)
            growth = seconds / at_first.setdefault(what, seconds)
            rows.append((what, f"{size:,}", *_figures(seconds / BLOCK, recovery), f"{growth:.2f}"))
        exchange.ledger.close()
    return Table(
        f"The market's rules, blocks of {BLOCK:,}, medians of {rounds} rounds, one recovery {recovery * 1e6:.1f} µs",
        ("orders", "resting", "per second", "µs each", "recoveries (aim: 3)", "growth (aim: 1.3)"),
        tuple(rows),
    )


def _figures(seconds: float, recovery: float) -> tuple[str, str, str]:
    return f"{1 / seconds:,.0f}", f"{seconds * 1e6:.1f}", f"**{seconds / recovery:.2f}**"


# A day


DAY_SENDERS: Final = 400


def market_day(operations: int, folder: Path) -> Table:
    """A generated day of trading, played block by block, then replayed on another chain: decoded, judged, written."""
    reference = Reference(random.Random(1))
    recovery = reference.seconds_per_recovery()
    exchange, again = (Exchange(folder / name, 0, random.Random(7)) for name in ("played", "again"))
    settle_interpreter()
    day, counted = Day(random.Random(8), exchange), Counter[str]()
    blocks: list[bytes] = []
    for _ in range(operations // BLOCK):
        candidate = exchange.propose([day.draw() for _ in range(BLOCK)])
        counted.update(_events(candidate.outcome.results))
        blocks.append(candidate.block.encode())
        exchange.commit(candidate)
    started = time.perf_counter()
    for encoded in blocks:
        again.commit(again.ledger.execute(decode_block(encoded)))
    seconds = time.perf_counter() - started
    recovery = (recovery + reference.seconds_per_recovery()) / 2
    assert again.ledger.head == exchange.ledger.head
    exchange.ledger.close()
    again.ledger.close()
    count = len(blocks) * BLOCK
    happened = ", ".join(f"{name} {number:,}" for name, number in sorted(counted.items()))
    return Table(
        f"A day of trading replayed: {count:,} transactions of {DAY_SENDERS} accounts in blocks of {BLOCK:,}",
        ("per second", "µs each", "recoveries", "what happened"),
        ((*_figures(seconds / count, recovery), happened),),
    )


def _events(results: Sequence[TransactionResult]) -> Iterator[str]:
    names = {event.topic: event.name for event in (ORDER_PLACED_EVENT, TRADE_EVENT, ORDER_CLOSED_EVENT)}
    for result in results:
        if not result.status:
            yield "failed"
        yield from (names[log.topics[0]] for log in result.logs if log.topics[0] in names)


class Day:
    """A price that wanders, around which people place, take and cancel."""

    def __init__(self, rng: random.Random, exchange: Exchange) -> None:
        self._rng = rng
        self._exchange = exchange
        self._middle = float(MIDDLE)
        self._open: list[tuple[int, int]] = []
        self._next_order = 1

    def draw(self) -> Transaction:
        """The next transaction: six of ten place near the price, one takes, three cancel."""
        rng = self._rng
        self._middle += rng.gauss(0, 1)
        draw = rng.random()
        if draw < 0.3 and self._open:
            place = rng.randrange(len(self._open))
            self._open[place], self._open[-1] = self._open[-1], self._open[place]
            sender, order_id = self._open.pop()
            return self._exchange.sign(sender, CANCEL_ORDER, order_id)
        sender, side, lots = rng.randrange(DAY_SENDERS), rng.choice(list(Side)), rng.randrange(1, 200)
        order_id, self._next_order = self._next_order, self._next_order + 1
        away = -1 if side == Side.BUY else 1
        if draw < 0.4:
            ticks = int(self._middle) - away * 50
            return self._exchange.place(sender, OrderKind.IMMEDIATE_OR_CANCEL, side, ticks, lots)
        self._open.append((sender, order_id))
        ticks = int(self._middle + away * rng.expovariate(1 / 200))
        return self._exchange.place(sender, OrderKind.GOOD_TILL_CANCELLED, side, ticks, lots)
