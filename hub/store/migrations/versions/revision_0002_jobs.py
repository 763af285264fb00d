"""Jobs in shards, leases, results, events; receipts of whole jobs, attestations, webhooks."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op

from hub.store.column_types import Atoms, Json, Serial

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_OLD_TABLES: Final = ("jobs", "client_nonces", "attempts", "receipts")


def upgrade() -> None:
    """Puts the tables of stage 1 aside, for revision 0004 to take over what is in them, and makes new ones."""
    for name in _OLD_TABLES:
        op.rename_table(name, f"stage_1_{name}")
    for create in (
        _create_jobs,
        _create_shards,
        _create_leases,
        _create_results,
        _create_pictures,
        _create_events,
        _create_idempotency_keys,
        _create_client_nonces,
        _create_receipts,
        _create_attestations,
        _create_webhooks,
    ):
        create()


def downgrade() -> None:
    """Nothing that was paid for is taken apart."""
    raise NotImplementedError("restore a backup from before the update")


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("sequence", Serial, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=256), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("prompts", Json),
        sa.Column("request", Json, nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("request_salt", sa.String(length=66), nullable=False),
        sa.Column("request_hash", sa.String(length=66), nullable=False),
        sa.Column("client_signature", sa.String(length=132)),
        sa.Column("model", sa.String(length=256)),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("min_vram_mib", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_price_per_unit", Atoms),
        sa.Column("max_price", Atoms),
        sa.Column("price_per_unit", Atoms),
        sa.Column("deadline_ms", sa.BigInteger()),
        sa.Column("is_paid", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("facts", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger()),
        sa.Column("ended_at_ms", sa.BigInteger()),
        sa.Column("failure_reason", sa.String(length=64)),
        sa.Column("failure_detail", sa.Text()),
        sa.Column("cancel_requested_at_ms", sa.BigInteger()),
        sa.Column("pictures_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("event_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("shard_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("forgotten", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("finish_s", sa.Float(precision=53)),
        sa.UniqueConstraint("job_id", name="uq_jobs_job_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "jobs_of_client",
        "jobs",
        ["owner"],
        sqlite_where=sa.text("ended_at_ms IS NULL"),
        postgresql_where=sa.text("ended_at_ms IS NULL"),
    )
    op.create_index("jobs_of_owner", "jobs", ["owner", "sequence"])
    op.create_index(
        "jobs_open",
        "jobs",
        ["state", "sequence"],
        sqlite_where=sa.text("ended_at_ms IS NULL"),
        postgresql_where=sa.text("ended_at_ms IS NULL"),
    )
    op.create_index(
        "jobs_signed_requests",
        "jobs",
        ["request_hash"],
        unique=True,
        sqlite_where=sa.text("client_signature IS NOT NULL"),
        postgresql_where=sa.text("client_signature IS NOT NULL"),
    )
    op.create_index(
        "jobs_to_forget",
        "jobs",
        ["forgotten", "ended_at_ms"],
        sqlite_where=sa.text("ended_at_ms IS NOT NULL AND forgotten < 2"),
        postgresql_where=sa.text("ended_at_ms IS NOT NULL AND forgotten < 2"),
    )


def _create_shards() -> None:
    op.create_table(
        "shards",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("first_picture", sa.Integer(), nullable=False),
        sa.Column("pictures", sa.Integer(), nullable=False),
        sa.Column("excluded", Json, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_id", sa.String(length=64)),
        sa.Column("waiting_since_ms", sa.BigInteger(), nullable=False),
        sa.Column("rank_s", sa.Float(precision=53), nullable=False),
        sa.Column("rank_step_s", sa.Float(precision=53), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_shards_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_shards"),
    )
    op.create_index(
        "shards_waiting",
        "shards",
        ["rank_s", "job_id", "number"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("sequence", Serial, primary_key=True, autoincrement=True),
        sa.Column("lease_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("pictures", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=64)),
        sa.Column("detail", sa.Text()),
        sa.Column("attributes", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("deadline_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["job_id", "number"], ["shards.job_id", "shards.number"], name="fk_leases_job_id_number", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("lease_id", name="uq_leases_lease_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "leases_active",
        "leases",
        ["deadline_ms"],
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "leases_of_provider",
        "leases",
        ["provider"],
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "leases_of_session",
        "leases",
        ["session"],
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index("leases_of_shard", "leases", ["job_id", "number"])


def _create_results() -> None:
    op.create_table(
        "results",
        sa.Column("lease_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("refusal", sa.Text()),
        sa.Column("receipt_hash", sa.String(length=66), nullable=False),
        sa.Column("receipt_json", sa.Text(), nullable=False),
        sa.Column("provider_signature", sa.String(length=132), nullable=False),
        sa.Column("prompt_salt", sa.String(length=66), nullable=False),
        sa.Column("micro_units", sa.BigInteger(), nullable=False),
        sa.Column("amount", Atoms, nullable=False),
        sa.Column("facts", Json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("delivered_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("judged_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["job_id", "number"],
            ["shards.job_id", "shards.number"],
            name="fk_results_job_id_number",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("lease_id", name="pk_results"),
        sa.UniqueConstraint("receipt_hash", name="uq_results_receipt_hash"),
    )
    op.create_index("results_of_shard", "results", ["job_id", "number"])


def _create_pictures() -> None:
    op.create_table(
        "pictures",
        sa.Column("lease_id", sa.String(length=64), nullable=False),
        sa.Column("picture", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["lease_id"], ["results.lease_id"], name="fk_pictures_lease_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("lease_id", "picture", name="pk_pictures"),
    )
    op.create_index("pictures_of_job", "pictures", ["job_id", "picture"])


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_events_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "sequence", name="pk_events"),
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at_ms"])


def _create_client_nonces() -> None:
    op.create_table(
        "client_nonces",
        sa.Column("client", sa.String(length=42), nullable=False),
        sa.Column("nonce", sa.String(length=66), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "nonce", name="pk_client_nonces"),
    )
    op.create_index("client_nonces_by_expiry", "client_nonces", ["expiry"])


def _create_receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("receipt_hash", sa.String(length=66), nullable=False),
        sa.Column("provider", sa.String(length=42), nullable=False),
        sa.Column("receipt_json", sa.Text(), nullable=False),
        sa.Column("provider_signature", sa.String(length=132), nullable=False),
        sa.Column("prompt_salt", sa.String(length=66), nullable=False),
        sa.Column("micro_units", sa.BigInteger(), nullable=False),
        sa.Column("amount", Atoms, nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("form", sa.String(length=32), nullable=False),
        sa.Column("kept_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("window_until_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_withdrawable", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("attestation", sa.Text()),
        sa.Column("attested_at_ms", sa.BigInteger()),
        sa.Column("delivered_at_ms", sa.BigInteger()),
        sa.Column("delivery_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("delivery_error", sa.Text()),
        sa.Column("next_delivery_ms", sa.BigInteger()),
        sa.Column("chain_transaction", sa.String(length=66)),
        sa.Column("chain_height", sa.BigInteger()),
        sa.Column("next_chain_check_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_receipts_job_id"),
        sa.PrimaryKeyConstraint("job_id", name="pk_receipts"),
        sa.UniqueConstraint("receipt_hash", name="uq_receipts_receipt_hash"),
    )
    op.create_index("receipts_of_provider", "receipts", ["provider", "kept_at_ms"])
    op.create_index(
        "receipts_to_attest",
        "receipts",
        ["window_until_ms"],
        sqlite_where=sa.text("attested_at_ms IS NULL"),
        postgresql_where=sa.text("attested_at_ms IS NULL"),
    )
    op.create_index(
        "receipts_to_deliver",
        "receipts",
        ["next_delivery_ms"],
        sqlite_where=sa.text("next_delivery_ms IS NOT NULL"),
        postgresql_where=sa.text("next_delivery_ms IS NOT NULL"),
    )
    op.create_index(
        "receipts_to_look_for",
        "receipts",
        ["next_chain_check_ms"],
        sqlite_where=sa.text("next_chain_check_ms IS NOT NULL"),
        postgresql_where=sa.text("next_chain_check_ms IS NOT NULL"),
    )


def _create_attestations() -> None:
    op.create_table(
        "attestations",
        sa.Column("receipt_hash", sa.String(length=66), nullable=False),
        sa.Column("attester", sa.String(length=42), nullable=False),
        sa.Column("form", sa.String(length=32), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("receipt_hash", "attester", name="pk_attestations"),
    )


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", Serial, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text()),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_ms", sa.BigInteger()),
        sa.Column("delivered_at_ms", sa.BigInteger()),
        sa.Column("ended_at_ms", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_webhooks_job_id", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_index("webhooks_by_end", "webhooks", ["ended_at_ms"])
    op.create_index(
        "webhooks_due",
        "webhooks",
        ["next_attempt_ms"],
        sqlite_where=sa.text("next_attempt_ms IS NOT NULL"),
        postgresql_where=sa.text("next_attempt_ms IS NOT NULL"),
    )
    op.create_index("webhooks_of_job", "webhooks", ["job_id"])
