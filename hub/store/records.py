"""Rows as frozen dataclasses: their fields are named as the columns are, so nothing is written down twice."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table

Record = TypeVar("Record")
Row = Mapping[Any, Any]
"""A row's values by the names of their columns."""


@cache
def columns_of(table: Table, record: type[Any]) -> tuple[ColumnElement[Any], ...]:
    """The table's columns that a record holds."""
    return tuple(table.c[field.name] for field in fields(record) if field.name in table.c)


def made(record: type[Record], row: Row) -> Record:
    """A record of a row that was read with `columns_of`."""
    return record(**row)
