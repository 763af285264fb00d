"""Who holds a data folder."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from provider.errors import ConfigurationError
from provider.storage.folder_lock import LOCK_FILE_NAME, FolderLock, lock_owner

HOLDER = """
import sys, time
from pathlib import Path
from provider.storage.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_nobody_holds_a_folder_that_is_not_there_or_was_let_go(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert lock_owner(folder) is None
    FolderLock(folder).close()
    assert lock_owner(folder) is None


def test_the_holder_is_named_until_it_dies(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert lock_owner(tmp_path) == child.pid
    with pytest.raises(ConfigurationError, match="another provider runs"):
        FolderLock(tmp_path)
    assert lock_owner(tmp_path) == child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert lock_owner(tmp_path) is None
    FolderLock(tmp_path).close()


def test_who_merely_asks_for_the_owner_keeps_no_provider_from_starting(tmp_path: Path) -> None:
    FolderLock(tmp_path).close()
    descriptor = os.open(tmp_path / LOCK_FILE_NAME, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # As `lock_owner` does, for an instant.
    asking = threading.Timer(0.2, os.close, (descriptor,))
    asking.start()
    FolderLock(tmp_path).close()
    asking.join()


@pytest.mark.parametrize("text", ["", "no number", "-1", "0", "99999999999", "12\n13"])
def test_a_lock_that_names_no_process_is_no_process(tmp_path: Path, text: str) -> None:
    lock = FolderLock(tmp_path)
    (tmp_path / "provider.lock").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        lock_owner(tmp_path)
    assert caught.value.reason == "lock_owner_unknown"
    lock.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file/data"):
        FolderLock(tmp_path / "file" / "data")
