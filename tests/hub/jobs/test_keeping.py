"""A result that is all of its job brings the job's receipt with it, in one unit; all else is left to the attendant."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from chain.primitives.hexadecimal import to_hex
from chain.primitives.receipt import Receipt
from hub.jobs.ending import CLOSING
from hub.jobs.keeping import Keeping
from hub.jobs.requests import FACT, kept_request
from hub.metrics import HubMetrics
from hub.store import checks, events, jobs, providers, receipts, results, shards
from hub.store.checks import NewCheck
from hub.store.jobs import JobState
from hub.store.results import ResultState
from hub.store.shards import ShardState
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.attestation.evidences import PROVIDERS, Job, picture
from tests.hub.store.conftest import ANNA, IDENTITY, NOW_MS, add_job, new_lease, new_pictures, new_result, take

KEEPING = Keeping(HubMetrics(CollectorRegistry()), challenge_window_s=60, asks_others=False)
LEASE = "lease-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", IDENTITY)
    yield opened
    opened.close_now()


def accepted(store: Store, *, images: int = 1, given: int = 1) -> Receipt:
    """A job of which Anna has these many pictures; the receipt that she brings."""
    job = Job(client=None)
    facts = {FACT: kept_request(job.request, job.parameters)}
    add_job(store, images=images, facts=facts, request_hash=to_hex(job.request.hash))
    take(store, new_lease(LEASE, pictures=given))
    return job.receipt(PROVIDERS[0], [picture(0)])


def deliver(store: Store, receipt: Receipt, *also: Callable[[Transaction], object], pictures: int = 1) -> bool:
    """In one unit, with what else happens in it."""
    result = new_result(
        LEASE, receipt_hash=to_hex(receipt.hash), receipt_json=receipt.canonical_bytes().decode(), amount=receipt.amount
    )

    def unit(transaction: Transaction) -> bool:
        results.deliver(transaction, result, new_pictures(0, pictures), NOW_MS)
        for step in also:
            step(transaction)
        return KEEPING.keep_whole(transaction, "job-1", receipt, NOW_MS)

    return store.write_now(unit)


def state_of(store: Store) -> tuple[JobState, ShardState, ResultState]:
    job = store.read_now(lambda r: jobs.get(r, "job-1"))
    result = store.read_now(lambda r: results.get(r, LEASE))
    shard = store.read_now(lambda r: shards.of_job(r, "job-1"))[0]
    assert job is not None and result is not None
    return job.state, shard.state, result.state


def test_the_result_of_a_whole_job_is_accepted_and_its_receipt_kept(store: Store) -> None:
    receipt = accepted(store)
    assert deliver(store, receipt)
    kept = store.read_now(lambda r: receipts.get(r, "job-1"))
    assert kept is not None
    assert (kept.receipt_hash, kept.window_until_ms) == (to_hex(receipt.hash), NOW_MS + 60_000)
    assert kept.is_withdrawable
    assert state_of(store) == (JobState.VERIFYING, ShardState.ACCEPTED, ResultState.ACCEPTED)
    told = store.read_now(lambda r: [event.kind for event in events.after(r, "job-1", 0)])
    assert told == ["queued", "running", "pictures", "verifying"]
    anna = store.read_now(lambda r: providers.get(r, ANNA))
    assert anna is not None and anna.accepted == 1


def test_the_same_result_again_pays_nobody_twice(store: Store) -> None:
    receipt = accepted(store)
    assert deliver(store, receipt)
    assert not deliver(store, receipt)
    anna = store.read_now(lambda r: providers.get(r, ANNA))
    assert anna is not None and anna.accepted == 1


def _check(transaction: Transaction) -> None:
    check = NewCheck(check_id=LEASE, job_id="job-1", shard=0, lease_id=LEASE, provider=ANNA, kind="examination")
    checks.add(transaction, check, NOW_MS)


@pytest.mark.parametrize(
    "what",
    [
        _check,
        lambda t: jobs.request_cancel(t, "job-1", NOW_MS),
        lambda t: jobs.keep_facts(t, "job-1", **{CLOSING: {"state": "failed", "reason": "r", "detail": "d"}}),
        lambda t: jobs.end(t, "job-1", JobState.CANCELLED, now_ms=NOW_MS),
    ],
    ids=["checked", "cancelled", "closing", "ended"],
)
def test_what_is_looked_at_or_called_off_is_left_to_the_attendant(
    store: Store, what: Callable[[Transaction], object]
) -> None:
    receipt = accepted(store)
    assert not deliver(store, receipt, what)
    assert store.read_now(lambda r: receipts.get(r, "job-1")) is None
    assert state_of(store)[2] == ResultState.DELIVERED


def test_a_part_is_no_whole(store: Store) -> None:
    """The other picture waits yet."""
    receipt = accepted(store, images=2)
    assert not deliver(store, receipt)
    assert store.read_now(lambda r: receipts.get(r, "job-1")) is None
    assert state_of(store) == (JobState.RUNNING, ShardState.DELIVERED, ResultState.DELIVERED)


def test_the_receipt_of_a_shortened_list_is_none_of_the_job(store: Store) -> None:
    """It is for other prompts than were asked for."""
    accepted(store)
    other = Job(client=None).receipt(PROVIDERS[0], [picture(0)], prompt_hash="sha256:" + "ab" * 32)
    assert not deliver(store, other)
    assert state_of(store)[2] == ResultState.DELIVERED
