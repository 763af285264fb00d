"""Whose turn it is: by who had the last one longest ago, and by weighted shares. Both remember a bounded number."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from chain.primitives.types import Address

_MOST_REMEMBERED: Final = 10_000
"""Workers or classes; whoever was forgotten counts as never served."""

Key = TypeVar("Key", bound=Hashable)


class Turns:
    """When each worker was last given something, as a running number."""

    def __init__(self) -> None:
        self._latest = 0
        self._turns: OrderedDict[Address, int] = OrderedDict()

    def last(self, worker: Address) -> int:
        """The number of its last turn, 0 before the first."""
        return self._turns.get(worker, 0)

    def give(self, worker: Address) -> int:
        """It has its turn now; returns what `take_back` wants to know."""
        before = self._turns.pop(worker, 0)
        self._latest += 1
        self._turns[worker] = self._latest
        if len(self._turns) > _MOST_REMEMBERED:
            self._turns.popitem(last=False)
        return before

    def take_back(self, worker: Address, before: int) -> None:
        """It did not come to anything."""
        self._turns[worker] = before
        self._turns.move_to_end(worker, last=False)


class Strides(Generic[Key]):
    """Shares in proportion to weights, after Waldspurger and Weihl's stride scheduling (1995).

    Everyone moves on by work over weight when served, and who has moved least is next. Whoever was away comes back
    where the others are, so nothing is saved up and nothing has to be paid back.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._passes: OrderedDict[Key, float] = OrderedDict()

    def reached(self, key: Key) -> float:
        """How far it has moved on."""
        return max(self._now, self._passes.get(key, 0.0))

    def charge(self, key: Key, work: float, weight: float) -> None:
        """It is given so much work."""
        self._now = self.reached(key)
        self._passes.pop(key, None)
        self._passes[key] = self._now + work / weight
        if len(self._passes) > _MOST_REMEMBERED:
            self._passes.popitem(last=False)

    def give_back(self, key: Key, work: float, weight: float) -> None:
        """It did not come to anything."""
        if key in self._passes:
            self._passes[key] -= work / weight
