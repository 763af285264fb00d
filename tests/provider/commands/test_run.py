"""`aitbc provider run` as a process of its own: what it says when it cannot start."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provider.storage.database import Database
from provider.storage.identity import FolderIdentity

Run = Callable[..., subprocess.CompletedProcess[str]]
Invoke = Callable[..., tuple[int, str, str]]
Arguments = Callable[..., list[str]]
SECRET = "client-secret-0123456789"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_what_cannot_start_says_why(folder: Path, taken_port: int, invoke: Invoke, arguments: Arguments) -> None:
    (folder / "empty.toml").touch(mode=0o600)
    for changes, code, complaint in (
        ({"api_keys_file": None}, 2, "no API key"),
        ({"api_keys_file": folder / "empty.toml"}, 2, "no API key"),
        ({"keystore": None}, 2, "--keystore"),
        ({"keystore": folder / "nowhere.json"}, 1, "nowhere.json"),
        ({"password_file": folder / "keys.toml"}, 1, "password does not open"),
        ({"data_dir": folder / "keys.toml" / "data"}, 2, "keys.toml/data"),
        ({"model": folder / "no-model"}, 2, "no-model"),
        ({"model": folder}, 2, "model_index.json"),
        ({"price_per_unit": "0.1"}, 2, "price_per_unit"),
        ({"price": "unknown=1"}, 2, "prices: no model is called unknown"),
        ({"artifacts": "ftp://host/x"}, 2, "s3://bucket/prefix"),
        ({"port": 70_000}, 2, "bind_port"),
        ({"port": taken_port}, 1, f"port {taken_port}"),
        ({"log_level": "loud"}, 2, "log-level"),
    ):
        exit_code, _, stderr = invoke(*arguments(**changes))
        assert (exit_code, complaint in stderr) == (code, True), stderr
        assert stderr.count("\n") == 1


def test_a_data_folder_in_use(folder: Path, run: Run, arguments: Arguments) -> None:
    with Database(folder / "data"):
        ended = run(*arguments())
    assert ended.returncode == 2
    assert "another provider runs" in ended.stderr


def test_a_data_folder_of_another_key(folder: Path, run: Run, arguments: Arguments) -> None:
    with Database(folder / "data") as database:
        FolderIdentity(database).bind("provider", "0x" + "00" * 20)
    ended = run(*arguments())
    assert ended.returncode == 2
    assert "belongs to provider" in ended.stderr


def test_a_damaged_database_is_said_and_left_alone(folder: Path, run: Run, arguments: Arguments) -> None:
    (folder / "data" / "outbox.sqlite3").write_bytes(b"damaged" * 1000)
    ended = run(*arguments())
    assert ended.returncode == 2
    assert "is damaged" in ended.stderr
    assert (folder / "data" / "outbox.sqlite3").read_bytes() == b"damaged" * 1000
