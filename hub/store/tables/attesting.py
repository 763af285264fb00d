"""What attesting needs beside receipts: promised money, receipts of others, what the chain hears of providers."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, PrimaryKeyConstraint, String, Table, Text, false

from hub.store.column_types import Atoms, Json, Serial
from hub.store.tables.schema import ADDRESS, EMPTY_LIST, HASH, IDENTIFIER, METADATA, WORD, ZERO, partial_index

DEPOSITORS: Final = Table("depositors", METADATA, Column("client", ADDRESS, primary_key=True))
"""A row per client that pays from a deposit: whoever promises its money holds the row."""

PROMISES: Final = Table(
    "promises",
    METADATA,
    Column("job_id", IDENTIFIER, primary_key=True),
    Column("client", ADDRESS, nullable=False),
    Column("request_hash", HASH, nullable=False),
    Column("amount", Atoms, nullable=False),
    Column("until_s", BigInteger, nullable=False),
    Column("state", WORD, nullable=False),
    Column("settled_height", BigInteger),
    Column("made_at_ms", BigInteger, nullable=False),
    partial_index("promises_of_client", "client", where="state <> 'released'"),
    partial_index("promises_held", "until_s", where="state = 'held'"),
)
"""What of a client's deposit is set aside for a job. `until_s` (Unix): the last second in which it can be settled."""

ENDORSEMENTS: Final = Table(
    "endorsements",
    METADATA,
    Column("receipt_hash", HASH, primary_key=True),
    Column("hub_id", IDENTIFIER, nullable=False),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("asked_by", ADDRESS, nullable=False),
    Column("form", WORD, nullable=False),
    Column("digest", HASH, nullable=False),
    Column("client", String(256), nullable=False),
    Column("request_hash", HASH, nullable=False),
    Column("is_signed_request", Boolean, nullable=False, server_default=false()),
    Column("asked_at_ms", BigInteger, nullable=False),
    Column("window_until_ms", BigInteger, nullable=False, server_default=ZERO),
    Column("replaced", Json, nullable=False, server_default=EMPTY_LIST),
    Column("state", WORD, nullable=False),
    Column("reason", WORD),
    Column("signature", String(132)),
    Index("endorsements_of_job", "hub_id", "job_id", unique=True),
    # One signed request gives one receipt, whoever brings it.
    partial_index("endorsements_of_requests", "client", "request_hash", where="is_signed_request", unique=True),
)
"""Receipts of other hubs that this attester was asked to sign, and has found true; `replaced`: hashes of those that its
job had before."""

OUTCOMES: Final = Table(
    "outcomes",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    Column("provider", ADDRESS, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("record_hash", HASH),
    Column("state", WORD, nullable=False),
    partial_index("outcomes_to_record", "provider", "sequence", where="state <> 'recorded'"),
    sqlite_autoincrement=True,
)
"""A failure, dispute or breach that the chain is to count; those of one call share `record_hash`, its evidence."""

FOLLOWED: Final = Table(
    "followed",
    METADATA,
    Column("name", WORD, nullable=False),
    Column("height", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
)
"""Up to which final block of the chain something has been booked."""
