"""Quotas, the audit log, and the ledger's books. The latter two are only ever added to: triggers see to it."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from hub.store.column_types import Atoms, Serial
from hub.store.tables.schema import IDENTIFIER, METADATA, SHA256, WORD, ZERO

QUOTAS: Final = Table(
    "quotas",
    METADATA,
    Column("key", IDENTIFIER, nullable=False),
    Column("day", String(10), nullable=False),
    Column("jobs", BigInteger, nullable=False, server_default=ZERO),
    Column("pictures", BigInteger, nullable=False, server_default=ZERO),
    Column("micro_units", BigInteger, nullable=False, server_default=ZERO),
    Column("amount", Atoms, nullable=False),
    PrimaryKeyConstraint("key", "day"),
    Index("quotas_by_day", "day"),
)
"""What an API key has used on a day (UTC, as 2026-11-23)."""

AUDIT_LOG: Final = Table(
    "audit_log",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("subject", String(128), nullable=False),
    Column("data", Text, nullable=False),
    Column("previous_hash", SHA256, nullable=False),
    Column("hash", SHA256, nullable=False),
    Index("audit_log_of_subject", "subject", "sequence"),
)
"""Numbered without gaps; `hash` is over the row and the hash before it, `data` canonical JSON."""

LEDGER_ENTRIES: Final = Table(
    "ledger_entries",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    Column("entry_id", String(160), nullable=False, unique=True),
    Column("kind", WORD, nullable=False),
    Column("reference", String(120), nullable=False),
    Column("memo", String(256), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""A journal entry. `entry_id` is its kind and reference: what happened once is booked once."""

LEDGER_TRANSFERS: Final = Table(
    "ledger_transfers",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    Column("entry_id", String(160), nullable=False),
    Column("line", Integer, nullable=False),
    Column("debit", String(96), nullable=False),
    Column("credit", String(96), nullable=False),
    Column("amount", Atoms, nullable=False),
    ForeignKeyConstraint(["entry_id"], ["ledger_entries.entry_id"]),
    CheckConstraint("debit <> credit", name="two_accounts"),
    CheckConstraint("amount >= 0", name="amount").ddl_if(dialect="postgresql"),
    CheckConstraint("length(amount) = 78 AND amount NOT GLOB '*[^0-9]*'", name="amount").ddl_if(dialect="sqlite"),
    Index("ledger_transfers_of_entry", "entry_id", "line", unique=True),
    Index("ledger_transfers_by_debit", "debit", "sequence"),
    Index("ledger_transfers_by_credit", "credit", "sequence"),
    sqlite_autoincrement=True,
)
"""A posting to two accounts at once: one row takes and gives the same amount, so no books can be out of balance."""
