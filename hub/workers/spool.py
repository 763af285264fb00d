"""Files as they come in: announced, then in pieces of binary frames; counted and hashed as they are written.

Nothing of a picture stays in memory but the piece that is being written, however many providers send at one time.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.worker_fields import Attachment
from hub.workers.desk import SpooledFile

_SUFFIX: Final = ".part"


class Spool:
    """A folder of temporary files. One process at a time uses it; what an earlier one left is removed."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder cannot be used."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{_SUFFIX}"):
            leftover.unlink(missing_ok=True)
        self._folder = folder

    def receive(self, announced: Sequence[Attachment]) -> "IncomingFiles":
        """For the frames that follow a message."""
        return IncomingFiles(announced, self._folder)


class IncomingFiles:
    """The files of one message, from its announcement to `discard`. Writing goes to the kernel's cache and is quick."""

    def __init__(self, announced: Sequence[Attachment], folder: Path | None) -> None:
        """Without a folder, what comes is counted, checked and thrown away."""
        self._waiting = list(reversed(announced))
        self._folder = folder
        self._current: _Current | None = None
        self._done: list[SpooledFile] = []

    @property
    def is_complete(self) -> bool:
        """Whether every byte that was announced is there."""
        return self._current is None and not self._waiting

    @property
    def files(self) -> tuple[SpooledFile, ...]:
        """Those that are there, in order."""
        return tuple(self._done)

    def take(self, octets: bytes) -> None:
        """Of a binary frame; raises Rejected for bytes that nobody announced, or other ones. OSError of the disk."""
        if not octets:
            raise Rejected(RejectionReason.MALFORMED, "an empty binary frame")
        rest = memoryview(octets)
        while rest:
            current = self._begin()
            piece = rest[: current.missing_bytes]
            current.write(piece)
            rest = rest[len(piece) :]
            if not current.missing_bytes:
                self._current = None
                self._done.append(current.finish())

    def discard(self) -> None:
        """Removes what was not taken away."""
        if self._current is not None:
            self._current.abandon()
            self._current = None
        for file in self._done:
            if self._folder is not None:
                file.path.unlink(missing_ok=True)

    def _begin(self) -> "_Current":
        if self._current is None:
            if not self._waiting:
                raise Rejected(RejectionReason.TOO_LARGE, "more bytes than were announced")
            self._current = _Current(self._waiting.pop(), self._folder)
        return self._current


class _Current:
    """The file that is being written."""

    def __init__(self, announced: Attachment, folder: Path | None) -> None:
        self.missing_bytes = announced.size_bytes
        self._announced = announced
        self._hash = hashlib.sha256()
        self._path = Path(os.devnull) if folder is None else folder / f"{secrets.token_hex(16)}{_SUFFIX}"
        self._file: BinaryIO | None = None if folder is None else self._path.open("xb", buffering=0)

    def write(self, piece: memoryview) -> None:
        self._hash.update(piece)
        self.missing_bytes -= len(piece)
        if self._file is not None:
            written = self._file.write(piece)
            if written != len(piece):
                raise OSError(f"wrote {written} of {len(piece)} bytes")

    def finish(self) -> SpooledFile:
        if self._file is not None:
            self._file.close()
        if self._hash.hexdigest() != self._announced.sha256:
            self.abandon()
            raise Rejected(RejectionReason.MALFORMED, "the bytes are not those that were announced", field="sha256")
        return SpooledFile(self._path, self._announced.size_bytes, self._announced.sha256)

    def abandon(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._path.unlink(missing_ok=True)
