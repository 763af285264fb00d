"""The metadata that all tables share, and the row that says whose data this is.

Every constraint has a name of its own making, the same in both databases, so that a violation can be told by it.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, TextClause, text

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

ADDRESS: Final = String(42)
HASH: Final = String(66)
SHA256: Final = String(64)
IDENTIFIER: Final = String(64)
WORD: Final = String(32)

EMPTY_OBJECT: Final = text("'{}'")
EMPTY_LIST: Final = text("'[]'")
ZERO: Final = text("0")


def partial_index(name: str, *columns: Any, where: str, unique: bool = False) -> Index:
    """An index of the rows that `where` holds for: small, as it leaves out what has ended."""
    condition: TextClause = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


IDENTITY: Final = Table(
    "identity",
    METADATA,
    Column("id", Integer, primary_key=True),
    # Only for the hub of stage 1, which refuses a database that says anything but 1.
    Column("schema_version", Integer, nullable=False),
    Column("hub_id", String(64), nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("genesis_hash", String(66), nullable=False),
)
"""One row: the hub and the network that the database belongs to."""
