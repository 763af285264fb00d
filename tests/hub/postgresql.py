"""A real PostgreSQL server from the distribution's packages, in a folder of its own, on a Unix socket only."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from sqlalchemy.engine import make_url

_START_LIMIT_S: Final = 60.0
_USER: Final = "aitbc"
_MEMORY_BYTES: Final = 2 * 2**30


def server_folder() -> Path | None:
    """Where the server's programs are: Debian keeps them out of the PATH, by version; None where there are none."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(versions, key=lambda folder: int(folder.parent.name), default=None)


class PostgresqlServer:
    """A running server; `url` makes a new database on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, is_durable: bool) -> None:
        """Returns when it takes connections. Without `is_durable` it does not wait for the disk."""
        programs = server_folder()
        assert programs is not None
        options = {} if is_durable else {"fsync": "off", "full_page_writes": "off"}
        command = [str(programs / "postgres"), "-D", str(self._folder / "data"), "-k", str(self._folder)]
        command += ["-c", "listen_addresses="]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            # One whose predecessor was killed refuses to start until that one's children have ended.
            if self._process is None or self._process.poll() is not None:
                with (self._folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(command, stdout=log, stderr=log, **_as_server_user())  # type: ignore[call-overload]
            try:
                psycopg.connect(self._conninfo("postgres")).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def initialise(self) -> None:
        """Makes its data folder."""
        programs = server_folder()
        assert programs is not None
        command = [str(programs / "initdb"), "-D", str(self._folder / "data"), "-U", _USER, "-A", "trust"]
        command += ["--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **_as_server_user())  # type: ignore[call-overload]

    def kill(self, with_signal: int = signal.SIGQUIT) -> None:
        """As a power failure would, but for what the system has cached. With SIGKILL its children end by themselves."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait()
            self._process = None

    def url(self, like: str | None = None) -> str:
        """Of a new database: an empty one, or a copy of the one at the URL `like`, to which nobody is connected."""
        self._databases += 1
        name = f"hub_{self._databases}"
        template = "template1" if like is None else make_url(like).database
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return f"postgresql://{_USER}@/{name}?host={quote(str(self._folder), safe='')}"

    def drop(self, url: str) -> None:
        """Drops the database there, whoever is connected to it."""
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def _conninfo(self, database: str) -> str:
        return f"host={self._folder} user={_USER} dbname={database} connect_timeout=5"


@contextlib.contextmanager
def running_server(*, is_durable: bool = False) -> Iterator[PostgresqlServer]:
    """A server until the block is left. Socket paths must be short, so it is not in pytest's own folder."""
    folder = Path(tempfile.mkdtemp(prefix="aitbc-pg-", dir=None if is_durable else _folder_in_memory()))
    if os.geteuid() == 0:
        shutil.chown(folder, *_server_user())
    server = PostgresqlServer(folder)
    try:
        server.initialise()
        server.start(is_durable=is_durable)
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def _folder_in_memory() -> Path | None:
    """Where the thousands of files of many small databases are made and dropped soonest; None where it is too small."""
    folder = Path("/dev/shm")
    is_large = folder.is_dir() and shutil.disk_usage(folder).free > _MEMORY_BYTES
    return folder if is_large and os.access(folder, os.W_OK) else None


def _server_user() -> tuple[int, int]:
    """The server refuses to run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise LookupError("there is neither a user postgres nor nobody")


def _as_server_user() -> dict[str, object]:
    options: dict[str, object] = {"cwd": "/"}
    if os.geteuid() == 0:
        user, group = _server_user()
        options |= {"user": user, "group": group, "extra_groups": []}
    return options
