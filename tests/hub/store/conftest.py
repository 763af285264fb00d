"""What the tests of the store share: every test runs on SQLite and on a real PostgreSQL server."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.store import jobs, leases, results, waiting
from hub.store.jobs import NewJob
from hub.store.leases import NewLease
from hub.store.results import NewPicture, NewResult
from hub.store.shards import NewShard
from hub.store.store import HubIdentity, Store
from hub.store.transaction import Transaction
from tests.hub.postgresql import PostgresqlServer, running_server

IDENTITY = HubIdentity(hub_id="hub-1", chain_id=424242, genesis_hash="0x" + "ab" * 32)
HASH = "0x" + "11" * 32
ANNA, BERTA, CARLA = ("0x" + digit * 40 for digit in "abc")
NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """One server for all tests; each has a database of its own."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as the migrations make it, to copy."""
    path = tmp_path_factory.mktemp("made") / "hub.sqlite3"
    Store(f"sqlite:///{path}", IDENTITY).close_now()
    return path


@pytest.fixture(scope="session")
def postgresql_database(postgresql_server: PostgresqlServer) -> str:
    """The same on the server."""
    url = postgresql_server.url()
    Store(url, IDENTITY).close_now()
    return url


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a new database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.sqlite3'}"
    else:
        yield from _on_server(request.getfixturevalue("postgresql_server"))


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a new database with its tables: a copy, as migrating takes longer than most tests."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_database'), tmp_path / 'hub.sqlite3')}"
    else:
        made = request.getfixturevalue("postgresql_database")
        yield from _on_server(request.getfixturevalue("postgresql_server"), like=made)


def _on_server(server: PostgresqlServer, like: str | None = None) -> Iterator[str]:
    url = server.url(like)
    yield url
    server.drop(url)


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the same database again and again, as processes would."""
    opened: list[Store] = []

    def open_it() -> Store:
        opened.append(Store(url, IDENTITY))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close_now()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """An open one."""
    return open_store()


def new_job(job_id: str = "job-1", **fields: Any) -> NewJob:
    """A job of one picture, as alice sends it."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "owner": "alice",
        "client": "alice",
        "fingerprint": "f",
        "prompts": ["a cat"],
        "request": {"steps": 5},
        "images": 1,
        "seed": 2**53 - 1,
        "request_salt": HASH,
        "request_hash": HASH,
    }
    return NewJob(**values | fields)


def add_job(store: Store, job_id: str = "job-1", *, images: int = 1, rank_s: float = 0.0, **fields: Any) -> None:
    """With one run of all its pictures."""
    run = NewShard(number=0, first_picture=0, pictures=images, rank_s=rank_s, rank_step_s=1.0)
    store.write_now(lambda t: jobs.add(t, new_job(job_id, images=images, **fields), [run], now_ms=NOW_MS))


def new_lease(lease_id: str, job_id: str = "job-1", **fields: Any) -> NewLease:
    """Of the first picture, to Anna."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "first_picture": 0,
        "pictures": 1,
        "provider": ANNA,
        "session": "session-a",
        "deadline_ms": NOW_MS + 1_000,
    }
    return NewLease(lease_id=lease_id, **values | fields)


def take(store: Store, *wanted: NewLease, now_ms: int = NOW_MS) -> list[waiting.Taken | None]:
    """By process p."""
    return store.write_now(lambda t: waiting.take(t, wanted, process="p", now_ms=now_ms))


def new_result(lease_id: str, **fields: Any) -> NewResult:
    """With a receipt hash of its own."""
    values: dict[str, Any] = {
        "receipt_hash": "0x" + lease_id.encode().hex().zfill(64),
        "receipt_json": "{}",
        "provider_signature": "0x",
        "prompt_salt": HASH,
        "micro_units": 5_000_000,
        "amount": 2**200 + 1,
    }
    return NewResult(lease_id=lease_id, **values | fields)


def new_pictures(first: int, count: int) -> list[NewPicture]:
    """Of 256 by 256 pixels."""
    return [
        NewPicture(picture=number, sha256=f"{number:064x}", bytes=99, width=256, height=256, media_type="image/png")
        for number in range(first, first + count)
    ]


def deliver(
    store: Store, lease_id: str, *, first: int = 0, count: int = 1, now_ms: int = NOW_MS, **fields: Any
) -> list[leases.Lease]:
    """The result of a lease; the twins that it made needless."""

    def unit(transaction: Transaction) -> list[leases.Lease]:
        return results.deliver(transaction, new_result(lease_id, **fields), new_pictures(first, count), now_ms)

    return store.write_now(unit)
