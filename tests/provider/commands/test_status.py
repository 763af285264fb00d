"""`aitbc provider status`: all that can be had, whatever of it is there. With a chain: tests of the registration."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from wallet.keystore import LIGHT_SCRYPT_N, save_key

Invoke = Callable[..., tuple[int, str, str]]
Run = Callable[..., subprocess.CompletedProcess[str]]
NOBODY = ["--node-url", "http://127.0.0.1:9"]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_running_provider_whose_chain_is_down(running: Any, run: Run, provider_key: PrivateKey) -> None:
    assert running.generate(count=2).status_code == 200
    words = ["status", "--data-dir", str(running.settings.data_dir), "--url", running.url, *NOBODY]
    ended = run(*words, "--json")
    assert ended.returncode == 1
    found = json.loads(ended.stdout)
    address = to_checksum_address(provider_key.address)
    assert (found["process"]["running"], found["process"]["process_id"]) == (True, os.getpid())
    assert (found["process"]["status"], found["process"]["provider"]) == ("ok", address)
    assert found["database"]["receipts"]["signed"] == 1
    assert found["database"]["jobs_last_day"]["done"] == 1
    assert (found["database"]["pictures_last_day"], found["database"]["chain_id"]) == (2, "424242")
    assert found["database"]["p50_ms"] > 0
    assert (found["chain"]["provider"], "no answer" in found["chain"]["error"]) == (address, True)
    assert "signed 1" in run(*words).stdout


def test_nothing_but_a_keystore(working_folder: Path, invoke: Invoke) -> None:
    key = PrivateKey(b"\x11" * 32)
    save_key(working_folder / "key.json", key, "password", scrypt_n=LIGHT_SCRYPT_N)
    exit_code, stdout, _ = invoke("status", "--keystore", "key.json", *NOBODY, "--json")
    assert exit_code == 1
    found = json.loads(stdout)
    assert found["process"] == {"running": False, "process_id": None}
    assert "no database" in found["database"]["error"]
    assert found["chain"]["provider"] == to_checksum_address(key.address)


def test_a_process_that_does_not_answer(working_folder: Path, invoke: Invoke, provider_key: PrivateKey) -> None:
    words = ["--url", "http://127.0.0.1:9", "--address", to_checksum_address(provider_key.address), "--json"]
    found = json.loads(invoke("status", *words, *NOBODY)[1])
    assert "no answer from a provider" in found["process"]["error"]
