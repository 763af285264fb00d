"""Pictures by the SHA-256 of their bytes: there whole or not at all. In a folder."""

import asyncio
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from chain.primitives.hashing import sha256
from wallet.keystore import sync_folder

_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


class ArtifactFolder:
    """A folder of pictures, in 256 parts. Safe to share between threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def keep_now(self, pictures: Sequence[bytes]) -> list[str]:
        """Writes pictures durably; the 64 hex digits of each one's SHA-256. The same picture is kept once."""
        kept: list[str] = []
        parts: set[Path] = set()
        for octets in pictures:
            digits = sha256(octets).hex()
            kept.append(digits)
            path = self._path(digits)
            if not path.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _write(path, octets)
                parts.add(path.parent)
        for part in sorted(parts):
            sync_folder(part)
        if parts:
            sync_folder(self._folder)
        return kept

    def read_now(self, digits: str) -> bytes | None:
        """The picture with this SHA-256, None where the folder has none (any more)."""
        try:
            return self._path(digits).read_bytes()
        except FileNotFoundError:
            return None

    async def keep(self, pictures: Sequence[bytes]) -> list[str]:
        """The same beside the event loop."""
        return await asyncio.to_thread(self.keep_now, pictures)

    async def read(self, sha256: str) -> bytes | None:
        """The same beside the event loop."""
        return await asyncio.to_thread(self.read_now, sha256)

    def remove(self, digits: str) -> bool:
        """False where it was not there."""
        try:
            self._path(digits).unlink()
        except FileNotFoundError:
            return False
        return True

    def _path(self, digits: str) -> Path:
        assert _DIGITS.fullmatch(digits)
        return self._folder / digits[:2] / digits


def _write(path: Path, octets: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        with temporary.open("xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
