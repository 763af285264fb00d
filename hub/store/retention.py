"""What is forgotten, and when. What a job asked for and how it ended, its receipt, attestations and verdicts, the audit
log and the books are kept for good."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Table, delete, select, text, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from hub.store.tables.jobs import CLIENT_NONCES, EVENTS, IDEMPOTENCY_KEYS, JOBS, SHARDS
from hub.store.tables.providers import ORDERS, PERCEPTUAL_HASHES
from hub.store.tables.receipts import WEBHOOKS
from hub.store.tables.records import QUOTAS
from hub.store.transaction import Transaction

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRules:
    """How long things stay after they ended."""

    events_ms: int = _DAY_MS
    """Of a job that has ended: so long may a client that lost its connection take up the stream."""
    work_ms: int = 90 * _DAY_MS
    """Who had which of a job's pictures, and what came of it: shards, leases, results and what is known of pictures."""
    idempotency_keys_ms: int = 7 * _DAY_MS
    nonces_ms: int = _HOUR_MS
    """After a signed request's expiry: a clock that is set back by less takes no expired request for a fresh one."""
    webhooks_ms: int = 7 * _DAY_MS
    orders_ms: int = _HOUR_MS
    perceptual_hashes_ms: int = 30 * _DAY_MS
    quotas_days: int = 90


def prune(transaction: Transaction, now_ms: int, rules: RetentionRules, *, limit: int = 500) -> int:
    """Forgets up to `limit` rows of each kind (of events and work: those of as many jobs); how many rows in all. Call
    it again at once while there are many."""
    nonces_before_s = (now_ms - rules.nonces_ms) // 1_000
    today = datetime.fromtimestamp(now_ms / 1_000, UTC).date()
    oldest_day = (today - timedelta(days=rules.quotas_days)).isoformat()
    gone: tuple[tuple[Table, ColumnElement[bool]], ...] = (
        (IDEMPOTENCY_KEYS, IDEMPOTENCY_KEYS.c.created_at_ms < now_ms - rules.idempotency_keys_ms),
        (CLIENT_NONCES, CLIENT_NONCES.c.expiry < nonces_before_s),
        (WEBHOOKS, WEBHOOKS.c.ended_at_ms < now_ms - rules.webhooks_ms),
        (ORDERS, ORDERS.c.expires_at_ms < now_ms - rules.orders_ms),
        (PERCEPTUAL_HASHES, PERCEPTUAL_HASHES.c.at_ms < now_ms - rules.perceptual_hashes_ms),
        (QUOTAS, QUOTAS.c.day < oldest_day),
    )
    dropped = sum(_drop(transaction, table, condition, limit) for table, condition in gone)
    dropped += _forget(transaction, EVENTS, 1, now_ms - rules.events_ms, limit)
    return dropped + _forget(transaction, SHARDS, 2, now_ms - rules.work_ms, limit)


def _drop(transaction: Transaction, table: Table, condition: ColumnElement[bool], limit: int) -> int:
    key = tuple_(*table.primary_key.columns)
    chosen: Any = select(*table.primary_key.columns).where(condition).limit(limit)
    return transaction.execute(delete(table).where(key.in_(chosen))).rowcount


def _forget(transaction: Transaction, table: Table, step: int, ended_before_ms: int, limit: int) -> int:
    """Drops the rows of ended jobs in a table; `step` is what `forgotten` is after it, one more than before."""
    query = (
        select(JOBS.c.sequence, JOBS.c.job_id)
        .where(text("jobs.ended_at_ms IS NOT NULL AND jobs.forgotten < 2"))  # Spelled out, as the partial index is.
        .where(JOBS.c.forgotten == step - 1, JOBS.c.ended_at_ms < ended_before_ms)
        .order_by(JOBS.c.ended_at_ms)
        .limit(limit)
    )
    jobs = transaction.execute(query).all()
    if not jobs:
        return 0
    dropped = transaction.execute(delete(table).where(table.c.job_id.in_([job.job_id for job in jobs]))).rowcount
    numbers = [job.sequence for job in jobs]
    transaction.execute(update(JOBS).where(JOBS.c.sequence.in_(numbers)).values(forgotten=step))
    return dropped
