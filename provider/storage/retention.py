"""What is forgotten, and when: one background task that prunes everything that would otherwise grow for ever."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from provider.errors import ProviderError
from provider.storage.artifact_places import PART_SUFFIX
from provider.storage.artifacts import Artifacts
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox

_DAY_S: Final = 86_400
_LEFTOVER_AGE_S: Final = 3600
"""No file is written for that long; a part that is older belongs to nobody."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.storage")


class Prunable(Protocol):
    """Something that grows."""

    @property
    def name(self) -> str:
        """For the log."""

    def prune(self, now_s: float) -> int:
        """Forgets what its time or bound is over for; how much that was. Blocking; raises ProviderError."""


@dataclass(frozen=True)
class Pruning:
    """A function as a Prunable."""

    name: str
    prune_function: Callable[[float], int]

    def prune(self, now_s: float) -> int:
        """Calls it."""
        return self.prune_function(now_s)


@dataclass(frozen=True)
class RetentionTimes:
    """How long ended jobs, and receipts that are final on the chain, are kept."""

    job_days: int
    receipt_days: int


class Retention:
    """Prunes everything once per interval."""

    def __init__(self, prunables: Sequence[Prunable], interval_s: float) -> None:
        self._prunables = tuple(prunables)
        self._interval_s = interval_s

    async def run(self) -> None:
        """Prunes for ever, at once for the first time."""
        while True:
            await asyncio.to_thread(self.run_once, time.time())
            await asyncio.sleep(self._interval_s)

    def run_once(self, now_s: float) -> dict[str, int]:
        """How much of what was forgotten; what cannot be pruned now is tried again next time. Blocking."""
        pruned: dict[str, int] = {}
        for prunable in self._prunables:
            try:
                pruned[prunable.name] = prunable.prune(now_s)
            except (ProviderError, OSError) as error:
                _log.warning("retention_postponed", what=prunable.name, detail=str(error))
        if any(pruned.values()):
            _log.info("retention", **{name: count for name, count in pruned.items() if count})
        return pruned


def standard_retention(
    outbox: Outbox, job_log: JobLog, artifacts: Artifacts, times: RetentionTimes, folder: Path
) -> list[Prunable]:
    """What every provider forgets: pictures, jobs, final receipts, expired nonces, files that were never finished."""

    def prune_jobs(now_s: float) -> int:
        return job_log.prune(_milliseconds(now_s - times.job_days * _DAY_S))

    def prune_receipts(now_s: float) -> int:
        return outbox.prune_final(_milliseconds(now_s - times.receipt_days * _DAY_S))

    return [
        Pruning("artifacts", artifacts.prune),
        Pruning("jobs", prune_jobs),
        Pruning("receipts", prune_receipts),
        Pruning("nonces", job_log.prune_nonces),
        _Leftovers(folder),
    ]


class _Leftovers:
    """Files of the data folder that were never finished; looked for once an hour, since that walks through all."""

    name = "leftovers"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next_s = 0.0

    def prune(self, now_s: float) -> int:
        """Removes those that are too old to be at work."""
        if now_s < self._next_s:
            return 0
        self._next_s = now_s + _LEFTOVER_AGE_S
        return remove_leftovers(self._folder, older_than_s=_LEFTOVER_AGE_S, now_s=now_s)


def remove_leftovers(folder: Path, *, older_than_s: float = 0.0, now_s: float | None = None) -> int:
    """Removes files that somebody began to write in the data folder and never finished; how many they were.

    At a start, when nobody can be writing, all of them; later only those that are old. Raises OSError.
    """
    before_s = (time.time() if now_s is None else now_s) - older_than_s
    removed = 0
    for path in folder.rglob(f"*{PART_SUFFIX}"):
        # Whoever wrote it may finish or remove it just now.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime <= before_s:
                path.unlink()
                removed += 1
    return removed


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
