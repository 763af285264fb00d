"""The provider's SQLite file: opened once per process, checked, brought up to date, and read and written whole.

A write-ahead log that is synced at every commit: what a transaction has returned from survives a power cut. Readers
never wait; writers of this process wait for each other here rather than in SQLite, which would have them sleep.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import structlog
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool

from provider.errors import ConfigurationError, StorageError
from provider.storage.folder_lock import FolderLock
from provider.storage.migrations import ADOPTED, HEAD

DATABASE_FILE_NAME: Final = "outbox.sqlite3"
"""The name that it had when it held nothing but the outbox: a version that is rolled back to finds its receipts."""

COMPATIBILITY: Final = 1
"""SQLite's user_version; a program refuses a file with a higher one. Raised when the version before could not bear a
change of the tables; merely added tables and columns leave it alone."""

_BUSY_TIMEOUT_MS: Final = 10_000
_POOL_CONNECTIONS: Final = 8
_IS_WRITING: Final = "is_writing"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.storage")


class Database:
    """The open file. Its methods are safe in any thread of this process."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Opens, makes or upgrades the file in `folder`; raises ConfigurationError where that is no use.

        `read_only` looks at a file that exists, also while a provider runs on it.
        """
        self.folder = folder
        self.is_read_only = read_only
        self._path = folder / DATABASE_FILE_NAME
        self._write_mutex = threading.Lock()
        self._lock: FolderLock | None = None
        if not read_only:
            self._lock = FolderLock(folder)
        elif not self._path.is_file():
            raise ConfigurationError(f"there is no database of a provider in {folder}", reason="no_database")
        self._engine = _create_engine(self._path, read_only)
        self._readers = sessionmaker(self._engine, expire_on_commit=False)
        writing = self._engine.execution_options(**{_IS_WRITING: True})
        self._writers = sessionmaker(writing, expire_on_commit=False)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes every connection and lets another process have the folder."""
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent view; raises StorageError."""
        try:
            with self._readers.begin() as session:
                yield session
        except SQLAlchemyError as error:
            raise _storage_error(error) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """All or nothing, and on disk when the block is left.

        Raises StorageError, and IntegrityError where a row is there already (flush first to tell which).
        """
        try:
            with self._write_mutex, self._writers.begin() as session:
                yield session
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise _storage_error(error) from error

    # Opening

    def _open(self) -> None:
        try:
            with self._engine.connect() as connection:
                revision = _revision(connection)
                compatibility = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                is_empty = revision is None and not _has_table(connection, "receipts")
                if not is_empty:
                    self._check_version(revision, compatibility)
                    self._quick_check(connection)
            if self.is_read_only:
                self._require_present(revision, is_empty)
            elif revision is None or revision < HEAD:
                self._migrate(ADOPTED if revision is None and not is_empty else revision)
        except OperationalError as error:
            # Not the file's fault, so nobody shall move it away: unpaid receipts are in it.
            reason = f"{error.orig} (is the disk full, or the folder not writable?)"
            raise ConfigurationError(f"cannot use {self._path}: {reason}", reason="database_unusable") from error
        except (DBAPIError, sqlite3.DatabaseError) as error:
            reason = str(error.orig if isinstance(error, DBAPIError) else error)
            message = f"{self._path} is damaged ({reason}); move it away and start again, or restore it from a backup"
            raise ConfigurationError(message, reason="database_damaged") from error

    def _check_version(self, revision: str | None, compatibility: int) -> None:
        if compatibility > COMPATIBILITY:
            message = f"{self._path} was written by a newer version of this program (schema {compatibility}): use that"
            raise ConfigurationError(message, reason="database_of_a_newer_version")
        if revision is not None and revision > HEAD:
            _log.warning("newer_database", revision=revision, known=HEAD, detail="its additions are left alone")

    def _require_present(self, revision: str | None, is_empty: bool) -> None:
        if is_empty:
            raise ConfigurationError(f"there is no database of a provider in {self.folder}", reason="no_database")
        if revision is None or revision < HEAD:
            message = f"{self._path} is of an older version; the next `aitbc provider run` brings it up to date"
            raise ConfigurationError(message, reason="database_of_an_older_version")

    def _quick_check(self, connection: Connection) -> None:
        verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _migrate(self, revision: str | None) -> None:
        """Brings the tables up to date in one transaction: a crash leaves the file as it was."""
        from alembic import command
        from alembic.config import Config

        # Its own lines say less than ours.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        writing = self._engine.execution_options(**{_IS_WRITING: True})
        with writing.begin() as connection:
            config = Config()
            config.set_main_option("script_location", "provider.storage:migrations")
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            if revision == ADOPTED:
                command.stamp(config, ADOPTED)
            command.upgrade(config, "head")
            connection.exec_driver_sql(f"PRAGMA user_version = {COMPATIBILITY}")
        if revision is not None:
            _log.info("database_upgraded", before=revision, now=HEAD)


def _create_engine(path: Path, read_only: bool) -> Engine:
    # A URI, since only that can ask for reading alone.
    location = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            location, uri=True, timeout=_BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )

    # The parameters of a statement that fails would stand in the log, request fingerprints and salts among them.
    engine = create_engine(
        "sqlite://",
        creator=connect,
        hide_parameters=True,
        poolclass=QueuePool,
        pool_size=_POOL_CONNECTIONS,
        max_overflow=-1,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes the lock at once: one that read first and asked for it later would be refused, not kept
        # waiting, if another had written meanwhile.
        is_writing = connection.get_execution_options().get(_IS_WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _has_table(connection: Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return connection.exec_driver_sql(query, (name,)).first() is not None


def _revision(connection: Connection) -> str | None:
    """Alembic's mark, or None in a file without."""
    if not _has_table(connection, "alembic_version"):
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return revision


def _storage_error(error: SQLAlchemyError) -> StorageError:
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    is_full = code == sqlite3.SQLITE_FULL
    message = "the disk is full" if is_full else f"the provider's database cannot be used now: {cause}".splitlines()[0]
    return StorageError(message, reason="storage_full" if is_full else "storage_failed")
