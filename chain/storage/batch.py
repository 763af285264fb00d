"""A block with all that belongs to it, and the one write batch that it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chain.primitives.block import Header
from chain.primitives.types import Hash32
from chain.storage.errors import BadCommit
from chain.storage.keys import FLOOR_KEY, HEAD_KEY, HEIGHT_BYTES, Table, height_key, location_value
from chain.storage.records import Head, HeadRecord, encode_undo
from chain.storage.rows import StateRow


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A final block and what is kept beside it. All byte strings but the header are opaque to the store."""

    header: Header
    block: bytes
    """The encoded block."""

    transaction_hashes: Sequence[bytes]
    """In the block's order."""

    results: bytes
    """Statuses, logs and reasons of failures, encoded."""

    certificate: bytes | None
    """None where only a descendant's certificate makes the block final."""

    index_puts: Sequence[tuple[Table, bytes, bytes]] = ()
    """Table, key without the table's byte, value."""

    index_deletes: Sequence[tuple[Table, bytes]] = ()

    floor: bytes | None = None
    """The consensus engine's record, None to keep the one before."""


def check_follows(block: CommittedBlock, head: Head | None, state_root: Hash32) -> None:
    """Raises BadCommit unless the block follows the head and names the pending state's root."""
    header = block.header
    if header.height != (head.height + 1 if head else 0):
        raise BadCommit(
            f"Block {header.height} does not follow {f'block {head.height}' if head else 'an empty store'}."
        )
    if head and header.parent_hash != head.block_hash:
        raise BadCommit(f"Block {header.height} has another parent than the newest block.")
    if header.state_root != state_root:
        raise BadCommit(f"Block {header.height} names another state root than its pending state.")
    tables = {table for table, _, _ in block.index_puts} | {table for table, _ in block.index_deletes}
    for table in tables:
        if not table.is_index:
            raise BadCommit(f"{table.name} is no index; the store alone writes it.")


def fill_batch(batch: Any, block: CommittedBlock, rows: Sequence[StateRow], leaf_count: int) -> None:
    """Puts everything but the undo record into plyvel's write batch."""
    height = block.header.height
    batch.put(height_key(Table.BLOCK, height), block.block)
    batch.put(Table.HEIGHT_BY_HASH.prefix + block.header.hash, height.to_bytes(HEIGHT_BYTES, "big"))
    batch.put(height_key(Table.RESULTS, height), block.results)
    if block.certificate is not None:
        batch.put(height_key(Table.CERTIFICATE, height), block.certificate)
    put, transaction, state = batch.put, Table.TRANSACTION.prefix, Table.STATE.prefix
    for index, transaction_hash in enumerate(block.transaction_hashes):
        put(transaction + transaction_hash, location_value(height, index))
    for row in rows:
        if row.new_value is None:
            batch.delete(state + row.path)
        else:
            put(state + row.path, row.new_value)
    for table, key, value in block.index_puts:
        put(table.prefix + key, value)
    for table, key in block.index_deletes:
        batch.delete(table.prefix + key)
    if block.floor is not None:
        batch.put(FLOOR_KEY, block.floor)
    batch.put(HEAD_KEY, HeadRecord(block.header, leaf_count).encode())


def fill_undo(batch: Any, height: int, rows: Sequence[StateRow], history_blocks: int) -> None:
    """Keeps what the block's keys held before it, and drops the record that history no longer needs."""
    if history_blocks > 0 and height > 0:
        batch.put(height_key(Table.UNDO, height), encode_undo((row.path, row.old_value) for row in rows))
    if height > history_blocks:
        batch.delete(height_key(Table.UNDO, height - history_blocks))
