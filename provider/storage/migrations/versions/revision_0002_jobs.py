"""The job log, clients' used nonces, secrets; and receipts by age, for their retention."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_ZERO = sa.text("0")
_EMPTY = sa.text("''")


def upgrade() -> None:
    """Adds tables and an index; what is there stays as it is."""
    op.create_index("receipts_by_age", "receipts", ["state", "updated_ms"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "client_nonces",
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("nonce", sa.LargeBinary, primary_key=True),
        sa.Column("expires_at_s", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
    )
    op.create_index("client_nonces_by_expiry", "client_nonces", ["expires_at_s"])
    op.create_index("client_nonces_by_job", "client_nonces", ["job_id"])
    _create_jobs()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.Text, nullable=False, unique=True),
        sa.Column("hub_id", sa.Text, nullable=False, server_default=_EMPTY),
        sa.Column("hub_job_id", sa.Text),
        sa.Column("key_name", sa.Text, nullable=False),
        sa.Column("way_in", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("pictures", sa.Integer, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("fingerprint_salt", sa.LargeBinary, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("started_ms", sa.Integer),
        sa.Column("ended_ms", sa.Integer),
        sa.Column("duration_ms", sa.Integer, nullable=False, server_default=_ZERO),
        sa.Column("compute_microseconds", sa.Integer, nullable=False, server_default=_ZERO),
        sa.Column("bytes_out", sa.Integer, nullable=False, server_default=_ZERO),
        sa.Column("prompt_hash", sa.Text),
        sa.Column("exit_code", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.Column("receipt_hash", sa.LargeBinary),
        sa.Column("artifacts", sa.Text, nullable=False, server_default=_EMPTY),
        sqlite_autoincrement=True,
    )
    op.create_index("jobs_by_key", "jobs", ["key_name", "sequence"])
    op.create_index("jobs_by_key_and_age", "jobs", ["key_name", "created_ms"])
    op.create_index("jobs_by_hub", "jobs", ["hub_id", "hub_job_id"])
    op.create_index("jobs_by_end", "jobs", ["ended_ms"])
    op.create_index("jobs_by_state", "jobs", ["state"])
    op.create_index(
        "jobs_by_idempotency_key",
        "jobs",
        ["key_name", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL AND state IN ('queued', 'running', 'done')"),
    )


def downgrade() -> None:
    """Not needed: the version before runs on these tables as they are."""
    raise NotImplementedError("the version before runs on these tables as they are")
