"""What the tests of the storage share: real SQLite files, and an S3 server on a loopback socket."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from chain.primitives.types import Hash32
from provider.storage.database import Database
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.rows import NewJob, NewReceipt

START_TIMEOUT_S = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that nobody has made yet."""
    return tmp_path / "data"


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    """An empty database on disk."""
    with Database(folder) as opened:
        yield opened


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """An empty outbox."""
    return Outbox(database)


@pytest.fixture
def job_log(database: Database) -> JobLog:
    """An empty log of jobs; it shares the database of `outbox`."""
    return JobLog(database)


@pytest.fixture(scope="session")
def old_outbox() -> ModuleType:
    """`old_outbox.py`, which test files cannot import."""
    spec = importlib.util.spec_from_file_location("old_outbox", Path(__file__).with_name("old_outbox.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _new_receipt(number: int, hub_id: str = "hub", job_id: str | None = None, key_name: str = "main-hub") -> NewReceipt:
    return NewReceipt(
        receipt_hash=Hash32(number.to_bytes(32, "big")),
        hub_id=hub_id,
        job_id=f"job-{number}" if job_id is None else job_id,
        key_name=key_name,
        request_fingerprint=b"f" * 32,
        receipt_json=b"{}",
        provider_signature=b"s" * 65,
        prompt_salt=b"x" * 32,
        answer_json=f'{{"number": {number}}}',
    )


@pytest.fixture(scope="session")
def new_receipt() -> Callable[..., NewReceipt]:
    """Makes receipts: `new_receipt(number, hub_id=…, job_id=…, key_name=…)`."""
    return _new_receipt


def _new_job(**changes: Any) -> NewJob:
    standard = {
        "key_name": "alice",
        "way_in": "plan",
        "model": "aitbc/tiny-sd",
        "pictures": 1,
        "request_body": b'{"prompt":"a red circle"}',
    }
    return NewJob(**{**standard, **changes})


@pytest.fixture(scope="session")
def new_job() -> Callable[..., NewJob]:
    """Makes jobs: `new_job(key_name=…, …)`."""
    return _new_job


class S3Server:
    """moto's S3 as a process of its own, on a loopback socket; it can be paused and killed."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._child.poll() is None, "the S3 server did not start"
            assert time.monotonic() < deadline
            try:
                httpx.get(self.url, timeout=5)
                return
            except httpx.TransportError:
                time.sleep(0.05)

    def make_bucket(self, name: str) -> None:
        """An empty bucket."""
        assert httpx.put(f"{self.url}/{name}", timeout=30).status_code == 200

    def kill(self) -> None:
        """Ends it at once; what it held is gone."""
        if self._child.poll() is None:
            os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait()


@pytest.fixture(scope="session")
def start_s3() -> Iterator[Callable[[], S3Server]]:
    """Starts S3 servers, and ends them with the session."""
    started: list[S3Server] = []

    def start() -> S3Server:
        started.append(S3Server())
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def s3(start_s3: Callable[[], S3Server]) -> S3Server:
    """One that tests share."""
    return start_s3()


@pytest.fixture
def s3_environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The environment of a process that keeps its pictures there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return s3
