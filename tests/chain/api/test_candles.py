"""Candles of all intervals against what a list of trades comes to."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.api.candles import MAX_CANDLES, Interval, find_candles, interval_length_s
from chain.node.market_records import CANDLE_INTERVALS_S, Candle
from chain.node.records import encode_results
from chain.storage.keys import Table, candle_key
from chain.storage.store import CommittedBlock
from chain.storage.view import StateView

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.conftest import Chain

Trade = tuple[int, int, int]
"""Time in Unix seconds, price, lots."""

BEGUN_S: Final = 1_700_000_000
SPAN_S: Final = 40 * 86_400
MONDAY_S: Final = 4 * 86_400  # 5 January 1970.


def made_of(trades: list[Trade], interval_s: int, offset_s: int = 0) -> list[tuple[int, Candle]]:
    """By the definition: all trades of an interval, in order."""

    def start_of(trade: Trade) -> int:
        return (trade[0] - offset_s) // interval_s * interval_s + offset_s

    return [
        (start_s, reduce(Candle.then, (Candle.of_trade(price, lots) for _, price, lots in group)))
        for start_s, group in groupby(trades, start_of)
    ]


@pytest.fixture(scope="module")
def market(
    chain_in: Callable[[Path], Chain], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[StateView, list[Trade]]]:
    """An index with the candles of 6,000 trades: of some hours densely, of weeks sparsely. Its neighbours have one."""
    chance = random.Random(7)
    times = [chance.randrange(BEGUN_S, BEGUN_S + SPAN_S) for _ in range(2_000)]
    times += [chance.randrange(BEGUN_S, BEGUN_S + 40 * 3_600) for _ in range(4_000)]
    trades = [(time_s, chance.randrange(1, 1_000), chance.randrange(1, 50)) for time_s in sorted(times)]
    puts = [
        (Table.CANDLE, candle_key(1, interval_s, start_s), candle.encode())
        for interval_s in CANDLE_INTERVALS_S
        for start_s, candle in made_of(trades, interval_s)
    ]
    for neighbour in (0, 2):
        puts += [(Table.CANDLE, candle_key(neighbour, each, 0), Candle.of_trade(1, 1).encode()) for each in (60, 3600)]
    chain = chain_in(tmp_path_factory.mktemp("candles") / "chain")
    candidate = chain.propose()
    block = CommittedBlock(
        header=candidate.block.header,
        block=candidate.block.encode(),
        transaction_hashes=(),
        results=encode_results((), (), ()),
        certificate=None,
        index_puts=puts,
    )
    chain.ledger.store.commit(block, candidate.pending)
    yield chain.ledger.view(), trades
    chain.ledger.close()


TIMES: Final = st.integers(BEGUN_S - 10**6, BEGUN_S + SPAN_S + 10**6)


@settings(max_examples=150, deadline=None)
@given(
    interval=st.sampled_from(Interval),
    from_s=st.none() | TIMES,
    before_s=TIMES | st.just(2**53),
    limit=st.integers(1, 20) | st.just(MAX_CANDLES),
)
def test_any_span(
    market: tuple[StateView, list[Trade]], interval: Interval, from_s: int | None, before_s: int, limit: int
) -> None:
    view, trades = market
    offset_s = MONDAY_S if interval is Interval.WEEK else 0
    whole = made_of(trades, interval_length_s(interval), offset_s)
    within = [row for row in whole if (from_s is None or from_s <= row[0]) and row[0] < before_s]
    expected = within[-limit:] if from_s is None else within[:limit]
    assert find_candles(view, 1, interval, from_s=from_s, before_s=before_s, limit=limit) == expected


def test_more_minutes_than_one_answer_holds(market: tuple[StateView, list[Trade]]) -> None:
    view, trades = market
    minutes = made_of(trades, 60)
    assert len(minutes) > 3 * MAX_CANDLES
    found, from_s = [], 0
    while page := find_candles(view, 1, Interval.MINUTE, from_s=from_s, before_s=2**40, limit=MAX_CANDLES):
        found += page
        from_s = page[-1][0] + 1
    assert found == minutes
    quarters = find_candles(view, 1, Interval.QUARTER, from_s=None, before_s=2**40, limit=MAX_CANDLES)
    assert quarters == made_of(trades, 900)[-MAX_CANDLES:]


def test_times_at_the_ends_of_all_numbers(market: tuple[StateView, list[Trade]]) -> None:
    view, _ = market
    for from_s, before_s in ((0, 0), (2**53, 2**53), (2**64, 2**65), (2**53, 0)):
        for interval in Interval:
            assert find_candles(view, 1, interval, from_s=from_s, before_s=before_s, limit=5) == []
    assert find_candles(view, 1, Interval.DAY, from_s=None, before_s=0, limit=5) == []
