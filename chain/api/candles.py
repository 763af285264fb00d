"""A market's candles: those that the index keeps, and longer ones that are put together of them."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from typing import Final

import msgspec

from chain.node.market_records import Candle
from chain.storage.keys import HEIGHT_BYTES, Table, candle_key, candle_prefix
from chain.storage.reader import MAX_PAGE_ITEMS, ChainReader

MAX_CANDLES: Final = 1_000
DAY_S: Final = 86_400
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_LAST_S: Final = 2 ** (8 * HEIGHT_BYTES) - 1


class Interval(StrEnum):
    """How long a candle is. Weeks begin on Monday, everything in UTC."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    QUARTER = "15m"
    HOUR = "1h"
    FOUR_HOURS = "4h"
    DAY = "1d"
    WEEK = "1w"


class _Making(msgspec.Struct, frozen=True):
    """Of which kept candles an interval's are made; in seconds."""

    length_s: int
    kept_s: int
    offset_s: int = 0
    """Of its beginnings from multiples of the length."""

    def start_of(self, time_s: int) -> int:
        """Beginning of the interval that a time lies in."""
        return (time_s - self.offset_s) // self.length_s * self.length_s + self.offset_s


_MAKINGS: Final = {
    Interval.MINUTE: _Making(_MINUTE_S, _MINUTE_S),
    Interval.FIVE_MINUTES: _Making(5 * _MINUTE_S, _MINUTE_S),
    Interval.QUARTER: _Making(15 * _MINUTE_S, _MINUTE_S),
    Interval.HOUR: _Making(_HOUR_S, _HOUR_S),
    Interval.FOUR_HOURS: _Making(4 * _HOUR_S, _HOUR_S),
    Interval.DAY: _Making(DAY_S, DAY_S),
    Interval.WEEK: _Making(7 * DAY_S, DAY_S, 4 * DAY_S),  # 1 January 1970 was a Thursday.
}

TimedCandle = tuple[int, Candle]
"""Its beginning in Unix seconds, and the candle."""


def interval_length_s(interval: Interval) -> int:
    """Seconds from one beginning to the next."""
    return _MAKINGS[interval].length_s


def find_candles(
    reader: ChainReader, market: int, interval: Interval, *, from_s: int | None, before_s: int, limit: int
) -> list[TimedCandle]:
    """At most `limit` candles that begin before a time, oldest first: the first from a time on, else the last."""
    making = _MAKINGS[interval]
    rows = kept_candles(
        reader,
        market,
        making.kept_s,
        from_s=0 if from_s is None else making.start_of(from_s + making.length_s - 1),
        before_s=making.start_of(before_s + making.length_s - 1),
        newest_first=from_s is None,
        rows_per_page=(limit + 1) * (making.length_s // making.kept_s),
    )
    found: list[TimedCandle] = []
    for start_s, group in groupby(rows, key=lambda row: making.start_of(row[0])):
        if len(found) == limit:
            break
        found.append((start_s, joined(sorted(group, key=lambda row: row[0]))))
    return found if from_s is not None else found[::-1]


def kept_candles(
    reader: ChainReader,
    market: int,
    kept_s: int,
    *,
    from_s: int,
    before_s: int,
    newest_first: bool = False,
    rows_per_page: int = MAX_PAGE_ITEMS,
) -> Iterator[TimedCandle]:
    """Candles of one of the kept intervals whose beginnings lie within a span."""
    prefix = candle_prefix(market, kept_s)
    from_s, before_s = min(max(from_s, 0), _LAST_S), min(max(before_s, 0), _LAST_S)
    cursor: bytes | None = candle_key(market, kept_s, before_s) if newest_first else None
    if not newest_first and from_s:
        cursor = candle_key(market, kept_s, from_s - 1)
    while True:
        limit = min(rows_per_page, MAX_PAGE_ITEMS)
        page = reader.index_page(Table.CANDLE, prefix, cursor=cursor, limit=limit, newest_first=newest_first)
        for key, value in page.items:
            start_s = int.from_bytes(key[len(prefix) :], "big")
            if not from_s <= start_s < before_s:
                return
            yield start_s, Candle.decode(value)
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def joined(candles: list[TimedCandle]) -> Candle:
    """One candle of several, which are in order; at least one."""
    whole = candles[0][1]
    for _, candle in candles[1:]:
        whole = whole.then(candle)
    return whole
