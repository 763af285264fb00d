"""One store per folder.

LevelDB locks its folder too, but with POSIX record locks, which the kernel drops as soon as the process closes any
descriptor of the file; a second attempt to open the folder from the same process does just that.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from chain.storage.errors import FolderInUse, FolderUnusable

LOCK_FILE: Final = "store.lock"


class FolderLock:
    """Held from construction until `release`, or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Raises FolderInUse where another store holds it."""
        try:
            self._descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise FolderUnusable(f"{folder / LOCK_FILE} cannot be opened: {error.strerror}.") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise in_use(folder) from None

    def release(self) -> None:
        """Lets others have the folder."""
        os.close(self._descriptor)


def in_use(folder: Path) -> FolderInUse:
    """The error for a folder that is open elsewhere."""
    return FolderInUse(
        f"Another process uses {folder}. Only one node can run on a data folder: stop the other one, or give this one "
        "a folder of its own."
    )
