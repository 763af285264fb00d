"""Each thing that `aitbc wallet doctor` looks at, in order and not."""

from pathlib import Path

import pytest

from chain.primitives.keys import PrivateKey
from tests.wallet.running_node import CHAIN_ID, RunningNode
from wallet.accounts import Accounts
from wallet.checkup import check_accounts, check_clock, check_home, check_networks, check_node
from wallet.known_networks import KnownNetwork, KnownNetworks
from wallet.verification import Check


def _passed(checks: list[Check]) -> dict[str, bool | None]:
    return {check.name: check.passed for check in checks}


def test_a_home_that_is_not_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    checks = [*check_home(home), *check_accounts(Accounts(home)), *check_networks(home)]
    assert _passed(checks) == {"home": None, "accounts": None, "networks": None}
    assert not home.exists()


def test_a_home_in_order_and_open_to_others(people: dict[str, PrivateKey], tmp_path: Path) -> None:
    home = tmp_path / "home"
    keys = home / "keys"
    assert _passed([*check_home(home), *check_accounts(Accounts(home))]) == {
        "home": True,
        "keys_folder": True,
        "accounts": True,
    }
    keys.chmod(0o777)
    opened = {check.name: check for check in check_home(home)}["keys_folder"]
    assert (opened.passed, f"chmod 700 {keys}" in opened.detail) == (False, True)


def test_a_damaged_keystore_is_named(people: dict[str, PrivateKey], tmp_path: Path) -> None:
    bob = tmp_path / "home" / "keys" / "bob.json"
    bob.write_text("{}")
    shared = tmp_path / "home" / "keys" / "alice.json"
    shared.chmod(0o644)
    checks = list(check_accounts(Accounts(tmp_path / "home")))
    assert [check.passed for check in checks] == [False, False, None]
    assert "chmod 600" in checks[0].detail
    assert "bob" in checks[1].detail


def test_networks(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    networks.add(KnownNetwork(chain_id=7, genesis_hash="0x" + "11" * 32, name="first"))
    (check,) = check_networks(tmp_path)
    assert (check.passed, "first" in check.detail) == (True, True)
    (networks.folder / "7.json").write_text("{")
    (check,) = check_networks(tmp_path)
    assert (check.passed, "damaged" in check.detail) == (False, True)


@pytest.mark.parametrize(
    ("age_s", "passed"),
    [(0, True), (60, True), (600, None), (-5, True), (-60, False), (10**9, None), (-(10**9), False)],
)
def test_the_clock(age_s: int, passed: bool | None) -> None:
    now_ms = 1_760_000_000_000
    assert check_clock(now_ms - age_s * 1000, now_ms).passed is passed


def test_a_node_in_order(node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert _passed(list(check_node(home, node.url, None))) == {
        "node": True,
        "network": True,
        "synced": True,
        "clock": True,
        "pending": True,
    }
    assert not (home / "networks").exists()  # Looking is not meeting.


def test_a_node_of_another_network(node: RunningNode, tmp_path: Path) -> None:
    assert _passed(list(check_node(tmp_path, node.url, CHAIN_ID + 1))) == {"node": True, "network": False}
    KnownNetworks(tmp_path).add(KnownNetwork(chain_id=CHAIN_ID, genesis_hash="0x" + "11" * 32, name="liar"))
    assert _passed(list(check_node(tmp_path, node.url, None))) == {"node": True, "network": False}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", ""])
def test_no_node(tmp_path: Path, url: str) -> None:
    assert _passed(list(check_node(tmp_path, url, None))) == {"node": False}
