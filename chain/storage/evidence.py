"""Pairs of votes by which a validator has contradicted itself: kept beside the chain, and no part of any block."""

from pathlib import Path
from typing import Any, Final

from chain.storage.keys import Table
from chain.storage.reader import ChainReader

MAX_EVIDENCE_BYTES: Final = 4096
"""Two encoded votes take some 300."""


class EvidenceTable(ChainReader):
    """The table as it is now, which no view of a head shows."""

    def __init__(self, database: Any, path: Path) -> None:
        self._database = database
        self._path = path

    def keep(self, key: bytes, value: bytes) -> None:
        """Writes and syncs an entry unless there is one under this key. Raises plyvel's errors."""
        assert len(value) <= MAX_EVIDENCE_BYTES
        if self.index_get(Table.EVIDENCE, key) is None:
            self._database.put(Table.EVIDENCE.prefix + key, value, sync=True)

    def _snapshot_now(self) -> Any:
        return self._database
