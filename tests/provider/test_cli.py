"""`aitbc provider` as a whole: help at once, every command listed, failures as one line."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provider.cli import app

HEAVY = (
    "torch",
    "diffusers",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "pydantic",
    "httpx",
    "fsspec",
    "ray",
    "opentelemetry",
)
NOBODY = "http://127.0.0.1:9"


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
import provider.cli
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_command_has_its_help() -> None:
    listed = CliRunner().invoke(app, ["--help"]).stdout
    for name in (
        *("init", "run", "status", "drain", "benchmark", "models", "register", "update", "withdraw", "sla"),
        *("receipts", "jobs", "health", "keys", "generate", "verify"),
    ):
        assert f" {name} " in listed
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["health", "--url", NOBODY], 1, "no answer from a provider"),
        (["receipts", "--data-dir", "nowhere"], 2, "there is no database of a provider in nowhere"),
        (["jobs", "--data-dir", "nowhere"], 2, "there is no database of a provider in nowhere"),
        (["jobs", "--state", "lost"], 2, "--state: queued, running"),
        (["status", "--node-url", NOBODY, "--address", "0x12"], 2, "20 bytes"),
        (["status", "--node-url", NOBODY], 2, "whose?"),
        (["status", "--node-url", "nonsense"], 2, "node_url"),
        (["register", "--node-url", NOBODY], 2, "no key"),
        (["register", "--endpoint", "http://0.0.0.0:8000"], 2, "hubs cannot reach"),
        (["models", "--model", "a=/tmp", "--model", "a=/usr"], 2, "same name"),
        (["keys", "list"], 2, "which file?"),
        (["keys", "remove", "bob", "--api-keys-file", "nowhere.toml"], 2, "no file of API keys"),
        (["benchmark", "--size", "1x1"], 2, "warm_shapes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert (result.exit_code, complaint in result.stderr) == (code, True), result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
