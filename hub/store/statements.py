"""Statements that a module keeps: compiled once, then sent straight to the driver.

SQLAlchemy writes the SQL and knows what values each column takes and gives. What it does for every execution beside
that (looking up what it compiled, a context, a result with all that a result can be asked) took several times as long
as the statement itself on SQLite; here a row is a tuple with names. Statements that are put together for one use, or
that name a list of values, go through SQLAlchemy as ever.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from sqlalchemy import ClauseElement
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler

_Process = Callable[[Any], Any]


class Rows:
    """All rows of an answer, and how many a statement has changed."""

    __slots__ = ("_names", "_rows", "rowcount")

    def __init__(self, names: tuple[str, ...], rows: list[Any], rowcount: int) -> None:
        self._names = names
        self._rows = rows
        self.rowcount: Final = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def mappings(self) -> "Rows":
        """The same as values by name."""
        names = self._names
        return Rows(names, [dict(zip(names, row, strict=True)) for row in self._rows], self.rowcount)

    def all(self) -> list[Any]:
        """Each a tuple with names."""
        return self._rows

    def first(self) -> Any:
        """None where there is none."""
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> Any:
        """The only one; raises MultipleResultsFound."""
        if len(self._rows) > 1:
            raise MultipleResultsFound("more than one row, where one at most was expected")
        return self.first()

    def one(self) -> Any:
        """The only one; raises NoResultFound and MultipleResultsFound."""
        row = self.one_or_none()
        if row is None:
            raise NoResultFound("no row, where one was expected")
        return row

    def scalars(self) -> list[Any]:
        """The first value of each."""
        return [row[0] for row in self._rows]

    def scalar_one_or_none(self) -> Any:
        """The first value of the only one."""
        row = self.one_or_none()
        return None if row is None else row[0]

    def scalar_one(self) -> Any:
        """As `one`."""
        return self.one()[0]


class _Form:
    """A statement as one kind of database takes it."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled = cast("SQLCompiler", cast("ClauseElement", statement).compile(dialect=dialect))
        given = {name: None for name, bind in compiled.binds.items() if bind.required}
        assert not any(compiled.binds[name].expanding for name in given), "its text would depend on its parameters"
        expanded = compiled.construct_expanded_state(given)
        self.sql: Final = expanded.statement
        self._places: Final = expanded.positiontup
        processes = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
        } | cast("dict[str, _Process]", dict(expanded.processors))
        self._processes: Final = {name: process for name, process in processes.items() if process is not None}
        self._constants: Final = {
            name: self._processed(name, value) for name, value in expanded.parameters.items() if name not in given
        }
        columns = getattr(statement, "exported_columns", ())
        self._types: Final = [column.type for column in columns]
        self._dialect: Final = dialect
        self._row: Callable[[tuple[Any, ...]], Any] | None = None
        self.names: tuple[str, ...] = ()

    def _processed(self, name: str, value: Any) -> Any:
        process = self._processes.get(name)
        return value if process is None else process(value)

    def values(self, parameters: Mapping[str, Any]) -> Any:
        """As the driver takes them."""
        values = {**self._constants, **parameters}
        for name, process in self._processes.items():
            if name in parameters:
                values[name] = process(parameters[name])
        return values if self._places is None else [values[name] for name in self._places]

    def rows(self, cursor: Any) -> Rows:
        """What the cursor has to give."""
        if cursor.description is None:
            return Rows((), [], cursor.rowcount)
        if self._row is None:
            self._row = self._reader_of(cursor.description)
        return Rows(self.names, list(map(self._row, cursor.fetchall())), cursor.rowcount)

    def _reader_of(self, description: Sequence[Any]) -> Callable[[tuple[Any, ...]], Any]:
        """From a row of the driver's; the first answer says what the driver's own types are."""
        self.names = tuple(column[0] for column in description)
        assert len(self.names) == len(self._types)
        make: Callable[[Any], Any] = namedtuple("Row", self.names, rename=True)._make  # type: ignore[attr-defined]
        processes = [
            (place, process)
            for place, (kind, column) in enumerate(zip(self._types, description, strict=True))
            if (process := kind.dialect_impl(self._dialect).result_processor(self._dialect, column[1])) is not None
        ]

        def processed(row: tuple[Any, ...]) -> Any:
            values = list(row)
            for place, process in processes:
                values[place] = process(values[place])
            return make(values)

        return processed if processes else make


class Prepared:
    """A statement that stays: made once, when its module is loaded. Its text must not depend on its parameters."""

    def __init__(self, statement: Executable) -> None:
        self.statement: Final = statement
        self._forms: dict[str, _Form] = {}

    def send(self, connection: Connection, parameters: Mapping[str, Any]) -> Rows:
        """Raises what SQLAlchemy does."""
        form = self._form(connection.dialect)
        values = form.values(parameters)
        try:
            cursor = connection.connection.cursor()
            try:
                cursor.execute(form.sql, values)
                return form.rows(cursor)
            finally:
                cursor.close()
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, form.sql, error) from error

    def send_many(self, connection: Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Once for each."""
        form = self._form(connection.dialect)
        values = [form.values(each) for each in parameters]
        try:
            cursor = connection.connection.cursor()
            try:
                cursor.executemany(form.sql, values)
            finally:
                cursor.close()
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, form.sql, error) from error

    def _form(self, dialect: Dialect) -> _Form:
        form = self._forms.get(dialect.name)
        if form is None:
            form = self._forms[dialect.name] = _Form(self.statement, dialect)
        return form


def _told(connection: Connection, sql: str, error: Any) -> BaseException:
    """The driver's complaint as SQLAlchemy tells it; a connection that is lost is never used again."""
    dialect = connection.dialect
    is_lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if is_lost:
        connection.invalidate(error)
    told: BaseException = DBAPIError.instance(
        sql,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
    return told
