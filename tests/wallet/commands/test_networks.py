"""`aitbc wallet network`: a network is added from a node or a file, chosen, and asked at its own URL from then on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from tests.wallet.running_node import CHAIN_ID, RunningNode

RunWallet = Callable[..., Any]
ADDRESS = to_checksum_address(PrivateKey(b"\x01" * 32).address)


@pytest.fixture
def other_file(node: RunningNode, tmp_path: Path) -> Path:
    """The file of another network."""
    path = tmp_path / "other.toml"
    text = node.network_file.read_text()
    path.write_text(text.replace(str(CHAIN_ID), "77").replace('"wallet-test"', '"other"'))
    return path


def test_a_node_of_its_own(run: RunWallet, node: RunningNode) -> None:
    assert run("balance", ADDRESS).code == 4  # Nobody listens where a node usually does.
    added = run("network", "add", node.url + "/", "--json")
    assert added.code == 0
    assert added.json == {
        "name": "wallet-test",
        "chain_id": CHAIN_ID,
        "genesis_hash": to_hex(node.network.genesis_hash),
        "node_url": node.url,
        "default": True,
    }
    assert run("balance", ADDRESS).code == 0
    assert run("balance", ADDRESS, "--chain-id", str(CHAIN_ID)).code == 0
    assert run("balance", ADDRESS, "--node-url", "http://127.0.0.1:1").code == 4
    assert run("network", "show", "--json").json == added.json


def test_from_a_file_and_chosen(run: RunWallet, node: RunningNode, other_file: Path) -> None:
    assert run("network", "add", other_file).code == 0
    stated = run("network", "add", node.network_file, "--name", "mine", "--node-url", node.url, "--json")
    assert (stated.json["name"], stated.json["node_url"], stated.json["default"]) == ("mine", node.url, False)
    listed = run("network", "list").stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["*", "other"], ["mine", str(CHAIN_ID)]]
    # The network of a file is known without any node: its genesis cannot be somebody's word.
    refused = run("balance", ADDRESS, "--node-url", node.url)
    assert (refused.code, refused.stdout) == (10, "")
    assert run("network", "use", "mine").code == 0
    assert run("balance", ADDRESS).code == 0
    assert run("network", "use", "77", "--json").json["default"] is True
    assert run("network", "show", "mine", "--json").json["default"] is False


def test_a_file_and_a_node_must_agree(run: RunWallet, node: RunningNode, other_file: Path) -> None:
    refused = run("network", "add", other_file, "--node-url", node.url)
    assert (refused.code, refused.stdout) == (10, "")
    # Another genesis under the chain id of the node.
    other_file.write_text(node.network_file.read_text().replace("block_interval_ms = 20", "block_interval_ms = 21"))
    assert run("network", "add", other_file, "--node-url", node.url).code == 10
    assert run("network", "add", other_file).code == 0
    assert run("network", "add", node.url).code == 10
    assert run("network", "show", "--json").json["node_url"] is None


def test_another_node_of_a_known_network(run: RunWallet, node: RunningNode) -> None:
    assert run("network", "add", node.network_file).code == 0
    assert run("network", "add", node.url, "--json").json["node_url"] == node.url
    assert run("network", "add", node.url, "--name", "new name", "--json").json["name"] == "new name"
    assert run("network", "add", node.url, "--json").json["name"] == "new name"  # The node does not call it so.
    (shown,) = run("network", "list", "--json").json["networks"]
    assert (shown["name"], shown["node_url"]) == ("new name", node.url)
    assert run("network", "add", node.url, "--node-url", node.url).code == 2


def test_forgetting_is_asked_for(run: RunWallet, other_file: Path) -> None:
    assert run("network", "add", other_file).code == 0
    assert run("network", "remove", "other").code == 9
    assert run("network", "remove", "other", "--yes").code == 0
    assert run("network", "list", "--json").json == {"networks": []}
    for command in (("show",), ("show", "other"), ("use", "other"), ("remove", "77", "--yes")):
        ended = run("network", *command)
        assert (ended.code, ended.stdout) == (1, "")


def test_two_of_one_name_need_a_chain_id(run: RunWallet, other_file: Path) -> None:
    assert run("network", "add", other_file).code == 0
    other_file.write_text(other_file.read_text().replace("chain_id = 77", "chain_id = 78"))
    assert run("network", "add", other_file).code == 0
    unclear = run("network", "use", "other")
    assert unclear.code == 1
    assert "77, 78" in unclear.stderr
    assert run("network", "use", "78").code == 0


def test_what_is_no_network(run: RunWallet, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"\xff")
    for source, code in (("ftp://x", 2), ("http://127.0.0.1:1", 4), (nothing, 1), (tmp_path / "missing", 1)):
        ended = run("network", "add", source)
        assert (ended.code, ended.stdout) == (code, "")
    nothing.write_text("x" * 100_000)
    assert "larger" in run("network", "add", nothing).stderr
    assert not (tmp_path / "home").exists()
