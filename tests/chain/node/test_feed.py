"""Who hears of what a node commits and admits, and that nobody who hears can harm it."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from chain.client import NodeRefused
from chain.node.peers.settings import PeerSettings
from chain.node.waiting import Entry
from chain.primitives.types import ATOMS_PER_AIT, BlockHeight
from chain.web.server import listen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.conftest import People, RunningNode


class Notes:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.heights: list[int] = []
        self.hashes: list[bytes] = []
        self.threads: set[int] = set()

    def on_block(self, height: BlockHeight) -> None:
        self.heights.append(height)
        self.threads.add(threading.get_ident())

    def on_transaction(self, entry: Entry) -> None:
        self.hashes.append(entry.transaction.hash)
        self.threads.add(threading.get_ident())


class Clumsy(Notes):
    """One that fails at its second block."""

    def on_block(self, height: BlockHeight) -> None:
        super().on_block(height)
        if len(self.heights) == 2:
            raise ValueError("a fault of the listener")


def test_every_block_and_every_admitted_transaction_in_order(node: RunningNode) -> None:
    people, notes = node.people, Notes()
    node.node.feed.listen(notes)
    sent = [people.mint("ann", ATOMS_PER_AIT, nonce=0)]
    sent += [people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 6)]
    for transaction in sent:
        node.settle(transaction)
    head = node.client.status().finalized.height
    assert notes.hashes == [transaction.hash for transaction in sent]
    assert notes.heights == list(range(notes.heights[0], notes.heights[-1] + 1))
    assert head <= notes.heights[-1] + 1
    assert len(notes.threads) == 1  # The event loop's.
    node.node.feed.forget(notes)
    node.settle(people.transfer("ann", "bob", 1, nonce=6))
    assert len(notes.hashes) == len(sent)


def test_what_is_refused_or_known_is_no_news(node: RunningNode) -> None:
    notes = Notes()
    node.node.feed.listen(notes)
    mint = node.people.mint("ann", ATOMS_PER_AIT, nonce=0)
    node.send(mint, mint)
    with pytest.raises(NodeRefused):
        node.send(node.people.transfer("bob", "ann", 1, nonce=0))
    assert notes.hashes == [mint.hash]


def test_a_listener_that_fails_is_dropped_alone(node: RunningNode) -> None:
    clumsy, notes = Clumsy(), Notes()
    node.node.feed.listen(clumsy)
    node.node.feed.listen(notes)
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    for nonce in range(1, 4):
        node.settle(node.people.transfer("ann", "bob", 1, nonce=nonce))
    assert clumsy.heights == notes.heights[:2]
    assert len(notes.heights) >= 4
    assert node.node.fault is None


def test_a_follower_hears_of_the_blocks_that_it_fetches(
    people: People, running_node: type[RunningNode], tmp_path: Path
) -> None:
    with ExitStack() as running:
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        validator = running_node(people, tmp_path / "validator", listener=listener)
        validator.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
        for nonce in range(1, 20):
            validator.settle(people.transfer("ann", "bob", 1, nonce=nonce))
        validator.stop()
        peers = PeerSettings(bootstrap=(f"ws://127.0.0.1:{port}/p2p",), retry_first_s=0.05, retry_last_validator_s=0.2)
        follower = running_node(people, tmp_path / "follower", validator=None, peers=peers)
        running.callback(follower.stop)
        assert follower.client.status().finalized.height == 0
        notes = Notes()
        follower.node.feed.listen(notes)
        validator = running_node(people, tmp_path / "validator", listener=listen("127.0.0.1", port))
        running.callback(validator.stop)
        head = validator.client.status().finalized.height
        deadline = time.monotonic() + 90
        while not notes.heights or notes.heights[-1] < head:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert head >= 20
        assert notes.heights == list(range(1, notes.heights[-1] + 1))
