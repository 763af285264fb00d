"""Replacing a small file so that a crash leaves it whole, or as it was before."""

import os
from pathlib import Path

from chain.storage.journal_file import sync_folder


def write_whole(path: Path, content: bytes) -> None:
    """Raises OSError. Not for keys: the file has the usual mode."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
