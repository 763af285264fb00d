"""The stored chain: opening it, preparing states, committing blocks, proving what the state holds.

One batch, synced to the disk, holds a block with everything that belongs to it, so a block is there whole or not at
all. The state tree's top, the cached values and the head move only once the batch is on the disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Self

import plyvel

from chain.primitives.state_proof import OtherLeaf, StateProof, tree_key
from chain.primitives.types import Hash32
from chain.storage.batch import CommittedBlock, check_follows
from chain.storage.database import closed_error, corrupted, open_database, translate, write_failed
from chain.storage.errors import FolderUnusable, StalePending, StorageError
from chain.storage.evidence import EvidenceTable
from chain.storage.folder_lock import FolderLock
from chain.storage.keys import Table
from chain.storage.opening import open_chain, prune_undo
from chain.storage.past import PastState, past_state
from chain.storage.pending import PendingState
from chain.storage.reader import ChainReader, Page
from chain.storage.records import Head
from chain.storage.rows import StateRow, leaves_of_rows, rows_of_changes, rows_of_past
from chain.storage.tree import StateTree, TreeUpdate
from chain.storage.values import ValueCache
from chain.storage.view import StateView
from chain.storage.writer import BlockWriter

__all__ = ["CommittedBlock", "Head", "Store", "StoreStatistics"]

DEFAULT_HISTORY_BLOCKS = 128
"""About two hours of heartbeats: long enough for a reader that pages through a state or checks a proof again."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Figures for metrics."""

    leaf_count: int
    tree_depth: int
    tree_memory_bytes: int
    cached_values: int


class Store(ChainReader):
    """A chain in a folder. Readers from any thread; preparing and committing take turns.

    `_writing` lets one thread prepare or commit at a time; `_tree_lock` is held while tree and head change together,
    and while a proof is read from the tree.
    """

    def __init__(
        self, database: Any, lock: FolderLock, path: Path, head: Head | None, tree: StateTree, history_blocks: int
    ) -> None:
        """Use `Store.open`."""
        self._database = database
        self._lock = lock
        self._path = path
        self._tree = tree
        self._writer = BlockWriter(database, path, history_blocks)
        self._values = ValueCache()
        self._view = StateView(path, database.snapshot(), head, self._values)
        self._values.hand_over(self._view, ())
        self._writing = RLock()
        self._tree_lock = Lock()
        self._evidence = EvidenceTable(database, path)
        self._failure: StorageError | None = None
        self._past_update: tuple[PastState, TreeUpdate] | None = None

    @classmethod
    def open(
        cls, path: Path, *, genesis_hash: bytes, create: bool = False, history_blocks: int = DEFAULT_HISTORY_BLOCKS
    ) -> Self:
        """Opens a folder's chain and checks its whole state; `create` makes a new one where there is none.

        Reads every leaf: about 4 s per million. Raises StorageError with a message for the operator.
        """
        database, lock = open_database(path, create=create)
        try:
            head, tree = open_chain(database, path, genesis_hash, create=create)
            prune_undo(database, path, (head.height if head else 0) - history_blocks + 1)
            return cls(database, lock, path, head, tree, history_blocks)
        except BaseException:
            database.close()
            lock.release()
            raise

    def close(self) -> None:
        """Frees the folder for another process. Reads and writes from now on raise StorageError.

        Call it when the threads that read have ended: LevelDB does not wait for a read that is going on.
        """
        with self._writing, self._tree_lock:
            if not self._database.closed:
                try:
                    if self._failure is None:
                        self._writer.settle()
                finally:
                    self._database.close()
                    self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def head(self) -> Head | None:
        """The newest committed block; None before genesis."""
        return self._view.head

    def view(self) -> StateView:
        """The head's state and everything committed, as of now and for good."""
        return self._view

    def get(self, state_key: bytes) -> bytes | None:
        """The value under a state key at the head of this moment; for several keys of one state use a view."""
        return self._view.get(state_key)

    def state_at(self, height: int) -> PastState:
        """The state after a recent block. Raises HistoryPruned where undo records do not reach."""
        return past_state(self._view, height, self)

    def statistics(self) -> StoreStatistics:
        """Figures for metrics."""
        tree = self._tree
        return StoreStatistics(tree.leaf_count, tree.depth, tree.memory_bytes, len(self._values))

    # --- Writing

    def prepare(self, changes: Mapping[bytes, bytes | None], *, on: StateView | PendingState) -> PendingState:
        """The state that changes (state key → value, None: absent) lead to, with its root; it changes nothing.

        Raises StalePending unless `on` is the head's view, or a pending state that still extends the head.
        """
        with self._writing:
            self._check_usable()
            base = self._view
            waiting: dict[bytes, bytes | None] = {}
            for layer in self._layers_above_head(on):
                waiting.update(layer)
            since_base = {**waiting, **changes} if waiting else changes
            rows = rows_of_changes(base, since_base, always=waiting)
            return PendingState(
                changes=changes,
                parent=on,
                base=base,
                since_base=since_base,
                rows=rows,
                update=self._compute(base, rows),
            )

    def commit(self, block: CommittedBlock, pending: PendingState, *, sync: bool = True) -> Head:
        """Writes a final block and its state for good; when it returns, they are on the disk.

        Without `sync` they are with the operating system: the end of the process takes nothing back, a power cut may
        take back the newest blocks, at most MAX_UNSYNCED_BLOCKS; in rare cases the folder is then refused as damaged.

        Raises StalePending or BadCommit, with nothing changed. After any other StorageError the node must stop; the
        next start finds the block whole or not at all.
        """
        with self._writing:
            self._check_usable()
            view = self._view
            check_follows(block, view.head, pending.state_root)
            rows, update = self._rows_and_update(view, pending)
            self._write(block, rows, update.leaf_count, sync=sync)
            head = Head(block.header)
            new_view = StateView(self._path, self._database.snapshot(), head, self._values)
            with self._tree_lock:
                self._tree.adopt(update)
                self._view = new_view
                self._values.hand_over(new_view, ((row.state_key, (row.path, row.new_value)) for row in rows))
                self._past_update = None
                self._adapt_tree(new_view)
            pending.mark_committed(new_view)
            return head

    def _adapt_tree(self, view: StateView) -> None:
        """Reads leaves, so it may find damage; the tree may be half changed then, and the store takes no more."""
        try:
            self._tree.adapt_depth(view.scanner())
        except plyvel.Error as error:
            self._failure = translate(error, self._path)
            raise self._failure from None

    def _rows_and_update(self, view: StateView, pending: PendingState) -> tuple[Sequence[StateRow], TreeUpdate]:
        """What a pending state changes at the head, whose view is given; else raises StalePending."""
        if pending.parent is view:
            return pending.rows, pending.update
        if not isinstance(pending.parent, PendingState) or pending.parent.committed_as is not view:
            raise StalePending("The block was prepared on a state that is not the head's (any more).")
        rows = rows_of_changes(view, pending.changes)
        if pending.update.generation == self._tree.generation:
            return rows, pending.update
        update = self._compute(view, rows)
        assert update.root == pending.state_root
        return rows, update

    def _layers_above_head(self, on: StateView | PendingState) -> list[Mapping[bytes, bytes | None]]:
        """The changes of the pending states between the head and `on`, oldest first."""
        layers: list[Mapping[bytes, bytes | None]] = []
        node: StateView | PendingState | None = on
        while isinstance(node, PendingState) and node.committed_as is None:
            layers.append(node.changes)
            node = node.parent
        committed = node.committed_as if isinstance(node, PendingState) else node
        if committed is not self._view:
            raise StalePending("The head has moved past the state that this was to be prepared on.")
        layers.reverse()
        return layers

    def _compute(self, view: StateView, rows: Sequence[StateRow]) -> TreeUpdate:
        """What rows make of the tree, which is the view's."""
        present = {row.path for row in rows if row.old_value is not None}
        try:
            return self._tree.compute(leaves_of_rows(rows), present, view.scanner())
        except plyvel.Error as error:
            raise translate(error, self._path) from None

    def _write(self, block: CommittedBlock, rows: Sequence[StateRow], leaf_count: int, *, sync: bool) -> None:
        """After a failure nobody knows what is on the disk, so the store takes no more."""
        try:
            self._writer.write(block, rows, leaf_count, sync=sync)
        except (plyvel.Error, FolderUnusable) as error:
            self._failure = write_failed(self._path, f"Block {block.header.height}", error)
            raise self._failure from None

    def keep_evidence(self, key: bytes, value: bytes) -> None:
        """Stores two contradicting votes under their `evidence_key`, synced, unless there are some. Any thread.

        Raises WriteFailed, and then the node must stop.
        """
        with self._writing:
            self._check_usable()
            try:
                self._evidence.keep(key, value)
            except plyvel.Error as error:
                self._failure = write_failed(self._path, "Evidence of a contradiction", error)
                raise self._failure from None

    def evidence_page(self, *, cursor: bytes | None = None, limit: int, newest_first: bool = True) -> Page:
        """What `keep_evidence` has stored, as `index_page` answers, but as of now and not of the head."""
        return self._evidence.index_page(Table.EVIDENCE, cursor=cursor, limit=limit, newest_first=newest_first)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._database.closed:
            raise closed_error(self._path)

    # --- Proving

    def prove(self, state_key: bytes) -> tuple[Head | None, bytes | None, StateProof]:
        """The head, the value under a state key and its proof against the head's state root."""
        with self._tree_lock:
            self._check_usable()
            value, proof = self._proof(state_key, self._view, None)
            return self._view.head, value, proof

    def prove_at(self, height: int, state_key: bytes) -> tuple[bytes | None, StateProof]:
        """A value after a recent block, and its proof against that block's state root. Raises HistoryPruned."""
        with self._tree_lock:
            self._check_usable()
            if self._past_update is None or self._past_update[0].height != height:
                past = past_state(self._view, height, self)
                self._past_update = past, self._compute(self._view, rows_of_past(past))
            past, update = self._past_update
            if update.root != past.state_root:
                raise corrupted(self._path, f"the undo records do not lead back to the state at height {height}")
            return self._proof(state_key, past, update)

    def _proof(
        self, state_key: bytes, state: StateView | PastState, update: TreeUpdate | None
    ) -> tuple[bytes | None, StateProof]:
        """A value of a state, and its proof from the tree, with the update that leads there. Needs the tree's lock."""
        path = tree_key(state_key)
        try:
            siblings, end = self._tree.locate(path, self._view.scanner(), update)
        except plyvel.Error as error:
            raise translate(error, self._path) from None
        if end is None or end == path:
            return state.value_at(path), StateProof(siblings)
        other_value = state.value_at(end)
        assert other_value is not None
        return None, StateProof(siblings, OtherLeaf(Hash32(end), Hash32(sha256(other_value).digest())))

    def _snapshot_now(self) -> Any:
        return self._view._snapshot_now()
