"""`aitbc provider` as a process of its own: what it says when it cannot start, and how it ends."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from chain.primitives.keys import PrivateKey
from provider.cli import app
from provider.outbox import Outbox
from wallet.keystore import LIGHT_SCRYPT_N, save_key

SECRET = "client-secret-0123456789"
COMMAND = [sys.executable, "-m", "genesis.cli", "provider"]


@pytest.fixture
def folder(tmp_path: Path, provider_key: PrivateKey) -> Path:
    """A folder with a keystore, its password, API keys, and an outbox that knows its chain."""
    save_key(tmp_path / "key.json", provider_key, "password", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password").write_text("password\n")
    (tmp_path / "keys.toml").write_text(f'[clients]\nalice = "{SECRET}"\n')
    (tmp_path / "keys.toml").chmod(0o600)
    with Outbox(tmp_path / "data") as outbox:
        outbox.bind("genesis_hash", "0x" + "17" * 32)
        outbox.bind("chain_id", "424242")
    return tmp_path


def arguments(folder: Path, **changes: Any) -> list[str]:
    flags = {
        "keystore": folder / "key.json",
        "password-file": folder / "password",
        "api-keys-file": folder / "keys.toml",
        "data-dir": folder / "data",
        "node-url": "http://127.0.0.1:9",
        "port": 0,
    }
    given = {**flags, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return ["run", *(text for name, value in given.items() if value is not None for text in (f"--{name}", str(value)))]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], check=False, capture_output=True, text=True, timeout=120)


def invoke(*words: str) -> tuple[int, str]:
    """Exit code and stderr of a command that ends before it would serve."""
    result = CliRunner().invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stderr


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_what_cannot_start_says_why(folder: Path, taken_port: int) -> None:
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
        ({"port": 70_000}, 2, "bind_port"),
        ({"port": taken_port}, 1, f"port {taken_port}"),
        ({"log_level": "loud"}, 2, "log-level"),
    ):
        exit_code, stderr = invoke(*arguments(folder, **changes))
        assert (exit_code, complaint in stderr) == (code, True), stderr
        assert stderr.count("\n") == 1


def test_a_data_folder_in_use(folder: Path) -> None:
    with Outbox(folder / "data"):
        ended = run(*arguments(folder))
    assert ended.returncode == 2
    assert "another provider runs" in ended.stderr


def test_a_data_folder_of_another_key(folder: Path) -> None:
    with Outbox(folder / "data") as outbox:
        outbox.bind("provider", "0x" + "00" * 20)
    ended = run(*arguments(folder))
    assert ended.returncode == 2
    assert "belongs to provider" in ended.stderr


def test_the_other_commands_say_what_is_wrong(folder: Path) -> None:
    nobody = "http://127.0.0.1:9"
    for words, code, complaint in (
        (["health", "--url", nobody], 1, "no answer from a provider"),
        (["receipts", "--data-dir", str(folder / "nowhere")], 2, "there is no outbox"),
        (["status", "--node-url", nobody, "--address", "0x12"], 2, "20 bytes"),
        (["status", "--node-url", nobody], 2, "whose?"),
        (["status", "--node-url", nobody, "--address", "0x" + "11" * 20], 1, "no answer from the node"),
        (["register", "--node-url", nobody], 2, "no key"),
        (["register", "--endpoint", "http://0.0.0.0:8000"], 2, "hubs cannot reach"),
    ):
        exit_code, stderr = invoke(*words)
        assert (exit_code, complaint in stderr) == (code, True), stderr


def test_a_model_that_cannot_be_loaded_ends_the_process(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "model_index.json").write_text("{}")
    ended = run(*arguments(folder, model=folder / "model"))
    assert ended.returncode == 1
    assert "cannot be loaded" in ended.stderr.splitlines()[-1]


def test_a_signal_lets_the_job_at_work_finish(folder: Path, eventually: Callable[..., None]) -> None:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*COMMAND, *arguments(folder)], stdout=log, stderr=log)
    answers: list[httpx.Response] = []

    def url() -> str | None:
        for line in (folder / "log").read_text().splitlines():
            if line.startswith("{") and json.loads(line)["event"] == "serving":
                address: str = json.loads(line)["url"]
                return address
        return None

    def health() -> dict[str, Any]:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            fields: dict[str, Any] = httpx.get(f"{url()}/v1/health", timeout=5).json()
        except (httpx.HTTPError, httpx.UnsupportedProtocol):
            return {"status": "not there"}
        return fields

    def ask() -> None:
        body = {"api_key": SECRET, "prompt": "a red circle", "steps": 100, "width": 512, "height": 512}
        answers.append(httpx.post(f"{url()}/v1/generate-image", json=body, timeout=120))

    eventually(lambda: url() is not None and health()["status"] == "ok", 120)
    client = threading.Thread(target=ask)
    client.start()
    eventually(lambda: health()["queue"]["busy"])
    process.send_signal(signal.SIGTERM)
    client.join()
    assert process.wait(60) == 0
    assert answers[0].status_code == 200
    log_text = (folder / "log").read_text()
    assert "Traceback" not in log_text
    assert SECRET not in log_text
    assert "red circle" not in log_text

    listed = json.loads(run("receipts", "--data-dir", str(folder / "data"), "--json").stdout)
    assert listed["counts"]["signed"] == 1
    assert listed["items"][0]["receipt_hash"] == answers[0].json()["receipt_hash"]
