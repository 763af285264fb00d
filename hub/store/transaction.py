"""What a unit of work writes with: a connection's `execute`, and things that are better done once for many units."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast, overload
from weakref import WeakKeyDictionary

from sqlalchemy import ClauseElement, Column, Table, TextClause
from sqlalchemy.engine import Connection, CursorResult
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.visitors import iterate

from hub.store.announcements import Announcements, check_topic
from hub.store.audit_chain import AuditNote, append_notes
from hub.store.inserting import insert_rows
from hub.store.statements import Prepared, Rows
from hub.store.tables import attesting, jobs, providers, receipts, records, schema

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_PLACES: Final = {
    table: place
    for place, table in enumerate(
        (
            schema.IDENTITY,
            jobs.JOBS,
            jobs.SHARDS,
            jobs.LEASES,
            jobs.RESULTS,
            jobs.PICTURES,
            jobs.EVENTS,
            jobs.IDEMPOTENCY_KEYS,
            jobs.CLIENT_NONCES,
            receipts.RECEIPTS,
            receipts.ATTESTATIONS,
            receipts.WEBHOOKS,
            providers.PROVIDERS,
            providers.SESSIONS,
            providers.ORDERS,
            providers.CHECKS,
            providers.PERCEPTUAL_HASHES,
            records.QUOTAS,
            records.LEDGER_ENTRIES,
            records.LEDGER_TRANSFERS,
            attesting.DEPOSITORS,
            attesting.PROMISES,
            attesting.ENDORSEMENTS,
            attesting.OUTCOMES,
            attesting.FOLLOWED,
        )
    )
}
"""Parents before children. The audit log is not here: its rows are made by `append_notes`."""
_SEEN_BY_ALL: Final = frozenset(
    {jobs.RESULTS, providers.CHECKS, providers.PERCEPTUAL_HASHES, receipts.RECEIPTS},
)
"""What one unit adds, and what stops another one: it must not be missed where both are committed together. Of other
tables, units that add or look for what is rare and must not be missed either have the inserts sent (`flush`)."""


_tables_of_statement: WeakKeyDictionary[Executable, frozenset[Table]] = WeakKeyDictionary()


def _tables_of(statement: Executable) -> frozenset[Table]:
    """The tables that a statement names; found once for each of those that a module keeps. Text names any."""
    tables = _tables_of_statement.get(statement)
    if tables is None:
        if isinstance(statement, TextClause):
            tables = frozenset(_PLACES)
        else:
            parts = list(iterate(cast("ClauseElement", statement)))
            named = [part.table if isinstance(part, Column) else part for part in parts]
            tables = frozenset(part for part in named if isinstance(part, Table))
        _tables_of_statement[statement] = tables
    return tables


def _execute(connection: Connection, statement: Any, parameters: Any) -> Any:
    if isinstance(statement, Prepared):
        return statement.send(connection, parameters or {})
    return connection.execute(statement, parameters)


class Reading:
    """A connection in a transaction that only reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @overload
    def execute(self, statement: Prepared, parameters: Mapping[str, Any] | None = None) -> Rows: ...
    @overload
    def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[*tuple[Any, ...]]: ...
    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """At once."""
        return _execute(self._connection, statement, parameters)


class Transaction:
    """An open transaction, or a part of one that other callers' units share. Not for several threads."""

    def __init__(self, connection: Connection, *, is_first_try: bool = False) -> None:
        self._connection = connection
        self.is_first_try: Final = is_first_try
        """Whether the unit need not look for rows that are hardly ever there: one that is fails the insert, and then
        the unit runs again, alone, and must look."""
        self._rows: dict[tuple[Table, frozenset[str]], list[dict[str, Any]]] = {}
        self._seen_tables: set[Table] = set()
        """Whose rows wait, and are to be seen by the unit that runs."""
        self._notes: list[AuditNote] = []
        self._topics: set[str] = set()
        self._afterwards: list[Callable[[], None]] = []
        self.has_erased = False

    @property
    def is_sqlite(self) -> bool:
        """Whose dialect a statement must be written in, where the two differ."""
        return self._connection.dialect.name == "sqlite"

    @property
    def topics(self) -> frozenset[str]:
        """What is announced after the commit."""
        return frozenset(self._topics)

    @overload
    def execute(self, statement: Prepared, parameters: Mapping[str, Any] | None = None) -> Rows: ...
    @overload
    def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[*tuple[Any, ...]]: ...
    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """At once; sees what this unit has inserted, and of others' that are committed with it the `_SEEN_BY_ALL`."""
        if self._seen_tables:
            named = _tables_of(statement.statement if isinstance(statement, Prepared) else statement)
            if not self._seen_tables.isdisjoint(named):
                self.flush()
        return _execute(self._connection, statement, parameters)

    def insert(self, table: Table, **columns: Any) -> None:
        """Adds a row, sent together with the other units' rows of its kind.

        One that is there already fails this unit with AlreadyUsed: its caller has that from `Store.write`, not here.
        """
        self._rows.setdefault((table, frozenset(columns)), []).append(columns)
        self._seen_tables.add(table)

    def flush(self) -> None:
        """Sends the inserts that wait, this unit's and those of others that are committed with it: all see them."""
        for (table, _names), rows in sorted(self._rows.items(), key=lambda item: _PLACES[item[0][0]]):
            insert_rows(self._connection, table, rows)
        self._rows.clear()
        self._seen_tables.clear()

    def announce(self, topic: str) -> None:
        """Wakes the topic's subscribers in every process after the commit."""
        self._topics.add(check_topic(topic))

    def erases(self) -> None:
        """Says that the unit erased something secret, so that SQLite's log is emptied soon."""
        self.has_erased = True

    def after_commit(self, call: Callable[[], None]) -> None:
        """Called in the writer's thread once the unit is on disk: for figures, which nobody waits for."""
        self._afterwards.append(call)

    def note(self, note: AuditNote) -> None:
        """Adds to the audit log at the end of the batch, so that its lock is held for the shortest time."""
        self._notes.append(note)

    # For the writer

    def begin_unit(self) -> None:
        """The next unit's own inserts count from here; of others' it sees what it must not miss."""
        self._seen_tables &= _SEEN_BY_ALL

    def absorb(self, other: "Transaction") -> None:
        """Takes over what a unit by itself has left for the end."""
        self._topics |= other.topics
        self._notes += other._notes
        self._afterwards += other._afterwards
        self.has_erased |= other.has_erased

    def call_afterwards(self) -> None:
        """It is committed."""
        for call in self._afterwards:
            call()

    def finish(self, announcements: Announcements) -> None:
        """What comes last before the commit."""
        self.flush()
        if self._notes:
            append_notes(self._connection, self._notes)
        if self._topics:
            announcements.tell_others(self._connection, self._topics)


Reader = Reading | Transaction
"""What a function that only reads takes."""
