"""Validators whose key is in `aitbc wallet signer`: the signer is stopped, frozen and replaced under real nodes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from tests.processes.cluster import Cluster, NodeProcess
from tests.wallet.signers.signer_process import SignerProcess

HEARTBEAT_MS = 1_000
"""So that blocks come although nobody sends anything."""
QUIET_S = 2.0
MakeSigner = Callable[[PrivateKey], SignerProcess]


@pytest.fixture
def make_signer(tmp_path: Path) -> Iterator[MakeSigner]:
    """A signer for votes that runs."""
    made: list[SignerProcess] = []

    def make(key: PrivateKey) -> SignerProcess:
        home = tmp_path / f"signer-{len(made)}"
        home.mkdir()
        made.append(SignerProcess(home, key, "--for", "votes"))
        made[-1].start()
        return made[-1]

    yield make
    for process in made:
        process.stop()


def _options(signer: SignerProcess, key: PrivateKey) -> tuple[str, ...]:
    return "--signer-url", signer.url, "--signer-public-key", to_hex(key.public_key)


def _events(node: NodeProcess, name: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in node.log_file.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def _health(node: NodeProcess) -> tuple[int, str]:
    answer = httpx.get(f"{node.url}/healthz", trust_env=False, timeout=60)
    return answer.status_code, answer.text


def _assert_stands_still(cluster: Cluster, node: NodeProcess) -> None:
    """It answers, and makes no block."""
    cluster.wait_until(lambda: _health(node)[0] == 503, "notice that the signer is away")
    assert "the remote signer gives no signatures" in _health(node)[1]
    before = node.height
    end_s, longest_s = time.monotonic() + QUIET_S, 0.0
    while time.monotonic() < end_s:
        asked_s = time.monotonic()
        assert node.height == before
        longest_s = max(longest_s, time.monotonic() - asked_s)
    assert longest_s < 4.5  # A signer that hangs holds the event loop for one request at most.


def test_one_validator_with_its_key_elsewhere(tmp_path: Path, make_signer: MakeSigner) -> None:
    with Cluster.make(tmp_path, validators=1, followers=0, heartbeat_ms=HEARTBEAT_MS) as cluster:
        node, key = cluster.nodes[0], cluster.keys[0]
        signer = make_signer(key)
        node.start(*_options(signer, key))
        cluster.wait_height(2)
        assert not (node.folder / "validator.key").exists()
        assert key.secret.hex() not in (node.folder / "validator.remote").read_text()

        assert signer.stop() == 0
        _assert_stands_still(cluster, node)
        assert [event["level"] for event in _events(node, "signer_away")] == ["error"]
        signer.start()
        cluster.wait_height(node.height + 2)
        assert _health(node)[0] == 200
        assert len(_events(node, "signer_returned")) == 1

        signer.freeze()
        _assert_stands_still(cluster, node)
        signer.thaw()
        cluster.wait_height(node.height + 2)

        signer.stop()
        assert node.stop() == 0
        height = node.height
        node.start()  # The folder knows where its key is; the signer is still away.
        cluster.wait_until(lambda: node.status() is not None, "answer")
        _assert_stands_still(cluster, node)
        signer.start()
        cluster.wait_height(max(height, node.height) + 2)
        assert node.stop() == 0
        assert len(list(node.folder.glob("votes.journal*"))) == 1  # One record of votes, from the first to the last.


def test_a_signer_with_another_key_is_refused_at_the_start(tmp_path: Path, make_signer: MakeSigner) -> None:
    with Cluster.make(tmp_path, validators=1, followers=0) as cluster:
        node, key = cluster.nodes[0], cluster.keys[0]
        signer = make_signer(PrivateKey(b"\x61" * 32))
        node.start(*_options(signer, key))
        assert node.wait_ended() == 1
        assert "does not hold the key" in node.log_tail()
        assert (node.folder / "validator.key").exists()


def test_two_validators_of_whom_one_signs_elsewhere(tmp_path: Path, make_signer: MakeSigner) -> None:
    """Both are needed for a quorum: their handshake and every block need the signer."""
    with Cluster.make(tmp_path, validators=2, followers=0, heartbeat_ms=HEARTBEAT_MS) as cluster:
        far, near = cluster.nodes
        signer = make_signer(cluster.keys[0])
        far.start(*_options(signer, cluster.keys[0]))
        near.start()
        cluster.wait_height(3)
        signer.stop()
        _assert_stands_still(cluster, far)
        assert near.height == far.height
        signer.start()
        cluster.wait_height(near.height + 3)
        evidence = httpx.get(f"{near.url}/v1/evidence", trust_env=False, timeout=60).json()
        assert evidence["items"] == []
