"""The outbox of the first version: receipts, job ids, whose folder it is."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Makes the tables.

    Where SQLite says nothing of NULL, it means that a key of text may be NULL: the first outbox did not say anything.
    """
    op.create_table(
        "receipts",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("receipt_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("hub_id", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("key_name", sa.Text, nullable=False),
        sa.Column("request_fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("receipt_json", sa.LargeBinary, nullable=False),
        sa.Column("provider_signature", sa.LargeBinary, nullable=False),
        sa.Column("prompt_salt", sa.LargeBinary, nullable=False),
        sa.Column("answer_json", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attestation", sa.LargeBinary),
        sa.Column("transaction_hash", sa.LargeBinary),
        sa.Column("transaction_raw", sa.LargeBinary),
        sa.Column("transaction_nonce", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("next_attempt_ms", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.UniqueConstraint("hub_id", "job_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("receipts_by_state", "receipts", ["state", "next_attempt_ms"])
    op.create_index("receipts_by_key", "receipts", ["key_name", "sequence"])
    op.create_table(
        "job_counters",
        sa.Column("day", sa.Text, primary_key=True, nullable=True),
        sa.Column("last", sa.Integer, nullable=False),
    )
    op.create_table(
        "identity",
        sa.Column("name", sa.Text, primary_key=True, nullable=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """An outbox is never taken away."""
    raise NotImplementedError("receipts are not thrown away")
