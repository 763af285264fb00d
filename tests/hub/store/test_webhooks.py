"""Calls to clients: made by one process at a time, until they succeed or are given up."""

from collections.abc import Callable

from sqlalchemy import select

from hub.store import webhooks
from hub.store.store import Store
from hub.store.tables.receipts import WEBHOOKS
from hub.store.webhooks import Webhook
from tests.hub.store.conftest import NOW_MS, add_job


def add(store: Store, event: str = "done") -> None:
    store.write_now(
        lambda t: webhooks.add(t, "job-1", url="https://c", secret="s3", event=event, body="{}", now_ms=NOW_MS)
    )


def claim(store: Store, now_ms: int = NOW_MS, limit: int = 9) -> list[Webhook]:
    return store.write_now(lambda t: webhooks.claim_due(t, now_ms, hold_ms=100, limit=limit))


def test_a_call_is_one_processs_until_its_time_is_up(open_store: Callable[[], Store]) -> None:
    here, there = open_store(), open_store()
    add_job(here)
    for event in ("running", "done"):
        add(here, event)

    assert [(call.event, call.secret, call.attempts) for call in claim(here, limit=1)] == [("running", "s3", 1)]
    assert [call.event for call in claim(there)] == ["done"]
    assert claim(there, NOW_MS + 99) == []
    # Nobody said how it went: the process that had it has died.
    assert [call.attempts for call in claim(there, NOW_MS + 100)] == [2, 2]


def test_a_call_ends_with_success_or_is_given_up(store: Store) -> None:
    add_job(store)
    add(store)
    add(store)
    first, second = (call.webhook_id for call in claim(store))

    def note(number: int, error: str | None, next_ms: int | None) -> None:
        store.write_now(lambda t: webhooks.note(t, number, error=error, next_ms=next_ms, now_ms=NOW_MS + 1))

    note(first, "500", NOW_MS + 50)
    assert [call.webhook_id for call in claim(store, NOW_MS + 50)] == [first]
    note(first, None, None)
    note(second, "refused", None)
    note(first, "late news", NOW_MS)

    assert claim(store, NOW_MS + 10_000) == []
    outcomes = store.read_now(lambda c: c.execute(select(WEBHOOKS).order_by(WEBHOOKS.c.webhook_id)).all())
    assert [(call.error, call.delivered_at_ms, call.secret) for call in outcomes] == [
        (None, NOW_MS + 1, None),
        ("refused", None, None),
    ]
