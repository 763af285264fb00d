"""Group commit: one writer commits many callers' small units of work in one transaction, one sync of the disk for all.

Units run together first, without savepoints, their plain inserts sent at the end, each kind of row in one statement.
If anything fails, the whole is rolled back and run again with a savepoint and the inserts of each unit by themselves:
so the failing unit fails alone, and the others are committed. A deadlock with another process is tried again.
"""

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy.engine import Connection, Engine, NestedTransaction
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from hub.store.announcements import Announcements
from hub.store.answering import Caller, Outcome, answer
from hub.store.database import OwnConnection, start
from hub.store.errors import StoreBusy, StoreUnavailable, is_worth_repeating, translated
from hub.store.locks import ANYTHING
from hub.store.transaction import Transaction

MAX_WAITING_UNITS: Final = 10_000
_MAX_UNITS_TOGETHER: Final = 256  # Bounds what one failing unit makes run twice, and how long the first one waits.
_MAX_REPEATS: Final = 8
_LONGEST_REPEAT_PAUSE_S: Final = 0.05
_EMPTY_LOG_IDLE_S: Final = 0.5
_EMPTY_LOG_EVERY_S: Final = 5.0
"""So long may an erased prompt stand in SQLite's log while others come: emptying it is three syncs more."""

Value = TypeVar("Value")
Unit = Callable[[Transaction], Value]

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.store")


@dataclass(frozen=True, slots=True)
class _Waiting:
    unit: Unit[Any]
    caller: Caller
    first: str


class _CommitFailed(Exception):
    """The commit itself failed, so what it was for may be done or not: it is not done again here, but told.

    A quota that was spent twice, or an event told twice, would be the price of trying again blindly.
    """

    def __init__(self, told: BaseException) -> None:
        super().__init__(str(told))
        self.told = told


class Writer:
    """The one writer of this process, a thread of its own."""

    def __init__(self, engine: Engine, announcements: Announcements) -> None:
        self._engine = engine
        self._own = OwnConnection(engine, is_writing=True)
        self._announcements = announcements
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._log_to_empty_since_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="hub-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Units that have not been begun."""
        return len(self._queue)

    def close(self) -> None:
        """Commits what waits, then ends."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    async def write(self, unit: Unit[Value], first: str = ANYTHING) -> Value:
        """The unit's value once it is committed, or what it raised.

        Cancelling the caller leaves the unit: it may be committed all the same. Raises StoreBusy or StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Value] = loop.create_future()
        self._add(_Waiting(unit, Caller(future, loop), first))
        return await future

    def write_now(self, unit: Unit[Value]) -> Value:
        """The same, keeping the thread waiting."""
        future: Future[Value] = Future()
        self._add(_Waiting(unit, Caller(future, None), ANYTHING))
        return future.result()

    def _add(self, waiting: _Waiting) -> None:
        with self._changed:
            if self._is_closing:
                raise StoreUnavailable("the hub's database is being closed")
            if len(self._queue) >= MAX_WAITING_UNITS:
                raise StoreBusy("more waits to be written than the hub's database takes; try again later")
            self._queue.append(waiting)
            if len(self._queue) == 1:
                self._changed.notify()

    # The writer's thread

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            is_idle = not batch
            if batch:
                outcomes = self._commit([waiting.unit for waiting in batch])
                answer(zip((waiting.caller for waiting in batch), outcomes, strict=True))
                del batch, outcomes
            elif self._is_closing:
                self._empty_log()
                self._own.close()
                return
            if self._is_time_to_empty_log(is_idle=is_idle):
                self._empty_log()

    def _next_batch(self) -> list[_Waiting]:
        """What waits, in the order of what it locks; nothing when there is another thing to do first."""
        with self._changed:
            if not self._queue and not self._is_closing:
                self._changed.wait(None if self._log_to_empty_since_s is None else _EMPTY_LOG_IDLE_S)
            count = min(len(self._queue), _MAX_UNITS_TOGETHER)
            batch = [self._queue.popleft() for _ in range(count)]
        return batch if self._is_sqlite else sorted(batch, key=lambda waiting: waiting.first)

    def _commit(self, units: list[Unit[Any]]) -> list[Outcome]:
        for repeat in range(_MAX_REPEATS + 1):
            try:
                return self._together(units)
            except _CommitFailed as failure:
                return [Outcome(error=failure.told) for _ in units]
            except Exception as error:  # noqa: BLE001 - any unit's error: told to its caller alone, below
                if is_worth_repeating(error) and repeat < _MAX_REPEATS:
                    time.sleep(random.uniform(0, _LONGEST_REPEAT_PAUSE_S))
                    continue
                if len(units) == 1 and not isinstance(error, IntegrityError):
                    return [Outcome(error=_told(error))]
            try:
                return self._apart(units)
            except _CommitFailed as failure:
                return [Outcome(error=failure.told) for _ in units]
            except Exception as error:  # noqa: BLE001 - the connection failed: nobody's unit by itself
                if not is_worth_repeating(error) or repeat == _MAX_REPEATS:
                    return [Outcome(error=_told(error)) for _ in units]
        raise AssertionError("the last repeat returns")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Committed when the block is left. Raises _CommitFailed where it may be committed or not."""
        try:
            connection = self._own.take()
            transaction = connection.begin()
            try:
                start(connection, is_writing=True)
                yield connection
            except BaseException:
                transaction.rollback()
                raise
            try:
                transaction.commit()
            except SQLAlchemyError as error:
                raise _CommitFailed(_told(error)) from error
        except BaseException:
            self._own.close()
            raise

    def _together(self, units: list[Unit[Any]]) -> list[Outcome]:
        with self._transaction() as connection:
            transaction = Transaction(connection, is_first_try=True)
            outcomes = []
            for unit in units:
                transaction.begin_unit()
                outcomes.append(Outcome(unit(transaction)))
            transaction.finish(self._announcements)
        self._after_commit(transaction)
        return outcomes

    def _apart(self, units: list[Unit[Any]]) -> list[Outcome]:
        with self._transaction() as connection:
            whole = Transaction(connection)
            outcomes = [self._by_itself(connection, whole, unit) for unit in units]
            whole.finish(self._announcements)
        self._after_commit(whole)
        return outcomes

    def _by_itself(self, connection: Connection, whole: Transaction, unit: Unit[Any]) -> Outcome:
        """One unit in a savepoint. A row that turns out to be there is looked at a second time: another process may
        have committed it since the unit looked."""
        outcome = Outcome()
        for _ in range(2):
            savepoint = connection.begin_nested()
            part = Transaction(connection)
            try:
                outcome = Outcome(unit(part))
                part.flush()
            except IntegrityError as error:
                _roll_back(savepoint, error)
                outcome = Outcome(error=_told(error))
                continue
            except Exception as error:
                if connection.invalidated or is_worth_repeating(error):
                    raise
                _roll_back(savepoint, error)
                return Outcome(error=_told(error))
            savepoint.commit()
            whole.absorb(part)
            return outcome
        return outcome

    def _after_commit(self, transaction: Transaction) -> None:
        try:
            transaction.call_afterwards()
        except Exception:  # noqa: BLE001 - a figure must not make a committed batch run again.
            _log.exception("after_commit_failed")
        self._announcements.wake(transaction.topics)
        if transaction.has_erased and self._is_sqlite and self._log_to_empty_since_s is None:
            self._log_to_empty_since_s = time.monotonic()

    def _is_time_to_empty_log(self, *, is_idle: bool) -> bool:
        since_s = self._log_to_empty_since_s
        wait_s = _EMPTY_LOG_IDLE_S if is_idle else _EMPTY_LOG_EVERY_S
        return since_s is not None and time.monotonic() - since_s >= wait_s

    def _empty_log(self) -> None:
        """Empties SQLite's write-ahead log: a prompt that was erased from its table would go on standing there."""
        if self._log_to_empty_since_s is None:
            return
        try:
            with contextlib.closing(self._engine.raw_connection()) as connection:
                cursor = connection.cursor()
                # A reader keeps it from being emptied; then it is tried again soon, rather than waited for.
                cursor.execute("PRAGMA busy_timeout = 100")
                is_busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                cursor.execute("PRAGMA busy_timeout = 10000")
        except (SQLAlchemyError, sqlite3.Error) as error:
            _log.warning("log_not_emptied", detail=str(error))
            is_busy = True
        self._log_to_empty_since_s = time.monotonic() if is_busy else None


def _roll_back(savepoint: NestedTransaction, error: Exception) -> None:
    """Raises `error` itself where the database has given up the whole transaction for it, as SQLite does when its disk
    is full: then there is no savepoint any more, and none of the units is done."""
    try:
        savepoint.rollback()
    except SQLAlchemyError:
        raise error from None


def _told(error: BaseException) -> BaseException:
    """As the caller has it."""
    return translated(error) if isinstance(error, SQLAlchemyError) else error
