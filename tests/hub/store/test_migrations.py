"""From nothing and from a hub of stage 1 to the present tables, on both databases; never from a newer one."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine, make_url

from chain.primitives.hexadecimal import parse_hash
from chain.primitives.receipt import Receipt
from hub.errors import HubConfigurationError
from hub.store import jobs, leases, receipts, results, shards, waiting
from hub.store.jobs import JobState
from hub.store.leases import LeaseState
from hub.store.migrations import ADOPTED, HEAD
from hub.store.results import ResultState
from hub.store.shards import ShardState
from hub.store.store import HubIdentity, Store
from hub.store.tables.schema import METADATA
from tests.hub.store.conftest import IDENTITY, NOW_MS, add_job, deliver, new_lease

STAGE_1 = Path(__file__).with_name("stage_1.sql").read_text()
"""What a hub of stage 1 made: jobs 1 and 2 done (1 minted), 3 verified, 4 under way, 5 failed, 6 queued."""


@pytest.fixture
def url(empty_url: str) -> str:
    """Of an empty database: here it is the migrating that is tested."""
    return empty_url


def engine_of(url: str) -> Engine:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg") if url.startswith("postgresql") else url)


def test_the_steps_make_the_tables_that_the_program_knows(store: Store, url: str) -> None:
    engine = engine_of(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, METADATA) == []
        made = inspect(connection)
        for table in METADATA.tables.values():
            constraints = {item["name"] for item in made.get_check_constraints(table.name)}
            wanted = {str(item.name) for item in table.constraints if str(item.name).startswith("ck_")}
            assert constraints == wanted
    engine.dispose()


def stage_1_database(url: str) -> None:
    """As the hub of stage 1 left it."""
    if url.startswith("sqlite"):
        path = make_url(url).database
        assert path is not None
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(STAGE_1)
        return
    engine = engine_of(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "hub.store:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        upgrade(config, ADOPTED)
        connection.execute(text("DROP TABLE alembic_version"))
        inserts = [line for line in STAGE_1.splitlines() if line.startswith("INSERT") and "sqlite_" not in line]
        # In the order of their foreign keys; text() would take what follows a colon for a parameter.
        for name in ("identity", "jobs", "client_nonces", "attempts", "receipts"):
            for line in inserts:
                if line.startswith(f'INSERT INTO "{name}"'):
                    connection.exec_driver_sql(line.replace("%", "%%"))
    engine.dispose()


def job_id(number: int) -> str:
    return f"2026-11-01-{number:016x}"


def read(store: Store, number: int) -> Any:
    job = store.read_now(lambda c: jobs.get(c, job_id(number)))
    assert job is not None
    return job


def test_a_folder_of_stage_1_is_taken_over(url: str, open_store: Callable[[], Store]) -> None:
    stage_1_database(url)

    store = open_store()

    states = [read(store, number).state for number in range(1, 7)]
    assert states == ["done", "done", "verifying", "queued", "failed", "queued"]
    first = read(store, 1)
    assert (first.prompts, first.model, first.max_price, first.images) == (None, "aitbc/tiny-sd", 2**128, 1)
    assert first.request["guidance"] == 7.5
    assert (read(store, 5).failure_reason, read(store, 5).pictures_done) == ("no_provider", 0)
    assert store.read_now(lambda c: jobs.of_idempotency_key(c, "alice", "key-1")) == ("0" * 63 + "1", job_id(1))
    receipt = store.read_now(lambda c: receipts.get(c, job_id(1)))
    assert receipt is not None
    signed = Receipt.from_json(receipt.receipt_json)
    assert signed.hash == parse_hash(receipt.receipt_hash, "receipt_hash")
    assert (receipt.amount, receipt.micro_units) == (signed.amount, signed.micro_units)
    assert (receipt.attestation, receipt.chain_height) == ("0x" + "01" * 65, 77)
    (picture,) = store.read_now(lambda c: results.pictures(c, job_id(1)))
    assert (picture.sha256, picture.width, picture.height) == (f"{1:064x}", 256, 320)
    outcomes = [(lease.state, lease.outcome) for lease in store.read_now(lambda c: leases.of_job(c, job_id(1)))]
    assert outcomes == [(LeaseState.FAILED, "unreachable"), (LeaseState.DELIVERED, "ok")]
    assert [item.job_id for item in store.read_now(lambda c: receipts.due_deliveries(c, NOW_MS * 2, limit=9))] == [
        job_id(2)
    ]


def test_what_stage_1_had_not_ended_goes_on(url: str, open_store: Callable[[], Store]) -> None:
    stage_1_database(url)

    store = open_store()

    waits = store.read_now(waiting.look)
    assert [(item.job.job_id, item.job.prompts) for item in waits] == [
        (job_id(4), ["a red circle number 4"]),
        (job_id(6), ["a red circle number 6"]),
    ]
    (shard,) = store.read_now(lambda c: shards.of_job(c, job_id(3)))
    (result,) = store.read_now(lambda c: results.of_job(c, job_id(3)))
    assert (shard.state, result.state) == (ShardState.DELIVERED, ResultState.DELIVERED)
    due = store.read_now(lambda c: receipts.due_for_attestation(c, NOW_MS, limit=9))
    assert [item.job_id for item in due] == [job_id(3)]
    lost = [item.state for item in store.read_now(lambda c: leases.of_job(c, job_id(4)))]
    assert lost == [LeaseState.LOST]
    # New rows take new numbers.
    add_job(store, "job-7", request_hash="0x" + "77" * 32)
    store.write_now(lambda t: waiting.take(t, [new_lease("lease-7", "job-7")], process="p", now_ms=NOW_MS))
    assert deliver(store, "lease-7") == []
    assert store.write_now(lambda t: jobs.end(t, job_id(6), JobState.CANCELLED, now_ms=NOW_MS))


def test_opening_again_changes_nothing(url: str, open_store: Callable[[], Store]) -> None:
    add_job(open_store())

    again = open_store()

    assert again.read_now(lambda c: jobs.get(c, "job-1")) is not None
    assert again.identity == IDENTITY


@pytest.mark.parametrize("revision", ["0099", "9999", "abcd"])
def test_a_newer_database_is_refused(url: str, open_store: Callable[[], Store], revision: str) -> None:
    open_store().close_now()
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
    engine.dispose()

    with pytest.raises(HubConfigurationError, match=f"newer version of this program .*{revision}.*{HEAD}"):
        Store(url, IDENTITY)


def test_another_hubs_database_is_refused(url: str, open_store: Callable[[], Store]) -> None:
    open_store()

    with pytest.raises(HubConfigurationError, match="belongs to hub hub-1 on chain 424242"):
        Store(url, HubIdentity("hub-2", 424242, IDENTITY.genesis_hash))
    looking = Store(url, None)
    assert looking.identity == IDENTITY
    looking.close_now()


@pytest.mark.parametrize(
    "bad", ["mysql://u@h/d", "not a url", "sqlite:////nonexistent/folder/hub.sqlite3", "postgresql://u@/d?host=/none"]
)
def test_what_cannot_be_opened_is_said_in_a_sentence(bad: str) -> None:
    with pytest.raises(HubConfigurationError, match="database"):
        Store(bad, IDENTITY)


def test_a_damaged_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "hub.sqlite3").write_bytes(b"no database at all" * 100)

    with pytest.raises(HubConfigurationError, match="not a database"):
        Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", IDENTITY)
