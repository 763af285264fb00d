"""What an attester has signed, durably: one form and one receipt per (hub_id, job_id), for ever (DESIGN §5).

An entry is on disk before its signature leaves the process, so a crash at any moment can lose a signature, which can be
made again, but never the memory of one. Several threads and processes may share one log. It belongs to a network, not
to a key: an attester that changes its key keeps its log. Whoever moves the key to another machine moves the log too.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import msgspec

from chain.primitives.hexadecimal import to_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32
from wallet.keystore import sync_folder

_BUSY_TIMEOUT_S: Final = 30
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS network (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL,
    genesis_hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS attestations (
    hub_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    form TEXT NOT NULL,
    receipt_hash BLOB NOT NULL,
    digest BLOB NOT NULL,
    attester BLOB NOT NULL,
    recorded_at_ms INTEGER NOT NULL,
    UNIQUE (hub_id, job_id)
) STRICT;
"""


class AttestationForm(StrEnum):
    """What the signature says: each form has a digest of its own, and a job is attested in one form only."""

    MINT = "mint"
    """One provider gets the whole amount: mintWithReceipt."""
    MINT_SPLIT = "mint_split"
    """Each provider of a split job gets its share: mintSplit."""
    SETTLE = "settle"
    """The client's deposit pays: settle of the escrow module."""


class Attestation(msgspec.Struct, frozen=True):
    """One entry: which receipt of which job was signed, and the 32 bytes that the signature is over."""

    hub_id: str
    job_id: str
    form: AttestationForm
    receipt_hash: Hash32
    digest: Hash32
    attester: Address


class ConflictingAttestationError(Rejected):
    """Another receipt, or another form, was attested for this job before."""


class AttestationLogError(OSError):
    """The log cannot be read or written, or belongs to another network: nothing may be signed without it."""


class AttestationLog:
    """An open log. Safe to share between threads."""

    def __init__(self, path: Path | str, genesis_hash: Hash32) -> None:
        """Opens or begins the log at `path`; raises AttestationLogError, also for another network's log."""
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite would create it readable for everybody; whoever can write here can make us sign twice.
            self.path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise AttestationLogError(f"cannot open the attestation log {self.path}: {error}") from None
        try:
            self._begin(genesis_hash)
        except BaseException:
            self._connection.close()
            raise

    def _begin(self, genesis_hash: Hash32) -> None:
        with self._explained():
            # No write-ahead log: the record stays one file, which can be copied. A commit ends by overwriting the
            # journal's head and syncing that: no power cut can bring the journal back and undo the last entry. To
            # delete the journal instead, and sync the folder, takes a disk that has other work several times as long.
            self._connection.execute("PRAGMA journal_mode = PERSIST")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(
                    "INSERT OR IGNORE INTO network VALUES (1, ?, ?)", (_SCHEMA_VERSION, genesis_hash)
                )
                row = self._connection.execute("SELECT schema_version, genesis_hash FROM network").fetchone()
            sync_folder(self.path.parent)
        if row[0] != _SCHEMA_VERSION:
            raise AttestationLogError(f"{self.path} was written by another version of AITBC ({row[0]})")
        if row[1] != genesis_hash:
            raise AttestationLogError(
                f"{self.path} belongs to the network with genesis hash {to_hex(row[1])}, not {to_hex(genesis_hash)}"
            )

    def record(self, attestation: Attestation) -> bool:
        """Returns once the entry is on disk: True for a new one, False where the same was there before.

        Raises ConflictingAttestationError where the job was attested with other content, AttestationLogError where
        the disk refuses; in both cases nothing may be signed.
        """
        entry = attestation
        with self._lock, self._explained(), self._transaction():
            row = self._connection.execute(
                "SELECT form, receipt_hash, digest FROM attestations WHERE hub_id = ? AND job_id = ?",
                (entry.hub_id, entry.job_id),
            ).fetchone()
            if row is None:
                self._connection.execute(
                    "INSERT INTO attestations VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        entry.hub_id,
                        entry.job_id,
                        entry.form.value,
                        entry.receipt_hash,
                        entry.digest,
                        entry.attester,
                        time.time_ns() // 1_000_000,
                    ),
                )
        if row is None:
            return True
        if row == (entry.form.value, entry.receipt_hash, entry.digest):
            return False
        raise ConflictingAttestationError(
            RejectionReason.INVALID_RECEIPT,
            f"job {entry.job_id} was attested before, as {row[0]} of receipt {to_hex(row[1])}",
            field="job_id",
            attested_receipt_hash=to_hex(row[1]),
        )

    def find(self, hub_id: str, job_id: str) -> Attestation | None:
        """What was signed for this job, if anything was."""
        with self._lock, self._explained():
            row = self._connection.execute(
                "SELECT hub_id, job_id, form, receipt_hash, digest, attester FROM attestations "
                "WHERE hub_id = ? AND job_id = ?",
                (hub_id, job_id),
            ).fetchone()
        if row is None:
            return None
        return Attestation(row[0], row[1], AttestationForm(row[2]), Hash32(row[3]), Hash32(row[4]), Address(row[5]))

    def close(self) -> None:
        """Closes the file; the log cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """IMMEDIATE takes the write lock before reading, so that two processes cannot both find the job free."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # After some failures (a full disk) SQLite has rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise AttestationLogError(
                f"the attestation log {self.path} cannot be used, so nothing is signed: {error}"
            ) from error
