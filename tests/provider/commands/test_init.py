"""`aitbc provider init`: everything a new provider needs, secrets closed and shown once, nothing overwritten."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from provider.api_keys import load_api_keys
from provider.commands.signing_key import load_provider_key
from provider.settings import ProviderSettings
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from wallet.keystore import LIGHT_SCRYPT_N, save_key

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_it_makes_is_what_run_needs(working_folder: Path, invoke: Invoke) -> None:
    exit_code, stdout, _ = invoke("init", "--node-url", "http://127.0.0.1:9", "--price-per-unit", "7", "--json")
    assert exit_code == 0
    made = json.loads(stdout)
    settings = ProviderSettings.build()
    assert (settings.price_per_unit, settings.node_url) == (7, "http://127.0.0.1:9")
    assert settings.data_dir == working_folder / "provider-data"
    key = load_provider_key(settings.keystore, settings.password_file)
    assert to_checksum_address(key.address) == made["provider"]
    caller = load_api_keys(settings.api_keys_file, None).find(made["api_key"])
    assert caller is not None
    assert caller.name == "me"
    assert made["next"] == "aitbc provider run"


def test_secrets_are_closed_and_the_api_key_stands_nowhere(working_folder: Path, invoke: Invoke) -> None:
    _, stdout, _ = invoke("init")
    (api_key,) = [line.split()[2] for line in stdout.splitlines() if line.startswith("api key")]
    assert len(api_key) == 43
    assert stat.S_IMODE((working_folder / "provider-data").stat().st_mode) == 0o700
    for path in (working_folder / ".env", *(working_folder / "provider-data").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert api_key.encode() not in path.read_bytes()


def test_nothing_is_ever_overwritten(working_folder: Path, invoke: Invoke) -> None:
    invoke("init")
    before = snapshot(working_folder)
    for words in (["init"], ["init", "--data-dir", "other"], ["init", "--env-file", "other.env"]):
        exit_code, _, stderr = invoke(*words)
        assert exit_code == 2
        assert "already; nothing was written" in stderr
    assert snapshot(working_folder) == before
    assert invoke("init", "--data-dir", "other", "--env-file", "other.env")[0] == 0
    assert {name: content for name, content in snapshot(working_folder).items() if name in before} == before


def test_a_dangling_link_is_there_too(working_folder: Path, invoke: Invoke) -> None:
    (working_folder / ".env").symlink_to(working_folder / "nowhere")
    assert invoke("init")[0] == 2
    assert not (working_folder / "nowhere").exists()


def test_what_cannot_be_finished_leaves_nothing(working_folder: Path, invoke: Invoke) -> None:
    (working_folder / "file").write_text("")
    exit_code, _, stderr = invoke("init", "--env-file", "file/.env")
    assert (exit_code, "file" in stderr) == (1, True)
    assert snapshot(working_folder) == {"file": b""}


def test_a_key_that_one_has(working_folder: Path, invoke: Invoke) -> None:
    key = PrivateKey(b"\x11" * 32)
    save_key(working_folder / "mine.json", key, "my password", scrypt_n=LIGHT_SCRYPT_N)
    (working_folder / "secret").write_text("my password\n")
    words = ["init", "--keystore", "mine.json", "--password-file", "secret", "--json"]
    made = json.loads(invoke(*words)[1])
    assert made["provider"] == to_checksum_address(key.address)
    assert sorted(path.name for path in (working_folder / "provider-data").iterdir()) == ["keys.toml"]
    settings = ProviderSettings.build()
    assert load_provider_key(settings.keystore, settings.password_file).address == key.address


def test_a_wrong_password_is_found_out_at_once(working_folder: Path, invoke: Invoke) -> None:
    save_key(working_folder / "mine.json", PrivateKey(b"\x11" * 32), "my password", scrypt_n=LIGHT_SCRYPT_N)
    (working_folder / "secret").write_text("another\n")
    before = snapshot(working_folder)
    exit_code, _, stderr = invoke("init", "--keystore", "mine.json", "--password-file", "secret")
    assert (exit_code, "does not open" in stderr) == (1, True)
    assert snapshot(working_folder) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--client", "no spaces"],
        ["--price-per-unit", "0.5"],
        ["--node-url", "x"],
        ["--model", "a=/t", "--model", "a=/u"],
    ],
)
def test_bad_choices_write_nothing(working_folder: Path, invoke: Invoke, words: list[str]) -> None:
    assert invoke("init", *words)[0] == 2
    assert snapshot(working_folder) == {}


def test_paths_with_spaces_and_quotes_come_through(working_folder: Path, invoke: Invoke) -> None:
    folder = 'my "provider" $HOME \\ data'
    assert invoke("init", "--data-dir", folder)[0] == 0
    assert ProviderSettings.build().data_dir == working_folder / folder


def test_from_init_to_a_picture(working_folder: Path, invoke: Invoke, start: Callable[..., object]) -> None:
    made = json.loads(
        invoke("init", "--data-dir", "made", "--node-url", "http://127.0.0.1:9", "--port", "0", "--json")[1]
    )
    with Database(working_folder / "made") as database:
        FolderIdentity(database).bind("chain_id", "424242")
    child = start("run", "--cpu-threads", "1")
    answer: httpx.Response = child.generate(secret=made["api_key"])  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert answer.json()["receipt"]["provider"] == made["provider"]
