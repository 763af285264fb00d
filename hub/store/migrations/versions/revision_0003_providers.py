"""Providers, their sessions, orders and checks, perceptual hashes; quotas, audit log and ledger."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from hub.store.column_types import Atoms, Json, Serial
from hub.store.migrations.append_only import forbid_changes

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """All of them are new."""
    for create in (
        _create_providers,
        _create_sessions,
        _create_orders,
        _create_checks,
        _create_perceptual_hashes,
        _create_quotas,
        _create_audit_log,
        _create_ledger_entries,
        _create_ledger_transfers,
    ):
        create()
    for table in ("audit_log", "ledger_entries", "ledger_transfers"):
        forbid_changes(table)


def downgrade() -> None:
    """Books and audit log are kept for good."""
    raise NotImplementedError("restore a backup from before the update")


def _amount_checks() -> list[sa.CheckConstraint]:
    """What an amount looks like in this database."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    condition = "length(amount) = 78 AND amount NOT GLOB '*[^0-9]*'" if is_sqlite else "amount >= 0"
    return [sa.CheckConstraint(condition, name="ck_ledger_transfers_amount")]


def _create_providers() -> None:
    op.create_table(
        "providers",
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("standing", sa.String(length=32), nullable=False),
        sa.Column("score", sa.Float(precision=53), nullable=False),
        sa.Column("score_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refused", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("timed_out", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("micro_units", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("benchmark", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("declared", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("suspended_until_ms", sa.BigInteger()),
        sa.Column("suspended_reason", sa.String(length=64)),
        sa.Column("suspended_detail", sa.Text()),
        sa.Column("is_banned", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("ban_reason", sa.String(length=64)),
        sa.Column("ban_detail", sa.Text()),
        sa.Column("first_seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("facts", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_providers"),
    )


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("declared", Json, nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("beat_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session", name="pk_sessions"),
        sa.UniqueConstraint("provider", name="uq_sessions_provider"),
    )
    op.create_index("sessions_of_process", "sessions", ["process"])


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("taken_by", sa.String(length=64)),
        sa.Column("answer", Json),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="pk_orders"),
    )
    op.create_index("orders_by_expiry", "orders", ["expires_at_ms"])
    op.create_index(
        "orders_waiting",
        "orders",
        ["provider"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )


def _create_checks() -> None:
    op.create_table(
        "checks",
        sa.Column("sequence", Serial, primary_key=True, autoincrement=True),
        sa.Column("check_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("lease_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("verdict", sa.String(length=32)),
        sa.Column("evidence", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_checks_job_id"),
        sa.UniqueConstraint("check_id", name="uq_checks_check_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("checks_of_job", "checks", ["job_id"])
    op.create_index(
        "checks_open",
        "checks",
        ["sequence"],
        sqlite_where=sa.text("verdict IS NULL"),
        postgresql_where=sa.text("verdict IS NULL"),
    )


def _create_perceptual_hashes() -> None:
    op.create_table(
        "perceptual_hashes",
        sa.Column("sequence", Serial, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("picture", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("run_key", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("band_0", sa.Integer(), nullable=False),
        sa.Column("band_1", sa.Integer(), nullable=False),
        sa.Column("band_2", sa.Integer(), nullable=False),
        sa.Column("band_3", sa.Integer(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("perceptual_hashes_band_0", "perceptual_hashes", ["band_0"])
    op.create_index("perceptual_hashes_band_1", "perceptual_hashes", ["band_1"])
    op.create_index("perceptual_hashes_band_2", "perceptual_hashes", ["band_2"])
    op.create_index("perceptual_hashes_band_3", "perceptual_hashes", ["band_3"])
    op.create_index("perceptual_hashes_by_age", "perceptual_hashes", ["at_ms"])


def _create_quotas() -> None:
    op.create_table(
        "quotas",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("jobs", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pictures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("micro_units", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("amount", Atoms, nullable=False),
        sa.PrimaryKeyConstraint("key", "day", name="pk_quotas"),
    )
    op.create_index("quotas_by_day", "quotas", ["day"])


def _create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_log"),
    )
    op.create_index("audit_log_of_subject", "audit_log", ["subject", "sequence"])


def _create_ledger_entries() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("sequence", Serial, primary_key=True, autoincrement=True),
        sa.Column("entry_id", sa.String(length=160), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=120), nullable=False),
        sa.Column("memo", sa.String(length=256), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("entry_id", name="uq_ledger_entries_entry_id"),
        sqlite_autoincrement=True,
    )


def _create_ledger_transfers() -> None:
    op.create_table(
        "ledger_transfers",
        sa.Column("sequence", Serial, primary_key=True, autoincrement=True),
        sa.Column("entry_id", sa.String(length=160), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("debit", sa.String(length=96), nullable=False),
        sa.Column("credit", sa.String(length=96), nullable=False),
        sa.Column("amount", Atoms, nullable=False),
        *_amount_checks(),
        sa.CheckConstraint("debit <> credit", name="ck_ledger_transfers_two_accounts"),
        sa.ForeignKeyConstraint(["entry_id"], ["ledger_entries.entry_id"], name="fk_ledger_transfers_entry_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ledger_transfers_by_credit", "ledger_transfers", ["credit", "sequence"])
    op.create_index("ledger_transfers_by_debit", "ledger_transfers", ["debit", "sequence"])
    op.create_index("ledger_transfers_of_entry", "ledger_transfers", ["entry_id", "line"], unique=True)
