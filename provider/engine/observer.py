"""What metrics may listen to."""

from collections.abc import Sequence
from typing import Protocol


class EngineObserver(Protocol):
    """Told of batches and jobs, on the engine's threads; must not block."""

    def batch_started(self, rows: int, waited_s: Sequence[float]) -> None:
        """A slot starts a batch; `waited_s` has the time since its submit for each row."""

    def batch_ended(self, rows: int, duration_s: float, outcome: str) -> None:
        """It has ended: ok, unwanted (nobody waits for it any more), or the reason of its failure."""

    def memory_split(self, rows: int) -> None:
        """A batch of so many rows did not fit into memory and is split in two."""

    def job_ended(self, outcome: str, waited_s: float, duration_s: float) -> None:
        """A job's future resolves: ok, or the failure's reason; `waited_s` until its first row was at work."""


class SilentObserver:
    """Listens to nothing."""

    def batch_started(self, rows: int, waited_s: Sequence[float]) -> None:
        """Does nothing."""

    def batch_ended(self, rows: int, duration_s: float, outcome: str) -> None:
        """Does nothing."""

    def memory_split(self, rows: int) -> None:
        """Does nothing."""

    def job_ended(self, outcome: str, waited_s: float, duration_s: float) -> None:
        """Does nothing."""
