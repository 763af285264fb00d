"""Pictures by the SHA-256 of their bytes: there whole or not at all. In a folder, or in an S3-compatible bucket.

Either may be shared by several processes. What is read is what was kept, or nothing: a file that was damaged is none.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from chain.bucket import Bucket
from chain.primitives.hashing import sha256
from hub.errors import HubConfigurationError
from wallet.keystore import sync_folder

_DIGITS: Final = re.compile(r"[0-9a-f]{64}")
_S3: Final = "s3://"
_MEDIA_TYPE: Final = "application/octet-stream"
_TEMPORARY: Final = ".new"
_LEFTOVER_S: Final = 3_600.0


class ArtifactsUnavailable(Exception):
    """The store of pictures cannot be used now; it may be tried again."""


class Place(Protocol):
    """A store of files by digits. Everything blocks, and raises ArtifactsUnavailable."""

    def prepare(self) -> None:
        """Looks whether it can be used; raises HubConfigurationError where it never can."""

    def keep(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Durable when it returns. What is there already counts as new from here on."""

    def read(self, digits: str) -> bytes | None:
        """None where it is not there."""

    def remove(self, digits: str) -> None:
        """Where it is there."""

    def prune(self, before_s: float) -> int:
        """Removes what was kept before then (Unix seconds); how many that were."""


class Artifacts:
    """Asked on the event loop; the work is done beside it."""

    def __init__(self, location: str | Path) -> None:
        """At a folder's path or s3://bucket/prefix; raises HubConfigurationError. Blocks: to be made at the start."""
        self._place: Place = open_place(str(location))
        self._place.prepare()

    async def keep(self, pictures: Sequence[bytes]) -> list[str]:
        """Keeps pictures durably; the 64 hex digits of each one's SHA-256. The same picture is kept once."""
        return await asyncio.to_thread(self.keep_now, pictures)

    async def read(self, digits: str) -> bytes | None:
        """The picture with this SHA-256, None where there is none (any more)."""
        return await asyncio.to_thread(self._read, digits)

    async def read_all(self, digests: Sequence[str]) -> list[bytes | None]:
        """One after the other."""
        return await asyncio.to_thread(lambda: [self._read(digits) for digits in digests])

    async def remove(self, digits: str) -> None:
        """Forgets it, where it is there."""
        _check(digits)
        await asyncio.to_thread(self._place.remove, digits)

    async def prune(self, older_than_s: float) -> int:
        """Forgets what was kept longer ago; how many pictures that were."""
        return await asyncio.to_thread(self._place.prune, time.time() - older_than_s)

    def keep_now(self, pictures: Sequence[bytes]) -> list[str]:
        """As `keep`, for a thread that has other things to do with them as well."""
        kept = [sha256(octets).hex() for octets in pictures]
        self._place.keep(list(dict(zip(kept, pictures, strict=True)).items()))
        return kept

    def _read(self, digits: str) -> bytes | None:
        _check(digits)
        octets = self._place.read(digits)
        return None if octets is None or sha256(octets).hex() != digits else octets


def open_place(location: str) -> Place:
    """The store at a folder's path or an s3:// URL; raises HubConfigurationError."""
    if location.startswith(_S3):
        return BucketPlace(location)
    if "://" in location:
        raise HubConfigurationError(f"pictures can be kept in a folder or at s3://bucket/prefix, not at {location}")
    return FolderPlace(Path(location))


class FolderPlace:
    """A folder in 256 parts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Makes it where it is missing."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HubConfigurationError(f"cannot use the folder {self._folder}: {error.strerror or error}") from None

    def keep(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Each beside its place, synced, and put there by renaming."""
        parts: set[Path] = set()
        try:
            for digits, octets in files:
                path = self._path(digits)
                try:
                    os.utime(path)
                except FileNotFoundError:
                    path.parent.mkdir(mode=0o700, exist_ok=True)
                    _write(path, octets)
                    parts.add(path.parent)
            for part in sorted(parts):
                sync_folder(part)
            if parts:
                sync_folder(self._folder)
        except OSError as error:
            raise self._unavailable(error) from error

    def read(self, digits: str) -> bytes | None:
        """The file's bytes."""
        try:
            return self._path(digits).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable(error) from error

    def remove(self, digits: str) -> None:
        """Without waiting for the disk."""
        try:
            self._path(digits).unlink(missing_ok=True)
        except OSError as error:
            raise self._unavailable(error) from error

    def prune(self, before_s: float) -> int:
        """And what a write that was cut off has left."""
        removed = 0
        try:
            for path in self._files():
                with suppress(FileNotFoundError):  # Another process prunes as well.
                    if path.name.endswith(_TEMPORARY):
                        if path.stat().st_mtime < time.time() - _LEFTOVER_S:
                            path.unlink()
                    elif path.stat().st_mtime < before_s:
                        removed += _take_away(path, before_s)
        except OSError as error:
            raise self._unavailable(error) from error
        return removed

    def _files(self) -> Iterator[Path]:
        for part in sorted(self._folder.iterdir()):
            if len(part.name) == 2 and part.is_dir():
                yield from part.iterdir()

    def _path(self, digits: str) -> Path:
        return self._folder / digits[:2] / digits

    def _unavailable(self, error: OSError) -> ArtifactsUnavailable:
        return ArtifactsUnavailable(f"the folder of pictures {self._folder} cannot be used: {error.strerror or error}")


class BucketPlace(Bucket):
    """A prefix in a bucket."""

    def unavailable(self, message: str) -> Exception:
        """To be tried again."""
        return ArtifactsUnavailable(message)

    def misconfigured(self, message: str) -> Exception:
        """Without the extra `s3`, or without a bucket."""
        return HubConfigurationError(message)

    def prepare(self) -> None:
        """The bucket is there, and answers."""
        try:
            super().prepare()
        except ArtifactsUnavailable as error:
            raise HubConfigurationError(str(error)) from None

    def keep(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Each in one PUT, also where it is there: that makes it new."""
        for digits, octets in files:
            self.write(digits, octets, _MEDIA_TYPE)

    def remove(self, digits: str) -> None:
        """One DELETE."""
        self.delete(digits)

    def prune(self, before_s: float) -> int:
        """By when the bucket says that each was written."""
        old = [file.name for file in self.files() if file.stored_s < before_s and _DIGITS.fullmatch(file.name)]
        for name in old:
            self.delete(name)
        return len(old)


def _check(digits: str) -> None:
    assert _DIGITS.fullmatch(digits)


def _take_away(path: Path, before_s: float) -> int:
    """Out of sight first, and only then for good: who keeps the same picture at this moment makes it new."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    path.rename(aside)
    if aside.stat().st_mtime >= before_s:
        aside.rename(path)
        return 0
    aside.unlink()
    return 1


def _write(path: Path, octets: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
