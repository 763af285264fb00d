"""The durable outbox: every receipt from the moment it is signed until the chain has it for good.

One SQLite file in WAL mode with full synchronisation: what a method has returned from survives a power cut. A receipt
goes signed → attested → submitted → final, or ends as refused with the reason; from submitted it can fall back to
attested when its transaction was lost, and a refused one is attested anew with a better attestation.
"""

import contextlib
import fcntl
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Self

from provider.errors import ConfigurationError
from provider.outbox_rows import SCHEMA, SCHEMA_VERSION, NewReceipt, ReceiptState, StoredReceipt

MAX_PAGE: Final = 200
_BUSY_TIMEOUT_S: Final = 10.0


class DuplicateJobError(Exception):
    """A receipt for this (hub_id, job_id) is in the outbox already."""


class Outbox:
    """The file and everything that is ever asked of it. Safe to use from several threads of one process."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Opens or creates `folder`/outbox.sqlite3; raises ConfigurationError where it is of no use.

        `read_only` looks at an outbox that exists, also while a provider runs on it.
        """
        path = folder / "outbox.sqlite3"
        self._mutex = threading.Lock()
        self._lock_file: IO[str] | None = None
        if not read_only:
            self._lock_file = _lock(folder)
        elif not path.is_file():
            raise ConfigurationError(f"there is no outbox in {folder}", reason="no_outbox")
        try:
            # A URI, since only that can ask for reading alone.
            location = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            self._connection = sqlite3.connect(
                location, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            if not read_only:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
            self._create_or_check(path)
        except sqlite3.OperationalError as error:
            # Not the file's fault, so nobody shall move it away: unpaid receipts are in it.
            self._unlock()
            message = f"cannot use {path}: {error} (is the disk full, or the folder not writable?)"
            raise ConfigurationError(message, reason="outbox_unusable") from error
        except sqlite3.DatabaseError as error:
            self._unlock()
            message = f"{path} is damaged ({error}); move it away and start again, or restore it from a backup"
            raise ConfigurationError(message, reason="outbox_damaged") from error

    def close(self) -> None:
        """Closes the file and lets another process have it."""
        with self._mutex:
            self._connection.close()
            self._unlock()

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # Identity and job ids

    def bind(self, name: str, value: str) -> None:
        """Remembers a fact that must never change (genesis hash, provider); raises ConfigurationError when it has."""
        known = self.identity(name)
        if known is not None and known != value:
            message = f"this data folder belongs to {name} {known}, not {value}; choose another --data-dir"
            raise ConfigurationError(message, reason="data_dir_of_another_network")
        with self._transaction() as cursor:
            cursor.execute("INSERT OR IGNORE INTO identity (name, value) VALUES (?, ?)", (name, value))

    def identity(self, name: str) -> str | None:
        """A fact that `bind` has stored."""
        row = self._one("SELECT value FROM identity WHERE name = ?", (name,))
        return None if row is None else str(row["value"])

    def next_job_id(self, now_s: float) -> str:
        """An id in the plan's form, UTC date and a counter (`2025-09-26-000123`), never given out twice."""
        day = time.strftime("%Y-%m-%d", time.gmtime(now_s))
        with self._transaction() as cursor:
            row = cursor.execute(
                "INSERT INTO job_counters (day, last) VALUES (?, 1) "
                "ON CONFLICT (day) DO UPDATE SET last = last + 1 RETURNING last",
                (day,),
            ).fetchone()
        return f"{day}-{row['last']:06d}"

    # Receipts

    def add(self, receipt: NewReceipt) -> None:
        """Stores a signed receipt; raises DuplicateJobError where its job has one."""
        now_ms = _now_ms()
        names = list(vars(receipt))
        columns = ", ".join([*names, "state", "created_ms", "updated_ms"])
        marks = ", ".join("?" * (len(names) + 3))
        values = [*vars(receipt).values(), ReceiptState.SIGNED, now_ms, now_ms]
        try:
            with self._transaction() as cursor:
                cursor.execute(f"INSERT INTO receipts ({columns}) VALUES ({marks})", values)
        except sqlite3.IntegrityError:
            raise DuplicateJobError(f"job {receipt.job_id} of hub {receipt.hub_id!r} has a receipt") from None

    def get(self, receipt_hash: bytes) -> StoredReceipt | None:
        """The receipt of this hash."""
        return self._find("receipt_hash = ?", (receipt_hash,))

    def find_job(self, hub_id: str, job_id: str) -> StoredReceipt | None:
        """The receipt of this job."""
        return self._find("hub_id = ? AND job_id = ?", (hub_id, job_id))

    def page(self, key_name: str | None, *, before: int | None, limit: int) -> list[StoredReceipt]:
        """Receipts of the jobs that this API key (None: any) brought, newest first, older than sequence `before`."""
        clause = "(? IS NULL OR key_name = ?) AND sequence < ? ORDER BY sequence DESC LIMIT ?"
        before = 2**62 if before is None else before
        return self._select(clause, (key_name, key_name, before, min(limit, MAX_PAGE)))

    def counts(self) -> dict[ReceiptState, int]:
        """How many receipts are in each state."""
        counts = dict.fromkeys(ReceiptState, 0)
        with self._mutex:
            rows = self._connection.execute("SELECT state, count(*) AS number FROM receipts GROUP BY state").fetchall()
        for row in rows:
            counts[ReceiptState(row["state"])] = row["number"]
        return counts

    # The way to the chain

    def accept_attestation(self, receipt_hash: bytes, attestation: bytes) -> ReceiptState:
        """Keeps a verified attestation and returns the state; nothing changes where one was accepted before."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE receipts SET state = ?, attestation = ?, reason = NULL, attempts = 0, next_attempt_ms = 0, "
                "updated_ms = ? WHERE receipt_hash = ? AND state IN (?, ?)",
                (
                    ReceiptState.ATTESTED,
                    attestation,
                    _now_ms(),
                    receipt_hash,
                    ReceiptState.SIGNED,
                    ReceiptState.REFUSED,
                ),
            )
            row = cursor.execute("SELECT state FROM receipts WHERE receipt_hash = ?", (receipt_hash,)).fetchone()
        return ReceiptState(row["state"])

    def due(self, now_ms: int, limit: int) -> list[StoredReceipt]:
        """Attested receipts whose waiting time is over, oldest first."""
        clause = "state = ? AND next_attempt_ms <= ? ORDER BY sequence LIMIT ?"
        return self._select(clause, (ReceiptState.ATTESTED, now_ms, limit))

    def in_flight(self) -> list[StoredReceipt]:
        """Submitted receipts in the order of their nonces."""
        return self._select("state = ? ORDER BY transaction_nonce", (ReceiptState.SUBMITTED,))

    def mark_submitted(self, receipt_hash: bytes, *, nonce: int, raw: bytes, transaction_hash: bytes) -> None:
        """Written before the transaction is sent, so that after a crash the same bytes are sent again."""
        self._update(
            receipt_hash,
            "state = ?, transaction_nonce = ?, transaction_raw = ?, transaction_hash = ?, reason = NULL",
            (ReceiptState.SUBMITTED, nonce, raw, transaction_hash),
        )

    def mark_waiting(self, receipt_hash: bytes, *, reason: str, next_attempt_ms: int) -> None:
        """Back to attested, to be tried again with a fresh transaction once the time has come."""
        self._update(
            receipt_hash,
            "state = ?, reason = ?, next_attempt_ms = ?, attempts = attempts + 1, "
            "transaction_nonce = NULL, transaction_raw = NULL, transaction_hash = NULL",
            (ReceiptState.ATTESTED, reason, next_attempt_ms),
        )

    def mark_final(self, receipt_hash: bytes, *, transaction_hash: bytes | None, height: int | None) -> None:
        """The chain has the receipt in a final block."""
        self._update(
            receipt_hash,
            "state = ?, transaction_hash = ?, height = ?, reason = NULL, transaction_raw = NULL",
            (ReceiptState.FINAL, transaction_hash, height),
        )

    def mark_refused(self, receipt_hash: bytes, *, reason: str) -> None:
        """It can never be minted as it stands."""
        self._update(
            receipt_hash,
            "state = ?, reason = ?, transaction_nonce = NULL, transaction_raw = NULL",
            (ReceiptState.REFUSED, reason),
        )

    def _update(self, receipt_hash: bytes, assignments: str, values: tuple[Any, ...]) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                f"UPDATE receipts SET {assignments}, updated_ms = ? WHERE receipt_hash = ?",
                (*values, _now_ms(), receipt_hash),
            )

    def _find(self, clause: str, values: tuple[Any, ...]) -> StoredReceipt | None:
        found = self._select(clause, values)
        return found[0] if found else None

    def _select(self, clause: str, values: tuple[Any, ...]) -> list[StoredReceipt]:
        with self._mutex:
            rows = self._connection.execute(f"SELECT * FROM receipts WHERE {clause}", values).fetchall()
        return [StoredReceipt(**{**dict(row), "state": ReceiptState(row["state"])}) for row in rows]

    def _one(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Row | None:
        with self._mutex:
            row: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
        return row

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """All or nothing, and on disk when the block is left."""
        with self._mutex:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                # After some failures (a full disk) SQLite has rolled back by itself.
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise

    def _create_or_check(self, path: Path) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            script = f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            self._connection.executescript(script)
        elif version != SCHEMA_VERSION:
            message = f"{path} was written by another version of this program (schema {version})"
            raise ConfigurationError(message, reason="outbox_of_another_version")
        else:
            verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)


def _lock(folder: Path) -> IO[str]:
    """Makes the folder, and keeps other processes out of it for as long as the file is open."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_file = (folder / "provider.lock").open("a")
    except OSError as error:
        message = f"cannot use the data folder {folder}: {error.strerror}"
        raise ConfigurationError(message, reason="data_dir_unusable") from None
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        message = f"another provider runs in {folder}; two would spend the same nonces (choose another --data-dir)"
        raise ConfigurationError(message, reason="data_dir_in_use") from None
    return lock_file


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
