"""How many rows fit into the device's memory, learned from batches that did not. Pure."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from provider.generation import BatchKey

_REMEMBERED_SHAPES: Final = 256
"""Shapes come from requests, so their number needs a bound; the least recently used is forgotten."""

_FIRST_PATIENCE: Final = 32
"""Full batches that must go well before one row more is tried; doubled whenever that fails."""

_LONGEST_PATIENCE: Final = 4096

Shape = tuple[str, int, int, bool]


@dataclass
class _Bound:
    rows: int
    patience: int = _FIRST_PATIENCE
    good_batches: int = 0
    is_trial: bool = False
    """Whether this many rows have not gone well yet, but one fewer have."""


class MemoryBounds:
    """Bounds by what decides how much memory a row takes: model, size, and whether there is guidance."""

    def __init__(self) -> None:
        self._bounds: OrderedDict[Shape, _Bound] = OrderedDict()

    def most_rows(self, key: BatchKey, backend_rows: int) -> int:
        """What to try at most, where the backend itself would take `backend_rows`."""
        bound = self._bounds.get(_shape(key))
        return backend_rows if bound is None else min(backend_rows, bound.rows)

    def ran_out(self, key: BatchKey, rows: int) -> None:
        """Learns that so many rows, 2 or more, were too many: half of them are tried next."""
        shape = _shape(key)
        bound = self._bounds.get(shape)
        if bound is None:
            self._bounds[shape] = bound = _Bound(_half(rows))
        elif bound.is_trial and rows == bound.rows:
            bound.rows, bound.is_trial = rows - 1, False
            bound.patience = min(_LONGEST_PATIENCE, bound.patience * 2)
        elif rows <= bound.rows:
            bound.rows, bound.is_trial = _half(rows), False
        bound.good_batches = 0
        self._bounds.move_to_end(shape)
        if len(self._bounds) > _REMEMBERED_SHAPES:
            self._bounds.popitem(last=False)

    def ran_well(self, key: BatchKey, rows: int, backend_rows: int) -> None:
        """Learns that so many rows fitted; after enough full batches, one row more is tried."""
        shape = _shape(key)
        bound = self._bounds.get(shape)
        if bound is None or rows < bound.rows:
            return
        self._bounds.move_to_end(shape)
        bound.is_trial = False
        bound.good_batches += 1
        if bound.good_batches < bound.patience:
            return
        bound.rows, bound.good_batches, bound.is_trial = bound.rows + 1, 0, True
        if bound.rows > backend_rows:
            del self._bounds[shape]


def _shape(key: BatchKey) -> Shape:
    return (key.model, key.width, key.height, key.is_guided)


def _half(rows: int) -> int:
    """The larger half."""
    return (rows + 1) // 2
