"""The loop: takes calls that are due from the database, makes them, and writes down what came of it."""

import asyncio
import random
from typing import Final

import structlog

from hub.delivery.calling import Caller, CallFailed
from hub.metrics import HubMetrics
from hub.store import webhooks
from hub.store.store import Store, now_ms
from hub.store.transaction import Transaction
from hub.store.webhooks import Webhook

FIRST_RETRY_S: Final = 5.0
LONGEST_RETRY_S: Final = 6 * 3_600.0
MAX_ATTEMPTS: Final = 15
"""With pauses that double from five seconds to six hours: about a day."""
_HOLD_MS: Final = 60_000
_AT_ONE_TIME: Final = 32
_POLL_S: Final = 1.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.webhooks")


class Webhooks:
    """`run` it as a task, in every process: each call is one process's at a time."""

    def __init__(
        self, store: Store, caller: Caller, metrics: HubMetrics, *, first_retry_s: float = FIRST_RETRY_S
    ) -> None:
        self._store = store
        self._caller = caller
        self._metrics = metrics
        self._first_retry_s = first_retry_s

    async def run(self) -> None:
        """Until cancelled; a call that is cut off is made again."""
        async with self._store.announcements.subscribe(webhooks.TOPIC) as changes:
            while True:
                due = await self._store.write(_claim)
                await asyncio.gather(*(self._call(webhook) for webhook in due))
                if len(due) < _AT_ONE_TIME:
                    await changes.wait(_POLL_S)

    async def _call(self, webhook: Webhook) -> None:
        error: str | None = None
        next_ms: int | None = None
        try:
            await self._caller.call(
                webhook.url,
                webhook.secret or "",
                webhook_id=f"{webhook.job_id}-{webhook.webhook_id}",
                event=webhook.event,
                body=webhook.body.encode(),
            )
        except CallFailed as failed:
            error = str(failed)
            if not failed.is_final and webhook.attempts < MAX_ATTEMPTS:
                next_ms = now_ms() + int(pause_s(webhook.attempts, self._first_retry_s) * 1000)
        outcome = "delivered" if error is None else "given_up" if next_ms is None else "failed"
        self._metrics.webhooks.labels(outcome).inc()
        if error is not None:
            _log.info("webhook_failed", job_id=webhook.job_id, error=error, is_given_up=next_ms is None)
        now = now_ms()
        await self._store.write(
            lambda t: webhooks.note(t, webhook.webhook_id, error=error, next_ms=next_ms, now_ms=now)
        )


def _claim(transaction: Transaction) -> list[Webhook]:
    return webhooks.claim_due(transaction, now_ms(), hold_ms=_HOLD_MS, limit=_AT_ONE_TIME)


def pause_s(attempts: int, first_s: float = FIRST_RETRY_S) -> float:
    """After so many attempts, spread by a quarter so that what failed together does not come back together."""
    pause = min(LONGEST_RETRY_S, first_s * 2.0 ** min(attempts - 1, 30))
    return pause * random.uniform(0.75, 1.25)
