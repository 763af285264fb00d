"""The tables of stage 1, as its hub made them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """A new database passes through them on its way."""
    op.create_table(
        "identity",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("hub_id", sa.String(64), nullable=False),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("genesis_hash", sa.String(66), nullable=False),
    )
    _create_jobs()
    op.create_table(
        "client_nonces",
        sa.Column("client", sa.String(42), primary_key=True),
        sa.Column("nonce", sa.String(66), primary_key=True),
        sa.Column("expiry", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "attempts",
        sa.Column("sequence", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(64), sa.ForeignKey("jobs.job_id"), nullable=False, index=True),
        sa.Column("provider", sa.String(42), nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("outcome", sa.String(64)),
        sa.Column("detail", sa.Text),
    )
    _create_receipts()


def downgrade() -> None:
    """There is nothing before it."""
    raise NotImplementedError("there is nothing before it")


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("sequence", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(64), nullable=False, unique=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("client", sa.String(256), nullable=False),
        sa.Column("idempotency_key", sa.String(128)),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("prompt", sa.Text),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("request_salt", sa.String(66), nullable=False),
        sa.Column("request_hash", sa.String(66), nullable=False),
        sa.Column("client_signature", sa.String(132)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("failure_reason", sa.String(64)),
        sa.Column("failure_detail", sa.Text),
        sa.UniqueConstraint("owner", "idempotency_key"),
    )
    op.create_index("jobs_by_owner", "jobs", ["owner", "sequence"])
    op.create_index("jobs_by_state", "jobs", ["state"])
    signed = sa.text("client_signature IS NOT NULL")
    op.create_index(
        "signed_requests", "jobs", ["request_hash"], unique=True, sqlite_where=signed, postgresql_where=signed
    )


def _create_receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("job_id", sa.String(64), sa.ForeignKey("jobs.job_id"), primary_key=True),
        sa.Column("receipt_hash", sa.String(66), nullable=False, unique=True),
        sa.Column("provider", sa.String(42), nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("receipt_json", sa.Text, nullable=False),
        sa.Column("provider_signature", sa.String(132), nullable=False),
        sa.Column("prompt_salt", sa.String(66), nullable=False),
        sa.Column("artifact_sha256", sa.String(64), nullable=False),
        sa.Column("attestation", sa.String(132)),
        sa.Column("attested_at_ms", sa.BigInteger),
        sa.Column("delivered_at_ms", sa.BigInteger),
        sa.Column("delivery_attempts", sa.Integer, nullable=False),
        sa.Column("delivery_error", sa.Text),
        sa.Column("next_delivery_ms", sa.BigInteger, index=True),
        sa.Column("mint_transaction", sa.String(66)),
        sa.Column("mint_height", sa.BigInteger),
        sa.Column("next_mint_check_ms", sa.BigInteger, index=True),
    )
