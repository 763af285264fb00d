"""Recent pictures by the SHA-256 of their bytes, so that a repeated job gets the answer that it missed.

How many, how large together and how old they may be is bounded; the oldest go first.
"""

import hashlib
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import structlog

from provider.errors import ConfigurationError, StorageError
from provider.generation import OUTPUT_FORMATS
from provider.storage.artifact_places import open_place

_NAME: Final = re.compile(rf"[0-9a-f]{{64}}\.({'|'.join(OUTPUT_FORMATS)})")

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.storage")


@dataclass(frozen=True)
class ArtifactLimits:
    """What is kept at most; a count of 0 keeps nothing at all."""

    max_count: int = 200
    max_bytes: int = 2**30
    max_age_s: float = 7 * 86_400


@dataclass(frozen=True)
class _Kept:
    size_bytes: int
    stored_s: float


class Artifacts:
    """Pictures in a folder or an S3-compatible bucket. Safe in any thread; every method blocks."""

    def __init__(self, location: str, limits: ArtifactLimits) -> None:
        """Touches nothing yet; raises ConfigurationError where the location can never work."""
        self._place = open_place(location)
        self._limits = limits
        self._mutex = threading.Lock()
        """Guards the two below, and is never held while the store is asked: it may take a minute to answer."""
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        """Oldest first."""
        self._total_bytes = 0
        self._listing = threading.Lock()
        self._is_listed = False

    def check(self) -> None:
        """Looks at the store, as at a start; raises ConfigurationError where it cannot be used."""
        try:
            self._list_once()
        except StorageError as error:
            raise ConfigurationError(error.message, reason=error.reason) from error

    @staticmethod
    def name_of(picture: bytes, output_format: str = "png") -> str:
        """The name under which this picture is kept."""
        assert output_format in OUTPUT_FORMATS
        return f"{hashlib.sha256(picture).hexdigest()}.{output_format}"

    def put(self, picture: bytes, output_format: str = "png") -> str:
        """Keeps the picture whole or not at all, and returns its name; raises StorageError."""
        name = self.name_of(picture, output_format)
        if self._limits.max_count == 0:
            return name
        self._list_once()
        self._place.write(name, picture, OUTPUT_FORMATS[output_format])
        with self._mutex:
            self._forget(name)
            self._kept[name] = _Kept(len(picture), time.time())
            self._total_bytes += len(picture)
            excess = self._take_excess(time.time())
        self._delete(excess)
        return name

    def get(self, name: str) -> bytes | None:
        """The picture's bytes, or None where it is gone, damaged, or no picture's name; raises StorageError."""
        if not _NAME.fullmatch(name):
            return None
        picture = self._place.read(name)
        if picture is None or hashlib.sha256(picture).hexdigest() != name.partition(".")[0]:
            return None
        return picture

    def link(self, name: str, expires_s: int) -> str | None:
        """A URL of the store itself that anybody can read for that long; None where it has none (a folder)."""
        return self._place.link(name, expires_s) if _NAME.fullmatch(name) else None

    def prune(self, now_s: float) -> int:
        """Removes what is above the bounds or too old; how many pictures that were. Raises StorageError."""
        self._list_once()
        with self._mutex:
            excess = self._take_excess(now_s)
        return self._delete(excess)

    def usage(self) -> tuple[int, int]:
        """How many pictures are kept, and their bytes; (0, 0) before the store was first looked at. Never blocks."""
        with self._mutex:
            return len(self._kept), self._total_bytes

    def _list_once(self) -> None:
        """Learns what an earlier process has left, before anything is written or removed; raises StorageError."""
        with self._listing:
            if self._is_listed:
                return
            self._place.prepare()
            ours = [file for file in self._place.files() if _NAME.fullmatch(file.name)]
            ours.sort(key=lambda file: file.stored_s)
            with self._mutex:
                self._kept = OrderedDict((file.name, _Kept(file.size_bytes, file.stored_s)) for file in ours)
                self._total_bytes = sum(file.size_bytes for file in ours)
            self._is_listed = True

    def _forget(self, name: str) -> None:
        known = self._kept.pop(name, None)
        if known is not None:
            self._total_bytes -= known.size_bytes

    def _take_excess(self, now_s: float) -> list[tuple[str, _Kept]]:
        """What is to go, oldest first, already forgotten; the newest picture stays, whatever its size."""
        limits, excess = self._limits, []
        while self._kept:
            name, oldest = next(iter(self._kept.items()))
            is_too_old = now_s - oldest.stored_s > limits.max_age_s
            is_too_much = len(self._kept) > limits.max_count or self._total_bytes > limits.max_bytes
            is_last = len(self._kept) == 1 and limits.max_count > 0
            if not is_too_old and (is_last or not is_too_much):
                break
            self._forget(name)
            excess.append((name, oldest))
        return excess

    def _delete(self, excess: list[tuple[str, _Kept]]) -> int:
        """Removes files, and says how many; what the store would not remove now is left to the next clean-up."""
        for position, (name, _) in enumerate(excess):
            with self._mutex:
                if name in self._kept:
                    continue  # The same picture has come again meanwhile.
            try:
                self._place.delete(name)
            except StorageError as error:
                _log.warning("artifacts_not_removed", pictures=len(excess) - position, detail=error.message)
                self._remember(excess[position:])
                return position
        return len(excess)

    def _remember(self, files: list[tuple[str, _Kept]]) -> None:
        """Puts back what is still there, before all others."""
        with self._mutex:
            for name, kept in reversed(files):
                if name not in self._kept:
                    self._kept[name] = kept
                    self._kept.move_to_end(name, last=False)
                    self._total_bytes += kept.size_bytes
