"""Several processes on one PostgreSQL database: what one has no other gets, and kill -9 takes nothing with it."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.ledger import books, posting
from hub.ledger.posting import Move, NewEntry
from hub.store import jobs, leases, shards
from hub.store.errors import StoreUnavailable
from hub.store.leases import Lease, LeaseState
from hub.store.shards import NewShard, ShardState
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.postgresql import PostgresqlServer
from tests.hub.store.conftest import NOW_MS, new_job

pytestmark = pytest.mark.postgresql
LIMIT_S = 240.0
PICTURES = 3


class Claimer:
    """A process of `tests.hub.store.claimer`."""

    def __init__(self, url: str, name: str, folder: Path) -> None:
        self._path = folder / name
        command = [sys.executable, "-m", "tests.hub.store.claimer", url, name]
        with self._path.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output)

    def told(self) -> list[tuple[str, str, int]]:
        """Lease, job and picture of each lease that it was given."""
        lines = [line.split() for line in self._path.read_text().split("\n")[:-1]]
        return [(line[0], line[1], int(line[2])) for line in lines if line != ["ready"]]

    def is_ready(self) -> bool:
        return self._path.read_text().startswith("ready\n")


@pytest.fixture
def url(postgresql_server: PostgresqlServer, postgresql_database: str) -> Iterator[str]:
    """Of a new database on the server."""
    made = postgresql_server.url(like=postgresql_database)
    yield made
    postgresql_server.drop(made)


def until(holds: Callable[[], bool], *processes: subprocess.Popen[bytes]) -> None:
    """Looks again and again, as long as all of these live."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


def add_jobs(store: Store, first: int, count: int) -> None:
    def unit(transaction: Transaction) -> None:
        for number in range(first, first + count):
            run = NewShard(number=0, first_picture=0, pictures=PICTURES, rank_s=float(number), rank_step_s=1.0)
            jobs.add(transaction, new_job(f"job-{number}", images=PICTURES), [run], now_ms=NOW_MS)

    store.write_now(unit)


def active(store: Store) -> list[Lease]:
    return store.read_now(leases.active)


def give_up(transaction: Transaction, lease: Lease) -> bool:
    """What a process does with leases of a provider that has gone."""
    return leases.fail(transaction, lease.lease_id, outcome="gone", detail=None, excludes=False, now_ms=NOW_MS)


def check_shards(store: Store, count: int) -> None:
    """Every picture of each job belongs to one shard, and every shard that is leased to one provider."""
    held = Counter((lease.job_id, lease.number) for lease in active(store))
    for number in range(count):
        found = store.read_now(lambda c, it=f"job-{number}": shards.of_job(c, it))  # type: ignore[misc]
        pictures = [shard.first_picture + place for shard in found for place in range(shard.pictures)]
        assert pictures == list(range(PICTURES))
        for shard in found:
            assert held[shard.job_id, shard.number] == (shard.state == ShardState.LEASED)


def test_two_processes_take_every_picture_once_also_when_one_is_killed(
    url: str, open_store: Callable[[], Store], tmp_path: Path
) -> None:
    store = open_store()
    add_jobs(store, 0, 30)
    one, two = Claimer(url, "one", tmp_path), Claimer(url, "two", tmp_path)
    both = (one.process, two.process)
    try:
        until(lambda: one.is_ready() and two.is_ready(), *both)
        add_jobs(store, 30, 30)  # They may have come to wait meanwhile, and are woken by another process's commit.
        until(lambda: len(one.told()) >= 10 and len(two.told()) >= 10, *both)

        one.process.kill()
        one.process.wait()
        add_jobs(store, 60, 10)
        until(lambda: len(active(store)) == 70 * PICTURES, two.process)
        until(lambda: len(one.told()) + len(two.told()) >= len(active(store)) - PICTURES, two.process)

        check_shards(store, 70)
        there = {(lease.lease_id, lease.job_id) for lease in active(store)}
        told = [*one.told(), *two.told()]
        assert {(lease_id, job_id) for lease_id, job_id, _ in told} <= there
        assert len({(job_id, picture) for _, job_id, picture in told}) == len(told)

        # What the dead one had goes to the other, each picture once.
        lost = store.read_now(lambda c: leases.active(c, session="one"))
        assert len(lost) >= len(one.told())
        store.write_now(lambda t: [give_up(t, lease) for lease in lost])
        until(lambda: len(active(store)) == 70 * PICTURES, two.process)
        check_shards(store, 70)
        assert {lease.session for lease in active(store)} == {"two"}
        assert store.read_now(lambda c: leases.get(c, lost[0].lease_id)).state == LeaseState.FAILED  # type: ignore[union-attr]
    finally:
        for process in both:
            process.kill()
            process.wait()


class Bookkeeper:
    """Books one entry after the other, each until it is told that it stands, and remembers what it was told."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.booked: list[str] = []
        self.refused = 0

    async def run(self, name: str, is_enough: Callable[[], bool]) -> None:
        number = 0
        while not is_enough():
            number += 1
            entry = NewEntry("test", f"{name}-{number}", [Move("a", "b", 7), Move("b", "c", 3)])
            await self._book(entry)
            self.booked.append(entry.entry_id)

    async def _book(self, entry: NewEntry) -> None:
        while True:
            try:
                await self._store.write(lambda t: posting.post(t, entry, NOW_MS))
            except StoreUnavailable:
                self.refused += 1
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGQUIT])
async def test_a_server_that_is_killed_is_told_and_got_over(
    postgresql_server: PostgresqlServer, url: str, open_store: Callable[[], Store], with_signal: signal.Signals
) -> None:
    """In the middle of many writes: whoever was told that an entry stands finds it, and none stands twice."""
    stores = [open_store(), open_store()]
    keepers = [Bookkeeper(store) for store in stores]

    def is_enough() -> bool:
        return all(keeper.refused > 0 and len(keeper.booked) > 150 for keeper in keepers)

    writing = [
        asyncio.create_task(keeper.run(f"{place}-{number}", is_enough))
        for place, keeper in enumerate(keepers)
        for number in range(8)
    ]
    async with asyncio.timeout(LIMIT_S), stores[1].announcements.subscribe("a") as changes:
        while not all(len(keeper.booked) > 50 for keeper in keepers):  # noqa: ASYNC110 - the database says when
            await asyncio.sleep(0.01)
        before = [entry for keeper in keepers for entry in keeper.booked]
        await asyncio.to_thread(postgresql_server.kill, with_signal)
        try:
            with pytest.raises(StoreUnavailable):
                await stores[0].read(books.balances)
        finally:
            await asyncio.to_thread(postgresql_server.start, is_durable=False)
        await asyncio.gather(*writing)

        woken = False
        while not woken:  # Until it listens again.
            await changes.wait(0.1)
            await stores[0].write(lambda t: t.announce("a"))
            woken = await changes.wait(5.0)

    told = {entry for keeper in keepers for entry in keeper.booked}
    assert set(before) <= told
    there = await stores[1].read(lambda c: books.statement(c, "a", limit=10**6))
    assert Counter(line.entry_id for line in there) == Counter(told)
    assert await stores[1].read(books.balances) == {"a": -7 * len(told), "b": 4 * len(told), "c": 3 * len(told)}
