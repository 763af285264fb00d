"""Leases that end without a result, and what becomes of their shards."""

import pytest

from hub.store import jobs, leases, shards, waiting
from hub.store.jobs import JobState
from hub.store.leases import LeaseState
from hub.store.shards import Shard, ShardState
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, NOW_MS, add_job, deliver, new_lease, take


@pytest.fixture
def leased(store: Store) -> Store:
    """One shard of two pictures, leased to Anna as l-1 until NOW_MS + 1,000."""
    add_job(store, images=2)
    take(store, new_lease("l-1", pictures=2))
    return store


def the_shard(store: Store) -> Shard:
    (shard,) = store.read_now(lambda c: shards.of_job(c, "job-1"))
    return shard


def lapse(store: Store, now_ms: int) -> list[str]:
    return [lease.lease_id for lease in store.write_now(lambda t: leases.lapse(t, now_ms))]


def second(store: Store, lease_id: str = "l-2", pictures: int = 2) -> bool:
    twin = new_lease(lease_id, pictures=pictures, provider=BERTA, session="session-b", deadline_ms=NOW_MS + 5_000)
    return store.write_now(lambda t: leases.add_second(t, twin, number=0, process="p", now_ms=NOW_MS))


def state_of(store: Store, lease_id: str) -> LeaseState:
    lease = store.read_now(lambda c: leases.get(c, lease_id))
    assert lease is not None
    return lease.state


def test_a_lease_lapses_when_its_time_is_up_and_its_shard_waits_for_others(leased: Store) -> None:
    assert lapse(leased, NOW_MS + 999) == []
    assert lapse(leased, NOW_MS + 1_000) == ["l-1"]
    assert lapse(leased, NOW_MS + 2_000) == []

    shard = the_shard(leased)
    assert (shard.state, shard.excluded, shard.attempts) == (ShardState.WAITING, [ANNA], 1)
    assert (shard.rank_s, shard.first_picture, shard.pictures) == (0.0, 0, 2)
    again = take(leased, new_lease("l-2", pictures=2, provider=BERTA))
    assert again[0] is not None
    assert again[0].shard.attempts == 2


def test_a_twin_keeps_the_shard_from_waiting(leased: Store) -> None:
    assert second(leased)

    assert lapse(leased, NOW_MS + 1_000) == ["l-1"]
    assert the_shard(leased).state == ShardState.LEASED
    assert lapse(leased, NOW_MS + 5_000) == ["l-2"]
    assert (the_shard(leased).state, the_shard(leased).excluded) == (ShardState.WAITING, [BERTA])


def test_there_is_no_twin_of_what_is_not_just_leased(leased: Store) -> None:
    assert not second(leased, pictures=1)
    assert second(leased)
    assert not second(leased)  # Another process was as quick.
    deliver(leased, "l-1", count=2)
    assert not second(leased)


@pytest.mark.parametrize(("excludes", "excluded"), [(True, [ANNA]), (False, [])])
def test_a_provider_that_says_no_is_passed_over_if_it_is_to_blame(
    leased: Store, excludes: bool, excluded: list[str]
) -> None:
    def fail() -> bool:
        return leased.write_now(
            lambda t: leases.fail(t, "l-1", outcome="busy", detail=None, excludes=excludes, now_ms=NOW_MS)
        )

    assert [fail(), fail()] == [True, False]
    assert (the_shard(leased).state, the_shard(leased).excluded) == (ShardState.WAITING, excluded)
    assert state_of(leased, "l-1") == LeaseState.FAILED


def test_a_lease_follows_its_provider_to_another_session(leased: Store) -> None:
    assert leased.write_now(lambda t: leases.rehome(t, "l-1", session="session-z", process="q"))

    assert leased.read_now(lambda c: leases.active(c, session="session-a")) == []
    (lease,) = leased.read_now(lambda c: leases.active(c, session="session-z"))
    assert (lease.lease_id, lease.process) == ("l-1", "q")


def test_what_lapses_in_a_cancelled_job_waits_no_more(leased: Store) -> None:
    leased.write_now(lambda t: jobs.request_cancel(t, "job-1", NOW_MS))

    lapse(leased, NOW_MS + 1_000)

    assert the_shard(leased).state == ShardState.CANCELLED
    assert leased.read_now(waiting.counts) == (0, 0)


def test_what_lapses_in_an_ended_job_waits_no_more(leased: Store) -> None:
    leased.write_now(lambda t: jobs.end(t, "job-1", JobState.FAILED, reason="late", now_ms=NOW_MS))

    assert lapse(leased, NOW_MS + 1_000) == ["l-1"]
    assert the_shard(leased).state == ShardState.CANCELLED
