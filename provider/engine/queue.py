"""Rows that wait, bounded, in an order that is fair between callers. Pure: no thread, no clock.

Deficit round robin over work, after Shreedhar and Varghese (1995): callers take turns in a ring, and a turn is worth a
small, fixed amount of work. Whoever's turn it is has the head of its line served, and rows that share the batch are
charged too; a caller that has had more than its turn was worth is passed over until that is paid. So callers who always
have something waiting get equal shares of the machine, not of the pictures; a caller with a hundred rows delays
another's first by at most one batch, however large its own are; and nobody waits for ever.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

from provider.engine.throughput import work_of
from provider.generation import BatchKey

TURN_WORK: Final = 256 * 256 * 5
"""What a turn is worth, in pixels times steps: the smallest picture that the API draws, without guidance."""

MAX_TURNS: Final = 640
"""What a row costs at most: the API's largest picture, 1024 by 1024 with 100 steps and guidance."""

MAX_DEBT_ROWS: Final = 16
"""What a caller may owe at most, in rows such as it has just had: rows that rode along in others' batches, in room that
nobody else could use, should not make it wait for minutes later."""

_MOST_ABSENT: Final = 256
"""How many callers' debts are remembered while nothing of theirs waits."""

_KEPT_FOR_NEWCOMERS: Final = 4
"""A fourth of the places is kept for callers with nothing in the queue, so that one caller cannot shut out the rest."""


def turns_of(key: BatchKey) -> int:
    """What a row of this kind costs its caller: the turns that its work is worth, from 1 to MAX_TURNS."""
    return max(1, min(MAX_TURNS, math.ceil(work_of(key) / TURN_WORK)))


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

    @property
    def turns(self) -> int:
        """What it costs its caller, at least 1; `turns_of` its key."""


Entry = TypeVar("Entry", bound=Queued)


@dataclass
class _Line(Generic[Entry]):
    """What one caller has waiting, and how many turns it owes."""

    rows: deque[Entry] = field(default_factory=deque)
    debt: int = 0


class FairQueue(Generic[Entry]):
    """The rows of all callers; entries are told apart by identity."""

    def __init__(self, limit_rows: int) -> None:
        self.limit_rows = limit_rows
        # In the order of turns. A line without rows is that of a caller who has had more than its turns were worth and
        # may come back: whoever sends one large job after another would otherwise never pay for any.
        self._lines: OrderedDict[str, _Line[Entry]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        """Rows that wait."""
        return self._length

    def excess(self, caller: str, rows: int) -> int:
        """How many places are lacking for so many rows more of this caller; 0 when they fit."""
        line = self._lines.get(caller)
        kept = self.limit_rows // _KEPT_FOR_NEWCOMERS if line is not None and line.rows else 0
        return max(0, self._length + rows - (self.limit_rows - kept))

    def add(self, rows: Sequence[Entry]) -> None:
        """Puts a caller's new rows behind its others; the caller has asked `excess` before."""
        for row in rows:
            self._line(row.caller).rows.append(row)
        self._length += len(rows)

    def put_back(self, rows: Sequence[Entry]) -> None:
        """Puts rows that were taken, but not served, before all others, in this order, and takes back their charge.

        They had their places, so the bound does not count for them.
        """
        for row in reversed(rows):
            line = self._line(row.caller)
            line.rows.appendleft(row)
            line.debt = max(0, line.debt - row.turns)
            self._lines.move_to_end(row.caller, last=False)
        if rows:
            self._lines[rows[0].caller].debt = 0
        self._length += len(rows)

    def forgive(self) -> None:
        """Nothing waits and nothing is computed: what anyone has had was at nobody's cost."""
        if not self._length:
            self._lines.clear()

    def head(self) -> Entry:
        """The row that is served next; the same one until rows are taken or put back. Raises LookupError when empty."""
        if not self._length:
            raise LookupError("nothing waits")
        # Rounds in which everybody would be passed over.
        self._pay(min(line.debt for line in self._lines.values() if line.rows))
        while True:
            caller, line = next(iter(self._lines.items()))
            if line.rows and line.debt == 0:
                return line.rows[0]
            line.debt = max(0, line.debt - 1)
            self._lines.move_to_end(caller)
            self._forget_if_even(caller)

    def in_fair_order(self, key: BatchKey | None = None) -> list[Entry]:
        """The rows (with this key) in the order in which they would be served one by one, if no others came."""
        ranked: list[tuple[int, int, Entry]] = []
        for turn, line in enumerate(self._lines.values()):
            # A caller is passed over in the laps that it owes, and in those that each row of its costs but one.
            lap = line.debt
            for row in line.rows:
                if key is None or row.key == key:
                    ranked.append((lap, turn, row))
                    lap += row.turns
        ranked.sort(key=lambda place: place[:2])
        return [row for _, _, row in ranked]

    def take(self, rows: Sequence[Entry]) -> None:
        """Removes rows that are served now, the head first, and charges their callers."""
        turn = rows[0].caller
        assert rows[0] is self.head()
        taken = {id(row) for row in rows}
        for caller, charges in _by_caller(rows).items():
            # The turn itself pays for one.
            charge = sum(charges) - (caller == turn)
            line = self._lines[caller]
            line.debt = max(line.debt, min(MAX_DEBT_ROWS * max(charges), line.debt + charge))
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

    def _line(self, caller: str) -> _Line[Entry]:
        if caller not in self._lines:
            self._lines[caller] = _Line()
        return self._lines[caller]

    def _pay(self, turns: int) -> None:
        """So many turns for everyone, in which nobody is served."""
        if turns > 0:
            for caller, line in list(self._lines.items()):
                line.debt = max(0, line.debt - turns)
                self._forget_if_even(caller)

    def _forget_if_even(self, caller: str) -> None:
        line = self._lines[caller]
        if not line.rows and line.debt == 0:
            del self._lines[caller]

    def _remove(self, condition: Callable[[Entry], bool]) -> list[Entry]:
        removed: list[Entry] = []
        for caller, line in list(self._lines.items()):
            kept: deque[Entry] = deque()
            for row in line.rows:
                (removed if condition(row) else kept).append(row)
            line.rows = kept
            self._forget_if_even(caller)
        self._length -= len(removed)
        self._forget_beyond_bound()
        return removed

    def _forget_beyond_bound(self) -> None:
        """Of the callers with nothing waiting, those who owe least are forgotten first."""
        absent = [(line.debt, caller) for caller, line in self._lines.items() if not line.rows]
        for _debt, caller in sorted(absent)[: max(0, len(absent) - _MOST_ABSENT)]:
            del self._lines[caller]


def _by_caller(rows: Iterable[Queued]) -> dict[str, list[int]]:
    """What each caller's rows cost."""
    charges: dict[str, list[int]] = {}
    for row in rows:
        charges.setdefault(row.caller, []).append(row.turns)
    return charges
