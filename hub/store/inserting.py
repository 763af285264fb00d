"""Many rows of one table in one statement.

PostgreSQL takes them as one JSON array: a single prepared statement and parameter, whatever their number, where a
statement for each row costs driver and server many times as much. SQLite has no way to it, so its rows go one by one.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

import msgspec
from sqlalchemy import JSON, Column, String, Table, insert, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Dialect

from hub.store.column_types import Atoms
from hub.store.statements import Prepared

_POSTGRESQL: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]


def insert_rows(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Rows with the same columns, in their order."""
    names = tuple(rows[0])
    if connection.dialect.name == "sqlite":
        _one_by_one(table, names).send_many(connection, rows)
        return
    for name, as_sent in _changed(table):
        if name in names:
            rows = [{**row, name: as_sent(row[name])} for row in rows]
    _all_at_once(table, names).send(connection, {"the_rows": msgspec.json.encode(rows).decode()})


@cache
def _one_by_one(table: Table, names: tuple[str, ...]) -> Prepared:
    return Prepared(insert(table).values(dict.fromkeys(names)))


@cache
def _changed(table: Table) -> list[tuple[str, Callable[[Any], Any]]]:
    """Columns whose values are not sent as they are."""
    changed: list[tuple[str, Callable[[Any], Any]]] = []
    for column in table.c:
        if isinstance(column.type, Atoms):
            changed.append((column.name, partial(column.type.process_bind_param, dialect=_POSTGRESQL)))
        elif isinstance(column.type, JSON):
            changed.append((column.name, _json_as_text))
    return changed


def _json_as_text(value: Any) -> str | None:
    """JSON in JSON: read as part of the rows, it could not have the character U+0000, which a JSON column holds."""
    return None if value is None else msgspec.json.encode(value).decode()


@cache
def _all_at_once(table: Table, names: tuple[str, ...]) -> Prepared:
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(f'CAST("{name}" AS json)' if _is_json(table, name) else f'"{name}"' for name in names)
    types = ", ".join(f'"{name}" {_type_of(table.c[name])}' for name in names)
    return Prepared(
        text(
            f'INSERT INTO "{table.name}" ({columns}) '
            f"SELECT {values} FROM json_to_recordset(CAST(:the_rows AS json)) AS the_rows ({types})"
        )
    )


def _is_json(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, JSON)


def _type_of(column: Column[Any]) -> str:
    """What a JSON value is read as; the table's own, narrower type is then checked by the insertion."""
    return "TEXT" if isinstance(column.type, String | JSON) else column.type.compile(_POSTGRESQL)
