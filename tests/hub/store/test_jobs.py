"""Jobs: accepted once, ended once."""

from typing import Any

import pytest

from hub.store import checks, events, jobs, leases, receipts, shards, waiting
from hub.store.checks import NewCheck, Verdict
from hub.store.errors import AlreadyUsed
from hub.store.jobs import ClientNonce, Job, JobState
from hub.store.shards import NewShard, ShardState
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, HASH, NOW_MS, add_job, deliver, new_job, new_lease, take
from tests.hub.store.test_receipts import new_receipt

RUN = NewShard(number=0, first_picture=0, pictures=1)


def the_job(store: Store, job_id: str = "job-1") -> Job:
    job = store.read_now(lambda c: jobs.get(c, job_id))
    assert job is not None
    return job


def kinds(store: Store, job_id: str = "job-1") -> list[tuple[int, str]]:
    return [(event.sequence, event.kind) for event in store.read_now(lambda c: events.after(c, job_id, 0))]


def test_a_job_comes_back_as_it_was_kept(store: Store) -> None:
    fields: dict[str, Any] = {
        "max_price": 2**256 - 1,
        "max_price_per_unit": 10**17,
        "deadline_ms": 2**53,
        "facts": {"a": [1.5, "ü"]},
    }

    add_job(store, prompts=["eine Katze", "猫 \U0001f408"], images=2, finish_s=12.5, **fields)

    job = the_job(store)
    expected = new_job(prompts=["eine Katze", "猫 \U0001f408"], images=2, finish_s=12.5, **fields)
    assert all(getattr(job, name) == getattr(expected, name) for name in expected.__dataclass_fields__)
    assert (job.state, job.created_at_ms) == (JobState.QUEUED, NOW_MS)
    assert kinds(store) == [(1, "queued")]
    assert store.read_now(lambda c: jobs.last_finish_s(c, "alice")) == 12.5


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({}, "job_id"),
        ({"job_id": "job-2", "idempotency_key": "key"}, "idempotency_key"),
        ({"job_id": "job-2", "nonce": ClientNonce(ANNA, HASH, 9)}, "client_nonce"),
        ({"job_id": "job-2", "client_signature": "0x1"}, "request_hash"),
    ],
)
def test_what_was_used_before_refuses_the_whole_job(store: Store, changed: dict[str, object], what: str) -> None:
    def add(job_id: str = "job-1", idempotency_key: object = None, nonce: object = None, **fields: object) -> None:
        job = new_job(job_id, **fields)
        store.write_now(
            lambda t: jobs.add(t, job, [RUN], idempotency_key=idempotency_key, nonce=nonce, now_ms=NOW_MS)  # type: ignore[arg-type]
        )

    add(idempotency_key="key", nonce=ClientNonce(ANNA, HASH, 9), client_signature="0x0")

    with pytest.raises(AlreadyUsed) as refused:
        add(**changed)  # type: ignore[arg-type]

    assert refused.value.what == what
    assert store.read_now(lambda c: jobs.get(c, "job-2")) is None
    assert store.read_now(lambda c: jobs.of_idempotency_key(c, "alice", "key")) == ("f", "job-1")
    assert store.read_now(waiting.counts) == (1, 1)


def test_unsigned_requests_may_be_the_same(store: Store) -> None:
    add_job(store, "job-1")
    add_job(store, "job-2")

    assert [job.job_id for job in store.read_now(lambda c: jobs.of_owner(c, "alice", limit=9))] == ["job-2", "job-1"]
    last = the_job(store, "job-2").sequence
    assert [j.job_id for j in store.read_now(lambda c: jobs.of_owner(c, "alice", before=last, limit=9))] == ["job-1"]


def test_a_job_moves_on_only_from_where_it_may(store: Store) -> None:
    add_job(store)

    def move(state: JobState, *only_from: JobState) -> bool:
        return store.write_now(lambda t: jobs.set_state(t, "job-1", state, only_from=only_from, now_ms=NOW_MS))

    assert not move(JobState.ATTESTED, JobState.VERIFYING)
    assert move(JobState.RUNNING, JobState.QUEUED)
    assert not move(JobState.RUNNING, JobState.QUEUED)
    assert move(JobState.VERIFYING, JobState.QUEUED, JobState.RUNNING)
    assert kinds(store) == [(1, "queued"), (2, "running"), (3, "verifying")]


@pytest.mark.parametrize("state", sorted(jobs.ENDED))
def test_a_job_ends_once_and_its_prompts_with_it(store: Store, state: JobState) -> None:
    add_job(store)

    ends = [
        store.write_now(lambda t, to=to: jobs.end(t, "job-1", to, reason="why", detail="so", now_ms=NOW_MS + 5))  # type: ignore[misc]
        for to in (state, *sorted(jobs.ENDED))
    ]

    assert ends == [True, False, False, False]
    job = the_job(store)
    assert (job.state, job.prompts, job.ended_at_ms, job.failure_reason) == (state, None, NOW_MS + 5, "why")
    assert kinds(store) == [(1, "queued"), (2, state)]
    assert [item.state for item in store.read_now(lambda c: shards.of_job(c, "job-1"))] == [ShardState.CANCELLED]
    assert store.read_now(waiting.counts) == (0, 0)
    assert not store.write_now(
        lambda t: jobs.set_state(t, "job-1", JobState.RUNNING, only_from=set(JobState), now_ms=NOW_MS)
    )
    assert store.read_now(jobs.open_counts) == {}


def test_cancelling_takes_back_what_waits_and_leaves_what_is_leased(store: Store) -> None:
    add_job(store, images=3)
    take(store, new_lease("lease-1"))

    asked = [store.write_now(lambda t: jobs.request_cancel(t, "job-1", NOW_MS + 1)) for _ in range(2)]

    assert [job and job.cancel_requested_at_ms for job in asked] == [NOW_MS + 1, NOW_MS + 1]
    assert kinds(store)[-1] == (3, "cancel_requested")
    states = [item.state for item in store.read_now(lambda c: shards.of_job(c, "job-1"))]
    assert states == [ShardState.LEASED, ShardState.CANCELLED]
    assert store.write_now(lambda t: jobs.request_cancel(t, "no-such-job", NOW_MS)) is None


def test_facts_are_merged(store: Store) -> None:
    add_job(store, facts={"a": 1, "b": 2})

    store.write_now(lambda t: jobs.keep_facts(t, "job-1", b=3, c=[4]))

    assert the_job(store).facts == {"a": 1, "b": 3, "c": [4]}


class TestToAttend:
    """Jobs that there may be something to do for, whoever missed the news of them."""

    @staticmethod
    def found(store: Store, now_ms: int = NOW_MS) -> list[str]:
        return store.read_now(lambda c: jobs.to_attend(c, now_ms, limit=9))

    def test_neither_what_waits_nor_what_is_under_way(self, store: Store) -> None:
        add_job(store, "waits")
        add_job(store, "leased")
        take(store, new_lease("l-1", "leased"))
        assert self.found(store) == []

    def test_what_is_all_there_until_it_has_a_receipt(self, store: Store) -> None:
        add_job(store)
        take(store, new_lease("l-1"))
        deliver(store, "l-1")
        assert self.found(store) == ["job-1"]
        store.write_now(lambda t: receipts.keep(t, new_receipt(), NOW_MS))
        assert self.found(store) == []

    def test_what_is_checked_after_its_check(self, store: Store) -> None:
        add_job(store)
        take(store, new_lease("l-1"))
        deliver(store, "l-1")
        check = NewCheck(check_id="c-1", job_id="job-1", shard=0, lease_id="l-1", provider=ANNA, kind="rerun")
        store.write_now(lambda t: checks.add(t, check, NOW_MS))
        assert self.found(store) == ["job-1"]  # Somebody has to say that it is being verified.
        store.write_now(
            lambda t: jobs.set_state(t, "job-1", JobState.VERIFYING, only_from=(JobState.RUNNING,), now_ms=NOW_MS)
        )
        assert self.found(store) == []
        store.write_now(lambda t: checks.decide(t, "c-1", Verdict.PASSED, {}, NOW_MS))
        assert self.found(store) == ["job-1"]

    def test_what_somebody_has_failed_at(self, store: Store) -> None:
        add_job(store)
        take(store, new_lease("l-1"))
        store.write_now(lambda t: leases.fail(t, "l-1", outcome="out_of_memory", detail=None, now_ms=NOW_MS))
        assert self.found(store) == ["job-1"]

    def test_a_rest_that_somebody_is_excluded_from(self, store: Store) -> None:
        excluded = NewShard(number=0, first_picture=0, pictures=2, excluded=[ANNA])
        store.write_now(lambda t: jobs.add(t, new_job(images=2), [excluded], now_ms=NOW_MS))
        assert self.found(store) == []  # Nobody has begun with it.
        take(store, new_lease("l-1"))
        assert self.found(store) == ["job-1"]

    def test_what_is_cancelled_or_late(self, store: Store) -> None:
        add_job(store, "cancelled")
        add_job(store, "late", deadline_ms=NOW_MS + 5)
        store.write_now(lambda t: jobs.request_cancel(t, "cancelled", NOW_MS))
        assert self.found(store) == ["cancelled"]
        assert self.found(store, NOW_MS + 5) == ["cancelled", "late"]
        store.write_now(lambda t: jobs.end(t, "late", JobState.FAILED, now_ms=NOW_MS))
        assert self.found(store, NOW_MS + 5) == ["cancelled"]


def test_how_far_a_job_is(store: Store) -> None:
    add_job(store)
    take(store, new_lease("l-1"))
    deliver(store, "l-1")
    assert store.read_now(lambda c: jobs.progress(c, "job-1")) == (False, 1)
    store.write_now(lambda t: jobs.end(t, "job-1", JobState.DONE, now_ms=NOW_MS))
    assert store.read_now(lambda c: jobs.progress(c, "job-1")) == (True, 1)
    assert store.read_now(lambda c: jobs.progress(c, "none")) == (True, 0)
