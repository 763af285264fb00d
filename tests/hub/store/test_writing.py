"""Group commit: many callers' units in one transaction, and a failing one fails alone."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.store import audit, jobs
from hub.store.errors import AlreadyUsed, StoreBusy, StoreUnavailable, WrongState
from hub.store.jobs import JobState
from hub.store.shards import NewShard
from hub.store.store import Store
from hub.store.transaction import Transaction
from hub.store.writing import MAX_WAITING_UNITS
from tests.hub.store.conftest import IDENTITY, NOW_MS, add_job, new_job


def adding(job_id: str, **fields: object) -> Callable[[Transaction], str]:
    def unit(transaction: Transaction) -> str:
        run = NewShard(number=0, first_picture=0, pictures=1)
        jobs.add(transaction, new_job(job_id, **fields), [run], now_ms=NOW_MS)
        return job_id

    return unit


def failing(transaction: Transaction) -> None:
    """Writes, then finds that it should not have."""
    adding("half-done")(transaction)
    transaction.flush()
    audit.append(transaction, "attested", "half-done", {}, NOW_MS)
    raise WrongState("no")


async def until(holds: Callable[[], bool]) -> None:
    """Looks again and again."""
    while not holds():  # noqa: ASYNC110 - another thread's doing
        await asyncio.sleep(0.01)


async def together(store: Store, *units: Callable[[Transaction], object]) -> list[object]:
    """As one batch: the writer is kept busy until all wait."""
    began, may_end = threading.Event(), threading.Event()

    def keep_busy(_transaction: Transaction) -> None:
        began.set()
        may_end.wait()

    busy = asyncio.create_task(store.write(keep_busy))
    await asyncio.to_thread(began.wait)
    writing = [asyncio.create_task(store.write(unit)) for unit in units]
    await until(lambda: store.units_waiting >= len(units))
    may_end.set()
    await busy
    return list(await asyncio.gather(*writing, return_exceptions=True))


def job_ids(store: Store) -> list[str]:
    return sorted(job.job_id for job in store.read_now(lambda c: jobs.of_owner(c, "alice", limit=100)))


async def test_units_are_committed_together_and_each_caller_has_its_own_value(store: Store) -> None:
    names = [f"job-{number:02}" for number in range(40)]

    assert await together(store, *(adding(name) for name in names)) == names

    assert job_ids(store) == names


async def test_a_failing_unit_fails_alone(store: Store) -> None:
    outcomes = await together(store, adding("job-1"), failing, adding("job-2"))

    assert (outcomes[0], outcomes[2]) == ("job-1", "job-2")
    assert isinstance(outcomes[1], WrongState)
    assert job_ids(store) == ["job-1", "job-2"]
    assert store.read_now(audit.verify)[0] == 0


async def test_a_row_that_is_there_already_fails_only_its_own_unit(store: Store) -> None:
    add_job(store, "job-1")

    outcomes = await together(store, adding("job-2"), adding("job-1"), adding("job-3"), adding("job-3"))

    assert [outcome if isinstance(outcome, str) else type(outcome) for outcome in outcomes] == [
        "job-2",
        AlreadyUsed,
        "job-3",
        AlreadyUsed,
    ]
    assert isinstance(outcomes[1], AlreadyUsed)
    assert outcomes[1].what == "job_id"
    assert job_ids(store) == ["job-1", "job-2", "job-3"]


async def test_every_kind_of_error_stays_with_its_unit(store: Store) -> None:
    def programming_error(_transaction: Transaction) -> None:
        raise ZeroDivisionError

    def bad_statement(transaction: Transaction) -> None:
        transaction.execute(text("SELECT nothing FROM nowhere"))

    def bad_text(transaction: Transaction) -> None:
        adding("job-\ud800")(transaction)

    outcomes = await together(store, programming_error, adding("job-1"), bad_statement, bad_text)

    assert isinstance(outcomes[0], ZeroDivisionError)
    assert outcomes[1] == "job-1"
    assert isinstance(outcomes[2], Exception)
    assert isinstance(outcomes[3], Exception)
    assert job_ids(store) == ["job-1"]


def test_a_unit_sees_what_it_has_inserted_itself(store: Store) -> None:
    def unit(transaction: Transaction) -> bool:
        adding("job-1")(transaction)
        return jobs.end(transaction, "job-1", JobState.FAILED, reason="x", now_ms=NOW_MS)

    assert store.write_now(unit)


async def test_a_caller_that_goes_away_leaves_its_unit_to_be_committed(store: Store) -> None:
    began, may_end = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> None:
        began.set()
        may_end.wait()
        adding("job-1")(transaction)

    caller = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(began.wait)
    caller.cancel()
    may_end.set()
    await store.write(adding("job-2"))

    assert caller.cancelled() or caller.cancelling()
    assert job_ids(store) == ["job-1", "job-2"]


async def test_more_than_may_wait_is_refused(store: Store) -> None:
    began, may_end = threading.Event(), threading.Event()

    def keep_busy(_transaction: Transaction) -> None:
        began.set()
        may_end.wait()

    busy = asyncio.create_task(store.write(keep_busy))
    await asyncio.to_thread(began.wait)
    writing = [asyncio.create_task(store.write(lambda _: None)) for _ in range(MAX_WAITING_UNITS)]
    await until(lambda: store.units_waiting >= MAX_WAITING_UNITS)

    with pytest.raises(StoreBusy):
        await store.write(lambda _: None)

    may_end.set()
    await asyncio.gather(busy, *writing)


async def test_closing_commits_what_waits_and_refuses_more(store: Store) -> None:
    names = [f"job-{number}" for number in range(10)]
    writing = [asyncio.create_task(store.write(adding(name))) for name in names]
    await asyncio.sleep(0)

    await store.close()

    assert await asyncio.gather(*writing) == names
    with pytest.raises(StoreUnavailable):
        await store.write(adding("late"))


async def test_two_processes_write_the_same_rows(open_store: Callable[[], Store]) -> None:
    """Deadlocks between their batches are resolved, and no unit is lost."""
    stores = [open_store(), open_store()]
    names = [f"job-{number}" for number in range(8)]
    for name in names:
        add_job(stores[0], name)

    def count(name: str) -> Callable[[Transaction], int]:
        statement = text("UPDATE jobs SET pictures_done = pictures_done + 1 WHERE job_id = :name")
        return lambda transaction: transaction.execute(statement, {"name": name}).rowcount

    await asyncio.gather(
        *(
            store.write(count(name))
            for turn in range(10)
            for store, order in ((stores[0], names), (stores[1], names[::-1]))
            for name in order[turn % 8 :] + order[: turn % 8]
        )
    )

    done = stores[0].read_now(lambda c: [job.pictures_done for job in jobs.of_owner(c, "alice", limit=100)])
    assert done == [20] * 8


async def test_a_full_disk_is_told_and_got_over(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", IDENTITY)
    pages = store.read_now(lambda c: c.execute(text("PRAGMA page_count")).scalar_one())
    store.write_now(lambda t: t.execute(text(f"PRAGMA max_page_count = {pages + 2}")).all())

    many = (store.write(adding(f"job-{number}", prompts=["x" * 1_000])) for number in range(100))
    with pytest.raises(StoreUnavailable, match="full"):
        await asyncio.gather(*many)

    store.write_now(lambda t: t.execute(text("PRAGMA max_page_count = 100000")).all())
    assert await store.write(adding("job-later")) == "job-later"
    await store.close()


def test_an_erased_prompt_is_in_no_file(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", IDENTITY)
    secret = "a prompt that nobody else shall read"
    store.write_now(adding("job-1", prompts=[secret]))
    assert any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir())

    assert store.write_now(lambda t: jobs.end(t, "job-1", JobState.DONE, now_ms=NOW_MS))
    store.close_now()

    assert not any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir())


async def test_an_erased_prompt_leaves_the_log_while_the_hub_runs(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", IDENTITY)
    secret = "a prompt that nobody else shall read"
    await store.write(adding("job-1", prompts=[secret]))
    await store.write(lambda t: jobs.end(t, "job-1", JobState.DONE, now_ms=NOW_MS))

    await until(lambda: not any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir()))
    await store.close()


def test_sqlite_syncs_every_commit(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", IDENTITY)
    settings = store.write_now(
        lambda t: [t.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
    )
    store.close_now()

    assert settings == ["wal", 2]
    with closing(sqlite3.connect(tmp_path / "hub.sqlite3")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_what_follows_a_commit_is_called_once_for_each_unit_that_is_committed(store: Store) -> None:
    called: list[str] = []

    def counting(name: str, then: Callable[[Transaction], object]) -> Callable[[Transaction], object]:
        def unit(transaction: Transaction) -> object:
            transaction.after_commit(lambda: called.append(name))
            return then(transaction)

        return unit

    # The failing one makes the batch run a second time, each unit by itself.
    await together(store, counting("first", adding("a")), counting("failed", failing), counting("last", adding("b")))
    await until(lambda: len(called) >= 2)
    assert sorted(called) == ["first", "last"]
