"""Promises out of deposits, receipts of other hubs, outcomes for the chain, and how far its events are booked."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from hub.store.column_types import Atoms, Json, Serial

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """All of them are new."""
    for create in (_create_promises, _create_endorsements, _create_outcomes, _create_followed):
        create()


def downgrade() -> None:
    """Who forgets what it signed could sign again."""
    raise NotImplementedError("restore a backup from before the update")


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _create_promises() -> None:
    op.create_table(
        "depositors",
        sa.Column("client", sa.String(length=42), nullable=False),
        sa.PrimaryKeyConstraint("client", name="pk_depositors"),
    )
    op.create_table(
        "promises",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=42), nullable=False),
        sa.Column("request_hash", sa.String(length=66), nullable=False),
        sa.Column("amount", Atoms(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("settled_height", sa.BigInteger(), nullable=True),
        sa.Column("made_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_promises"),
    )
    _partial_index("promises_of_client", "promises", ["client"], "state <> 'released'")
    _partial_index("promises_held", "promises", ["until_s"], "state = 'held'")


def _create_endorsements() -> None:
    op.create_table(
        "endorsements",
        sa.Column("receipt_hash", sa.String(length=66), nullable=False),
        sa.Column("hub_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("asked_by", sa.String(length=42), nullable=False),
        sa.Column("form", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=66), nullable=False),
        sa.Column("client", sa.String(length=256), nullable=False),
        sa.Column("request_hash", sa.String(length=66), nullable=False),
        sa.Column("is_signed_request", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("window_until_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("replaced", Json, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("signature", sa.String(length=132), nullable=True),
        sa.PrimaryKeyConstraint("receipt_hash", name="pk_endorsements"),
    )
    op.create_index("endorsements_of_job", "endorsements", ["hub_id", "job_id"], unique=True)
    _partial_index(
        "endorsements_of_requests", "endorsements", ["client", "request_hash"], "is_signed_request", unique=True
    )


def _create_outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("sequence", Serial, autoincrement=True, nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.String(length=66), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_outcomes"),
        sqlite_autoincrement=True,
    )
    _partial_index("outcomes_to_record", "outcomes", ["provider", "sequence"], "state <> 'recorded'")


def _create_followed() -> None:
    op.create_table(
        "followed",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_followed"),
    )
