"""The schema: what the steps make is what the models say, from nothing and from the first outbox's file."""

import re
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from provider.storage.database import COMPATIBILITY, Database
from provider.storage.identity import FolderIdentity
from provider.storage.job_log import JobLog
from provider.storage.migrations import HEAD
from provider.storage.outbox import Outbox
from provider.storage.rows import ReceiptState
from provider.storage.tables import Base


def statements(path: Path) -> dict[str, list[str]]:
    """Each table's and index's own SQL, the parts of a table in any order."""
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return {
        name: sorted(re.split(r",\s*(?![^()]*\))", " ".join(sql.split())))
        for name, sql in found
        if name not in ("alembic_version", "sqlite_sequence")
    }


def differences(path: Path) -> list[object]:
    """What Alembic would still have to change."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        found: list[object] = compare_metadata(context, Base.metadata)
    engine.dispose()
    return [difference for difference in found if not is_row_number(difference)]


def is_row_number(difference: object) -> bool:
    """SQLite's row number is never NULL, whether or not its table says so; the first outbox's did not."""
    match difference:
        case [("modify_nullable", None, "receipts", "sequence", _, True, False)]:
            return True
        case _:
            return False


def test_the_newest_revision_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", "provider.storage:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_new_file_has_the_tables_of_the_models(folder: Path, tmp_path: Path) -> None:
    Database(folder).close()
    assert differences(folder / "outbox.sqlite3") == []
    engine = create_engine(f"sqlite:///{tmp_path / 'models'}")
    Base.metadata.create_all(engine)
    engine.dispose()
    assert statements(folder / "outbox.sqlite3") == statements(tmp_path / "models")


def test_the_first_outbox_is_adopted_with_every_receipt(folder: Path, old_outbox: ModuleType) -> None:
    before = [tuple(row) for row in old_outbox.make_old_outbox(folder)]
    with Database(folder) as database:
        outbox, job_log = Outbox(database), JobLog(database)
        assert list(outbox.counts().values()) == [1] * len(ReceiptState)
        assert [receipt.job_id for receipt in outbox.in_flight()] == ["job-3"]
        assert [receipt.job_id for receipt in outbox.due(0, 10)] == ["job-2"]
        assert FolderIdentity(database).get("chain_id") == "424242"
        assert job_log.page(None, before=None, limit=10) == []
    assert differences(folder / "outbox.sqlite3") == []
    rows = [tuple(row) for row in old_outbox.receipts(old_outbox.connect(folder))]
    assert [row[: len(before[0])] for row in rows] == before
    assert {row[len(before[0]) :] for row in rows} == {("", "mint", None)}


def test_job_ids_go_on_where_the_first_outbox_ended(folder: Path, old_outbox: ModuleType, new_job: object) -> None:
    old_outbox.make_old_outbox(folder)
    with Database(folder) as database:
        accepted = JobLog(database).accept(new_job(), 1_758_844_800.0)  # type: ignore[operator]
    assert accepted.record.job_id == "2025-09-26-000008"


def test_receipts_are_numbered_on_also_where_the_newest_were_pruned(folder: Path, old_outbox: ModuleType) -> None:
    old_outbox.make_old_outbox(folder)
    connection = old_outbox.connect(folder)
    (highest,) = connection.execute("SELECT MAX(sequence) FROM receipts").fetchone()
    connection.execute("DELETE FROM receipts")
    connection.commit()
    connection.close()
    Database(folder).close()
    connection = old_outbox.connect(folder)
    old_outbox.add_receipt(connection, 99, "signed")
    assert connection.execute("SELECT sequence FROM receipts").fetchone()[0] == highest + 1


def test_the_version_before_runs_on_the_new_file(folder: Path, old_outbox: ModuleType) -> None:
    """After an update was rolled back: its SQL works, and what it stores is there when the update comes again."""
    Database(folder).close()
    connection = old_outbox.connect(folder)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    old_outbox.add_receipt(connection, 1, "signed")
    connection.close()
    with Database(folder) as database:
        assert Outbox(database).counts()[ReceiptState.SIGNED] == 1


def test_a_step_that_fails_leaves_the_file_as_it_was(folder: Path, old_outbox: ModuleType) -> None:
    """Something in the way of the last table of the second step: nothing of the step may be there."""
    old_outbox.make_old_outbox(folder)
    connection = old_outbox.connect(folder)
    connection.execute("CREATE TABLE jobs (mine TEXT)")
    before = connection.execute("SELECT * FROM sqlite_schema").fetchall()
    with pytest.raises(Exception, match="jobs already exists"):
        Database(folder)
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == before
    connection.execute("DROP TABLE jobs")
    connection.close()
    with Database(folder) as database:
        assert sum(Outbox(database).counts().values()) == len(ReceiptState)


def test_the_mark_of_compatibility_is_set(folder: Path) -> None:
    Database(folder).close()
    with sqlite3.connect(folder / "outbox.sqlite3") as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == COMPATIBILITY
