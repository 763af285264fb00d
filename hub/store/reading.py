"""Many coroutines' queries in one transaction: a few threads, each with a connection of its own.

A query costs a thread's wake, and a transaction's begin and end, whatever it asks; those that come while a thread is at
work wait together and share all three. Each sees what was committed before it was asked.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from hub.store.answering import Caller, Outcome, answer
from hub.store.database import OwnConnection
from hub.store.errors import StoreUnavailable, translated
from hub.store.transaction import Reading

_MOST_TOGETHER: Final = 16
"""So that a long one keeps few others waiting."""

Value = TypeVar("Value")
Query = Callable[[Reading], Value]


@dataclass(frozen=True, slots=True)
class _Asked:
    query: Query[Any]
    caller: Caller


class Readers:
    """The reading threads of this process."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Asked | None] = SimpleQueue()
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"hub-reader-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def read(self, query: Query[Value]) -> Value:
        """The query's value, or what it raised."""
        if self._is_closing:
            raise StoreUnavailable("the hub's database is being closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Value] = loop.create_future()
        self._queue.put(_Asked(query, Caller(future, loop)))
        return await future

    def close(self) -> None:
        """Answers what was asked, then ends."""
        self._is_closing = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    # The threads

    def _run(self) -> None:
        own = OwnConnection(self._engine)
        while (asked := self._queue.get()) is not None:
            batch = [asked]
            is_last = self._add_others(batch)
            outcomes: list[Outcome] = []
            while len(outcomes) < len(batch):
                self._read(own, batch, outcomes)
            answer(zip((each.caller for each in batch), outcomes, strict=True))
            del asked, batch, outcomes
            if is_last:
                break
        own.close()

    def _add_others(self, batch: list[_Asked]) -> bool:
        """This thread's share of what else waits; True where it has met the mark of the end."""
        share = min(_MOST_TOGETHER, 1 + self._queue.qsize() // len(self._threads))
        try:
            while len(batch) < share:
                asked = self._queue.get_nowait()
                if asked is None:
                    return True
                batch.append(asked)
        except Empty:
            return False
        return False

    def _read(self, own: OwnConnection, batch: list[_Asked], outcomes: list[Outcome]) -> None:
        """Those without an outcome, up to the first that the database complains of: its transaction is over then."""
        is_begun = False
        try:
            with own.transaction() as connection:
                reading, is_begun = Reading(connection), True
                while len(outcomes) < len(batch):
                    outcomes.append(_outcome_of(batch[len(outcomes)].query, reading))
        except Exception as error:  # noqa: BLE001 - whatever it is: a thread that ended would leave callers waiting
            # Of the next query; of all, where there is no connection; of none, where only the end has failed.
            failed = batch[len(outcomes) :][: 1 if is_begun else None]
            told = translated(error) if isinstance(error, SQLAlchemyError) else error
            outcomes += [Outcome(error=told) for _ in failed]


def _outcome_of(query: Query[Any], reading: Reading) -> Outcome:
    try:
        return Outcome(query(reading))
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is: told to its caller
        return Outcome(error=error)
