"""A node at work: when it makes blocks, and how it ends."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from chain.client import NodeUnavailable
from chain.consensus.messages import Status
from chain.node.ledger import Ledger, UnknownProtocolVersion
from chain.node.metrics import NodeMetrics
from chain.node.pool_limits import PoolLimits
from chain.node.runner import Node
from chain.primitives.modules import EXECUTE, GOVERNANCE, PROPOSE, SCHEDULE_UPGRADE
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from tests.chain.conftest import Chain, RunningNode, StartNode

BLOCK_INTERVAL_S = 0.02  # As conftest's networks have it.


def heights_after(node: RunningNode, seconds: float) -> tuple[int, int]:
    """The final height now and then."""
    before = node.client.status().finalized.height
    time.sleep(seconds)
    return before, node.client.status().finalized.height


def test_idle_chain_makes_no_block_but_the_heartbeat(start_node: StartNode) -> None:
    quiet = start_node(heartbeat_ms=60_000)
    deadline = time.monotonic() + 90
    while quiet.client.status().finalized.height == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    before, after = heights_after(quiet, 0.5)
    assert before == after == 1  # The genesis block's time is 0, so the first heartbeat was due.
    beating = start_node(heartbeat_ms=1_000)
    while (status := beating.client.status()).finalized.height < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    blocks = [beating.client.block(height) for height in range(1, status.finalized.height + 1)]
    assert {block.transaction_count for block in blocks} == {0}
    assert min(new.time_ms - old.time_ms for old, new in pairwise(blocks)) >= 990


def test_blocks_keep_their_interval(start_node: StartNode) -> None:
    node = start_node(block_interval_ms=250)
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    for nonce in range(1, 12):
        transfer = people.transfer("ann", "bob", 1, nonce=nonce)
        if nonce % 4 == 0:
            node.settle(transfer)
        else:
            node.send(transfer)
    blocks = [block for block in node.client.blocks().items if block.height > 2]
    gaps = [new.time_ms - old.time_ms for new, old in pairwise(blocks)]
    assert gaps
    assert min(gaps) >= 240


def test_views_rise_across_restarts(node: RunningNode, start_node: StartNode) -> None:
    node.settle(node.people.mint("ann", 1, nonce=0))
    node.stop()
    restarted = start_node(node.people, path=node.path)
    restarted.settle(node.people.mint("ann", 1, nonce=1))
    blocks = [restarted.client.block(block.height) for block in restarted.client.blocks().items if block.height]
    views = [block.certificate.view for block in blocks if block.certificate is not None]
    assert views == sorted(set(views), reverse=True)
    assert len(views) == len(blocks)


def test_hundreds_of_transactions_from_many_senders_all_become_final(start_node: StartNode) -> None:
    node = start_node(max_block_transactions=12)
    people = node.people
    names = [f"person {index}" for index in range(12)]
    node.settle(*(people.mint(name, ATOMS_PER_AIT, nonce=0) for name in names))
    transfers = [people.transfer(name, "bob", 7, nonce=nonce) for nonce in (1, 2, 3) for name in names]
    assert node.settle(*transfers) == ["success"] * 36
    assert node.client.account(people.address("bob")).balance == 36 * 7
    assert max(block.transaction_count for block in node.client.blocks(limit=200).items) <= 12
    assert node.client.status().mempool.transactions == 0


def test_node_stops_before_rules_that_it_does_not_know(start_node: StartNode) -> None:
    node = start_node()
    people = node.people
    height = node.client.status().finalized.height
    upgrade = SCHEDULE_UPGRADE.encode(2, height + 8)
    propose = people.send("validator", GOVERNANCE, nonce=0, data=PROPOSE.encode(GOVERNANCE, upgrade))
    execute = people.send("validator", GOVERNANCE, nonce=1, data=EXECUTE.encode(1))
    assert node.settle(propose, execute) == ["success"] * 2
    nonce = 2
    while node.node.fault is None and nonce < 200:
        try:
            node.send(people.send("validator", people.address("bob"), nonce=nonce))
        except NodeUnavailable:
            break
        nonce += 1
        time.sleep(2 * BLOCK_INTERVAL_S)
    node.wait()
    assert node.node.fault is not None
    assert f"protocol version 2 from height {height + 8} on" in node.node.fault
    with Ledger.open(node.path, people.network) as ledger:
        assert ledger.head.height == height + 7
    for as_validator in (True, False):
        with pytest.raises(UnknownProtocolVersion):
            start_node(people, path=node.path, as_validator=as_validator)


def test_node_whose_store_fails_says_so_and_stops(start_node: StartNode) -> None:
    """The store is closed under it: the nearest that one comes here to a disk that fails."""
    node = start_node(heartbeat_ms=1_000)
    node.node.ledger.store.close()
    # Whichever is first: the question, or the node that notices by itself.
    with pytest.raises(NodeUnavailable, match=r"cannot read its chain|has stopped making blocks"):
        node.client.send_transaction(node.people.mint("ann", 1, nonce=0).raw)
    node.wait()
    assert "closed" in (node.node.fault or "")


async def test_what_peers_say_while_the_node_stops_leads_to_nothing(chain: Chain) -> None:
    node = Node(chain.ledger, key=None, journal=None, limits=PoolLimits(), metrics=NodeMetrics(CollectorRegistry()))
    await node.start()
    stopping = asyncio.create_task(node.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    for peer in ("ann", "bob"):
        node._neighbours.on_connected(peer)
        await node._neighbours.on_message(peer, Status(0, 0, 100))
    node._neighbours.on_disconnected("ann", "it goes, and bob is asked in its place")
    await stopping
    assert node._neighbours._timers._handles == {}
    assert node.fault is None
