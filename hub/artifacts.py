"""Pictures in a folder, by the SHA-256 of their bytes: there whole or not at all."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from chain.primitives.hashing import sha256
from wallet.keystore import sync_folder

_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


class ArtifactFolder:
    """A folder of PNG files. Safe to share between threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def keep(self, png: bytes) -> str:
        """Writes the picture durably and returns the 64 hex digits of its SHA-256; the same picture is kept once."""
        digits = sha256(png).hex()
        path = self._folder / f"{digits}.png"
        if path.exists():
            return digits
        temporary = self._folder / f".{digits}.{secrets.token_hex(8)}.new"
        try:
            with temporary.open("xb") as file:
                file.write(png)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        sync_folder(self._folder)
        return digits

    def read(self, digits: str) -> bytes | None:
        """The picture with this SHA-256, None where the folder has none (any more)."""
        assert _DIGITS.fullmatch(digits)
        try:
            return (self._folder / f"{digits}.png").read_bytes()
        except FileNotFoundError:
            return None
