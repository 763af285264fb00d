"""`aitbc wallet export`: what leaves the wallet, and only after somebody agreed to it."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Hash32
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]


def test_a_keystore_that_other_tools_open(run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path) -> None:
    target = tmp_path / "backup" / "alice"
    exported = run("export", "alice", "--keystore", target, "--json", AITBC_PASSWORD=PASSWORD)
    address = to_checksum_address(people["alice"].address)
    assert exported.json == {"name": "alice", "address": address, "path": str(target)}
    assert bytes(Account.decrypt(target.read_text(), PASSWORD)) == people["alice"].secret
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()
    assert run("export", "bob", "--keystore", target, AITBC_PASSWORD=PASSWORD).code == 1
    assert target.read_bytes() == before
    assert run("show", "alice").code == 0


def test_a_backup_that_nobody_can_open_is_not_made(
    run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    assert run("export", "alice", "--keystore", tmp_path / "backup", AITBC_PASSWORD="wrong").code == 3
    assert not (tmp_path / "backup").exists()


def test_a_bare_key_takes_a_confirmation(run: RunWallet, people: dict[str, PrivateKey]) -> None:
    secret = to_hex(people["alice"].secret)
    refused = run("export", "alice", "--private-key", AITBC_PASSWORD=PASSWORD)
    assert (refused.code, refused.stdout) == (9, "")
    exported = run("export", "alice", "--private-key", "--yes", AITBC_PASSWORD=PASSWORD)
    assert exported.stdout == f"{secret}\n"
    assert secret not in exported.stderr
    as_json = run("export", "alice", "--private-key", "--yes", "--json", AITBC_PASSWORD=PASSWORD)
    assert as_json.json["private_key"] == secret
    back = run("import", "again", "--light", "--json", stdin=exported.stdout, AITBC_PASSWORD=PASSWORD)
    assert back.json["address"] == to_checksum_address(people["alice"].address)
    assert run("export", "alice", "--private-key", "--yes", AITBC_PASSWORD="wrong").stdout == ""


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_a_person_is_asked_first(run_at_terminal: RunWallet, people: dict[str, PrivateKey], answer: str) -> None:
    answers = [("Export it? [y/N] ", answer)] + [("Password for ", PASSWORD)] * (answer == "y")
    ended = run_at_terminal("export", "alice", "--private-key", answers=answers)
    assert ended.code == (0 if answer == "y" else 9)
    assert "can take everything" in ended.stderr
    assert people["alice"].secret.hex() not in ended.stderr
    assert (people["alice"].secret.hex() in ended.stdout) == (answer == "y")


def test_a_bare_key_in_a_file_is_closed_to_others(
    run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    options = ("--private-key", "--output", tmp_path / "key", "--yes")
    exported = run("export", "alice", *options, AITBC_PASSWORD=PASSWORD)
    assert people["alice"].secret.hex() not in exported.stdout + exported.stderr
    assert (tmp_path / "key").read_text() == to_hex(people["alice"].secret) + "\n"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert run("export", "bob", *options, AITBC_PASSWORD=PASSWORD).code == 1
    assert (tmp_path / "key").read_text() == to_hex(people["alice"].secret) + "\n"


@pytest.mark.parametrize(
    "options", [[], ["--keystore", "x", "--private-key"], ["--output", "x"], ["--keystore", "x", "--output", "y"]]
)
def test_exactly_one_form(run: RunWallet, people: dict[str, PrivateKey], options: list[str]) -> None:
    assert run("export", "alice", *options, "--yes", AITBC_PASSWORD=PASSWORD).code == 2


def test_an_attester_leaves_only_with_its_network(run: RunWallet, key: PrivateKey, tmp_path: Path) -> None:
    network = AttesterNetwork(77, Hash32(b"\x07" * 32))
    path = tmp_path / "home" / "keys" / "attester.json"
    save_attester_key(path, key, PASSWORD, network, scrypt_n=LIGHT_SCRYPT_N)
    refused = run("export", "attester", "--private-key", "--yes", AITBC_PASSWORD=PASSWORD)
    assert (refused.code, refused.stdout) == (1, "")
    assert "would serve any network" in refused.stderr
    assert run("export", "attester", "--keystore", tmp_path / "backup", AITBC_PASSWORD=PASSWORD).code == 0
    fields = json.loads((tmp_path / "backup").read_text())
    assert fields["aitbc_network"] == {"chain_id": 77, "genesis_hash": to_hex(network.genesis_hash)}
