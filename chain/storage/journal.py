"""The vote journal: what a validator must find again after a crash, so that it never contradicts its own votes.

Records are appended and synced before anything is sent. A record at the end that was never written whole was never
synced, so nothing followed from it, and it is cut off at the next opening; any other damage is refused. When records
are needed no more, the file is now and then written anew without them: a new file, synced, is renamed over the old one.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Final, Protocol, Self

from chain.storage.errors import JournalDamaged, JournalError, JournalForeign
from chain.storage.journal_file import (
    beside,
    open_beside,
    open_locked,
    read_whole,
    refused,
    settle,
    sync_folder,
    write_whole,
)
from chain.storage.journal_format import (
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    Frame,
    JournalContent,
    JournalHeader,
    encode_frame,
    is_unfinished_creation,
)
from chain.storage.journal_reading import check_identity, damaged, decode_at, read_journal

__all__ = ["JournalError", "JournalRecord", "VoteJournal", "read_journal"]

REWRITE_BYTES: Final = 4 << 20
"""A smaller file is not worth writing anew: some milliseconds of reading at a start."""

ID_BYTES: Final = 16
NO_OWNER: Final = bytes(20)


class JournalRecord(Protocol):
    """What is appended; `chain.consensus.effects.Record` is one."""

    @property
    def epoch(self) -> int:
        """Of the vote or certificate."""

    @property
    def view(self) -> int:
        """Of the vote or certificate."""

    @property
    def encoded(self) -> bytes:
        """At most MAX_RECORD_BYTES; opaque to the journal."""

    @property
    def is_vote(self) -> bool:
        """Whether it is a vote of the journal's owner."""


class VoteJournal:
    """An open journal, locked. Any thread; calls wait for each other and for the disk.

    After a write, a sync or a rewrite has failed nobody knows what is on the disk: every call but `close` raises
    JournalError from then on.
    """

    def __init__(self, path: Path, descriptor: int, content: JournalContent, rewrite_bytes: int) -> None:
        """Use `VoteJournal.open`."""
        self.records: Final = tuple(content.payloads)
        """`encoded` of what was found at opening, in the order of appending; maybe some that were pruned."""
        self._path = path
        self._descriptor = descriptor
        self._header = content.header
        self._seed = content.header.seed
        self._has_voted = content.header.has_voted or any(frame.is_vote for frame in content.frames)
        self._frames = content.frames
        self._end = content.end
        self._rewrite_bytes = rewrite_bytes
        self._is_unsynced = False
        self._failure: JournalError | None = None
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        genesis_hash: bytes,
        journal_id: bytes | None,
        owner: bytes = NO_OWNER,
        is_history_lost: bool = False,
        rewrite_bytes: int = REWRITE_BYTES,
    ) -> Self:
        """Opens the journal with this id, or creates one: no id is given, and there must be no file yet.

        `owner` is the validator's address; `is_history_lost` is for a new journal. Raises JournalMissing,
        JournalForeign, JournalDamaged, another JournalError where the system refuses, and FolderInUse.
        """
        path = Path(os.path.realpath(path))  # A rename must replace the file, not a link to it.
        descriptor = open_locked(path, create=journal_id is None)
        try:
            content = read_whole(descriptor)
            if journal_id is None:
                if not is_unfinished_creation(content):
                    raise JournalForeign(f"{path} exists already, and a vote journal is never overwritten.")
                header = JournalHeader(os.urandom(ID_BYTES), genesis_hash, owner, False, is_history_lost, 0)
                content, journal_id = header.encode(), header.journal_id
                os.ftruncate(descriptor, 0)
                write_whole(descriptor, content)
            found = decode_at(path, content)
            check_identity(path, found.header, journal_id, genesis_hash, owner)
            settle(path, descriptor, found.end)
            return cls(path, descriptor, found, rewrite_bytes)
        except OSError as error:
            os.close(descriptor)
            raise refused(path, error) from None
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def journal_id(self) -> bytes:
        """16 random bytes, drawn when the journal was created."""
        return self._header.journal_id

    @property
    def is_new(self) -> bool:
        """Whether no vote was ever recorded here, pruned ones included."""
        return not self._has_voted

    @property
    def is_history_lost(self) -> bool:
        """Whether its owner may have cast votes that are not here and could still matter.

        That ends when a prune reaches the first vote that is here: all views before it are final then, and the owner
        votes in them no more.
        """
        return self._header.is_history_lost

    def append(self, records: Sequence[JournalRecord], *, sync: bool) -> None:
        """Adds records in one write; with `sync` they, and all before them, are on the disk when it returns.

        Raises JournalError.
        """
        with self._lock:
            self._check_usable()
            parts, frames = _encode_all([_fields(record) for record in records], self._end, self._seed)
            try:
                if parts:
                    self._is_unsynced = True
                    write_whole(self._descriptor, b"".join(parts))
                if sync and self._is_unsynced:
                    os.fdatasync(self._descriptor)
                    self._is_unsynced = False
            except OSError as error:
                raise self._fail(refused(self._path, error)) from None
            self._has_voted = self._has_voted or any(frame.is_vote for frame in frames)
            self._frames += frames
            self._end += sum(map(len, parts))

    def prune(self, epoch: int, view: int) -> None:
        """Records of this view and those before it are needed no more, nor those of earlier epochs.

        Only after the block that was finalized there is on the disk for good. Raises JournalError.
        """
        with self._lock:
            self._check_usable()
            reaches_vote = any(frame.is_vote and (frame.epoch, frame.view) <= (epoch, view) for frame in self._frames)
            self._frames = [frame for frame in self._frames if (frame.epoch, frame.view) > (epoch, view)]
            is_large = self._end > self._rewrite_bytes and self._end >= 2 * self._needed_bytes()
            if is_large or (reaches_vote and self.is_history_lost):
                self._rewrite(is_history_lost=self.is_history_lost and not reaches_vote)

    def accept_lost_history(self) -> None:
        """For a journal without any vote, whose owner has cast some all the same: `is_history_lost` from now on.

        Raises JournalError.
        """
        with self._lock:
            assert not self._has_voted
            self._check_usable()
            self._rewrite(is_history_lost=True)

    def close(self) -> None:
        """Frees the file for another process. Everything after it raises JournalError. May be called twice."""
        with self._lock:
            if self._descriptor < 0:
                return
            try:
                if self._failure is None and self._end > self._needed_bytes():
                    self._rewrite(is_history_lost=self.is_history_lost)
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _needed_bytes(self) -> int:
        return HEADER_BYTES + sum(frame.size for frame in self._frames)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._descriptor < 0:
            raise JournalError(f"The vote journal {self._path} has been closed: the node is shutting down.")

    def _fail(self, failure: JournalError) -> JournalError:
        self._failure = failure
        return failure

    def _rewrite(self, *, is_history_lost: bool) -> None:
        """Puts a file with only the needed records in the place of the old one. A crash leaves one of the two."""
        old = self._header
        header = JournalHeader(
            old.journal_id, old.genesis_hash, old.owner, self._has_voted, is_history_lost, old.generation + 1
        )
        try:
            descriptor = open_beside(self._path)
            try:
                parts, frames = _encode_all(self._read_needed(), HEADER_BYTES, header.seed)
                write_whole(descriptor, header.encode() + b"".join(parts))
                os.fsync(descriptor)
                beside(self._path).rename(self._path)
                sync_folder(self._path.parent)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise self._fail(refused(self._path, error)) from None
        os.close(self._descriptor)
        self._descriptor, self._header, self._seed, self._frames = descriptor, header, header.seed, frames
        self._end = self._needed_bytes()
        self._is_unsynced = False

    def _read_needed(self) -> list[tuple[bytes, int, int, bool]]:
        """The needed records, as the file has them."""
        try:
            found = decode_at(self._path, read_whole(self._descriptor))
        except JournalDamaged as error:
            raise self._fail(error) from None
        starts = {frame.start for frame in self._frames}
        needed = [
            (payload, frame.epoch, frame.view, frame.is_vote)
            for frame, payload in zip(found.frames, found.payloads, strict=True)
            if frame.start in starts
        ]
        if found.end != self._end or len(needed) != len(starts):
            raise self._fail(damaged(self._path, "its end is not where it was written"))
        return needed


def _fields(record: JournalRecord) -> tuple[bytes, int, int, bool]:
    if len(record.encoded) > MAX_RECORD_BYTES:
        raise JournalError(f"A record of {len(record.encoded)} bytes is larger than any vote with its block.")
    return record.encoded, record.epoch, record.view, record.is_vote


def _encode_all(
    records: Sequence[tuple[bytes, int, int, bool]], start: int, seed: int
) -> tuple[list[bytes], list[Frame]]:
    """The frames of these records one after another, as bytes and as what is remembered of them."""
    parts: list[bytes] = []
    frames: list[Frame] = []
    for payload, epoch, view, is_vote in records:
        parts.append(encode_frame(payload, epoch=epoch, view=view, is_vote=is_vote, start=start, seed=seed))
        frames.append(Frame(epoch, view, is_vote, start, len(parts[-1])))
        start += len(parts[-1])
    return parts, frames
