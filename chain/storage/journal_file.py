"""What the vote journal asks of the file system: a locked file, whole writes, and errors that say what to do.

The file is locked while it is open. Since a rename puts another file in its place, whoever gets the lock looks whether
it is still the file under that name.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from chain.storage.errors import JournalError, JournalMissing
from chain.storage.folder_lock import in_use

WAYS_OUT: Final = (
    "Without its votes a validator could contradict itself, which others take for an attack, so it does not start. Do "
    "not put back an older copy of the journal. Either give the validator a new key (`aitbc node keys rotate`), or, if "
    "you know that no other process holds this key, start once with `aitbc node run --accept-lost-votes`."
)

_OWNER_ONLY: Final = 0o600
_READ_BYTES: Final = 1 << 20


def open_locked(path: Path, *, create: bool) -> int:
    """A descriptor that appends. Raises JournalMissing, JournalError and FolderInUse."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, _OWNER_ONLY)
    except FileNotFoundError as error:
        raise (refused(path, error) if create else missing(path)) from None
    except OSError as error:
        raise refused(path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise in_use(path.parent)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        raise in_use(path.parent) from None
    except OSError as error:
        os.close(descriptor)
        raise refused(path, error) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_beside(path: Path) -> int:
    """A descriptor of a new, locked file, to be renamed to `path`. Only for the holder of `path`'s lock."""
    descriptor = os.open(beside(path), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def beside(path: Path) -> Path:
    """Where the next file is written; a crash may leave it, and then it means nothing."""
    return path.with_name(path.name + ".new")


def read_whole(descriptor: int) -> bytes:
    """The whole file, wherever its position is."""
    parts: list[bytes] = []
    position = 0
    while part := os.pread(descriptor, _READ_BYTES, position):
        parts.append(part)
        position += len(part)
    return b"".join(parts)


def write_whole(descriptor: int, content: bytes) -> None:
    """All of it, or an OSError: the system may take a part first."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def settle(path: Path, descriptor: int, end: int) -> None:
    """Cuts the file at `end`, and sees to it that all that was read will be read again.

    A process that was killed may have left bytes that the disk does not hold yet, or a rename.
    """
    if os.fstat(descriptor).st_size > end:
        os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    beside(path).unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes new names in the folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def missing(path: Path) -> JournalMissing:
    """The error for a journal that the key's votes are in, and that is not there."""
    return JournalMissing(f"The vote journal {path} is missing, and this key may have voted. {WAYS_OUT}")


def refused(path: Path, error: OSError) -> JournalError:
    """The error where the system does not let us."""
    return JournalError(
        f"The vote journal {path} cannot be read or written ({error.strerror or error}). Stop the node, make room or "
        "repair the disk, and start it again: what was sent was on the disk before."
    )
