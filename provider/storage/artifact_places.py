"""Where pictures lie: a folder of this machine, or a prefix in an S3-compatible bucket. Both through fsspec.

Whatever cannot be written is not there at all: a folder gets whole files by renaming, a bucket whole objects.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from chain.bucket import Bucket, StoredFile
from provider.errors import ConfigurationError, StorageError

PART_SUFFIX: Final = ".part"


class ArtifactPlace(Protocol):
    """A flat store of files. Everything raises StorageError where the store cannot be used now."""

    def prepare(self) -> None:
        """Makes it ready for use, and removes what an earlier process left half written; before anything is written."""

    def files(self) -> list[StoredFile]:
        """Every file there."""

    def write(self, name: str, content: bytes, media_type: str) -> None:
        """Stores a file whole and durably, or not at all."""

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None."""

    def delete(self, name: str) -> None:
        """Removes the file, if it is there."""

    def link(self, name: str, expires_s: int) -> str | None:
        """A URL at which anybody can read it for that long, where the store has such."""


def open_place(location: str) -> ArtifactPlace:
    """The store at a folder's path or an s3:// URL; raises ConfigurationError."""
    if location.startswith("s3://"):
        return BucketPlace(location)
    if "://" in location and not location.startswith("file://"):
        message = f"pictures can be kept in a folder or at s3://bucket/prefix, not at {location}"
        raise ConfigurationError(message, reason="bad_artifact_store")
    return FolderPlace(Path(location.removeprefix("file://")))


class FolderPlace:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        from fsspec.implementations.local import LocalFileSystem

        self._folder = folder.expanduser().absolute()
        self._files: Any = LocalFileSystem(skip_instance_cache=True)

    def prepare(self) -> None:
        """Makes the folder; leftover parts go."""
        with self._clear_errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self._folder.glob(f"*{PART_SUFFIX}"):
                path.unlink(missing_ok=True)

    def files(self) -> list[StoredFile]:
        """Every file in the folder itself."""
        with self._clear_errors():
            found = self._files.ls(str(self._folder), detail=True)
        return [
            StoredFile(Path(entry["name"]).name, entry["size"], entry["mtime"])
            for entry in found
            if entry["type"] == "file"
        ]

    def write(self, name: str, content: bytes, media_type: str) -> None:
        """Written beside its place, synced, and put there by renaming."""
        part = self._folder / f"{secrets.token_hex(8)}{PART_SUFFIX}"
        with self._clear_errors():
            try:
                with part.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self._folder / name)
                self._sync_folder()
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None."""
        with self._clear_errors():
            try:
                content: bytes = self._files.cat_file(str(self._folder / name))
            except FileNotFoundError:
                return None
        return content

    def delete(self, name: str) -> None:
        """Removes it."""
        with self._clear_errors(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(str(self._folder / name))

    def link(self, name: str, expires_s: int) -> str | None:
        """None: the provider serves its folder itself."""
        return None

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            message = f"the folder of pictures {self._folder} cannot be used: {error.strerror or error}"
            raise StorageError(message, reason="storage_full" if is_full else "artifact_store_unavailable") from error


class BucketPlace(Bucket):
    """A prefix in an S3-compatible bucket, with this package's errors."""

    def unavailable(self, message: str) -> Exception:
        """To be tried again."""
        return StorageError(message, reason="artifact_store_unavailable")

    def misconfigured(self, message: str) -> Exception:
        """Without the extra `s3`, or without a bucket."""
        return ConfigurationError(message, reason="bad_artifact_store")
