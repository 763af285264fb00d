"""`aitbc wallet doctor`: one look at everything, and an exit code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chain.primitives.keys import PrivateKey
from tests.wallet.running_node import RunningNode

RunWallet = Callable[..., Any]


def test_a_healthy_wallet(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    assert wallet("network", "add", node.url).code == 0
    ended = wallet("doctor", "--json")
    assert ended.code == 0
    assert ended.json["healthy"] is True
    assert {check["name"]: check["passed"] for check in ended.json["checks"]} == {
        "version": True,
        "home": True,
        "keys_folder": True,
        "accounts": True,
        "networks": True,
        "node": True,
        "network": True,
        "synced": True,
        "clock": True,
        "pending": True,
    }


def test_what_is_wrong_is_named(offline: RunWallet, people: dict[str, PrivateKey], tmp_path: Path) -> None:
    (tmp_path / "home" / "keys" / "bob.json").write_text("{}")
    ended = offline("doctor")
    assert ended.code == 8
    marks = [line.split()[:2] for line in ended.stdout.splitlines()]
    assert ["WRONG", "account"] in marks
    assert ["WRONG", "node"] in marks
    assert "account, node" in ended.stderr
