"""Writing batches: what is synced, what need not be, and how far the two may be apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chain.storage.batch import CommittedBlock, fill_batch, fill_undo
from chain.storage.database import sync_logs
from chain.storage.opening import MAX_UNSYNCED_BLOCKS
from chain.storage.rows import StateRow


class BlockWriter:
    """Puts blocks into plyvel's database, one batch each. One call at a time."""

    def __init__(self, database: Any, path: Path, history_blocks: int) -> None:
        self._database = database
        self._path = path
        self._history_blocks = history_blocks
        self._unsynced_blocks = 0

    def write(self, block: CommittedBlock, rows: Sequence[StateRow], leaf_count: int, *, sync: bool) -> None:
        """One batch; with `sync`, it and all before it are on the disk then. Raises plyvel's errors, FolderUnusable."""
        sync = sync or self._unsynced_blocks + 1 >= MAX_UNSYNCED_BLOCKS
        batch = self._database.write_batch(sync=sync)
        fill_batch(batch, block, rows, leaf_count)
        fill_undo(batch, block.header.height, rows, self._history_blocks)
        if sync:
            self.settle()
        batch.write()
        self._unsynced_blocks += not sync

    def settle(self) -> None:
        """Brings to the disk what was written without a sync. Raises FolderUnusable."""
        if self._unsynced_blocks:
            sync_logs(self._path)
            self._unsynced_blocks = 0
