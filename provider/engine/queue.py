"""Rows that wait, bounded, in an order that is fair between callers. Pure: no thread, no clock.

Deficit round robin over rows: callers take turns. Whoever's turn it is has the head of its line served; rows that share
the batch are charged too, and a caller that has had more than one row in a turn is passed over that many times. So a
caller with a hundred rows delays another's first by at most one batch, and nobody waits for ever.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

from provider.generation import BatchKey

MAX_DEBT_ROWS: Final = 16
"""What a caller may owe at most: rows that rode along in others' batches, in room that nobody else could use, should
not make it wait for minutes later."""

_KEPT_FOR_NEWCOMERS: Final = 4
"""A fourth of the places is kept for callers with nothing in the queue, so that one caller cannot shut out the rest."""


class Queued(Protocol):
    """What can wait here."""

    @property
    def caller(self) -> str:
        """Whose row it is."""

    @property
    def key(self) -> BatchKey:
        """Rows with equal keys may be computed together."""

    @property
    def largest_batch(self) -> int:
        """How many rows may be computed together where this is one of them."""


Entry = TypeVar("Entry", bound=Queued)


class FairQueue(Generic[Entry]):
    """The rows of all callers; entries are told apart by identity."""

    def __init__(self, limit_rows: int) -> None:
        self.limit_rows = limit_rows
        # In the order of turns; no line is empty. Who has nothing waiting owes nothing.
        self._lines: OrderedDict[str, deque[Entry]] = OrderedDict()
        self._debts: dict[str, int] = {}
        self._length = 0

    def __len__(self) -> int:
        """Rows that wait."""
        return self._length

    def excess(self, caller: str, rows: int) -> int:
        """How many places are lacking for so many rows more of this caller; 0 when they fit."""
        kept = self.limit_rows // _KEPT_FOR_NEWCOMERS if caller in self._lines else 0
        return max(0, self._length + rows - (self.limit_rows - kept))

    def add(self, rows: Sequence[Entry]) -> None:
        """Puts a caller's new rows behind its others; the caller has asked `excess` before."""
        for row in rows:
            self._line(row.caller).append(row)
        self._length += len(rows)

    def put_back(self, rows: Sequence[Entry]) -> None:
        """Puts rows that were taken, but not served, before all others, in this order, and takes back their charge.

        They had their places, so the bound does not count for them.
        """
        for row in reversed(rows):
            self._line(row.caller).appendleft(row)
            self._lines.move_to_end(row.caller, last=False)
            self._debts[row.caller] = max(0, self._debts[row.caller] - 1)
        if rows:
            self._debts[rows[0].caller] = 0
        self._length += len(rows)

    def head(self) -> Entry:
        """The row that is served next; the same one until rows are taken or put back. Raises LookupError when empty."""
        if not self._length:
            raise LookupError("nothing waits")
        while True:
            caller, line = next(iter(self._lines.items()))
            if self._debts[caller] == 0:
                return line[0]
            self._debts[caller] -= 1
            self._lines.move_to_end(caller)

    def in_fair_order(self, key: BatchKey | None = None) -> list[Entry]:
        """The rows (with this key) in the order in which they would be served one by one, if no others came."""
        ranked: list[tuple[int, int, Entry]] = []
        for turn, (caller, line) in enumerate(self._lines.items()):
            fitting = (row for row in line if key is None or row.key == key)
            # A caller gets one row in a lap, and none in the laps that it owes.
            ranked += [(lap, turn, row) for lap, row in enumerate(fitting, start=self._debts[caller])]
        ranked.sort(key=lambda place: place[:2])
        return [row for _, _, row in ranked]

    def take(self, rows: Sequence[Entry]) -> None:
        """Removes rows that are served now, the head first, and charges their callers."""
        turn = rows[0].caller
        assert rows[0] is self.head()
        taken = {id(row) for row in rows}
        for caller, count in _count(row.caller for row in rows).items():
            # The turn itself pays for one row.
            charge = count - 1 if caller == turn else count
            self._debts[caller] = min(MAX_DEBT_ROWS, self._debts[caller] + charge)
        self._lines.move_to_end(turn)
        removed = self._remove(lambda row: id(row) in taken)
        assert len(removed) == len(rows)

    def discard(self, is_unwanted: Callable[[Entry], bool]) -> list[Entry]:
        """Removes and returns the rows that nobody wants any more; nobody is charged."""
        return self._remove(is_unwanted)

    def rows_ahead(self, is_mine: Callable[[Entry], bool]) -> int:
        """How many rows would be served before the first of mine; 0 where none of mine waits."""
        for ahead, row in enumerate(self.in_fair_order()):
            if is_mine(row):
                return ahead
        return 0

    def first(self, count: int) -> list[Entry]:
        """The rows that leave the queue next."""
        return list(islice(self.in_fair_order(), count))

    def _line(self, caller: str) -> deque[Entry]:
        self._debts.setdefault(caller, 0)
        return self._lines.setdefault(caller, deque())

    def _remove(self, condition: Callable[[Entry], bool]) -> list[Entry]:
        removed: list[Entry] = []
        for caller, line in list(self._lines.items()):
            kept: deque[Entry] = deque()
            for row in line:
                (removed if condition(row) else kept).append(row)
            if kept:
                self._lines[caller] = kept
            else:
                del self._lines[caller], self._debts[caller]
        self._length -= len(removed)
        return removed


def _count(callers: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for caller in callers:
        counts[caller] = counts.get(caller, 0) + 1
    return counts
