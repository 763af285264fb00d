"""What a node's answers about a market cost while many ask: its book, candles, trades and ticker, over REST.

The chain is made beforehand, a block a minute, with trades in each; then a follower serves it, and a process of its own
asks over several connections, each waiting for its answer before it asks again.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from chain.primitives.market import MINT_ASSET, Side
from chain.primitives.modules import MARKET
from chain.primitives.transaction import Transaction
from tests.benchmarks.json_rpc import CONNECTIONS, measure_load
from tests.benchmarks.measuring import Table, milliseconds, percentile
from tests.benchmarks.rpc_load import Plan
from tests.chain.conftest import START_MS, Chain, People, RunningNode
from tests.chain.trading import COIN, HELD_AIT, HELD_COINS, Trading

MINUTES: Final = 1_440
"""A day of blocks."""
OWNERS: Final = 50
ORDERS_EACH: Final = 100
"""Resting orders of each owner: 5,000 in all, at up to 1,000 prices on either side."""
_BLOCK: Final = 1_000
_MIDDLE: Final = 100_000
_TICK: Final = 10
_HOST: Final = "127.0.0.1"
_DAY_MS: Final = 1_700_006_400_000  # A day's beginning, UTC.

_QUERIES: Final = {
    "book, 50 prices of each side": "/v1/markets/1/book?depth=50",
    "book, 500 prices of each side": "/v1/markets/1/book?depth=500",
    "candles, 500 of a minute": "/v1/markets/1/candles?interval=1m&limit=500&start={start}",
    "candles, 24 of an hour": "/v1/markets/1/candles?interval=1h&start={start}",
    "candles, the day": "/v1/markets/1/candles?interval=1d&start={start}",
    "trades, 50": "/v1/markets/1/trades",
    "ticker": "/v1/markets/1/ticker",
}


def market_queries(folder: Path, *, requests: int) -> Table:
    """Answers per second and p99 of each question, asked over all connections at once."""
    # As a node that runs: looks that succeed leave no line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    people = People()
    chain = Chain(people, folder / "chain")
    _found(chain)
    chain.ledger.close()
    node = RunningNode(people, folder / "chain", validator=None)
    try:
        rows = []
        for what, template in _QUERIES.items():
            query = template.format(start=_DAY_MS).encode()
            plan = Plan(
                _HOST,
                int(node.url.rpartition(":")[2]),
                "",
                [[query] * (requests // CONNECTIONS)] * CONNECTIONS,
                method="GET",
            )
            seconds, each = measure_load(plan, folder)
            rows.append((what, f"{len(each) / seconds:,.0f}", milliseconds(percentile(each, 0.99))))
    finally:
        node.stop()
    return Table(
        f"Questions about a market over {CONNECTIONS} connections: {OWNERS * ORDERS_EACH:,} resting orders, "
        f"{MINUTES:,} minutes with trades; server and client on one machine",
        ("answers", "per second", "p99"),
        tuple(rows),
    )


def _found(chain: Chain) -> None:
    """Market 1 with its book, and a day behind it."""
    owners = [f"owner {number}" for number in range(OWNERS)]
    trading, rng = Trading(chain.people, nonces=dict.fromkeys(owners, 1)), random.Random(20261123)
    founding = trading.founding()  # First: who signs what in which order is in the nonces.
    gifts = list(_gifts(trading, owners))
    for batch in (*founding, gifts, *_blocks(list(_book(trading, owners, rng)))):
        _add(chain, batch, chain.head.header.time_ms + 1_000)
    for minute in range(MINUTES):
        _add(chain, trading.trade(_MIDDLE + _TICK * rng.randrange(-5, 5), 1), _DAY_MS + 60_000 * minute)


def _gifts(trading: Trading, owners: Sequence[str]) -> Iterator[Transaction]:
    address = trading.people.address
    yield from (trading.people.mint(name, HELD_AIT, nonce=0) for name in owners)
    yield from (trading.call("issuer", MARKET, MINT_ASSET, COIN, address(name), HELD_COINS) for name in owners)


def _book(trading: Trading, owners: Sequence[str], rng: random.Random) -> Iterator[Transaction]:
    """Orders that meet nothing."""
    for number in range(OWNERS * ORDERS_EACH):
        side = Side(number % 2)
        away = _TICK * rng.randrange(10, 1_010) * (-1 if side == Side.BUY else 1)
        yield trading.place(owners[number % OWNERS], side, _MIDDLE + away, 1)


def _blocks(transactions: Sequence[Transaction]) -> Iterator[Sequence[Transaction]]:
    return (transactions[first : first + _BLOCK] for first in range(0, len(transactions), _BLOCK))


def _add(chain: Chain, transactions: Sequence[Transaction], time_ms: int) -> None:
    candidate = chain.propose(*transactions, time_ms=max(time_ms, START_MS))
    assert not candidate.rejected, candidate.rejected[0]
    assert not any(candidate.outcome.failures), candidate.outcome.failures
    chain.commit(candidate)
