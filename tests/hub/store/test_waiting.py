"""The queue: in its order, cut when taken, and no picture is taken twice."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from hub.store import jobs, leases, shards, waiting
from hub.store.errors import WrongState
from hub.store.jobs import JobState
from hub.store.shards import ShardState
from hub.store.store import Store
from hub.store.transaction import Transaction
from hub.store.waiting import Taken
from tests.hub.store.conftest import BERTA, NOW_MS, add_job, new_lease, take


def places(store: Store, job_id: str = "job-1") -> list[tuple[int, int, str]]:
    found = store.read_now(lambda c: shards.of_job(c, job_id))
    return [(item.first_picture, item.pictures, item.state) for item in found]


def taken_numbers(taken: Sequence[Taken | None]) -> list[int | None]:
    return [None if item is None else item.shard.number for item in taken]


def test_what_waits_comes_lowest_rank_first(store: Store) -> None:
    for job_id, rank_s in (("job-1", 5.0), ("job-2", 1.5), ("job-3", 3.0)):
        add_job(store, job_id, rank_s=rank_s, model="m" if job_id == "job-3" else None)

    def look(**options: object) -> list[str]:
        found = store.read_now(lambda c: waiting.look(c, **options))  # type: ignore[arg-type]
        return [item.job.job_id for item in found]

    assert look() == ["job-2", "job-3", "job-1"]
    assert look(models=["other"]) == ["job-2", "job-1"]
    assert look(limit=1, offset=1) == ["job-3"]
    assert store.read_now(waiting.counts) == (3, 3)


def test_a_run_is_cut_where_a_provider_takes_a_part(store: Store) -> None:
    add_job(store, images=10)

    taken = take(store, new_lease("l-1", pictures=4), new_lease("l-2", first_picture=4, pictures=3, provider=BERTA))

    assert taken_numbers(taken) == [0, 1]
    assert places(store) == [(0, 4, "leased"), (4, 3, "leased"), (7, 3, "waiting")]
    (rest,) = store.read_now(waiting.look)
    assert (rest.shard.rank_s, rest.shard.attempts) == (7.0, 0)
    assert len({item.number for item in store.read_now(lambda c: shards.of_job(c, "job-1"))}) == 3
    job = rest.job
    assert (job.state, job.started_at_ms) == (JobState.RUNNING, NOW_MS)
    active = store.read_now(lambda c: leases.active(c, provider=BERTA))
    assert [(item.lease_id, item.number, item.pictures, item.attempt) for item in active] == [("l-2", 1, 3, 1)]
    assert taken_numbers(take(store, new_lease("l-3", first_picture=7, pictures=3))) == [rest.shard.number]
    assert store.read_now(waiting.counts) == (0, 0)


@pytest.mark.parametrize(("first", "pictures"), [(0, 4), (0, 0), (0, -1), (1, 1), (3, 1)])
def test_what_does_not_wait_is_not_taken(store: Store, first: int, pictures: int) -> None:
    add_job(store, images=3)

    assert take(store, new_lease("l-1", first_picture=first, pictures=pictures)) == [None]
    assert take(store, new_lease("l-1", "no-such-job")) == [None]

    assert places(store) == [(0, 3, "waiting")]
    assert store.read_now(lambda c: leases.of_job(c, "job-1")) == []


def test_the_second_taker_of_a_picture_has_nothing(store: Store) -> None:
    add_job(store, images=2)

    assert taken_numbers(take(store, new_lease("l-1", pictures=2), new_lease("l-2", pictures=2))) == [0, None]
    assert taken_numbers(take(store, new_lease("l-3", pictures=1))) == [None]


async def test_two_processes_never_take_the_same_picture(open_store: Callable[[], Store]) -> None:
    stores = [open_store(), open_store()]
    count = 40
    for number in range(count):
        add_job(stores[0], f"job-{number:02}", images=2, rank_s=number)

    async def work(store: Store, process: str) -> list[Taken]:
        mine: list[Taken] = []
        while waits := await store.read(lambda c: waiting.look(c, limit=4)):
            wanted = [new_lease(f"{process}-{item.job.job_id}", item.job.job_id, pictures=2) for item in waits]
            taken = await store.write(partial(waiting.take, wanted=wanted, process=process, now_ms=NOW_MS))
            mine += [item for item in taken if item is not None]
            await asyncio.sleep(0.01)
        return mine

    both = await asyncio.gather(work(stores[0], "p"), work(stores[1], "q"))

    names = [item.lease.job_id for mine in both for item in mine]
    assert sorted(names) == [f"job-{number:02}" for number in range(count)]
    kept = [item.process for item in stores[0].read_now(leases.active)]
    assert (kept.count("p"), kept.count("q")) == (len(both[0]), len(both[1]))


async def test_a_failing_unit_beside_it_takes_nothing_away(store: Store) -> None:
    add_job(store, images=2)

    def fails(_transaction: Transaction) -> None:
        raise WrongState("no")

    outcomes = await asyncio.gather(
        store.write(fails),
        store.write(lambda t: waiting.take(t, [new_lease("l-1", pictures=2)], process="p", now_ms=NOW_MS)),
        store.write(fails),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], list)
    assert places(store) == [(0, 2, ShardState.LEASED)]
    assert [item.lease_id for item in store.read_now(leases.active)] == ["l-1"]
    assert store.read_now(jobs.open_counts) == {JobState.RUNNING: 1}
