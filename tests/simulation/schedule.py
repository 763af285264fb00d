"""Virtual time: a heap of what will happen, in order of time and, within a millisecond, of scheduling."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Schedule:
    """Time passes only when `run` takes the next action. Milliseconds."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.action_count = 0
        self._count = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        """Calls the action when this much time has passed; never in the past."""
        self._count += 1
        heappush(self._heap, (self.now_ms + delay_ms, self._count, action, arguments))

    def run(self, *, until_ms: int, is_done: Callable[[], bool], check_every: int = 16) -> None:
        """Until there is nothing left, the time is up, or `is_done`, which is asked every so many actions."""
        heap, steps = self._heap, 0
        while heap and heap[0][0] <= until_ms:
            time_ms, _, action, arguments = heappop(heap)
            self.now_ms = time_ms
            self.action_count += 1
            action(*arguments)
            steps += 1
            if steps % check_every == 0 and is_done():
                return
        if not is_done():
            self.now_ms = max(self.now_ms, until_ms)
