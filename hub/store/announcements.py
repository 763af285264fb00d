"""Waking whoever waits for a change in the database: in this process at once, in others by PostgreSQL's NOTIFY.

An announcement carries no content: whoever is woken looks into the database. So it does no harm if several fall
together, if one comes for nothing, or if all are woken because a connection was lost meanwhile.
"""

import asyncio
import contextlib
import secrets
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    import psycopg

CHANNEL: Final = "aitbc_hub"
_MAX_PAYLOAD_BYTES: Final = 7_000  # PostgreSQL takes less than 8,000.
_MAX_TOPIC_CHARACTERS: Final = 128
_POLL_S: Final = 0.5  # How soon a listener sees that it shall end.
_FIRST_RECONNECT_S: Final = 0.2
_LONGEST_RECONNECT_S: Final = 5.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.store")


class Changes:
    """A subscription. Changes since the last `wait` count, so look after each `wait`, and once before the first."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """True after a change; False when the time was up first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def wake(self) -> None:
        """In the subscriber's own loop."""
        self._event.set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it waits."""
        return self._loop


class Announcements:
    """Topics and who waits for them. `listen` joins this process to the others on one PostgreSQL database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_shared = engine.dialect.name == "postgresql"
        self._own_mark = secrets.token_hex(8)
        self._waiting: defaultdict[str, set[Changes]] = defaultdict(set)
        self._mutex = threading.Lock()
        self._closing = threading.Event()
        self._listener: threading.Thread | None = None

    def open(self) -> None:
        """Starts to listen where other processes may announce; returns when nothing of theirs can be missed."""
        if self._is_shared:
            connected = threading.Event()
            self._listener = threading.Thread(target=self._listen, args=(connected,), name="hub-listener", daemon=True)
            self._listener.start()
            connected.wait()

    def close(self) -> None:
        """Ends the listener, which sees it at once where the database can still wake it."""
        self._closing.set()
        if self._listener is not None:
            with contextlib.suppress(SQLAlchemyError), self._engine.begin() as connection:
                self._notify(connection, [self._own_mark])
            self._listener.join()

    @contextlib.asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Changes]:
        """Changes of a topic until the block is left."""
        changes = Changes()
        with self._mutex:
            self._waiting[topic].add(changes)
        try:
            yield changes
        finally:
            with self._mutex:
                self._waiting[topic].discard(changes)
                if not self._waiting[topic]:
                    del self._waiting[topic]

    def tell_others(self, connection: Connection, topics: Collection[str]) -> None:
        """Within the transaction: PostgreSQL sends it if and when that commits."""
        if not self._is_shared:
            return
        lines = [self._own_mark]
        size = 0
        for topic in sorted(topics):
            if size + len(topic) + 1 > _MAX_PAYLOAD_BYTES:
                self._notify(connection, lines)
                lines, size = [self._own_mark], 0
            lines.append(topic)
            size += len(topic) + 1
        self._notify(connection, lines)

    def _notify(self, connection: Connection, lines: list[str]) -> None:
        connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": "\n".join(lines)})

    def wake(self, topics: Collection[str]) -> None:
        """This process's own subscribers; in any thread."""
        with self._mutex:
            woken = [changes for topic in topics for changes in self._waiting.get(topic, ())]
        _wake(woken)

    def wake_all(self) -> None:
        """Everybody: what was announced meanwhile is unknown."""
        with self._mutex:
            woken = [changes for waiting in self._waiting.values() for changes in waiting]
        _wake(woken)

    # The listener's thread

    def _listen(self, connected: threading.Event) -> None:
        import psycopg  # A hub on SQLite starts without it.

        pause_s = _FIRST_RECONNECT_S
        while not self._closing.is_set():
            try:
                with psycopg.connect(**self._connect_arguments(), autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    connected.set()
                    self.wake_all()
                    pause_s = _FIRST_RECONNECT_S
                    self._receive(connection)
            except psycopg.Error as error:
                connected.set()
                _log.warning("listening_failed", detail=str(error).partition("\n")[0], retry_in_s=pause_s)
                self._closing.wait(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_RECONNECT_S)

    def _receive(self, connection: "psycopg.Connection[Any]") -> None:
        while not self._closing.is_set():
            for notification in connection.notifies(timeout=_POLL_S, stop_after=1):
                mark, *topics = notification.payload.split("\n")
                if mark != self._own_mark:
                    self.wake(topics)

    def _connect_arguments(self) -> dict[str, Any]:
        arguments = self._engine.dialect.create_connect_args(self._engine.url)[1]
        return {**arguments, "connect_timeout": 10}


def check_topic(topic: str) -> str:
    """Raises ValueError for text that would not survive the way to other processes."""
    if not (topic.isascii() and topic.isprintable() and 0 < len(topic) <= _MAX_TOPIC_CHARACTERS):
        raise ValueError(f"a topic is 1 to {_MAX_TOPIC_CHARACTERS} printable ASCII characters")
    return topic


def _wake(woken: list[Changes]) -> None:
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Changes]] = defaultdict(list)
    for changes in woken:
        by_loop[changes.loop].append(changes)
    for loop, waiting in by_loop.items():
        # A loop that has ended has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_wake_here, waiting)


def _wake_here(waiting: list[Changes]) -> None:
    for changes in waiting:
        changes.wake()


_NOTIFY: Final = text("SELECT pg_notify(:channel, :payload)")
