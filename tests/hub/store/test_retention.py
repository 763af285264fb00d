"""What is forgotten, and what never is."""

from sqlalchemy import func, select

from hub.store import events, jobs, orders, quotas, receipts, results, retention, waiting, webhooks
from hub.store.jobs import ClientNonce, JobState
from hub.store.quotas import QuotaLimits, Spent
from hub.store.receipts import Form, NewReceipt
from hub.store.retention import RetentionRules
from hub.store.shards import NewShard
from hub.store.store import Store
from hub.store.tables.jobs import (
    CLIENT_NONCES,
    EVENTS,
    IDEMPOTENCY_KEYS,
    JOBS,
    LEASES,
    PICTURES,
    RESULTS,
    SHARDS,
)
from hub.store.tables.providers import ORDERS
from hub.store.tables.receipts import RECEIPTS, WEBHOOKS
from hub.store.tables.records import QUOTAS
from hub.store.transaction import Transaction
from tests.hub.store.conftest import ANNA, HASH, NOW_MS, add_job, new_job, new_lease, new_pictures, new_result

DAY_MS = 86_400_000
WORK = (SHARDS, LEASES, RESULTS, PICTURES)
TABLES = (EVENTS, IDEMPOTENCY_KEYS, CLIENT_NONCES, WEBHOOKS, ORDERS, QUOTAS, JOBS, RECEIPTS, *WORK)


def counts(store: Store) -> dict[str, int]:
    return {
        table.name: store.read_now(lambda c, it=table: c.execute(select(func.count()).select_from(it)).scalar_one())  # type: ignore[misc]
        for table in TABLES
    }


def fill(transaction: Transaction) -> None:
    nonce = ClientNonce(ANNA, HASH, NOW_MS // 1_000)
    run = NewShard(number=0, first_picture=0, pictures=1)
    jobs.add(transaction, new_job(), [run], idempotency_key="key", nonce=nonce, now_ms=NOW_MS)
    waiting.take(transaction, [new_lease("l-1")], process="p", now_ms=NOW_MS)
    results.deliver(transaction, new_result("l-1"), new_pictures(0, 1), NOW_MS)
    receipt = NewReceipt(
        job_id="job-1",
        receipt_hash=HASH,
        provider=ANNA,
        receipt_json="{}",
        provider_signature="0x",
        prompt_salt=HASH,
        micro_units=1,
        amount=1,
        artifact_sha256="1" * 64,
        form=Form.MINT,
    )
    receipts.keep(transaction, receipt, NOW_MS)
    jobs.end(transaction, "job-1", JobState.DONE, now_ms=NOW_MS)
    webhooks.add(transaction, "job-1", url="https://c", secret="s", event="done", body="{}", now_ms=NOW_MS)
    orders.put(transaction, "o-1", provider=ANNA, body={}, now_ms=NOW_MS, expires_at_ms=NOW_MS)
    quotas.spend(transaction, "alice", "2026-09-21", QuotaLimits(), Spent(jobs=1))


def test_each_kind_has_its_time(store: Store) -> None:
    add_job(store, "job-open")
    store.write_now(fill)
    (call,) = store.write_now(lambda t: webhooks.claim_due(t, NOW_MS, hold_ms=1, limit=9))
    store.write_now(lambda t: webhooks.note(t, call.webhook_id, error=None, next_ms=None, now_ms=NOW_MS))
    rules = RetentionRules()
    whole = counts(store)
    assert whole == {
        "events": 5,
        "idempotency_keys": 1,
        "client_nonces": 1,
        "webhooks": 1,
        "orders": 1,
        "quotas": 1,
        "jobs": 2,
        "receipts": 1,
        "shards": 2,
        "leases": 1,
        "results": 1,
        "pictures": 1,
    }

    def after(age_ms: int) -> dict[str, int]:
        store.write_now(lambda t: retention.prune(t, NOW_MS + age_ms, rules))
        now = counts(store)
        return {name: count - now[name] for name, count in whole.items() if count != now[name]}

    assert after(rules.nonces_ms) == {}
    assert after(rules.nonces_ms + 1_000) == {"client_nonces": 1, "orders": 1}
    assert after(DAY_MS + 1) == {"client_nonces": 1, "orders": 1, "events": 4}
    assert after(8 * DAY_MS).keys() == {"client_nonces", "orders", "events", "idempotency_keys", "webhooks"}
    forgotten = {"client_nonces", "orders", "events", "idempotency_keys", "webhooks", "quotas"}
    assert after(89 * DAY_MS).keys() == forgotten - {"quotas"}
    assert after(100 * DAY_MS).keys() == forgotten | {"shards", "leases", "results", "pictures"}
    # The open job's events stay, and so do all jobs and receipts.
    assert len(store.read_now(lambda c: events.after(c, "job-open", 0))) == 1
    assert store.write_now(lambda t: retention.prune(t, NOW_MS + 100 * DAY_MS, rules)) == 0


def test_a_call_forgets_a_bounded_number(store: Store) -> None:
    for number in range(5):
        add_job(store, f"job-{number}")
        store.write_now(lambda t, it=number: jobs.end(t, f"job-{it}", JobState.DONE, now_ms=NOW_MS))  # type: ignore[misc]

    dropped = [
        store.write_now(lambda t: retention.prune(t, NOW_MS + 2 * DAY_MS, RetentionRules(), limit=2)) for _ in range(4)
    ]

    assert dropped == [4, 4, 2, 0]
