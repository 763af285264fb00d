"""LevelDB opened with our options; its errors become messages that say what to do."""

import errno
import os
from pathlib import Path
from typing import Any, Final

import plyvel

from chain.storage.errors import FolderCorrupted, FolderMissing, FolderUnusable, StorageError, WriteFailed
from chain.storage.folder_lock import FolderLock, in_use

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

_LOCKED: Final = ("temporarily unavailable", "already held")

_REFUSED_BY_SYSTEM: Final = tuple(
    os.strerror(code).lower()
    for code in (
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    )
)


def open_database(path: Path, *, create: bool) -> tuple[Any, FolderLock]:
    """plyvel's database in `path`, and the lock on it; makes it where there is none and `create` is given.

    Raises StorageError.
    """
    if not create and not path.exists():
        raise missing(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderUnusable(f"The folder {path} cannot be used: {error.strerror}. Choose another one.") from None
    lock = FolderLock(path)
    try:
        exists = _holds_database(path)
        if not exists and not create:
            raise missing(path)
        return plyvel.DB(str(path), create_if_missing=not exists, **_OPTIONS), lock
    except plyvel.Error as error:
        lock.release()
        raise translate(error, path) from None
    except BaseException:
        lock.release()
        raise


def sync_logs(path: Path) -> None:
    """Brings everything to the disk that was written without a sync.

    A synced write of LevelDB's syncs its newest log alone, and while it has begun a new one, what an older one holds
    may not be in a table yet. Raises FolderUnusable.
    """
    try:
        for log in path.glob("*.log"):
            try:
                descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # Its entries are in a table by now, which LevelDB has synced.
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise FolderUnusable(f"{path} cannot be written ({error.strerror}). Check the disk's space.") from None


def missing(path: Path) -> FolderMissing:
    """The error for a folder without a chain."""
    return FolderMissing(f"There is no chain data in {path}. Check the folder's name, or initialise the node first.")


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
            return in_use(path)
        if any(part in lowered for part in _REFUSED_BY_SYSTEM):
            return FolderUnusable(
                f"{path} cannot be read or written ({words}). Check the disk's space and permissions."
            )
    return corrupted(path, words)


def write_failed(path: Path, what: str, error: Exception) -> WriteFailed:
    """The error after which nobody knows what is on the disk."""
    reason = translate(error, path) if isinstance(error, plyvel.Error) else error
    return WriteFailed(
        f"{what} could not be written to {path} ({reason}) Stop the node, make room or repair the disk, and start it "
        "again: what was committed before is safe."
    )


def closed_error(path: Path) -> StorageError:
    """The error for reading or writing after the end."""
    return StorageError(f"The chain data in {path} have been closed: the node is shutting down.")


def corrupted(path: Path, detail: str) -> FolderCorrupted:
    """The error for files that are missing, garbled or contradictory."""
    return FolderCorrupted(
        f"The chain data in {path} are damaged ({detail}). Restore the folder from a backup, or "
        "delete it and start again: the node then fetches the whole chain from its peers. A network's only validator "
        "has no peers to fetch from and needs the backup."
    )
