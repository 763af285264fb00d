"""What the tests of the commands share: a folder to start a provider in, and a provider as a process of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from chain.primitives.keys import PrivateKey
from provider.cli import app
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from wallet.keystore import LIGHT_SCRYPT_N, save_key

SECRET = "client-secret-0123456789"
COMMAND = [sys.executable, "-m", "genesis.cli", "provider"]


@pytest.fixture
def folder(tmp_path: Path, provider_key: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: keystore, password, API keys, and a data folder that knows its chain."""
    monkeypatch.chdir(tmp_path)
    save_key(tmp_path / "key.json", provider_key, "password", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password").write_text("password\n")
    (tmp_path / "keys.toml").write_text(f'[clients]\nalice = "{SECRET}"\n')
    (tmp_path / "keys.toml").chmod(0o600)
    with Database(tmp_path / "data") as database:
        FolderIdentity(database).bind("genesis_hash", "0x" + "17" * 32)
        FolderIdentity(database).bind("chain_id", "424242")
    return tmp_path


def _arguments(folder: Path, **changes: Any) -> list[str]:
    flags = {
        "keystore": folder / "key.json",
        "password-file": folder / "password",
        "api-keys-file": folder / "keys.toml",
        "data-dir": folder / "data",
        "node-url": "http://127.0.0.1:9",  # Nobody listens there.
        "port": 0,
    }
    given = {**flags, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return ["run", *(text for name, value in given.items() if value is not None for text in (f"--{name}", str(value)))]


@pytest.fixture
def arguments(folder: Path) -> Callable[..., list[str]]:
    """Flags of `run`, with changes; None leaves one out."""
    return lambda **changes: _arguments(folder, **changes)


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command as a process of its own, to its end."""
    return lambda *words: subprocess.run([*COMMAND, *words], check=False, capture_output=True, text=True, timeout=180)


@pytest.fixture
def invoke() -> Callable[..., tuple[int, str, str]]:
    """Exit code, stdout and stderr of a command in this process."""

    def call(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


class ProviderChild:
    """`aitbc provider run` as a process."""

    def __init__(self, words: list[str], log: Path) -> None:
        self._log = log
        with log.open("w") as stream:
            self._child = subprocess.Popen([*COMMAND, *words], stdout=stream, stderr=stream)
        self.process_id = self._child.pid

    def log_text(self) -> str:
        """Everything it has written."""
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    def url(self) -> str | None:
        """Where it listens, once it says so."""
        return next((line["url"] for line in self.lines() if line["event"] == "serving"), None)

    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        assert self._child.poll() is None, self.log_text()
        try:
            fields: dict[str, Any] = httpx.get(f"{self.url()}/v1/health", timeout=5).json()
        except (httpx.HTTPError, httpx.UnsupportedProtocol):
            return {"status": "not there"}
        return fields

    def generate(self, secret: str = SECRET, **fields: Any) -> httpx.Response:
        """Asks for a picture."""
        body = {"api_key": secret, "prompt": "a red circle", "steps": 5, "width": 256, "height": 256, **fields}
        return httpx.post(f"{self.url()}/v1/generate-image", json=body, timeout=120)

    def send_signal(self, number: int) -> None:
        """SIGTERM, say."""
        self._child.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        return self._child.wait(180)

    def kill(self) -> None:
        """Ends it at once, if it still runs."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGKILL)
        self._child.wait()


@pytest.fixture
def start(folder: Path, eventually: Callable[..., None]) -> Iterator[Callable[..., ProviderChild]]:
    """Starts `run` with these words and waits until it takes jobs."""
    started: list[ProviderChild] = []

    def begin(*words: str) -> ProviderChild:
        child = ProviderChild(list(words), folder / f"log-{len(started)}")
        started.append(child)
        eventually(lambda: child.url() is not None and child.health()["status"] == "ok", 120)
        return child

    yield begin
    for child in started:
        child.kill()
