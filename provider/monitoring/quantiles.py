"""Quantiles of the last so many values: what a histogram's buckets only approximate, for a look without Prometheus."""

import threading
from collections import deque


class RecentQuantiles:
    """Keeps the newest values. Safe in any thread."""

    def __init__(self, capacity: int) -> None:
        self._values: deque[float] = deque(maxlen=capacity)
        self._mutex = threading.Lock()

    def add(self, value: float) -> None:
        """One more; the oldest goes where there are too many."""
        with self._mutex:
            self._values.append(value)

    def at(self, share: float) -> float | None:
        """The smallest value that at least this share (0 to 1) of all does not exceed; None without any."""
        with self._mutex:
            values = sorted(self._values)
        if not values:
            return None
        rank = -int(-share * len(values) // 1)
        return values[max(rank, 1) - 1]
