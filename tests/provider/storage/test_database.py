"""Opening the file: one process at a time, damage and newer versions named, a full disk survived."""

import os
import resource
import sqlite3
import stat
import threading
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import text

from provider.errors import ConfigurationError, StorageError
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from provider.storage.migrations import HEAD


def test_commits_are_synced_to_a_log_that_readers_do_not_wait_for(database: Database) -> None:
    with database.writing() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA synchronous")) == 2


def test_one_process_per_folder_but_any_number_of_readers(database: Database, folder: Path) -> None:
    FolderIdentity(database).bind("chain_id", "1")
    with pytest.raises(ConfigurationError, match="another provider runs") as caught:
        Database(folder)
    assert caught.value.reason == "data_dir_in_use"
    with Database(folder, read_only=True) as first, Database(folder, read_only=True) as second:
        assert FolderIdentity(first).get("chain_id") == FolderIdentity(second).get("chain_id") == "1"
        with pytest.raises(StorageError, match="readonly"):
            FolderIdentity(first).bind("genesis_hash", "0x11")


def test_a_reader_of_nothing_says_so(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigurationError, match="no database of a provider"):
            Database(folder, read_only=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_reader_leaves_an_older_file_to_the_provider(folder: Path, old_outbox: ModuleType) -> None:
    old_outbox.make_old_outbox(folder)
    with pytest.raises(ConfigurationError, match="older version") as caught:
        Database(folder, read_only=True)
    assert caught.value.reason == "database_of_an_older_version"


def test_the_folder_is_its_owners_alone(database: Database, folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("garbage", "database_damaged"),
        ("cut", "database_damaged"),
        ("overwritten", "database_damaged"),
        ("newer", "database_of_a_newer_version"),
    ],
)
def test_a_damaged_or_newer_file_is_named(folder: Path, damage: str, reason: str, read_only: bool) -> None:
    with Database(folder) as database:
        for number in range(200):
            FolderIdentity(database).bind(f"name-{number}", "x" * 100)
    path = folder / "outbox.sqlite3"
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 500)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: 4096 * 3 + 100])
    elif damage == "overwritten":
        with path.open("r+b") as file:
            file.seek(4096 * 2)
            file.write(os.urandom(4096 * 8))
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match=r"outbox\.sqlite3") as caught:
        Database(folder, read_only=read_only)
    assert caught.value.reason == reason


def test_mere_additions_of_a_newer_version_are_left_alone(folder: Path) -> None:
    """After an update was rolled back, its additions are still there: the provider serves on."""
    with Database(folder) as database:
        FolderIdentity(database).bind("chain_id", "1")
    with sqlite3.connect(folder / "outbox.sqlite3") as connection:
        connection.execute("CREATE TABLE added_later (name TEXT)")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with Database(folder) as database:
        assert FolderIdentity(database).get("chain_id") == "1"
    with sqlite3.connect(folder / "outbox.sqlite3") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    assert HEAD < "9999"


def test_a_full_disk_is_not_called_damage_and_passes(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Database(tmp_path / "running") as database:
        identity = FolderIdentity(database)
        identity.bind("before", "1")
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
            with pytest.raises(StorageError) as refused:
                identity.bind("full", "1")
            assert identity.get("before") == "1"
            with pytest.raises(ConfigurationError) as caught:
                Database(tmp_path / "new")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert identity.get("full") is None
        identity.bind("full", "2")
    assert refused.value.reason in ("storage_full", "storage_failed")
    assert caught.value.reason == "database_unusable"
    assert "move it away" not in caught.value.message


def test_a_block_that_raises_changes_nothing(database: Database) -> None:
    def breaks() -> None:
        with database.writing() as session:
            session.execute(text("INSERT INTO identity VALUES ('half', 'done')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    assert FolderIdentity(database).get("half") is None


def test_many_threads_write_and_read_at_once(database: Database) -> None:
    identity = FolderIdentity(database)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                identity.bind(f"{number}-{turn}", str(number))
                assert identity.get(f"{number}-{turn}") == str(number)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_parameter_of_a_failed_statement_is_told(database: Database) -> None:
    with pytest.raises(StorageError) as caught, database.writing() as session:
        session.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "a salt"})
    assert "a salt" not in f"{caught.value.message} {caught.value.__cause__!r}"
