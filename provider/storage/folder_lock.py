"""One provider per data folder: two would spend the same nonces."""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from provider.errors import ConfigurationError

LOCK_FILE_NAME: Final = "provider.lock"
_PATIENCE_S: Final = 1.0
"""`lock_owner` holds the lock for an instant, as several times a second while `aitbc provider drain` waits."""
_LOOK_INTERVAL_S: Final = 0.02


class FolderLock:
    """Holds the folder until it is closed, or its process ends in whatever way."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder, readable for its owner alone; raises ConfigurationError where it cannot be had."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(folder / LOCK_FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"cannot use the data folder {folder}: {error.strerror}"
            raise ConfigurationError(message, reason="data_dir_unusable") from None
        if not _lock(self._descriptor):
            os.close(self._descriptor)
            message = f"another provider runs in {folder}; two would spend the same nonces (choose another --data-dir)"
            raise ConfigurationError(message, reason="data_dir_in_use") from None
        self._write_owner()

    def _write_owner(self) -> None:
        """Leaves our process id for `aitbc provider drain`; a disk without room for it is no reason not to serve."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Lets another process have the folder; may be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(descriptor: int) -> bool:
    """Whether the lock could be had, in a second at most: whoever merely asks for its owner does not keep it."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_LOOK_INTERVAL_S)
        else:
            return True


def lock_owner(folder: Path) -> int | None:
    """The process id of the provider that runs on this folder now, or None; raises ConfigurationError."""
    try:
        lock_file = (folder / LOCK_FILE_NAME).open("r")
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot use the data folder {folder}: {error.strerror}"
        raise ConfigurationError(message, reason="data_dir_unusable") from None
    with lock_file:
        try:
            # Shared: two who ask at once do not take each other for a provider.
            fcntl.flock(lock_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = lock_file.read(32).strip()
            if text.isascii() and text.isdigit() and 0 < int(text) < 2**31:
                return int(text)
            message = f"a provider runs in {folder}, but its lock does not say which process it is"
            raise ConfigurationError(message, reason="lock_owner_unknown") from None
    return None
