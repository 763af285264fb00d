"""How fast a worker has been seen to be, by model and size class: a moving average of what the hub itself measured."""

from collections.abc import Iterable
from typing import Final

from hub.scheduling.work import SizeClass, size_class

_WEIGHT_OF_LATEST: Final = 0.3
"""The last seven shards make up nine tenths of the average: it follows a machine that others begin to use, and one odd
shard in a steady series moves it by less than a third of its oddness."""
_MOST_CHANGE: Final = 4.0
"""One shard cannot make a worker look faster or slower than this many times."""
_MOST_KINDS: Final = 256
"""Of model and size that are remembered of one worker."""


class SpeedBook:
    """One worker's speeds, as work per second of one slot."""

    def __init__(self, rows: Iterable[tuple[str, int, float]] = ()) -> None:
        self._speeds = {(model, SizeClass(size)): work_per_s for model, size, work_per_s in rows}

    def record(self, model: str, pixels: int, work: float, seconds: float) -> None:
        """A shard of so much work, all of its pictures, took so long from sending until its result was there.

        Loading the model does not count. `pixels` are a picture's. What is not positive is no measurement.
        """
        if work <= 0 or seconds <= 0:
            return
        kind, measured = (model, size_class(pixels)), work / seconds
        known = self._speeds.pop(kind, None)
        if known is not None:
            bounded = min(max(measured, known / _MOST_CHANGE), known * _MOST_CHANGE)
            # Averaged as time per work, because times are what is added up afterwards.
            measured = 1 / ((1 - _WEIGHT_OF_LATEST) / known + _WEIGHT_OF_LATEST / bounded)
        self._speeds[kind] = measured
        if len(self._speeds) > _MOST_KINDS:
            del self._speeds[next(iter(self._speeds))]

    def speeds(self) -> dict[tuple[str, SizeClass], float]:
        """As `Worker.speeds` wants them; a copy."""
        return dict(self._speeds)

    def rows(self) -> list[tuple[str, int, float]]:
        """Model, size class and work per second, to be kept; the constructor takes them back."""
        return [(model, int(size), work_per_s) for (model, size), work_per_s in self._speeds.items()]
