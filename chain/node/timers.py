"""Named delays on the event loop."""

import asyncio
from collections.abc import Callable

from chain.consensus.effects import SetTimer


class Timers:
    """One timer per name; setting it anew replaces it."""

    def __init__(self, on_fired: Callable[[str], None]) -> None:
        self._on_fired = on_fired
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def set(self, timer: SetTimer) -> None:
        """Sets a timer anew, or cancels it."""
        previous = self._handles.pop(timer.name, None)
        if previous is not None:
            previous.cancel()
        if timer.delay_ms is not None:
            loop = asyncio.get_running_loop()
            self._handles[timer.name] = loop.call_later(max(timer.delay_ms, 0) / 1000, self._fire, timer.name)

    def cancel(self) -> None:
        """Nothing fires any more."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _fire(self, name: str) -> None:
        self._handles.pop(name, None)
        self._on_fired(name)
