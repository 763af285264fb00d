"""`aitbc wallet new|import|derive`: keys, words and passwords, and what never touches the command line or a disk."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from wallet.keystore import load_key, read_keystore
from wallet.words import check_words

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]

# Hardhat's and anvil's words, and the addresses that they print.
JUNK = "test " * 11 + "junk"
JUNK_ADDRESSES = [
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
]


def test_new_makes_a_key_that_other_tools_read(run: RunWallet, tmp_path: Path, password_file: Path) -> None:
    made = run("new", "alice", "--light", "--password-file", password_file, "--json")
    assert made.code == 0
    path = tmp_path / "home" / "keys" / "alice.json"
    key = load_key(path, PASSWORD)
    assert made.json == {
        "name": "alice",
        "address": to_checksum_address(key.address),
        "kind": "keystore",
        "attester_of": None,
        "derivation_path": None,
        "path": str(path),
    }
    assert bytes(Account.decrypt(path.read_text(), PASSWORD)) == key.secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_new_keys_differ_and_are_never_overwritten(run: RunWallet, tmp_path: Path, password_file: Path) -> None:
    first = run("new", "a", "--light", "--password-file", password_file, "--json")
    second = run("new", "b", "--light", "--password-file", password_file, "--json")
    assert first.json["address"] != second.json["address"]
    before = (tmp_path / "home" / "keys" / "a.json").read_bytes()
    again = run("new", "a", "--light", "--password-file", password_file)
    assert (again.code, again.stdout) == (1, "")
    assert "already" in again.stderr
    assert (tmp_path / "home" / "keys" / "a.json").read_bytes() == before


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "0xabc", "x" * 65, "a b", "é"])
def test_names_that_cannot_be(run: RunWallet, password_file: Path, tmp_path: Path, name: str) -> None:
    assert run("new", "--light", "--password-file", password_file, "--", name).code == 1
    assert not list(tmp_path.rglob("*.json"))


def test_without_a_terminal_passwords_come_from_file_or_environment(
    run_process: RunWallet, run: RunWallet, tmp_path: Path
) -> None:
    refused = run_process("new", "alice", "--light")
    assert (refused.code, refused.stdout) == (1, "")
    assert "--password-file" in refused.stderr
    assert run("new", "alice", "--light", AITBC_PASSWORD=PASSWORD).code == 0
    load_key(tmp_path / "home" / "keys" / "alice.json", PASSWORD)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 2000])
def test_unusable_password_files(run: RunWallet, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    ended = run("new", "alice", "--light", "--password-file", tmp_path / "password")
    assert ended.code == 1
    assert "password" in ended.stderr


@pytest.mark.parametrize("prefix", ["", "0x"])
def test_import_from_stdin(run: RunWallet, key: PrivateKey, prefix: str) -> None:
    ended = run("import", "alice", "--light", "--json", stdin=f"{prefix}{key.secret.hex()}\n", AITBC_PASSWORD=PASSWORD)
    assert ended.code == 0
    assert ended.json["address"] == to_checksum_address(key.address)
    assert key.secret.hex() not in ended.stdout + ended.stderr


@pytest.mark.parametrize("text", ["", "0x", "12", "zz" * 32, "00" * 32, "ff" * 32, "01" * 33, "01" * 5000])
def test_import_of_what_is_no_key(run: RunWallet, tmp_path: Path, text: str) -> None:
    ended = run("import", "alice", "--light", stdin=text, AITBC_PASSWORD=PASSWORD)
    assert (ended.code, ended.stdout) == (1, "")
    assert "no private key" in ended.stderr
    assert not text or text not in ended.stderr
    assert not list(tmp_path.rglob("alice.json"))


def test_import_of_a_keystore(run: RunWallet, tmp_path: Path, key: PrivateKey, password_file: Path) -> None:
    foreign = tmp_path / "UTC--2026-01-01"
    fields = Account.encrypt(key.secret, PASSWORD, iterations=2)
    del fields["address"]  # Foundry writes none.
    foreign.write_text(json.dumps(fields))
    foreign.chmod(0o644)
    ended = run("import", "alice", "--keystore", foreign, "--light", "--password-file", password_file, "--json")
    assert ended.code == 0
    assert "other users of this machine" in ended.stderr
    assert ended.json["address"] == to_checksum_address(key.address)
    assert load_key(ended.json["path"], PASSWORD).secret == key.secret


def test_import_with_a_wrong_password(run: RunWallet, tmp_path: Path, key: PrivateKey) -> None:
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(Account.encrypt(key.secret, "another", iterations=2)))
    foreign.chmod(0o600)
    ended = run("import", "alice", "--keystore", foreign, "--light", AITBC_PASSWORD=PASSWORD)
    assert (ended.code, ended.stdout) == (3, "")
    assert "does not open" in ended.stderr


def test_prompts_go_to_the_terminal_and_hide_what_is_typed(run_at_terminal: RunWallet) -> None:
    """A person at a terminal: asked twice for the new password, which is never echoed; stdout has the data only."""
    made = run_at_terminal(
        "new",
        "alice",
        "--light",
        "--json",
        answers=[
            ("Password for the new account alice: ", PASSWORD),
            ("The same password again: ", PASSWORD),
        ],
    )
    assert made.code == 0
    assert PASSWORD not in made.stderr
    assert to_checksum_address(load_key(made.json["path"], PASSWORD).address) == made.json["address"]


def test_two_different_passwords_make_nothing(run_at_terminal: RunWallet, tmp_path: Path) -> None:
    answers = [("Password for the new account alice: ", PASSWORD), ("again: ", PASSWORD + "x")]
    refused = run_at_terminal("new", "alice", "--light", answers=answers)
    assert (refused.code, refused.stdout) == (1, "")
    assert "the two passwords differ" in refused.stderr
    assert not list(tmp_path.rglob("alice.json"))


def nowhere(folder: Path, *secrets: str) -> bool:
    """Whether none of these stands in any file below the folder."""
    contents = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    return not any(secret in content for secret in secrets for content in contents)


@pytest.mark.parametrize("count", [12, 24])
def test_new_words_restore_the_key_anywhere(run: RunWallet, tmp_path: Path, count: int) -> None:
    made = run("new", "alice", "--words", count, "--light", "--json", AITBC_PASSWORD=PASSWORD)
    assert made.code == 0
    phrase = made.json["words"]
    assert len(check_words(phrase).split()) == count
    assert made.json["derivation_path"] == "m/44'/60'/0'/0/0"
    Account.enable_unaudited_hdwallet_features()
    assert Account.from_mnemonic(phrase).address == made.json["address"]
    assert nowhere(tmp_path, phrase)
    restored = run("import", "again", "--words", "--light", "--json", stdin=phrase, AITBC_PASSWORD=PASSWORD)
    assert restored.json["address"] == made.json["address"]
    assert phrase not in restored.stdout + restored.stderr
    assert load_key(restored.json["path"], PASSWORD).secret == load_key(made.json["path"], PASSWORD).secret


def test_without_json_the_words_are_a_line(run: RunWallet) -> None:
    made = run("new", "alice", "--words", "12", "--light", AITBC_PASSWORD=PASSWORD)
    assert len(check_words(made.stdout.splitlines()[-1]).split()) == 12
    assert "words" not in run("show", "alice", "--json").json


@pytest.mark.parametrize("count", ["0", "13", "15", "-12", "twelve"])
def test_other_numbers_of_words(run: RunWallet, tmp_path: Path, count: str) -> None:
    assert run("new", "alice", f"--words={count}", "--light", AITBC_PASSWORD=PASSWORD).code == 2
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("command", [["import", "--words"], ["derive"]])
@pytest.mark.parametrize(
    ("options", "path"),
    [
        ([], "m/44'/60'/0'/0/0"),
        (["--index", "2"], "m/44'/60'/0'/0/2"),
        (["--path", "m/44h/60h/0h/0/2"], "m/44'/60'/0'/0/2"),
        (["--path", "m/44'/60'/1'/0/0"], "m/44'/60'/1'/0/0"),
    ],
)
def test_any_key_of_the_words(run: RunWallet, command: list[str], options: list[str], path: str) -> None:
    made = run(*command, "alice", *options, "--light", "--json", stdin=f"  {JUNK}\n", AITBC_PASSWORD=PASSWORD)
    assert made.code == 0, made.stderr
    Account.enable_unaudited_hdwallet_features()
    assert made.json["address"] == Account.from_mnemonic(JUNK, account_path=path).address
    assert made.json["derivation_path"] == path
    assert read_keystore(made.json["path"]).fields["aitbc_derivation_path"] == path


def test_derive_shows_addresses_and_keeps_nothing(run: RunWallet, tmp_path: Path) -> None:
    shown = run("derive", "--count", "3", "--json", stdin=JUNK)
    assert [key["address"] for key in shown.json["keys"]] == JUNK_ADDRESSES
    assert run("derive", "--index", "1", "--count", "1", stdin=JUNK).stdout.split() == [
        "m/44'/60'/0'/0/1",
        JUNK_ADDRESSES[1],
    ]
    # Ledger Live counts another step, and a path ends at its last index.
    live = run("derive", "--path", "m/44'/60'/2147483646'", "--count", "3", "--json", stdin=JUNK).json["keys"]
    assert [key["derivation_path"] for key in live] == ["m/44'/60'/2147483646'", "m/44'/60'/2147483647'"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ["--words", "--keystore", "x"],
        ["--words", "--ledger"],
        ["--index", "1"],
        ["--path", "m/0"],
        ["--passphrase"],
        ["--ledger", "--passphrase"],
        ["--words", "--index", "1", "--path", "m/0"],
        ["--words", "--path", "m/x"],
        ["--words", "--index", "2147483648"],
        ["--words", "--index=-1"],
    ],
)
def test_options_that_contradict_each_other(run: RunWallet, tmp_path: Path, options: list[str]) -> None:
    assert run("import", "alice", *options, "--light", stdin=JUNK, AITBC_PASSWORD=PASSWORD).code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "test " * 12, "test " * 11, "x" * 5000, JUNK.replace("junk", "0x" + "12" * 32)])
def test_words_that_are_none(run: RunWallet, tmp_path: Path, text: str) -> None:
    refused = run("import", "alice", "--words", "--light", stdin=text, AITBC_PASSWORD=PASSWORD)
    assert (refused.code, refused.stdout) == (1, "")
    assert "words" in refused.stderr
    assert "12" * 32 not in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_copy_says_where_its_key_comes_from(run: RunWallet) -> None:
    made = run("derive", "alice", "--index", "1", "--light", "--json", stdin=JUNK, AITBC_PASSWORD=PASSWORD).json
    options = ("--light", "--json", "--keystore", made["path"])
    copied = run("import", "bob", *options, AITBC_PASSWORD=PASSWORD)
    assert copied.json == made | {"name": "bob", "path": copied.json["path"]}
