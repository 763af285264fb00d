"""The copy of a provider's database: put back only where nothing would be lost."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from provider.storage.job_log import JobLog
from provider.storage.rows import NewJob
from tests.deploy.machine import DEPLOY, run_program


def keep(verb: str, folder: Path, copy: Path) -> tuple[int, str]:
    done = run_program(sys.executable, DEPLOY / "keep_database.py", verb, folder, copy)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A provider's, with one job in it."""
    with Database(tmp_path / "data") as database:
        FolderIdentity(database).bind("chain_id", "424242")
        JobLog(database).accept(NewJob("alice", "plan", "tiny", 1, b"what was asked"), now_s=1_700_000_000)
    return tmp_path / "data"


def as_newer_release(folder: Path, *statements: str) -> None:
    """What a newer release might do to the schema when it starts."""
    with closing(sqlite3.connect(folder / "outbox.sqlite3")) as database:
        for statement in (
            "UPDATE alembic_version SET version_num = '9999'",
            "ALTER TABLE jobs ADD COLUMN mood TEXT DEFAULT 'good'",
            "CREATE TABLE moods (name TEXT)",
            *statements,
        ):
            database.execute(statement)
        database.commit()


def test_the_copy_brings_back_a_database_that_the_old_release_takes(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite3"
    assert keep("copy", folder, copy)[0] == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    as_newer_release(folder)
    code, said = keep("restore", folder, copy)
    assert (code, "again what it was" in said) == (0, True)
    with Database(folder) as database:
        assert FolderIdentity(database).get("chain_id") == "424242"
        (job,) = JobLog(database).page(None, before=None, limit=10)
        assert job.key_name == "alice"


def test_an_unchanged_schema_is_left_with_all_that_came_since(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite3"
    keep("copy", folder, copy)
    with Database(folder) as database:
        JobLog(database).accept(NewJob("bob", "plan", "tiny", 1, b"something else"), now_s=1_700_000_001)
    assert keep("restore", folder, copy)[0] == 0
    with Database(folder) as database:
        assert len(JobLog(database).page(None, before=None, limit=10)) == 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET state = 'done'",
        "DELETE FROM jobs",
        "DROP TABLE receipts",
        "INSERT INTO moods VALUES ('curious')",
    ],
)
def test_nothing_is_put_back_where_something_has_changed(folder: Path, tmp_path: Path, change: str) -> None:
    copy = tmp_path / "copy.sqlite3"
    keep("copy", folder, copy)
    as_newer_release(folder, change)
    before = (folder / "outbox.sqlite3").read_bytes()
    code, said = keep("restore", folder, copy)
    assert (code, "would lose it" in said) == (4, True)
    assert (folder / "outbox.sqlite3").read_bytes() == before


def test_a_folder_without_a_database_and_wrong_words(tmp_path: Path) -> None:
    assert keep("copy", tmp_path, tmp_path / "copy")[0] == 0
    assert not (tmp_path / "copy").exists()
    assert keep("restore", tmp_path, tmp_path / "copy")[0] == 0
    assert keep("forget", tmp_path, tmp_path / "copy")[0] == 2
    (tmp_path / "outbox.sqlite3").write_bytes(b"no database at all, but long enough to be one" * 100)
    assert keep("copy", tmp_path, tmp_path / "copy")[0] == 1
