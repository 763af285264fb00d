"""Queries that come together are read together: each has its own answer, or its own error."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError

from hub.store import jobs
from hub.store.errors import StoreError, StoreUnavailable
from hub.store.statements import Prepared
from hub.store.store import Store
from hub.store.tables.jobs import JOBS
from hub.store.transaction import Reading
from tests.hub.postgresql import PostgresqlServer
from tests.hub.store.conftest import add_job

_COUNT = Prepared(select(func.count()).select_from(JOBS))


def count(reading: Reading) -> int:
    found: int = reading.execute(_COUNT).scalar_one()
    return found


async def with_all_threads_busy(store: Store, queries: list[Callable[[Reading], object]]) -> list[object]:
    """What comes of queries that have waited together."""
    gate, at_work = threading.Event(), threading.Semaphore(0)

    def hold(_reading: Reading) -> None:
        at_work.release()
        gate.wait()

    held = [asyncio.create_task(store.read(hold)) for _ in store._readers._threads]
    for _ in held:
        await asyncio.to_thread(at_work.acquire)
    asked = [asyncio.create_task(store.read(query)) for query in queries]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*held)
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_whoever_asks_together_gets_what_he_asked_for(store: Store) -> None:
    add_job(store)

    def wrong(_reading: Reading) -> None:
        raise KeyError("a query's own error")

    def bad(reading: Reading) -> None:
        reading.execute(text("SELECT nothing FROM nowhere"))

    names = [f"job-{number}" for number in range(40)]
    queries: list[Callable[[Reading], object]] = [lambda r, name=name: jobs.get(r, name) for name in names]  # type: ignore[misc]
    found = await with_all_threads_busy(store, [count, wrong, count, bad, count, *queries])
    assert (found[0], found[2], found[4]) == (1, 1, 1)
    assert isinstance(found[1], KeyError)
    assert isinstance(found[3], DBAPIError | StoreError)
    assert [None if job is None else job.job_id for job in found[5:]] == [  # type: ignore[attr-defined]
        "job-1" if name == "job-1" else None for name in names
    ]


async def test_each_sees_what_was_committed_before_it_was_asked(store: Store) -> None:
    for number in range(20):
        add_job(store, f"job-{number}")
        assert await asyncio.gather(*(store.read(count) for _ in range(2))) == [number + 1] * 2


async def test_a_closed_store_answers_what_was_asked_and_nothing_more(open_store: Callable[[], Store]) -> None:
    store = open_store()
    asked = [asyncio.create_task(store.read(count)) for _ in range(30)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*asked) == [0] * 30
    with pytest.raises(StoreUnavailable):
        await store.read(count)


async def test_a_thread_that_gets_no_connection_reads_on_once_there_is_one(store: Store) -> None:
    """Whatever the reason: else whoever asks after all threads have met it would wait for ever."""
    is_out = True

    def fail(*_: object) -> None:
        if is_out:
            raise MemoryError

    event.listen(store._engine, "checkout", fail)
    outcomes = await asyncio.gather(*(store.read(count) for _ in range(8)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MemoryError] * 8
    is_out = False
    async with asyncio.timeout(30):
        assert await store.read(count) == 0


@pytest.mark.postgresql
async def test_a_connection_that_the_server_has_ended_is_replaced(
    postgresql_server: PostgresqlServer, postgresql_database: str
) -> None:
    """One question may meet the end; the next one does not."""
    url = postgresql_server.url(postgresql_database)
    store = Store(url, None)
    try:
        assert await store.read(count) == 0
        ended = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ")
        others = text(f"{ended.text} datname = current_database()")
        store.write_now(lambda t: t.execute(others).all())
        outcomes = await with_all_threads_busy_or_gone(store)
        assert all(outcome == 0 or isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        assert await store.read(count) == 0
        assert [await store.read(count) for _ in range(8)] == [0] * 8
    finally:
        await store.close()
        postgresql_server.drop(url)


async def with_all_threads_busy_or_gone(store: Store) -> list[object]:
    """Until each thread has met its connection's end."""
    return [
        outcome
        for _ in range(4)
        for outcome in await asyncio.gather(*(store.read(count) for _ in range(8)), return_exceptions=True)
    ]
