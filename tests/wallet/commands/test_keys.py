"""`aitbc wallet list|show|rename|remove|bind`: what is in a home, and that nothing is ever lost from it."""

import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from wallet.accounts import Accounts
from wallet.attester import attester_network
from wallet.keystore import LIGHT_SCRYPT_N, KeystoreError, load_key
from wallet.ledger_account import write_ledger_account

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


def test_a_damaged_attester_keystore_hides_no_other_account(run: RunWallet, people: dict[str, PrivateKey]) -> None:
    made = run("list", "--json").json["accounts"]
    path = Path(made[0]["path"])
    path.write_text(path.read_text().replace('"version": 3', '"version": 3, "aitbc_network": {"chain_id": "7"}'))
    listed = run("list", "--json")
    assert listed.code == 0
    assert "account alice" in listed.stderr
    assert "aitbc_network is damaged" in listed.stderr
    assert listed.json["accounts"] == made[1:]


def test_show(run: RunWallet, people: dict[str, PrivateKey]) -> None:
    shown = run("show", "alice", "--json")
    address = to_checksum_address(people["alice"].address)
    assert shown.json == run("show", address, "--json").json
    assert shown.json["address"] == address
    assert shown.json["key_derivation"] == f"scrypt {LIGHT_SCRYPT_N}"
    assert "public_key" not in shown.json
    unlocked = run("show", "alice", "--public-key", "--json", AITBC_PASSWORD=PASSWORD)
    assert unlocked.json == shown.json | {"public_key": to_hex(people["alice"].public_key)}
    assert address in run("show", "alice").stdout
    assert run("show", "alice", "--public-key", AITBC_PASSWORD="wrong").code == 3
    assert run("show", "carol").code == 1


def test_rename(run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path) -> None:
    renamed = run("rename", "alice", "carol", "--json")
    assert renamed.code == 0
    path = tmp_path / "home" / "keys" / "carol.json"
    assert renamed.json["path"] == str(path)
    assert load_key(path, PASSWORD).secret == people["alice"].secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Accounts(tmp_path / "home").names() == ["bob", "carol"]
    before = path.read_bytes()
    for new_name in ("bob", "carol", "../x", "0xabc"):
        assert run("rename", "carol", new_name).code == 1
    assert run("rename", "alice", "dora").code == 1
    assert path.read_bytes() == before
    assert Accounts(tmp_path / "home").names() == ["bob", "carol"]


def _rename(home: Path, name: str, barrier: Any, results: Any) -> None:
    accounts = Accounts(home)
    account = accounts.get(name)
    barrier.wait()
    try:
        accounts.rename(account, "taken")
        results.put(name)
    except KeystoreError:
        results.put(None)


def test_of_several_that_take_one_name_one_wins(people: dict[str, PrivateKey], tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_rename, args=(tmp_path / "home", name, barrier, results)) for name in people]
    for worker in workers:
        worker.start()
    winners = [name for name in (results.get(timeout=90) for _ in workers) if name]
    for worker in workers:
        worker.join()
    accounts = Accounts(tmp_path / "home")
    (winner,) = winners
    (loser,) = people.keys() - {winner}
    assert accounts.names() == sorted([loser, "taken"])
    assert accounts.get("taken").address == people[winner].address
    assert accounts.get(loser).address == people[loser].address


def test_what_is_removed_can_be_had_back(run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path) -> None:
    refused = run("remove", "alice")
    assert (refused.code, refused.stdout) == (9, "")
    removed = run("remove", "alice", "--yes", "--json")
    assert removed.code == 0
    kept = Path(removed.json["kept"])
    assert kept == tmp_path / "home" / "removed" / "alice-1.json"
    assert f"aitbc wallet import alice --keystore {kept}" in removed.stderr
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert Accounts(tmp_path / "home").names() == ["bob"]
    assert run("remove", "alice", "--yes").code == 1
    assert run("import", "alice", "--keystore", kept, "--light", AITBC_PASSWORD=PASSWORD).code == 0
    assert Accounts(tmp_path / "home").get("alice").address == people["alice"].address
    again = run("remove", "alice", "--yes", "--json")
    assert again.json["kept"] == str(kept.with_name("alice-2.json"))
    assert load_key(kept, PASSWORD).secret == people["alice"].secret


@pytest.mark.parametrize(("typed", "code"), [("alice", 0), ("Alice", 9), ("y", 9), ("", 9)])
def test_removal_is_confirmed_by_name(
    run_at_terminal: RunWallet, people: dict[str, PrivateKey], tmp_path: Path, typed: str, code: int
) -> None:
    removed = run_at_terminal("remove", "alice", answers=[("Type its name to confirm: ", typed)])
    assert removed.code == code
    assert to_checksum_address(people["alice"].address) in removed.stderr
    assert ("alice" in Accounts(tmp_path / "home").names()) == (code != 0)


def test_a_folder_that_cannot_be_written_loses_nothing(
    run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    (tmp_path / "home" / "removed").write_text("a file where the folder should be")
    assert run("remove", "alice", "--yes").code == 1
    assert Accounts(tmp_path / "home").get("alice").address == people["alice"].address


def test_an_attester_stays_one_under_another_name_and_in_a_backup(
    run: RunWallet, people: dict[str, PrivateKey], network_file: Path, tmp_path: Path
) -> None:
    bound = run("bind", "alice", "--network", network_file, "--json", AITBC_PASSWORD=PASSWORD).json
    assert run("rename", "alice", "carol", "--json").json["attester_of"] == bound["attester_of"]
    assert "attester of chain 77" in run("show", "carol").stdout
    kept = run("remove", "carol", "--yes", "--json").json["kept"]
    back = run("import", "dora", "--keystore", kept, "--light", "--json", AITBC_PASSWORD=PASSWORD).json
    assert back["attester_of"] == bound["attester_of"]


def test_a_key_in_a_ledger(run: RunWallet, key: PrivateKey, network_file: Path, tmp_path: Path) -> None:
    """Its file says where it is; what only a key in a file can do is refused."""
    path = tmp_path / "home" / "keys" / "cold.json"
    write_ledger_account(path, derivation_path="m/44h/60h/0h/0/3", address=key.address)
    shown = run("show", "cold", "--json").json
    assert shown == {
        "name": "cold",
        "address": to_checksum_address(key.address),
        "kind": "ledger",
        "attester_of": None,
        "derivation_path": "m/44'/60'/0'/0/3",
        "path": str(path),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Ledger" in run("list").stdout
    assert Accounts(tmp_path / "home").find(shown["address"]).name == "cold"
    for command in (["bind", "cold", "--network", network_file], ["export", "cold", "--private-key", "--yes"]):
        refused = run(*command, AITBC_PASSWORD=PASSWORD)
        assert (refused.code, refused.stdout) == (1, "")
        assert "never leaves it" in refused.stderr
    assert run("rename", "cold", "colder", "--json").json["kind"] == "ledger"
    assert run("remove", "colder", "--yes").code == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "kind": "ledger"}',
        '{"version": 1, "kind": "ledger", "path": "m", "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}',
        '{"version": 1, "kind": "ledger", "path": "m/0", "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"}',
        '{"version": 2, "kind": "ledger", "path": "m/0", "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}',
        '{"version": 1, "kind": "trezor", "path": "m/0", "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}',
        '{"kind": ' + "[" * 30_000,
        '{"kind": "' + "x" * 70_000,
        "",
    ],
)
def test_damaged_files_of_a_ledger(run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path, text: str) -> None:
    path = tmp_path / "home" / "keys" / "cold.json"
    path.write_text(text)
    path.chmod(0o600)
    assert run("show", "cold").code == 1
    listed = run("list", "--json")
    assert "account cold" in listed.stderr
    assert [account["name"] for account in listed.json["accounts"]] == ["alice", "bob"]
