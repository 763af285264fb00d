"""The engine: SQLite made durable, or PostgreSQL; brought up to date at opening, and refused where it is no use."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from hub.errors import HubConfigurationError
from hub.store.column_types import SumAtoms
from hub.store.errors import reason_of
from hub.store.migrations import ADOPTED, HEAD, KNOWN

POOL_CONNECTIONS: Final = 6
_BUSY_TIMEOUT_MS: Final = 10_000
_TRUSTED_S: Final = 1.0
"""So long after its last use a connection is taken to be alive."""
_MIGRATION_LOCK: Final = 0x61697462  # Two processes that start at once: the second waits, and finds it done.
_MOST_IDLE_S: Final = 30
"""So long may a process that hangs in a transaction, or that the server has lost, keep the rows that it has locked:
other processes wait for them (`hub.store.locks`)."""
_SESSION_OPTIONS: Final = f"-c jit=off -c enable_seqscan=off -c idle_in_transaction_session_timeout={_MOST_IDLE_S}s"
"""A statement that was prepared while a table was small would read the whole of it until the next ANALYZE; and every
plan that then counts as dear would be compiled."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.store")


def open_engine(url: str) -> Engine:
    """An engine on an up-to-date database; raises HubConfigurationError with what to do about it."""
    try:
        engine = _create_engine(_with_driver(make_url(url)))
    except (ArgumentError, ImportError) as error:
        raise HubConfigurationError(f"cannot use the hub's database: {str(error).splitlines()[0]}") from None
    try:
        _bring_up_to_date(engine)
    except (SQLAlchemyError, sqlite3.Error) as error:
        engine.dispose()
        raise HubConfigurationError(f"cannot use the hub's database: {reason_of(error)}") from None
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def transaction(engine: Engine, *, is_writing: bool = False) -> Iterator[Connection]:
    """A connection in a transaction, which is committed when the block is left."""
    with _connect(engine, is_writing=is_writing) as connection, connection.begin():
        start(connection, is_writing=is_writing)
        yield connection


class OwnConnection:
    """One thread's, kept from one transaction to the next: taking one from the pool, asking the server whether it is
    alive, and giving it back costs more than most statements."""

    def __init__(self, engine: Engine, *, is_writing: bool = False) -> None:
        self._engine = engine
        self._is_writing = is_writing
        self._connection: Connection | None = None
        self._used_at_s = 0.0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """As `transaction`, of the module: to be left by an error, too."""
        connection = self.take()
        try:
            with connection.begin():
                start(connection, is_writing=self._is_writing)
                yield connection
        except BaseException:
            self.close()
            raise

    def take(self) -> Connection:
        """The connection; a new one from the pool, which looks whether it is alive, where this one was not used for a
        while: the server may have been restarted."""
        now_s = time.monotonic()
        if self._engine.dialect.name == "postgresql" and now_s - self._used_at_s > _TRUSTED_S:
            self.close()
        self._used_at_s = now_s
        if self._connection is None:
            self._connection = _connect(self._engine, is_writing=self._is_writing)
        return self._connection

    def close(self) -> None:
        """Gives it back; after any error, whatever has become of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connect(engine: Engine, *, is_writing: bool) -> Connection:
    connection = engine.connect()
    if not is_writing and connection.dialect.name == "postgresql":
        # What several statements of one query see belongs together; on SQLite a transaction is that by itself.
        connection.execution_options(isolation_level="REPEATABLE READ")
    return connection


def start(connection: Connection, *, is_writing: bool = False) -> None:
    """The first thing in each transaction: SQLite's begin when we say so.

    A writer takes the lock at once: one that read first and asked for the lock later would be refused, not kept
    waiting, if another had written meanwhile. (A listener for SQLAlchemy's `begin` would do the same, but with one
    listener there is, every statement looks for others: a sixth of its time in a profile.)
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _with_driver(url: URL) -> URL:
    """`postgresql://` means psycopg 3, the driver that the hub is tested with."""
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def _create_engine(url: URL) -> Engine:
    # The parameters of a statement that fails would stand in the log, prompts among them.
    options: dict[str, Any] = {
        "hide_parameters": True,
        "json_serializer": lambda value: msgspec.json.encode(value).decode(),
        "json_deserializer": msgspec.json.decode,
        "poolclass": QueuePool,
        "pool_size": POOL_CONNECTIONS,
        "max_overflow": 2,
    }
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"check_same_thread": False}, **options)
        _use_durable_sqlite(engine)
    elif url.drivername == "postgresql+psycopg":
        # A server that was restarted is found by the first use after, not by the first unit that fails.
        arguments = {"connect_timeout": 10, "options": _SESSION_OPTIONS}
        engine = create_engine(url, pool_pre_ping=True, connect_args=arguments, **options)
    else:
        raise HubConfigurationError("the hub's database must be sqlite:///… or postgresql://…")
    return engine


def _use_durable_sqlite(engine: Engine) -> None:
    """A write-ahead log that is synced at every commit, and transactions that begin when we say so (`start`)."""

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's sqlite3 would begin transactions by rules of its own.
        connection.create_aggregate("sum_atoms", 1, SumAtoms)
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {_BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def _bring_up_to_date(engine: Engine) -> None:
    """In one transaction, so that a crash leaves the database as it was."""
    with transaction(engine, is_writing=True) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        revision = _revision(connection)
        if revision is not None and revision not in KNOWN:
            raise HubConfigurationError(
                f"the hub's database was written by a newer version of this program (revision {revision}, known is "
                f"{HEAD}): use that, or restore a backup from before it"
            )
        if revision != HEAD:
            _migrate(connection, revision)


def _revision(connection: Connection) -> str | None:
    """Alembic's mark; ADOPTED for the database of stage 1, which has none; None for an empty one."""
    inspector = inspect(connection)
    if inspector.has_table("alembic_version"):
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision
    return ADOPTED if inspector.has_table("jobs") else None


def _migrate(connection: Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config

    # Its own lines say less than ours.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", "hub.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if revision == ADOPTED and not inspect(connection).has_table("alembic_version"):
        command.stamp(config, ADOPTED)
    command.upgrade(config, "head")
    if revision is not None:
        _log.info("database_upgraded", before=revision, now=HEAD)
