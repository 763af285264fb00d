"""The loops of a hub, run beside what it serves: one that fails is told of, and begun anew."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

_RESTART_S: Final = 1.0
_REMEMBERED_S: Final = 30.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")

Loop = Callable[[], Awaitable[None]]


class Loops:
    """By name. On the event loop's thread."""

    def __init__(self, loops: Mapping[str, Loop]) -> None:
        self._loops = loops
        self._failed_at_s: dict[str, float] = {}

    def fault(self) -> str | None:
        """Which of them has failed a moment ago, in a sentence."""
        now_s = time.monotonic()
        failing = sorted(name for name, at_s in self._failed_at_s.items() if now_s < at_s + _REMEMBERED_S)
        return f"failing, and begun anew: {', '.join(failing)} (the log says why)" if failing else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the block is left."""
        tasks = [asyncio.create_task(self._keep(name, loop), name=name) for name, loop in self._loops.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, name: str, loop: Loop) -> None:
        while True:
            try:
                await loop()
            except Exception:  # noqa: BLE001 - the last resort of a background loop; the log has the traceback
                _log.exception("loop_failed", loop=name)
            self._failed_at_s[name] = time.monotonic()
            await asyncio.sleep(_RESTART_S)
