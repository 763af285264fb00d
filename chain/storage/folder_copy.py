"""A stopped node's chain, opened for reading without changing a byte of its folder.

LevelDB cannot open a folder without writing to it, so a copy is opened. Its table files never change once they are
written: where the copy is on the same disk they are linked and take no room.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from chain.storage.database import missing, open_database
from chain.storage.errors import FolderUnusable, StorageError
from chain.storage.folder_lock import LOCK_FILE, in_use
from chain.storage.keys import HEAD_KEY
from chain.storage.opening import check_metadata
from chain.storage.reader import ChainReader

_TABLE_SUFFIXES: Final = (".ldb", ".sst")
_NOT_COPIED: Final = (LOCK_FILE, "LOCK", "LOG", "LOG.old")


class FolderCopy(ChainReader):
    """What the folder held when it was copied. Nothing of it is checked but that LevelDB can read it."""

    def __init__(self, path: Path, database: Any) -> None:
        """Use `open_copy`. `path` is the folder that was copied: errors speak of that one."""
        self._path = path
        self._snapshot = database.snapshot()

    def head_record(self) -> bytes | None:
        """The record of the newest block."""
        return self._read(HEAD_KEY)

    def _snapshot_now(self) -> Any:
        return self._snapshot


@contextmanager
def open_copy(path: Path, copy: Path, *, genesis_hash: bytes) -> Iterator[FolderCopy]:
    """Copies the chain in `path` to `copy`, a folder that does not exist, and opens the copy for the block's duration.

    Raises StorageError: FolderInUse while a node runs on it, WrongNetwork, UnknownFormat, FolderCorrupted.
    """
    with ExitStack() as opened:
        try:
            _copy_folder(path, copy)
            database, lock = open_database(copy, create=False)
            opened.callback(lock.release)
            opened.callback(database.close)
            check_metadata(database, path, genesis_hash, create=False)
        except StorageError as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from None
        yield FolderCopy(path, database)


def _copy_folder(path: Path, copy: Path) -> None:
    if not path.is_dir():
        raise missing(path)
    try:
        with _locked(path):
            copy.mkdir()
            for entry in sorted(path.iterdir()):
                if entry.name not in _NOT_COPIED and entry.is_file():
                    _copy_file(entry, copy / entry.name)
    except OSError as error:
        raise FolderUnusable(f"{path} cannot be copied to {copy.parent}: {error.strerror or error}.") from None


def _copy_file(source: Path, target: Path) -> None:
    if source.suffix in _TABLE_SUFFIXES:
        try:
            os.link(source, target)
        except OSError:  # Another disk, or one without links.
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps nodes away, and raises FolderInUse where one is at work. A folder that never had one needs no lock."""
    lock = path / LOCK_FILE
    if not lock.exists():
        yield
        return
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise in_use(path) from None
        yield
    finally:
        os.close(descriptor)
