"""A copy of the provider's database from before an update, and the way back to it.

    keep_database.py copy    DATA_DIR COPY      # the service is stopped
    keep_database.py restore DATA_DIR COPY      # the service is stopped again, and the old release is to run

A newer release may change the database's schema when it starts, and an older one refuses what is newer than itself. So
the way back needs the copy, but only where nothing has happened since: a receipt, an attestation or a job that came
after it would be lost. `restore` compares every row in the columns that both have. Exit codes: 0 the old release can
run on what is in the folder now, 4 it cannot without losing something, which was left as it is; 1 it failed.

Hub and node have no such copy: what a hub attested and what a validator voted must never be taken back.
"""

import contextlib
import os
import shutil
import sqlite3
import sys
from pathlib import Path

DATABASE = "outbox.sqlite3"
EXIT_CHANGED = 4
_SCHEMA_TABLES = frozenset({"alembic_version", "sqlite_sequence"})


def copy(folder: Path, destination: Path) -> int:
    """Copies the database, whole and synced; a folder without one gives no copy."""
    source = folder / DATABASE
    if not source.exists():
        print(f"there is no {source} yet, so nothing to copy")
        return 0
    partial = destination.with_name(destination.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    with (
        contextlib.closing(sqlite3.connect(source)) as original,
        contextlib.closing(sqlite3.connect(partial)) as target,
    ):
        original.backup(target)
    _sync(partial)
    partial.replace(destination)
    _sync(destination.parent)
    print(f"the database is copied to {destination}")
    return 0


def restore(folder: Path, kept: Path) -> int:
    """Puts the copy back where the schema has changed and nothing else has."""
    current = folder / DATABASE
    if not kept.exists():
        print("there was no database before the update")
        return 0
    with contextlib.closing(_open(current)) as now, contextlib.closing(_open(kept)) as before:
        if _schema(now) == _schema(before):
            print("the database has the schema that it had: it stays")
            return 0
        changed = _changed_table(now, before)
    if changed is not None:
        print(f"the table {changed} has changed since {kept} was made: putting that back would lose it")
        return EXIT_CHANGED
    owner = current.stat()
    partial = current.with_name(current.name + ".partial")
    shutil.copyfile(kept, partial)
    os.chown(partial, owner.st_uid, owner.st_gid)
    partial.chmod(0o600)
    _sync(partial)
    for suffix in ("-wal", "-shm"):
        current.with_name(current.name + suffix).unlink(missing_ok=True)
    partial.replace(current)
    _sync(folder)
    print(f"the database is again what it was before the update ({kept})")
    return 0


def _closing(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(path))


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)


def _schema(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    rows = database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    return [*rows, *database.execute("PRAGMA user_version").fetchall(), *_versions(database)]


def _versions(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    is_there = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    return database.execute("SELECT * FROM alembic_version").fetchall() if is_there else []


def _changed_table(now: sqlite3.Connection, before: sqlite3.Connection) -> str | None:
    """The first table whose rows are not what they were; one that only the newer schema has must be empty."""
    old_tables, new_tables = _tables(before), _tables(now)
    for table, old_columns in old_tables.items():
        shared = [column for column in old_columns if column in new_tables.get(table, ())]
        if not shared:
            return table
        names = ", ".join(f'"{column}"' for column in shared)
        query = f'SELECT {names} FROM "{table}" ORDER BY {names}'
        if now.execute(query).fetchall() != before.execute(query).fetchall():
            return table
    for table in new_tables.keys() - old_tables.keys():
        if now.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone():
            return table
    return None


def _tables(database: sqlite3.Connection) -> dict[str, list[str]]:
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: [row[1] for row in database.execute(f'PRAGMA table_info("{name}")')]
        for name in names
        if name not in _SCHEMA_TABLES
    }


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) != 3 or arguments[0] not in ("copy", "restore"):
        print("usage: keep_database.py copy|restore DATA_DIR COPY", file=sys.stderr)
        return 2
    folder, kept = Path(arguments[1]), Path(arguments[2])
    try:
        return copy(folder, kept) if arguments[0] == "copy" else restore(folder, kept)
    except (OSError, sqlite3.Error) as error:
        print(f"keep_database.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
