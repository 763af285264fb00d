"""A block with all that belongs to it, and the one write batch that it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chain.primitives.block import Header
from chain.storage.keys import FLOOR_KEY, HEAD_KEY, HEIGHT_BYTES, Table, height_key, location_value
from chain.storage.records import HeadRecord, encode_undo
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
