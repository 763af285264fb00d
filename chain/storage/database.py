"""LevelDB opened with our options; its errors become messages that say what to do."""

from pathlib import Path
from typing import Any, Final

import plyvel

from chain.storage.errors import FolderCorrupted, FolderInUse, FolderMissing, FolderUnusable, StorageError

MEBIBYTE: Final = 1 << 20

# Measured with 1,000,000 leaves in random order, checksums verified: 20 µs per read with LevelDB's defaults, 3.5 µs
# with these. Hashes and signatures do not compress; files that are not compressed are mapped into memory and need no
# cache of blocks, and the smaller a block, the less is searched and checked for one value.
_OPTIONS: Final[dict[str, object]] = {
    "paranoid_checks": True,  # A damaged file is an error at once, not an older value.
    "bloom_filter_bits": 10,
    "block_size": 1024,
    "block_restart_interval": 4,
    "compression": None,
    "lru_cache_size": 16 * MEBIBYTE,
    "write_buffer_size": 32 * MEBIBYTE,
    "max_file_size": 8 * MEBIBYTE,
    "max_open_files": 256,  # Leaves most of the usual 1,024 descriptors to sockets.
}

_LOCKED: Final = ("lock", "temporarily unavailable", "already held")
_MISSING: Final = ("no such file", "missing files", "does not exist")


def open_database(path: Path, *, create: bool) -> Any:
    """plyvel's database in `path`; makes it where there is none and `create` is given. Raises StorageError."""
    exists = _holds_database(path)
    if not exists and not create:
        raise FolderMissing(f"There is no chain data in {path}. Check the folder's name, or initialise the node first.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderUnusable(f"The folder {path} cannot be made: {error.strerror}. Choose another one.") from None
    try:
        return plyvel.DB(str(path), create_if_missing=not exists, **_OPTIONS)
    except plyvel.Error as error:
        raise translate(error, path) from None


def _holds_database(path: Path) -> bool:
    """Raises FolderCorrupted where there are data but not the file with which LevelDB begins.

    LevelDB itself would take such a folder for an empty one and delete what is in it.
    """
    try:
        names = {entry.name: entry for entry in path.iterdir()}
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FolderUnusable(f"The folder {path} cannot be read: {error.strerror}.") from None
    if "CURRENT" in names:
        return True
    for entry in names.values():
        if entry.suffix in (".ldb", ".sst") or (entry.suffix == ".log" and entry.stat().st_size):
            raise corrupted(path, "the file CURRENT is missing")
    return False


def translate(error: Exception, path: Path) -> StorageError:
    """What an error of plyvel means to the operator."""
    words = str(error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error)
    lowered = words.lower()
    if isinstance(error, plyvel.IOError):
        if any(part in lowered for part in _LOCKED):
            return FolderInUse(
                f"Another process uses {path}. Only one node can run on a data folder: stop the other one, "
                "or give this one a folder of its own."
            )
        if not any(part in lowered for part in _MISSING):
            return FolderUnusable(
                f"The files in {path} cannot be read or written ({words}). Check space and permissions."
            )
    return corrupted(path, words)


def corrupted(path: Path, detail: str) -> FolderCorrupted:
    """The error for files that are missing, garbled or contradictory."""
    return FolderCorrupted(
        f"The chain data in {path} are damaged ({detail}). Nothing was changed. Restore the folder from a backup, or "
        "delete it and start again: the node then fetches the whole chain from its peers. A network's only validator "
        "has no peers to fetch from and needs the backup."
    )
