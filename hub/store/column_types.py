"""Column types that SQLite and PostgreSQL store, compare and add up alike."""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Integer, Numeric, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine

ATOMS_DIGITS: Final = 78
"""2^256 - 1 has as many."""

Serial: Final = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows itself only in an INTEGER column."""

Json: Final = JSON(none_as_null=True)


class Atoms(TypeDecorator[int]):
    """An amount from 0 to 10^78 - 1: NUMERIC(78, 0), and on SQLite text of 78 digits, which sorts as it does."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type by database."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric(ATOMS_DIGITS, 0))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | Decimal | None:
        """Raises ValueError for what no amount is."""
        if value is None:
            return None
        if not 0 <= value < 10**ATOMS_DIGITS:
            raise ValueError("an amount must be from 0 to 10^78 - 1")
        return f"{value:0{ATOMS_DIGITS}d}" if dialect.name == "sqlite" else Decimal(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """The number."""
        return None if value is None else int(value)


class AtomsSum(TypeDecorator[int]):
    """What a sum of amounts comes back as: unbounded, 0 where there was nothing to add."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type by database."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_result_value(self, value: Any, dialect: Dialect) -> int:
        """The number."""
        return 0 if value is None else int(value)


class sum_atoms(GenericFunction[int]):  # noqa: N801 - an SQL function's name
    """The exact sum of a column of amounts; SQLite has it from `SumAtoms`, as it would add text up in floats."""

    type = AtomsSum()
    inherit_cache = True


@compiles(sum_atoms)
def _compile_sum(element: sum_atoms, compiler: SQLCompiler, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


@compiles(sum_atoms, "sqlite")
def _compile_sum_for_sqlite(element: sum_atoms, compiler: SQLCompiler, **options: Any) -> str:
    return f"sum_atoms({compiler.process(element.clauses, **options)})"


class SumAtoms:
    """SQLite's aggregate of that name."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, value: str | None) -> None:
        """Adds a row's amount."""
        if value is not None:
            self._sum += int(value)

    def finalize(self) -> str:
        """The sum in digits."""
        return str(self._sum)
