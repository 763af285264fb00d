"""Providers that are left alone for a while, because they could not be reached or because their answer was false."""

import time
from dataclasses import dataclass
from typing import Final

from chain.primitives.types import Address
from hub.errors import FaultReason, ProviderFault

_LONGEST_DOUBLING: Final = 6
"""Six doublings: at the default settings an unreachable provider is asked every 16 minutes, a liar every 10 hours."""

_NO_FAULT: Final = frozenset(
    (FaultReason.BUSY, FaultReason.REQUEST_REFUSED, FaultReason.OTHER_MODEL, FaultReason.OVER_BUDGET)
)
"""It may serve another job well this minute."""


@dataclass(frozen=True, slots=True)
class Benching:
    """Why a provider is left alone, until when, and how many faults in a row it has had."""

    reason: FaultReason
    until_monotonic_s: float
    faults_in_a_row: int


class Bench:
    """Who sits out. In memory only: a restarted hub gives everybody a new chance."""

    def __init__(self, *, failure_s: float, lie_s: float) -> None:
        self._failure_s = failure_s
        self._lie_s = lie_s
        self._seats: dict[Address, Benching] = {}

    def put(self, provider: Address, fault: ProviderFault) -> None:
        """Benches it for a time that doubles with every fault in a row, unless another job may well go better."""
        if fault.reason in _NO_FAULT:
            return
        before = self._seats.get(provider)
        faults = 1 if before is None else before.faults_in_a_row + 1
        first_s = self._lie_s if fault.is_lie else self._failure_s
        until = time.monotonic() + first_s * 2 ** min(faults - 1, _LONGEST_DOUBLING)
        self._seats[provider] = Benching(fault.reason, until, faults)

    def clear(self, provider: Address) -> None:
        """It served well: its faults are forgotten, but a time that it still has to sit out is not cut short."""
        if self.seat(provider) is None:
            self._seats.pop(provider, None)

    def seat(self, provider: Address) -> Benching | None:
        """Its benching, None while it may play."""
        seat = self._seats.get(provider)
        return None if seat is None or seat.until_monotonic_s <= time.monotonic() else seat

    def remaining_s(self, provider: Address) -> float:
        """Seconds until it may play again, 0 when it may."""
        seat = self.seat(provider)
        return 0.0 if seat is None else max(0.0, seat.until_monotonic_s - time.monotonic())
