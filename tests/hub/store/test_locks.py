"""Units of two processes that want the same job's rows wait for one another in one order only."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy.engine import make_url

from hub.store import events, jobs, leases, locks, quotas, results, waiting
from hub.store.database import open_engine
from hub.store.errors import WrongState
from hub.store.locks import hold_open_job
from hub.store.quotas import QuotaLimits, Spent
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.postgresql import PostgresqlServer
from tests.hub.store.conftest import NOW_MS, add_job, new_lease, new_pictures, new_result, take

pytestmark = pytest.mark.postgresql
ROUNDS = 20
PARTS = 6


@pytest.fixture
def url(postgresql_server: PostgresqlServer, postgresql_database: str) -> Iterator[str]:
    """Of a new database on the server."""
    made = postgresql_server.url(like=postgresql_database)
    yield made
    postgresql_server.drop(made)


def deadlocks(url: str) -> int:
    """That the server has counted in this database; of sessions that have ended, all of them."""
    parts = make_url(url)
    with psycopg.connect(host=str(parts.query["host"]), user=parts.username, dbname=parts.database) as connection:
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    return int(row[0])


def call_off(transaction: Transaction, job_id: str) -> None:
    """As `hub.jobs.attendant` does."""
    if hold_open_job(transaction, job_id):
        jobs.keep_facts(transaction, job_id, closing="cancelled")
        jobs.call_off(transaction, job_id, "cancelled", NOW_MS)


def deliver_all(transaction: Transaction, job_id: str) -> None:
    """What is still wanted, the last part first, as several results that are committed together."""
    for part in reversed(range(PARTS)):
        try:
            results.deliver(transaction, new_result(f"{job_id}-{part}"), new_pictures(part, 1), NOW_MS)
        except WrongState:
            return


def give_back(transaction: Transaction, job_id: str) -> None:
    for part in reversed(range(PARTS)):
        lease_id = f"{job_id}-{part}"
        leases.fail(transaction, lease_id, outcome="busy", detail=None, excludes=False, now_ms=NOW_MS)


def take_again(transaction: Transaction, job_id: str) -> None:
    wanted = [new_lease(f"{job_id}-again", job_id, first_picture=PARTS, pictures=1)]
    waiting.take(transaction, wanted, process="q", now_ms=NOW_MS)


def lapse(transaction: Transaction, _: str) -> None:
    leases.lapse(transaction, NOW_MS + 3_600_000)


def at_once(store: Store, unit: Callable[[Transaction, str], None], name: str, start: threading.Barrier) -> None:
    """Begins when the other has a transaction, too; not again where this has to be repeated."""
    times = iter([start.wait])

    def begun(transaction: Transaction) -> None:
        next(times, int)()
        unit(transaction, name)

    store.write_now(begun)


@pytest.mark.parametrize("other", [deliver_all, give_back, take_again, lapse])
@pytest.mark.parametrize("quick", [call_off, deliver_all])
def test_two_processes_never_wait_for_each_other_over_one_job(
    url: str,
    open_store: Callable[[], Store],
    quick: Callable[[Transaction, str], None],
    other: Callable[[Transaction, str], None],
) -> None:
    # given two processes, and jobs of which some parts are leased and some wait
    one, two = open_store(), open_store()
    for number in range(ROUNDS):
        name = f"job-{number}"
        add_job(one, name, images=PARTS + 4)
        take(one, *(new_lease(f"{name}-{part}", name, first_picture=part) for part in range(PARTS)))

    # when both are at each of them at the same moment
    with ThreadPoolExecutor(2) as threads:
        for number in range(ROUNDS):
            start = threading.Barrier(2)
            both = [
                threads.submit(at_once, store, unit, f"job-{number}", start)
                for store, unit in ((one, quick), (two, other))
            ]
            for each in both:
                each.result()

    # then the server has ended neither for the other's sake
    one.close_now()
    two.close_now()
    assert deadlocks(url) == 0


def spending(key: str) -> Callable[[Transaction], object]:
    return lambda t: quotas.spend(t, key, "2026-11-23", QuotaLimits(), Spent(jobs=1))


def counting(job_id: str) -> Callable[[Transaction], object]:
    return lambda t: events.append(t, job_id, "progress", {}, NOW_MS)


@pytest.mark.parametrize(("kind", "locked"), [(spending, locks.quota), (counting, locks.job)])
async def test_batches_of_two_processes_lock_quotas_and_jobs_in_one_order(
    url: str,
    open_store: Callable[[], Store],
    kind: Callable[[str], Callable[[Transaction], object]],
    locked: Callable[[str], str],
) -> None:
    """Whoever of their clients asks first: else two that have two clients each would do little but end deadlocks."""
    one, two = open_store(), open_store()
    names = [f"job-{number}" for number in range(16)]
    for name in names:
        add_job(one, name)

    async def batch(store: Store, start: threading.Barrier, order: list[str]) -> None:
        began = threading.Event()

        def keep_busy(_: Transaction) -> None:
            began.set()
            start.wait()

        busy = asyncio.create_task(store.write(keep_busy))
        await asyncio.to_thread(began.wait)
        await asyncio.gather(busy, *(store.write(kind(name), first=locked(name)) for name in order))

    for _ in range(ROUNDS):
        start = threading.Barrier(3)
        both = [asyncio.create_task(batch(one, start, names)), asyncio.create_task(batch(two, start, names[::-1]))]
        while one.units_waiting + two.units_waiting < 2 * len(names):  # noqa: ASYNC110 - another thread's doing
            await asyncio.sleep(0.001)
        await asyncio.to_thread(start.wait)
        await asyncio.gather(*both)

    await asyncio.gather(one.close(), two.close())
    assert deadlocks(url) == 0


def test_who_looks_for_work_does_not_wait_for_whoever_is_at_the_same_job(
    url: str, open_store: Callable[[], Store]
) -> None:
    """It takes what is free, and looks again."""
    store = open_store()
    add_job(store, "job-1")
    add_job(store, "job-2")
    other = open_engine(url)
    with other.connect() as connection:
        connection.exec_driver_sql("SELECT 1 FROM jobs WHERE job_id = 'job-1' FOR UPDATE").all()
        held, free = take(store, new_lease("lease-1", "job-1"), new_lease("lease-2", "job-2"))
    assert held is None
    assert free is not None
    assert take(store, new_lease("lease-3", "job-1"))[0] is not None
    other.dispose()
    store.close_now()


def test_a_process_that_hangs_in_a_transaction_keeps_its_rows_for_a_while_only(url: str) -> None:
    """Else one that was stopped, or cut off, held up every other process that deals with its jobs."""
    engine = open_engine(url)
    with engine.connect() as connection:
        shown = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one()
    engine.dispose()
    assert shown == "30s"


def test_whoever_waits_for_a_hanging_process_goes_on_once_the_server_has_ended_it(
    url: str, open_store: Callable[[], Store]
) -> None:
    store = open_store()
    add_job(store)
    hanging = open_engine(url)
    with hanging.connect() as connection:
        connection.exec_driver_sql("SET idle_in_transaction_session_timeout = '300ms'")
        connection.commit()
        connection.exec_driver_sql("SELECT 1 FROM jobs WHERE job_id = 'job-1' FOR UPDATE").all()
        assert store.write_now(lambda t: hold_open_job(t, "job-1"))
        connection.invalidate()
    hanging.dispose()
    store.close_now()
