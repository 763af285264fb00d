"""Takes over what a hub of stage 1 left: its jobs (one picture each), attempts, receipts and nonces."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from hub.store.column_types import Atoms, Json

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_CHUNK = 500
_STATES = {"queued": "queued", "verified": "verifying", "done": "done", "failed": "failed"}
_SHARD_STATES = {"queued": "waiting", "verified": "delivered", "done": "accepted", "failed": "cancelled"}


def upgrade() -> None:
    """A job that was done stays readable, one that was not goes on where it stood."""
    for rows in _chunks("jobs"):
        _keep_jobs(rows)
    for rows in _chunks("attempts"):
        _keep_attempts(rows)
    for rows in _chunks("receipts"):
        _keep_receipts(rows)
    op.execute(
        "INSERT INTO client_nonces (client, nonce, expiry) SELECT client, nonce, expiry FROM stage_1_client_nonces"
    )
    op.execute("UPDATE identity SET schema_version = 2")  # So that a hub of stage 1 refuses the database.
    for name in ("receipts", "attempts", "client_nonces", "jobs"):
        op.drop_table(f"stage_1_{name}")
    if op.get_bind().dialect.name == "postgresql":
        for table in ("jobs", "leases"):
            op.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'sequence'), "
                f"(SELECT coalesce(max(sequence), 0) + 1 FROM {table}), false)"
            )


def downgrade() -> None:
    """What came after cannot be told in the old tables."""
    raise NotImplementedError("restore a backup from before the update")


def _chunks(name: str) -> Iterator[list[Any]]:
    """An old table's rows, in the order of their keys."""
    key = "job_id" if name == "receipts" else "sequence"
    last: Any = "" if name == "receipts" else -1
    query = sa.text(f"SELECT * FROM stage_1_{name} WHERE {key} > :last ORDER BY {key} LIMIT {_CHUNK}")
    while rows := list(op.get_bind().execute(query, {"last": last})):
        yield rows
        last = getattr(rows[-1], key)


def _insert(name: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        types: dict[str, Any] = {"prompts": Json, "request": Json, "facts": Json, "attributes": Json, "excluded": Json}
        types |= {"amount": Atoms(), "max_price": Atoms()}
        table = sa.table(name, *(sa.column(column, types.get(column)) for column in rows[0]))
        op.bulk_insert(table, rows)


def _request_of(job: Any) -> dict[str, Any]:
    request: dict[str, Any] = msgspec.json.decode(job.request) if isinstance(job.request, str) else job.request
    return request


def _keep_jobs(rows: list[Any]) -> None:
    jobs, shards, keys = [], [], []
    for row in rows:
        request = _request_of(row)
        max_price = request.get("max_price")
        jobs.append(
            {
                "sequence": row.sequence,
                "job_id": row.job_id,
                "owner": row.owner,
                "client": row.client,
                "fingerprint": row.fingerprint,
                "prompts": None if row.prompt is None else [row.prompt],
                "request": request,
                "images": 1,
                "seed": row.seed,
                "request_salt": row.request_salt,
                "request_hash": row.request_hash,
                "client_signature": row.client_signature,
                "model": request.get("model"),
                "max_price": None if max_price is None else int(max_price),
                "state": _STATES[row.state],
                "created_at_ms": row.created_at_ms,
                "ended_at_ms": row.ended_at_ms,
                "failure_reason": row.failure_reason,
                "failure_detail": row.failure_detail,
                "pictures_done": int(row.state in ("verified", "done")),
                "shard_count": 1,
                "forgotten": 1,
            }
        )
        shards.append(
            {
                "job_id": row.job_id,
                "number": 0,
                "first_picture": 0,
                "pictures": 1,
                "state": _SHARD_STATES[row.state],
                "waiting_since_ms": row.created_at_ms,
                "rank_s": row.created_at_ms / 1_000,
            }
        )
        if row.idempotency_key is not None:
            keys.append(
                {
                    "owner": row.owner,
                    "key": row.idempotency_key,
                    "fingerprint": row.fingerprint,
                    "job_id": row.job_id,
                    "created_at_ms": row.created_at_ms,
                }
            )
    _insert("jobs", jobs)
    _insert("shards", shards)
    _insert("idempotency_keys", keys)


def _keep_attempts(rows: list[Any]) -> None:
    leases = [
        {
            "sequence": row.sequence,
            "lease_id": f"stage-1-{row.sequence}",
            "job_id": row.job_id,
            "number": 0,
            "provider": row.provider,
            "session": "",
            "process": "",
            "attempt": 1,
            "pictures": 1,
            # One that was under way when the old hub stopped has nobody left who would answer.
            "state": {"ok": "delivered", None: "lost"}.get(row.outcome, "failed"),
            "outcome": row.outcome or "session_gone",
            "detail": row.detail,
            "attributes": {"nonce": row.nonce},
            "started_at_ms": row.started_at_ms,
            "deadline_ms": row.ended_at_ms or row.started_at_ms,
            "ended_at_ms": row.ended_at_ms or row.started_at_ms,
        }
        for row in rows
    ]
    _insert("leases", leases)


def _keep_receipts(rows: list[Any]) -> None:
    results, pictures, receipts, shards = [], [], [], []
    for row in rows:
        signed = msgspec.json.decode(row.receipt_json)
        micro_units = int(Decimal(str(signed["units"])) * 1_000_000)
        lease = _lease_of(row.job_id)
        request = _request_of(lease)
        common = {
            "job_id": row.job_id,
            "provider": row.provider,
            "receipt_hash": row.receipt_hash,
            "receipt_json": row.receipt_json,
            "provider_signature": row.provider_signature,
            "prompt_salt": row.prompt_salt,
            "micro_units": micro_units,
            "amount": int(signed["amount"]),
        }
        state = "delivered" if row.attested_at_ms is None else "accepted"
        delivered_at_ms = lease.ended_at_ms or lease.started_at_ms
        results.append(
            {
                **common,
                "lease_id": f"stage-1-{lease.sequence}",
                "number": 0,
                "state": state,
                "delivered_at_ms": delivered_at_ms,
                "judged_at_ms": row.attested_at_ms,
            }
        )
        pictures.append(
            {
                "lease_id": f"stage-1-{lease.sequence}",
                "picture": 0,
                "job_id": row.job_id,
                "sha256": row.artifact_sha256,
                "bytes": 0,  # Not kept then; the file says.
                "width": request.get("width", 512),
                "height": request.get("height", 512),
                "media_type": "image/png",
            }
        )
        receipts.append(
            {
                **common,
                "artifact_sha256": row.artifact_sha256,
                "form": "mint",
                "kept_at_ms": delivered_at_ms,
                "attestation": row.attestation,
                "attested_at_ms": row.attested_at_ms,
                "delivered_at_ms": row.delivered_at_ms,
                "delivery_attempts": row.delivery_attempts,
                "delivery_error": row.delivery_error,
                "next_delivery_ms": row.next_delivery_ms,
                "chain_transaction": row.mint_transaction,
                "chain_height": row.mint_height,
                "next_chain_check_ms": row.next_mint_check_ms,
            }
        )
        shards.append({"the_job": row.job_id, "the_lease": f"stage-1-{lease.sequence}"})
    _insert("results", results)
    _insert("pictures", pictures)
    _insert("receipts", receipts)
    mark = sa.text("UPDATE shards SET lease_id = :the_lease WHERE job_id = :the_job AND number = 0")
    op.get_bind().execute(mark, shards)


def _lease_of(job_id: str) -> Any:
    """The attempt that led to a job's receipt, and the job's request."""
    query = sa.text(
        "SELECT attempts.sequence, attempts.started_at_ms, attempts.ended_at_ms, jobs.request "
        "FROM stage_1_attempts AS attempts JOIN stage_1_jobs AS jobs ON jobs.job_id = attempts.job_id "
        "WHERE attempts.job_id = :job_id AND attempts.outcome = 'ok' ORDER BY attempts.sequence DESC LIMIT 1"
    )
    return op.get_bind().execute(query, {"job_id": job_id}).one()
