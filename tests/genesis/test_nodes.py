"""The nodes of a devnet: how many may be lost, and what is said of it. Real processes, no hub and no providers."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chain.client import NodeClient, NodeError
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import REGISTER, REGISTRY
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ZERO_ADDRESS
from genesis.nodes import DevnetNodes
from genesis.processes import ProcessFailed
from genesis.secrets import DevnetSecrets

pytestmark = pytest.mark.timeout(200)

StartNodes = Callable[[Path, int], tuple[DevnetNodes, list[str]]]


@pytest.fixture
def start_nodes() -> Iterator[StartNodes]:
    """Starts nodes in a folder; gives them with the list of what they tell."""
    with ExitStack() as running:

        def start(folder: Path, validators: int) -> tuple[DevnetNodes, list[str]]:
            folder.mkdir(exist_ok=True)
            told: list[str] = []
            nodes = DevnetNodes(folder, DevnetSecrets.load_or_draw(folder, validators=validators), told.append)
            running.callback(stop, nodes)
            nodes.start()
            return nodes, told

        yield start


def stop(nodes: DevnetNodes) -> None:
    for process in nodes.processes:
        process.terminate()
    for process in nodes.processes:
        process.wait_stopped(20)


def kill(nodes: DevnetNodes, name: str) -> None:
    process = next(each for each in nodes.processes if each.name == name)
    os.kill(process.pid, signal.SIGKILL)
    while not process.has_ended:
        time.sleep(0.01)


def wait_height(nodes: DevnetNodes, height: int) -> None:
    """Of the follower."""
    deadline = time.monotonic() + 60
    with NodeClient(nodes.follower.url) as client:
        while True:
            try:
                if client.status().finalized.height >= height:
                    return
            except NodeError:
                assert time.monotonic() < deadline
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_of_four_may_be_lost_and_the_follower_is_started_again(tmp_path: Path, start_nodes: StartNodes) -> None:
    nodes, told = start_nodes(tmp_path / "net", 4)
    assert [each["role"] for each in nodes.describe()] == ["follower"] + ["validator"] * 4
    wait_height(nodes, 1)
    nodes.require_running()
    assert told == []
    kill(nodes, "validator-3")
    nodes.require_running()
    nodes.require_running()
    (told_of_the_loss,) = told
    assert told_of_the_loss == (
        "validator-3 has ended (killed by SIGKILL); the chain goes on without it: "
        "3 of 4 validators are left, 3 are needed"
    )
    before = nodes.follower.pid
    kill(nodes, "follower")
    nodes.require_running()
    assert nodes.follower.pid != before
    assert told[1:] == ["follower has ended (killed by SIGKILL); it is started again"]
    wait_height(nodes, 1)
    kill(nodes, "validator-1")
    with pytest.raises(ProcessFailed, match=r"(?s)validator-1 .* 2 of 4 validators left no quorum of 3 .*The end of"):
        nodes.require_running()


def test_a_follower_that_is_lost_again_and_again_is_given_up(tmp_path: Path, start_nodes: StartNodes) -> None:
    nodes, _ = start_nodes(tmp_path / "net", 1)
    for _ in range(3):
        kill(nodes, "follower")
        nodes.require_running()
    kill(nodes, "follower")
    with pytest.raises(ProcessFailed, match="follower ended with code -9"):
        nodes.require_running()


def test_a_single_validator_cannot_be_missed(tmp_path: Path, start_nodes: StartNodes) -> None:
    nodes, _ = start_nodes(tmp_path / "net", 1)
    wait_height(nodes, 1)
    kill(nodes, "validator-1")
    with pytest.raises(ProcessFailed, match="0 of 1 validators left no quorum of 1"):
        nodes.require_running()


def test_a_node_that_refuses_to_start_is_shown(tmp_path: Path, start_nodes: StartNodes) -> None:
    nodes, _ = start_nodes(tmp_path / "net", 1)
    wait_height(nodes, 1)
    stop(nodes)
    (tmp_path / "net" / "validator-1" / "votes.journal").unlink()
    with pytest.raises(ProcessFailed, match=r"(?s)validator-1 ended with code 1.*votes\.journal"):
        start_nodes(tmp_path / "net", 1)


def test_a_folder_is_taken_up_with_other_ports(tmp_path: Path, start_nodes: StartNodes) -> None:
    nodes, _ = start_nodes(tmp_path / "net", 1)
    wait_height(nodes, 1)
    stop(nodes)
    again, _ = start_nodes(tmp_path / "net", 1)
    assert again.network.genesis_hash == nodes.network.genesis_hash
    assert again.network.validators[0].peer_url != nodes.network.validators[0].peer_url
    registration = sign_transaction(
        PrivateKey.generate(),
        chain_id=again.network.chain_id,
        nonce=0,
        to=REGISTRY,
        data=REGISTER.encode("http://127.0.0.1:9000", ["tiny-sd"], 10**15, "gpu_seconds", 0, ZERO_ADDRESS),
    )
    with NodeClient(again.follower.url) as client:
        client.send_transaction(registration.raw)
        assert client.wait_for_transaction(registration.hash).status == "success"


def test_a_folder_has_one_number_of_validators(tmp_path: Path) -> None:
    drawn = DevnetSecrets.load_or_draw(tmp_path)
    assert drawn.validator_names == ("validator-1", "validator-2", "validator-3", "validator-4")
    assert DevnetSecrets.load_or_draw(tmp_path, validators=4) == DevnetSecrets.load_or_draw(tmp_path) == drawn
    with pytest.raises(OSError, match="holds a devnet of 4 validators: choose another --dir for one of 7"):
        DevnetSecrets.load_or_draw(tmp_path, validators=7)


def test_a_folder_from_before_the_market_gets_an_issuer_and_keeps_the_rest(tmp_path: Path) -> None:
    drawn = DevnetSecrets.load_or_draw(tmp_path)
    path = tmp_path / "devnet-keys.json"
    written = json.loads(path.read_text())
    del written["private_keys"]["issuer"]
    path.write_text(json.dumps(written))
    loaded = DevnetSecrets.load_or_draw(tmp_path)
    assert loaded.key("issuer").address != drawn.key("issuer").address
    assert loaded.private_keys | {"issuer": ""} == drawn.private_keys | {"issuer": ""}
    assert DevnetSecrets.load_or_draw(tmp_path) == loaded
    assert path.stat().st_mode & 0o777 == 0o600
