"""The wallet beside Foundry's `cast`: keystores, words, messages and typed data, each way."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from tests.wallet.test_typed_data import MAIL
from wallet.keystore import load_key

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]
RunCast = Callable[..., str]

pytestmark = pytest.mark.node("clients")


@pytest.fixture
def cast_wallet(cast: Path, tmp_path: Path) -> RunCast:
    """`cast wallet …`; its output."""

    def run_cast(*arguments: str | Path) -> str:
        ended = subprocess.run(
            [cast, "wallet", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"HOME": str(tmp_path / "foundry"), "NO_COLOR": "1"},
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    return run_cast


@pytest.fixture
def typed_file(tmp_path: Path) -> Path:
    """The example of EIP-712, and beyond it: numbers, bytes, lists, nothing in a list."""
    document = json.loads(json.dumps(MAIL))
    document["types"]["Person"] += [
        {"name": "debts", "type": "int64[]"},
        {"name": "marks", "type": "bytes4[2][]"},
        {"name": "blob", "type": "bytes"},
        {"name": "friends", "type": "Friend[]"},
        {"name": "limit", "type": "uint256"},
    ]
    document["types"]["Friend"] = [{"name": "since", "type": "uint40"}, {"name": "close", "type": "bool"}]
    grown = {"debts": [-1, 5], "marks": [["0x01020304", "0xffffffff"]], "blob": "0x00ff", "friends": [], "limit": "7"}
    document["message"]["to"] |= grown
    document["message"]["from"] |= grown | {"friends": [{"since": 5, "close": True}], "limit": str(2**256 - 1)}
    path = tmp_path / "typed.json"
    path.write_text(json.dumps(document))
    return path


def test_a_keystore_of_foundry(run: RunWallet, cast_wallet: RunCast, tmp_path: Path) -> None:
    (tmp_path / "foundry").mkdir()
    cast_wallet("new", tmp_path / "foundry", "key", "--unsafe-password", PASSWORD)
    path = tmp_path / "foundry" / "key"
    imported = run("import", "alice", "--keystore", path, "--light", "--json", AITBC_PASSWORD=PASSWORD)
    assert imported.code == 0, imported.stderr
    address = cast_wallet("address", "--keystore", path, "--password", PASSWORD)
    assert imported.json["address"] == address


def test_foundry_opens_what_is_exported(
    run: RunWallet, cast_wallet: RunCast, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    assert run("export", "alice", "--keystore", tmp_path / "alice", AITBC_PASSWORD=PASSWORD).code == 0
    address = cast_wallet("address", "--keystore", tmp_path / "alice", "--password", PASSWORD)
    assert address == to_checksum_address(people["alice"].address)


@pytest.mark.parametrize("index", [0, 1, 1000])
def test_the_same_words_are_the_same_keys(run: RunWallet, cast_wallet: RunCast, index: int) -> None:
    made = run("new", "alice", "--words", "24", "--light", "--json", AITBC_PASSWORD=PASSWORD)
    phrase = made.json["words"]
    derived = run("derive", "other", "--index", index, "--light", "--json", stdin=phrase, AITBC_PASSWORD=PASSWORD)
    assert derived.json["address"] == cast_wallet("address", "--mnemonic", phrase, "--mnemonic-index", index)


def test_words_of_foundry(run: RunWallet, cast_wallet: RunCast) -> None:
    drawn = json.loads(cast_wallet("new-mnemonic", "--words", "12", "--json"))
    made = run("import", "alice", "--words", "--light", "--json", stdin=drawn["mnemonic"], AITBC_PASSWORD=PASSWORD)
    assert made.json["address"] == drawn["accounts"][0]["address"]


def test_signatures_of_messages(run: RunWallet, cast_wallet: RunCast, people: dict[str, PrivateKey]) -> None:
    signed = run("sign", "message", "hello é", "--from", "alice", "--yes", AITBC_PASSWORD=PASSWORD).stdout.strip()
    alice = to_checksum_address(people["alice"].address)
    assert "succeeded" in cast_wallet("verify", "--address", alice, "hello é", signed)
    theirs = cast_wallet("sign", "--private-key", f"0x{people['bob'].secret.hex()}", "hello é")
    assert run("verify", "message", "hello é", "--signature", theirs, "--address", "bob").code == 0


def test_signatures_of_typed_data(
    run: RunWallet, cast_wallet: RunCast, people: dict[str, PrivateKey], typed_file: Path
) -> None:
    options = ("--from", "alice", "--yes", "--chain-id", "1")
    signed = run("sign", "typed", typed_file, *options, AITBC_PASSWORD=PASSWORD)
    assert signed.code == 0, signed.stderr
    theirs = cast_wallet(
        "sign", "--private-key", f"0x{people['alice'].secret.hex()}", "--data", "--from-file", typed_file
    )
    assert signed.stdout.strip() == theirs
    assert run("verify", "typed", typed_file, "--signature", theirs, "--address", "alice").code == 0


def test_a_keystore_of_foundry_is_the_same_key(cast_wallet: RunCast, tmp_path: Path) -> None:
    """With the bare key in between: the keystore alone could have been misread alike by both."""
    key = PrivateKey.generate()
    (tmp_path / "foundry").mkdir()
    secret = f"0x{key.secret.hex()}"
    options = ("--keystore-dir", tmp_path / "foundry", "--private-key", secret, "--unsafe-password", PASSWORD)
    cast_wallet("import", "key", *options)
    assert load_key(tmp_path / "foundry" / "key", PASSWORD, allow_shared=True).secret == key.secret
