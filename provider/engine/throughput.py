"""How long pictures take here, measured, so that a Retry-After is honest. Pure."""

from typing import Final

from provider.generation import BatchKey

_FIRST_GUESS_ROW_S: Final = 5.0
"""How long a picture of 512 by 512 pixels and 30 steps takes, before any has been measured."""

_WEIGHT_OF_LATEST: Final = 0.3


def work_of(key: BatchKey) -> float:
    """How much there is to compute for a row, in pixels times steps; guidance computes everything twice."""
    share = 1.0 if key.strength is None else key.strength
    return max(1.0, key.width * key.height * key.steps * share * (2 if key.is_guided else 1))


_FIRST_GUESS_S_PER_WORK: Final = _FIRST_GUESS_ROW_S / (512 * 512 * 30 * 2)


class Throughput:
    """A moving average over the batches of all slots."""

    def __init__(self) -> None:
        self._s_per_work = _FIRST_GUESS_S_PER_WORK
        self._is_measured = False

    def record(self, work: float, duration_s: float) -> None:
        """A slot has computed so much work, all rows of its batch together, in this time."""
        measured = duration_s / work
        if not self._is_measured:
            self._s_per_work, self._is_measured = measured, True
        self._s_per_work += _WEIGHT_OF_LATEST * (measured - self._s_per_work)

    def seconds_for(self, work: float, slots: int) -> float:
        """How long this much work takes when so many slots share it."""
        return work * self._s_per_work / max(1, slots)
