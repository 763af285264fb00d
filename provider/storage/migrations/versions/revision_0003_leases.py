"""Work under a hub's lease: several parts of one job, receipts of split jobs, and three calls that may pay for one."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_ZERO = sa.text("0")
_EMPTY = sa.text("''")
_COLUMNS = (
    "sequence, receipt_hash, hub_id, job_id, key_name, request_fingerprint, receipt_json, provider_signature, "
    "prompt_salt, answer_json, state, attestation, transaction_hash, transaction_raw, transaction_nonce, height, "
    "reason, attempts, next_attempt_ms, created_ms, updated_ms"
)


def upgrade() -> None:
    """The receipts' table is made anew, since SQLite takes no constraint away; every row goes over."""
    op.add_column("jobs", sa.Column("lease_id", sa.Text, nullable=False, server_default=_EMPTY))
    op.drop_index("jobs_by_hub", "jobs")
    op.create_index("jobs_by_hub", "jobs", ["hub_id", "hub_job_id", "lease_id"])
    for index in ("receipts_by_state", "receipts_by_key", "receipts_by_age"):
        op.drop_index(index, "receipts")
    op.rename_table("receipts", "receipts_before")
    _create_receipts()
    op.execute(f"INSERT INTO receipts ({_COLUMNS}) SELECT {_COLUMNS} FROM receipts_before")
    # Numbers are not given out again, also where the newest receipts were pruned.
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'receipts'")
    op.execute("UPDATE sqlite_sequence SET name = 'receipts' WHERE name = 'receipts_before'")
    op.drop_table("receipts_before")
    op.create_index("receipts_by_state", "receipts", ["state", "next_attempt_ms"])
    op.create_index("receipts_by_key", "receipts", ["key_name", "sequence"])
    op.create_index("receipts_by_age", "receipts", ["state", "updated_ms"])


def _create_receipts() -> None:
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
        sa.Column("attempts", sa.Integer, nullable=False, server_default=_ZERO),
        sa.Column("next_attempt_ms", sa.Integer, nullable=False, server_default=_ZERO),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.Column("lease_id", sa.Text, nullable=False, server_default=_EMPTY),
        sa.Column("form", sa.Text, nullable=False, server_default=sa.text("'mint'")),
        sa.Column("settlement_json", sa.Text),
        sa.UniqueConstraint("hub_id", "job_id", "lease_id"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Not needed: the version before runs on these tables as they are."""
    raise NotImplementedError("the version before runs on these tables as they are")
