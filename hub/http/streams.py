"""Streams of events that are open: each holds a connection and a subscription, so one client may have so many only."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from chain.web.problems import Problem


class Streams:
    """Server-sent events and WebSockets of one process, by the client whose jobs they are of."""

    def __init__(self, most_each: int) -> None:
        self._most_each = most_each
        self._open: Counter[str] = Counter()

    def check(self, owner: str) -> None:
        """Raises Problem (429) where the client has as many as it may."""
        if self._open[owner] >= self._most_each:
            detail = (
                f"you follow {self._most_each} jobs at one time already, as many as this hub allows: close some of "
                "these connections, or ask for GET /v1/jobs/{id} every now and then"
            )
            raise Problem(429, "too_many_streams", detail, headers={"Retry-After": "5"})

    @contextmanager
    def open(self, owner: str) -> Iterator[None]:
        """Counts as long as the block lasts. Raises as `check`."""
        self.check(owner)
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
