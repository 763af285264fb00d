"""A wallet talks only to nodes of the network that it means."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain.answers import encode_answer
from chain.client import NodeClient
from chain.primitives.keys import PrivateKey
from tests.wallet.lying_node import serve_answer
from tests.wallet.running_node import CHAIN_ID, RunningNode
from wallet.node_session import open_node

RunWallet = Callable[..., Any]


def test_another_network_is_refused(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    assert wallet("balance").code == 0
    asked = wallet("balance", "--chain-id", str(CHAIN_ID + 1))
    assert (asked.code, asked.stdout) == (10, "")
    # The same chain id, but another genesis: what a liar, or a network that was started anew, looks like.
    impostor = RunningNode(tmp_path / "impostor", name="impostor")
    try:
        for command in (["balance"], ["send", "bob", "0", "--from", "alice", "--yes"], ["history", "alice"]):
            refused = wallet(*command, AITBC_NODE_URL=impostor.url)
            assert (refused.code, refused.stdout) == (10, "")
            assert "another network under the same number" in refused.stderr
    finally:
        impostor.stop()


def test_a_network_goes_by_the_name_that_the_wallet_remembers(node: RunningNode, tmp_path: Path) -> None:
    with open_node(node.url, tmp_path, None) as (_, status):
        assert status.network == node.network.name
    remembered = tmp_path / "networks" / f"{CHAIN_ID}.json"
    remembered.write_text(remembered.read_text().replace(f'"{node.network.name}"', '"as I met it"'))
    with open_node(node.url, tmp_path, None) as (_, status):
        assert status.network == "as I met it"


def test_another_service_is_not_taken_for_a_node(wallet: RunWallet, node: RunningNode) -> None:
    asked = wallet("balance", "0x" + "11" * 20, "--node-url", f"{node.url}/v1/no-node-here")
    assert asked.code == 4
    assert "is no node" in asked.stderr


@pytest.mark.parametrize("name", ["", "devnet" + " " * 60 + "to 0x5aAe", "devnet\x1b[2J", "d) ; touch here", "x" * 33])
def test_a_name_that_no_network_has_is_not_believed(
    wallet: RunWallet, node: RunningNode, tmp_path: Path, name: str
) -> None:
    """A liar is not to write lines into a confirmation, nor words into the shell's completion."""
    with NodeClient(node.url) as client:
        lie = msgspec.structs.replace(client.status(), network=name)
    with serve_answer(encode_answer(lie)) as url:
        for command in (("network", "add", url), ("balance", "0x" + "11" * 20, "--node-url", url)):
            refused = wallet(*command)
            assert (refused.code, refused.stdout) == (4, "")
    assert not (tmp_path / "home" / "networks").exists()
