"""`aitbc wallet` without a node: keys, passwords, exit codes, and what never touches the command line."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINTER
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from wallet.accounts import Accounts
from wallet.attester import attester_network
from wallet.keystore import load_key

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]


@pytest.fixture
def network_file(tmp_path: Path) -> Path:
    """A network file with one validator and one attester."""
    validator, attester = PrivateKey(b"\x01" * 32), PrivateKey(b"\x02" * 32)
    network = Network(
        chain_id=77,
        name="test",
        validators=(Validator(validator.address, validator.public_key),),
        attesters=(AttesterAllowance(attester.address, 10**24, 1000),),
    )
    path = tmp_path / "network.toml"
    path.write_text(network_to_toml(network))
    return path


def test_new_makes_a_key_that_other_tools_read(run: RunWallet, tmp_path: Path, password_file: Path) -> None:
    made = run("new", "alice", "--light", "--password-file", password_file, "--json")
    assert made.code == 0
    path = tmp_path / "home" / "keys" / "alice.json"
    key = load_key(path, PASSWORD)
    assert made.json == {
        "name": "alice",
        "address": to_checksum_address(key.address),
        "attester_of": None,
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


def test_no_option_takes_a_key_or_a_password(run: RunWallet) -> None:
    for command in (["new"], ["import"], ["send"], ["mint"], ["bind"]):
        shown = run(*command, "--help").stdout
        assert "--password " not in shown
        assert "--private-key" not in shown
        assert "--key " not in shown


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


def test_list_shows_what_is_in_order_and_names_what_is_not(run: RunWallet, tmp_path: Path, password_file: Path) -> None:
    assert run("list", "--json").json == {"accounts": []}
    for name in ("bob", "alice"):
        assert run("new", name, "--light", "--password-file", password_file).code == 0
    keys = tmp_path / "home" / "keys"
    (keys / "broken.json").write_text("{}")
    (keys / "broken.json").chmod(0o600)
    (keys / "notes.txt").write_text("not a key")
    ended = run("list", "--json")
    assert ended.code == 0
    assert [account["name"] for account in ended.json["accounts"]] == ["alice", "bob"]
    assert "account broken" in ended.stderr
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["alice", "bob"]


def test_bind_makes_an_attester_of_one_network(
    run: RunWallet, tmp_path: Path, network_file: Path, password_file: Path
) -> None:
    made = run("new", "attester", "--light", "--password-file", password_file, "--json").json
    bound = run("bind", "attester", "--network", network_file, "--password-file", password_file, "--json")
    assert bound.code == 0
    assert bound.json["address"] == made["address"]
    assert bound.json["attester_of"]["chain_id"] == 77
    assert to_checksum_address(load_key(made["path"], PASSWORD).address) == made["address"]
    assert run("bind", "attester", "--network", network_file, "--password-file", password_file).code == 0
    network_file.write_text(network_file.read_text().replace("chain_id = 77", "chain_id = 78"))
    other = run("bind", "attester", "--network", network_file, "--password-file", password_file)
    assert other.code == 1
    assert "chain 77" in other.stderr
    # A copy stays bound.
    copied = run("import", "copy", "--keystore", made["path"], "--light", "--password-file", password_file, "--json")
    assert copied.json["attester_of"] == bound.json["attester_of"]
    network = attester_network(Accounts(tmp_path / "home").get("copy").keystore)
    assert network is not None
    assert network.chain_id == 77


def test_bind_needs_the_password_and_a_network(run: RunWallet, tmp_path: Path, network_file: Path) -> None:
    assert run("new", "a", "--light", AITBC_PASSWORD=PASSWORD).code == 0
    assert run("bind", "a", "--network", network_file, AITBC_PASSWORD="wrong").code == 3
    assert run("bind", "a", "--network", tmp_path / "missing", AITBC_PASSWORD=PASSWORD).code == 1
    network_file.write_text("[balances]\nx = 1")
    assert run("bind", "a", "--network", network_file, AITBC_PASSWORD=PASSWORD).code == 1
    assert run("list", "--json").json["accounts"][0]["attester_of"] is None


@pytest.mark.parametrize(
    ("to", "amount", "hint"),
    [
        ("0x" + "00" * 20, "1", "nobody has a key"),
        (to_checksum_address(MINTER), "1", "nobody has a key"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "1", "checksum"),
        ("0x1234", "1", "20 bytes"),
        ("carol", "1", "no account 'carol'"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "1e3", "number of AIT"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0.0000000000000000001", "18 decimals"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "NaN", "number of AIT"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "1" + "0" * 60, "amount"),
    ],
)
def test_send_refuses_bad_arguments_before_anything_else(run: RunWallet, to: str, amount: str, hint: str) -> None:
    ended = run("send", to, amount, "--node-url", "http://127.0.0.1:1")
    assert (ended.code, ended.stdout) == (2, "")
    assert hint in ended.stderr


def test_send_in_atoms_takes_whole_numbers(run: RunWallet) -> None:
    payee = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert run("send", payee, "1.5", "--atoms", "--node-url", "http://127.0.0.1:1").code == 2
    # A negative number is an unknown option to the command line, which is usage as well.
    assert run("send", payee, "-1", "--node-url", "http://127.0.0.1:1").code == 2
    assert run("send", payee, "--node-url", "http://127.0.0.1:1", "--", "-1").code == 2


def test_a_node_that_is_none(run: RunWallet, key: PrivateKey) -> None:
    address = to_checksum_address(key.address)
    for command in (["balance", address], ["history", address]):
        assert run(*command, "--node-url", "ftp://x").code == 2
        unreachable = run(*command, "--node-url", "http://127.0.0.1:1")
        assert (unreachable.code, unreachable.stdout) == (4, "")
        assert "127.0.0.1:1" in unreachable.stderr
        assert run(*command, AITBC_NODE_URL="http://127.0.0.1:1").code == 4
    for command in (["balance"], ["balance", "alice"], ["history"]):
        assert run(*command, "--node-url", "http://127.0.0.1:1").code == 1


def test_which_account_is_meant(run: RunWallet) -> None:
    send = ("send", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "1", "--node-url", "http://127.0.0.1:1")
    nobody = run(*send)
    assert nobody.code == 1
    assert "aitbc wallet new" in nobody.stderr
    made = run("new", "alice", "--light", "--json", AITBC_PASSWORD=PASSWORD).json
    assert run(*send).code == 4  # The only account there is.
    assert run(*send, "--from", made["address"]).code == 4
    assert run("new", "bob", "--light", AITBC_PASSWORD=PASSWORD).code == 0
    unclear = run(*send)
    assert unclear.code == 1
    assert "alice, bob" in unclear.stderr
    assert run(*send, "--from", "bob").code == 4
    assert run(*send, "--from", "carol").code == 1
    assert run(*send, "--from", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed").code == 1


def test_debug_shows_where_and_keeps_the_exit_code(run: RunWallet) -> None:
    ended = run("balance", "alice", "--node-url", "http://127.0.0.1:1", AITBC_DEBUG="1")
    assert ended.code == 1
    assert "Traceback" in ended.stderr


def test_every_exit_code_is_in_the_help(run: RunWallet) -> None:
    shown = run("--help").stdout
    for code in (*range(11), 130):
        assert f"{code} " in shown


def test_starts_without_what_takes_long() -> None:
    script = (
        "import sys, wallet.cli; print([m for m in ('httpx', 'fastapi', 'torch', 'eth_keyfile') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


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
