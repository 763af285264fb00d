"""Calls to make to clients' own servers: kept with what they tell of, tried until they succeed or are given up."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update

from hub.store.records import columns_of, made
from hub.store.tables.receipts import WEBHOOKS
from hub.store.transaction import Transaction

TOPIC: Final = "webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One call; `secret` signs the body, and is None once the call is made or given up."""

    webhook_id: int
    job_id: str
    url: str
    secret: str | None
    event: str
    body: str
    attempts: int
    created_at_ms: int
    next_attempt_ms: int | None
    delivered_at_ms: int | None
    error: str | None


_COLUMNS: Final = columns_of(WEBHOOKS, Webhook)


def add(transaction: Transaction, job_id: str, *, url: str, secret: str, event: str, body: str, now_ms: int) -> None:
    """Due at once."""
    transaction.insert(
        WEBHOOKS,
        job_id=job_id,
        url=url,
        secret=secret,
        event=event,
        body=body,
        created_at_ms=now_ms,
        next_attempt_ms=now_ms,
    )
    transaction.announce(TOPIC)


def claim_due(transaction: Transaction, now_ms: int, *, hold_ms: int, limit: int) -> list[Webhook]:
    """Those that are due, the longest waiting first; nobody else gets them for `hold_ms`. A process that dies with them
    leaves them to be made again: receivers tell a repeated call by its id."""
    due = WEBHOOKS.c.next_attempt_ms
    free = (
        select(WEBHOOKS.c.webhook_id)
        .where(due.is_not(None), due <= now_ms)
        .order_by(due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    chosen = transaction.execute(free).scalars().all()
    if not chosen:
        return []
    rows = transaction.execute(
        update(WEBHOOKS)
        .where(WEBHOOKS.c.webhook_id.in_(chosen))
        .values(next_attempt_ms=now_ms + hold_ms, attempts=WEBHOOKS.c.attempts + 1)
        .returning(*_COLUMNS)
    ).mappings()
    return sorted((made(Webhook, row) for row in rows), key=lambda webhook: webhook.webhook_id)


def note(transaction: Transaction, webhook_id: int, *, error: str | None, next_ms: int | None, now_ms: int) -> None:
    """How a call went: no error means that it succeeded; an error and no `next_ms`, that it is given up."""
    change = update(WEBHOOKS).where(WEBHOOKS.c.webhook_id == webhook_id, WEBHOOKS.c.ended_at_ms.is_(None))
    if error is not None and next_ms is not None:
        transaction.execute(change.values(error=error, next_attempt_ms=next_ms))
        return
    delivered_at_ms = now_ms if error is None else None
    transaction.execute(
        change.values(
            error=error, next_attempt_ms=None, delivered_at_ms=delivered_at_ms, ended_at_ms=now_ms, secret=None
        )
    )
    transaction.erases()
