"""Results: one counts for each shard, whoever else delivers."""

import pytest

from hub.store import events, jobs, leases, results, shards, waiting
from hub.store.errors import AlreadyServed, AlreadyUsed, WrongState
from hub.store.jobs import JobState
from hub.store.leases import LeaseState
from hub.store.results import ResultState
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, NOW_MS, add_job, deliver, new_lease, take


@pytest.fixture
def leased(store: Store) -> Store:
    """Pictures 0 and 1 with Anna (l-1), 2 with Berta (l-2)."""
    add_job(store, images=3)
    take(store, new_lease("l-1", pictures=2), new_lease("l-2", first_picture=2, provider=BERTA, session="session-b"))
    return store


def done(store: Store) -> int:
    job = store.read_now(lambda c: jobs.get(c, "job-1"))
    assert job is not None
    return job.pictures_done


def states(store: Store) -> list[str]:
    return [shard.state for shard in store.read_now(lambda c: shards.of_job(c, "job-1"))]


def test_a_result_comes_back_with_its_pictures(leased: Store) -> None:
    assert deliver(leased, "l-2", first=2, facts={"seeds": [7]}) == []
    assert done(leased) == 1
    deliver(leased, "l-1", count=2)

    assert (done(leased), states(leased)) == (3, ["delivered", "delivered"])
    found = leased.read_now(lambda c: results.of_job(c, "job-1"))
    assert [(item.lease_id, item.provider, item.amount) for item in found] == [
        ("l-1", ANNA, 2**200 + 1),
        ("l-2", BERTA, 2**200 + 1),
    ]
    assert found[1].facts == {"seeds": [7]}
    pictures = leased.read_now(lambda c: results.pictures(c, "job-1"))
    assert [(item.picture, item.lease_id) for item in pictures] == [(0, "l-1"), (1, "l-1"), (2, "l-2")]
    told = [event.data for event in leased.read_now(lambda c: events.after(c, "job-1", 2))]
    assert told == [{"pictures": [2], "pictures_done": 1}, {"pictures": [0, 1], "pictures_done": 3}]


def test_the_same_result_again_changes_nothing(leased: Store) -> None:
    deliver(leased, "l-1", count=2)
    deliver(leased, "l-1", count=2)

    assert done(leased) == 2
    with pytest.raises(AlreadyServed):
        deliver(leased, "l-1", count=2, receipt_hash="0x" + "ee" * 32)


def test_of_two_twins_the_first_counts(leased: Store) -> None:
    twin = new_lease("l-3", pictures=2, provider=BERTA, session="session-b")
    leased.write_now(lambda t: leases.add_second(t, twin, number=0, process="p", now_ms=NOW_MS))

    needless = deliver(leased, "l-3", count=2)

    assert [(item.lease_id, item.state) for item in needless] == [("l-1", LeaseState.SUPERSEDED)]
    with pytest.raises(AlreadyServed):
        deliver(leased, "l-1", count=2)
    assert done(leased) == 2
    assert leased.write_now(lambda t: leases.lapse(t, NOW_MS + 10_000))[0].lease_id == "l-2"


def test_a_late_result_is_taken_while_the_shard_has_none(leased: Store) -> None:
    leased.write_now(lambda t: leases.lapse(t, NOW_MS + 1_000))
    take(leased, new_lease("l-3", pictures=2, provider=BERTA))

    needless = deliver(leased, "l-1", count=2)

    assert [item.lease_id for item in needless] == ["l-3"]
    assert [item.lease_id for item in leased.read_now(lambda c: results.of_job(c, "job-1"))] == ["l-1"]


def test_a_late_result_of_a_shard_that_was_cut_otherwise_is_not_taken(leased: Store) -> None:
    leased.write_now(lambda t: leases.lapse(t, NOW_MS + 1_000))
    take(leased, new_lease("l-3", pictures=1, provider=BERTA))

    with pytest.raises(WrongState):
        deliver(leased, "l-1", count=2)

    assert done(leased) == 0
    assert deliver(leased, "l-3", count=1) == []


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 3), (1, 2), (0, 0)])
def test_pictures_that_were_not_leased_are_refused(leased: Store, first: int, count: int) -> None:
    with pytest.raises(WrongState):
        deliver(leased, "l-1", first=first, count=count)
    assert (done(leased), states(leased)) == (0, ["leased", "leased"])


def test_a_result_without_a_lease_or_for_an_ended_job_is_refused(leased: Store) -> None:
    with pytest.raises(WrongState, match="no such lease"):
        deliver(leased, "l-9")
    leased.write_now(lambda t: jobs.end(t, "job-1", JobState.CANCELLED, now_ms=NOW_MS))
    with pytest.raises(WrongState, match="cancelled"):
        deliver(leased, "l-1", count=2)
    assert done(leased) == 0


def test_one_receipt_pays_for_one_shard(leased: Store) -> None:
    deliver(leased, "l-1", count=2, receipt_hash="0x" + "ee" * 32)

    with pytest.raises(AlreadyUsed) as refused:
        deliver(leased, "l-2", first=2, receipt_hash="0x" + "ee" * 32)

    assert refused.value.what == "receipt_hash"
    assert states(leased) == ["delivered", "leased"]


def test_a_result_is_judged_once(leased: Store) -> None:
    deliver(leased, "l-1", count=2)

    assert [leased.write_now(lambda t: results.accept(t, "l-1", NOW_MS)) for _ in range(2)] == [True, False]
    assert not leased.write_now(lambda t: results.accept(t, "l-2", NOW_MS))
    assert states(leased) == ["accepted", "leased"]


def test_a_refused_result_makes_its_shard_wait_for_another(leased: Store) -> None:
    deliver(leased, "l-1", count=2)

    refusals = [leased.write_now(lambda t: results.refuse(t, "l-1", "blank", NOW_MS)) for _ in range(2)]

    assert refusals == [True, False]
    assert (done(leased), states(leased)) == (0, ["waiting", "leased"])
    assert leased.read_now(lambda c: results.of_job(c, "job-1")) == []
    kept = leased.read_now(lambda c: results.get(c, "l-1"))
    assert kept is not None
    assert (kept.state, kept.refusal) == (ResultState.REFUSED, "blank")
    (shard, _) = leased.read_now(lambda c: shards.of_job(c, "job-1"))
    assert shard.excluded == [ANNA]
    # The liar does not get its result in by sending it again.
    take(leased, new_lease("l-4", pictures=2, provider=BERTA))
    with pytest.raises((AlreadyUsed, WrongState)):
        deliver(leased, "l-1", count=2)
    deliver(leased, "l-4", count=2)
    assert done(leased) == 2


def test_a_result_may_be_refused_for_good(leased: Store) -> None:
    deliver(leased, "l-1", count=2)
    leased.write_now(lambda t: results.refuse(t, "l-1", "disputed", NOW_MS, again=False))

    assert states(leased) == ["refused", "leased"]
    assert leased.read_now(waiting.counts) == (0, 0)
