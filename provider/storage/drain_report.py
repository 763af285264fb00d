"""What a drain still waits for, left in the data folder for `aitbc provider drain`, which is another process.

A file and not the API, since that may be served anywhere; and it stays when the process has ended, so that whoever
waited for it learns whether all was concluded.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

_NAME: Final = "drain.json"
_MAX_BYTES: Final = 64 * 1024

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.storage")


class DrainReport:
    """Of the provider that holds the folder, or did so last."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def write(self, sentences: Sequence[str]) -> None:
        """Takes the place of what was there; a disk without room for it is no reason not to drain."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps({"waits_for": list(sentences)}))
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("drain_not_reported", detail=error.strerror or str(error))
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)

    def read(self) -> list[str]:
        """One sentence for each hub; none where nothing is there."""
        try:
            with self._path.open("rb") as file:
                sentences = json.loads(file.read(_MAX_BYTES))["waits_for"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [str(sentence) for sentence in sentences] if isinstance(sentences, list) else []
