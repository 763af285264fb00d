"""What is checked when a folder's chain is opened, and what a new one begins with."""

from pathlib import Path
from typing import Any, Final

import plyvel

from chain.primitives.rejection import Rejected
from chain.primitives.state_proof import EMPTY_HASH
from chain.storage.database import corrupted, translate
from chain.storage.errors import FolderMissing, UnknownFormat, WrongNetwork
from chain.storage.keys import FORMAT_VERSION_KEY, GENESIS_HASH_KEY, HEAD_KEY, Table, height_key, height_of_key
from chain.storage.leaves import LeafScanner
from chain.storage.records import FORMAT_VERSION, Head, HeadRecord, decode_head
from chain.storage.tree import StateTree

MAX_UNSYNCED_BLOCKS: Final = 256
"""Blocks that are committed without a sync at most, before one is. After a power cut some of these may be missing."""


def open_chain(database: Any, path: Path, genesis_hash: bytes, *, create: bool) -> tuple[Head | None, StateTree]:
    """The head, None in a new folder, and the state tree rebuilt from every leaf. Raises StorageError."""
    try:
        check_metadata(database, path, genesis_hash, create=create)
        record = _read_head(database, path)
        _check_newest_blocks(database, path, record)
        scanner = LeafScanner(database.raw_iterator(verify_checksums=True))
        tree = StateTree.build(scanner, record.leaf_count if record else 0)
    except plyvel.Error as error:
        raise translate(error, path) from None
    if tree.root != (record.header.state_root if record else EMPTY_HASH):
        raise corrupted(path, "the stored state is not the one that the newest block names")
    return Head(record.header) if record else None, tree


def check_metadata(database: Any, path: Path, genesis_hash: bytes, *, create: bool) -> None:
    """Whether this is a chain of this network in this format; `create` makes it one. Raises StorageError."""
    version = database.get(FORMAT_VERSION_KEY, verify_checksums=True)
    if version is None:
        with database.iterator(include_value=False, verify_checksums=True) as keys:
            if next(keys, None) is not None:
                raise corrupted(path, "the record of the storage format is missing")
        if not create:
            raise FolderMissing(f"{path} holds no chain yet. Initialise the node first.")
        with database.write_batch(transaction=True, sync=True) as batch:
            batch.put(FORMAT_VERSION_KEY, str(FORMAT_VERSION).encode())
            batch.put(GENESIS_HASH_KEY, genesis_hash)
        return
    if version != str(FORMAT_VERSION).encode():
        raise UnknownFormat(
            f"{path} was written in storage format {version[:20].decode(errors='replace')}, and this version of aitbc "
            f"reads format {FORMAT_VERSION}. Run the version that wrote it, or give this one a new folder to sync into."
        )
    stored = database.get(GENESIS_HASH_KEY, verify_checksums=True)
    if stored is None:
        raise corrupted(path, "the genesis hash is missing")
    if stored != genesis_hash:
        raise WrongNetwork(
            f"{path} holds the chain of genesis 0x{stored.hex()}, and the network file says 0x{genesis_hash.hex()}. "
            "Use the network file of that chain, or another folder for this one."
        )


def _read_head(database: Any, path: Path) -> HeadRecord | None:
    encoded = database.get(HEAD_KEY, verify_checksums=True)
    if encoded is None:
        return None
    try:
        record = decode_head(encoded)
    except Rejected as error:
        raise corrupted(path, f"the record of the newest block: {error}") from None
    return record


def _check_newest_blocks(database: Any, path: Path, record: HeadRecord | None) -> None:
    """Raises FolderCorrupted where a block is missing that was written without a sync, or the head's.

    LevelDB writes in order, but to several logs; a power cut can take the end of one and leave the next.
    """
    if record is None:
        return
    last = record.header.height
    first = max(0, last - MAX_UNSYNCED_BLOCKS)
    start, stop = height_key(Table.BLOCK, first), height_key(Table.BLOCK, last + 1)
    with database.iterator(start=start, stop=stop, include_value=False, verify_checksums=True) as keys:
        found = {height_of_key(key) for key in keys}
    for height in range(first, last + 1):
        if height not in found:
            raise corrupted(path, f"block {height} is missing")


def prune_undo(database: Any, path: Path, first_kept: int) -> None:
    """Drops undo records below a height: the history may have been longer in an earlier run."""
    try:
        start, stop = Table.UNDO.prefix, height_key(Table.UNDO, max(first_kept, 0))
        with (
            database.iterator(start=start, stop=stop, include_value=False) as keys,
            database.write_batch() as batch,
        ):
            for key in keys:
                batch.delete(key)
    except plyvel.Error as error:
        raise translate(error, path) from None
