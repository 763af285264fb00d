"""Who works for the hub, who is connected where, and what came of looking at their work."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from hub.store.column_types import Json, Serial
from hub.store.tables.schema import ADDRESS, EMPTY_OBJECT, IDENTIFIER, METADATA, SHA256, WORD, ZERO, partial_index

PROVIDERS: Final = Table(
    "providers",
    METADATA,
    Column("address", ADDRESS, primary_key=True),
    Column("standing", WORD, nullable=False),
    Column("score", Float(53), nullable=False),
    Column("score_at_ms", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False, server_default=ZERO),
    Column("refused", BigInteger, nullable=False, server_default=ZERO),
    Column("failed", BigInteger, nullable=False, server_default=ZERO),
    Column("timed_out", BigInteger, nullable=False, server_default=ZERO),
    Column("micro_units", BigInteger, nullable=False, server_default=ZERO),
    Column("benchmark", Json, nullable=False, server_default=EMPTY_OBJECT),
    Column("declared", Json, nullable=False, server_default=EMPTY_OBJECT),
    Column("suspended_until_ms", BigInteger),
    Column("suspended_reason", IDENTIFIER),
    Column("suspended_detail", Text),
    Column("is_banned", Boolean, nullable=False, server_default=false()),
    Column("ban_reason", IDENTIFIER),
    Column("ban_detail", Text),
    Column("first_seen_at_ms", BigInteger, nullable=False),
    Column("last_seen_at_ms", BigInteger, nullable=False),
    Column("facts", Json, nullable=False, server_default=EMPTY_OBJECT),
)
"""Figures of a provider's work; `declared` and `benchmark` as of its last session."""

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("session", IDENTIFIER, primary_key=True),
    Column("provider", ADDRESS, nullable=False),
    Column("process", IDENTIFIER, nullable=False),
    Column("declared", Json, nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("beat_at_ms", BigInteger, nullable=False),
    UniqueConstraint("provider"),
    Index("sessions_of_process", "process"),
)
"""A provider's connection to one of the hub's processes: one at a time for each provider."""

ORDERS: Final = Table(
    "orders",
    METADATA,
    Column("order_id", IDENTIFIER, primary_key=True),
    Column("provider", ADDRESS, nullable=False),
    Column("body", Json, nullable=False),
    Column("state", WORD, nullable=False),
    Column("taken_by", IDENTIFIER),
    Column("answer", Json),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    partial_index("orders_waiting", "provider", where="state = 'waiting'"),
    Index("orders_by_expiry", "expires_at_ms"),
)
"""What one process wants of a provider that is connected to another."""

CHECKS: Final = Table(
    "checks",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    Column("check_id", IDENTIFIER, nullable=False, unique=True),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("lease_id", IDENTIFIER, nullable=False),
    Column("provider", ADDRESS, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("verdict", WORD),
    Column("evidence", Json, nullable=False, server_default=EMPTY_OBJECT),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    ForeignKeyConstraint(["job_id"], ["jobs.job_id"]),
    Index("checks_of_job", "job_id"),
    partial_index("checks_open", "sequence", where="verdict IS NULL"),
    sqlite_autoincrement=True,
)
"""A look at a result: why, by whom, and the verdict."""

PERCEPTUAL_HASHES: Final = Table(
    "perceptual_hashes",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("picture", Integer, nullable=False),
    Column("provider", ADDRESS, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("run_key", BigInteger, nullable=False),
    Column("sha256", SHA256, nullable=False),
    Column("band_0", Integer, nullable=False),
    Column("band_1", Integer, nullable=False),
    Column("band_2", Integer, nullable=False),
    Column("band_3", Integer, nullable=False),
    *(Index(f"perceptual_hashes_band_{band}", f"band_{band}") for band in range(4)),
    Index("perceptual_hashes_by_age", "at_ms"),
    sqlite_autoincrement=True,
)
"""64-bit hashes of accepted pictures as four bands of 16 bits, so that similar ones are found by an index.
`run_key`: which picture was asked for (63 bits, keyed); `sha256`: of the file.

No foreign key: they outlive nobody's job, and their age alone says when they go.
"""
