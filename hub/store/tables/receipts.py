"""What goes out for a job: the receipt of the whole, attestations of it, webhooks."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

from hub.store.column_types import Atoms, Serial
from hub.store.tables.schema import ADDRESS, HASH, IDENTIFIER, METADATA, SHA256, WORD, ZERO, partial_index

RECEIPTS: Final = Table(
    "receipts",
    METADATA,
    Column("job_id", IDENTIFIER, primary_key=True),
    Column("receipt_hash", HASH, nullable=False, unique=True),
    Column("provider", ADDRESS, nullable=False),
    Column("receipt_json", Text, nullable=False),
    Column("provider_signature", String(132), nullable=False),
    Column("prompt_salt", HASH, nullable=False),
    Column("micro_units", BigInteger, nullable=False),
    Column("amount", Atoms, nullable=False),
    Column("artifact_sha256", SHA256, nullable=False),
    Column("form", WORD, nullable=False),
    Column("kept_at_ms", BigInteger, nullable=False),
    Column("window_until_ms", BigInteger, nullable=False, server_default=ZERO),
    Column("is_withdrawable", Boolean, nullable=False, server_default=false()),
    Column("attestation", Text),
    Column("attested_at_ms", BigInteger),
    Column("delivered_at_ms", BigInteger),
    Column("delivery_attempts", Integer, nullable=False, server_default=ZERO),
    Column("delivery_error", Text),
    Column("next_delivery_ms", BigInteger),
    Column("chain_transaction", HASH),
    Column("chain_height", BigInteger),
    Column("next_chain_check_ms", BigInteger),
    ForeignKeyConstraint(["job_id"], ["jobs.job_id"]),
    Index("receipts_of_provider", "provider", "kept_at_ms"),
    partial_index("receipts_to_attest", "window_until_ms", where="attested_at_ms IS NULL"),
    partial_index("receipts_to_deliver", "next_delivery_ms", where="next_delivery_ms IS NOT NULL"),
    partial_index("receipts_to_look_for", "next_chain_check_ms", where="next_chain_check_ms IS NOT NULL"),
)
"""One per job. `attestation`: the bytes that go on chain, several attesters' one after the other."""

ATTESTATIONS: Final = Table(
    "attestations",
    METADATA,
    Column("receipt_hash", HASH, nullable=False),
    Column("attester", ADDRESS, nullable=False),
    Column("form", WORD, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("receipt_hash", "attester"),
)
"""One attester's signature over a receipt."""

WEBHOOKS: Final = Table(
    "webhooks",
    METADATA,
    Column("webhook_id", Serial, primary_key=True, autoincrement=True),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text),
    Column("event", WORD, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("next_attempt_ms", BigInteger),
    Column("delivered_at_ms", BigInteger),
    Column("ended_at_ms", BigInteger),
    Column("error", Text),
    ForeignKeyConstraint(["job_id"], ["jobs.job_id"], ondelete="CASCADE"),
    Index("webhooks_of_job", "job_id"),
    Index("webhooks_by_end", "ended_at_ms"),
    partial_index("webhooks_due", "next_attempt_ms", where="next_attempt_ms IS NOT NULL"),
    sqlite_autoincrement=True,
)
"""Calls to make to clients' own servers; `secret` signs them, and is erased with the last attempt."""
