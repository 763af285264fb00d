"""Recent pictures on disk, by the SHA-256 of their bytes, so that a repeated job gets the answer that it missed."""

import contextlib
import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[0-9a-f]{64}\.png")


class Artifacts:
    """A folder with at most `keep_count` pictures; the oldest go first."""

    def __init__(self, folder: Path, keep_count: int) -> None:
        """Makes the folder and removes what an earlier process left half written."""
        self._folder = folder
        self._keep_count = keep_count
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.suffix == ".part":
                path.unlink(missing_ok=True)
        self._prune()

    def put(self, png: bytes) -> str:
        """Stores the picture whole or not at all, and returns its hex digest. Blocking."""
        digest = hashlib.sha256(png).hexdigest()
        if self._keep_count == 0:
            return digest
        part = self._folder / f"{secrets.token_hex(8)}.part"
        part.write_bytes(png)
        part.replace(self._path(digest))
        self._prune()
        return digest

    def get(self, digest: str) -> bytes | None:
        """The picture's bytes, or None where it is gone or damaged."""
        with contextlib.suppress(FileNotFoundError):
            png = self._path(digest).read_bytes()
            if hashlib.sha256(png).hexdigest() == digest:
                return png
        return None

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.png"

    def _prune(self) -> None:
        pictures = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        excess = len(pictures) - self._keep_count
        if excess > 0:
            for path in sorted(pictures, key=_modified_ns)[:excess]:
                path.unlink(missing_ok=True)


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
