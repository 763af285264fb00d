"""What the tests of the storage share: real SQLite files."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chain.primitives.types import Hash32
from provider.storage.database import Database
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.rows import NewJob, NewReceipt


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
