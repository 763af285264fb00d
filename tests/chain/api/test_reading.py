"""What one can ask of a chain: every list and every item, and how lists page."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from chain.answers import Page
from chain.client import NodeClient, NodeRefused
from chain.primitives import message_pack
from chain.primitives.block import Header
from chain.primitives.certificate import Certificate, VoteKind, verify_certificate
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address, to_hex
from chain.primitives.modules import MINT_SPLIT, MINTER, MODULES
from chain.primitives.parameters import PARAMETER_BOUNDS, Parameters
from chain.primitives.receipt import mint_split_digest
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.conftest import Chain, RunningNode, StartNode


def all_items(ask: Callable[..., Page[Any]], limit: int, *arguments: Any) -> list[Any]:
    """Every page of a list; checks that none but the last is short."""
    items: list[Any] = []
    cursor = None
    while True:
        page = ask(*arguments, cursor=cursor, limit=limit)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items
        assert len(page.items) == limit


@pytest.fixture(scope="module")
def busy(node_in: Callable[[Path], RunningNode], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node with some history: three mints, a split mint, a registration, seven transfers, several blocks."""
    node = node_in(tmp_path_factory.mktemp("busy") / "node")
    people = node.people
    node.settle(*(people.mint(name, 10 * ATOMS_PER_AIT, nonce=0) for name in ("ann", "bob", "cat")))
    receipt_hash = keccak256(b"split")
    shares = [people.address("ann"), people.address("dan")]
    digest = mint_split_digest(people.network.chain_id, shares, [3, 4], receipt_hash)
    call = MINT_SPLIT.encode(shares, [3, 4], receipt_hash, people.key("attester").sign(digest))
    node.settle(people.send("ann", MINTER, nonce=1, data=call), people.register("bob", nonce=1))
    node.settle(*(people.transfer("ann", "eve", ATOMS_PER_AIT, nonce=nonce) for nonce in range(2, 6)))
    node.settle(*(people.transfer("cat", "eve", ATOMS_PER_AIT, nonce=nonce) for nonce in range(1, 4)))
    yield node
    node.stop()


def test_status(node: RunningNode) -> None:
    status = node.client.status()
    network = node.people.network
    assert (status.chain_id, status.network) == (network.chain_id, network.name)
    assert status.genesis_hash == to_hex(network.genesis_hash)
    assert status.modules == {name: to_checksum_address(address) for name, address in MODULES.items()}
    assert status.finalized.hash == node.client.block(status.finalized.height).hash
    assert (status.role, status.validator_index, status.epoch, status.syncing) == ("validator", 0, 0, None)
    assert status.view > status.finalized.height  # Each block has had a view of its own.
    assert (status.peers.connected, status.peers.validators) == (0, 0)
    assert httpx.get(f"{node.url}/v1/evidence").json() == {"items": [], "next_cursor": None}


def test_lists_page_newest_first_without_gap_or_repetition(busy: RunningNode) -> None:
    for limit in (2, 7, 200):
        check_lists(busy, limit)


def check_lists(busy: RunningNode, limit: int) -> None:
    client, people = busy.client, busy.people
    head = client.status().finalized.height
    heights = [block.height for block in all_items(client.blocks, limit)]
    # An empty block may follow at any time.
    assert heights[0] >= head
    assert heights == list(range(heights[0], -1, -1))

    transactions = all_items(client.transactions, limit)
    places = [(view.height, view.index) for view in transactions]
    assert places == sorted(places, reverse=True)
    assert len({view.hash for view in transactions}) == len(transactions) == 12

    eve = people.address("eve")
    received = all_items(client.account_transactions, limit, eve)
    assert [view.hash for view in received] == [view.hash for view in transactions if view.to == received[0].to]
    assert len(received) == 7

    receipts = all_items(client.receipts, limit)
    assert len({receipt.receipt_hash for receipt in receipts}) == len(receipts) == 4
    assert [mint.units for mint in all_items(client.account_mints, limit, people.address("ann"))] == [
        3,
        10 * ATOMS_PER_AIT,
    ]
    assert len(all_items(client.providers, limit)) == 1


def test_every_item_says_that_it_is_final(busy: RunningNode) -> None:
    client, ann = busy.client, busy.people.address("ann")
    items: list[Any] = [
        *client.blocks().items,
        *client.transactions().items,
        *client.account_transactions(ann).items,
        *client.account_mints(ann).items,
        *client.receipts().items,
        *client.providers().items,
        client.account(ann),
        client.supply(),
        client.validators(),
        client.attesters(),
        client.parameters(),
    ]
    assert all(item.finalized is True for item in items)


def test_block_by_height_and_hash_with_a_certificate_that_a_stranger_can_check(busy: RunningNode) -> None:
    client, network = busy.client, busy.people.network
    head = client.status().finalized
    block = client.block(head.height)
    assert client.block(block.hash) == client.block(block.hash.upper().replace("0X", "0x")) == block
    header = Header(
        protocol_version=block.protocol_version,
        chain_id=block.chain_id,
        epoch=block.epoch,
        height=block.height,
        parent_hash=parse_hex(block.parent_hash),  # type: ignore[arg-type]
        time_ms=block.time_ms,
        proposer=parse_address(block.proposer),
        transactions_root=parse_hex(block.transactions_root),  # type: ignore[arg-type]
        results_root=parse_hex(block.results_root),  # type: ignore[arg-type]
        state_root=parse_hex(block.state_root),  # type: ignore[arg-type]
        next_validators_hash=parse_hex(block.next_validators_hash),  # type: ignore[arg-type]
    )
    assert to_hex(header.hash) == block.hash == head.hash
    seen = block.certificate
    assert seen is not None
    certificate = Certificate(
        kind=VoteKind.FINALIZE,
        epoch=seen.epoch,
        view=seen.view,
        parent_view=seen.parent_view,
        block_hash=header.hash,
        signer_bitmap=int(seen.signer_bitmap, 16),
        signatures=tuple(parse_hex(signature) for signature in seen.signatures),
    )
    assert message_pack.decode(message_pack.encode(certificate), Certificate) == certificate
    verify_certificate(certificate, genesis_hash=network.genesis_hash, validators=network.validator_addresses)
    with pytest.raises(NodeRefused, match="no block"):
        client.block(10**12)
    with pytest.raises(NodeRefused, match="no block"):
        client.block(keccak256(b"nothing"))


def test_receipts_name_provider_amount_attester_and_place(busy: RunningNode) -> None:
    people, client = busy.people, busy.client
    split = client.receipt(keccak256(b"split"))
    assert split.attesters == [to_checksum_address(people.address("attester"))]
    assert [(share.provider, share.units) for share in split.shares] == [
        (to_checksum_address(people.address("ann")), 3),
        (to_checksum_address(people.address("dan")), 4),
    ]
    assert split.units == 7
    assert client.transaction(split.transaction_hash).height == split.height
    single = client.receipts().items[-1]
    assert (single.units, len(parse_hex(single.attestation))) == (10 * ATOMS_PER_AIT, 65)
    with pytest.raises(NodeRefused, match="no receipt"):
        client.receipt(keccak256(b"unused"))


def test_network_wide_figures(busy: RunningNode) -> None:
    people, client = busy.people, busy.client
    supply = client.supply()
    assert (supply.minted, supply.burned, supply.supply) == (30 * ATOMS_PER_AIT + 7, 0, 30 * ATOMS_PER_AIT + 7)
    validators = client.validators()
    assert [each.address for each in validators.validators] == [to_checksum_address(people.address("validator"))]
    assert validators.quorum == 1
    attesters = client.attesters()
    (attester,) = attesters.attesters
    assert (attesters.threshold, attester.used_atoms, attester.used_receipts) == (1, supply.minted, 4)
    parameters = client.parameters()
    assert parameters.parameters == {name: getattr(Parameters(), name) for name in PARAMETER_BOUNDS}
    assert parameters.minting_paused is False
    provider = client.provider(people.address("bob"))
    assert (provider.active, provider.models, provider.price_per_unit) == (True, ["tiny-sd"], 10**15)
    assert provider.payout == provider.address
    counted = provider.reputation
    assert (counted.receipts, counted.units) == (1, 10 * ATOMS_PER_AIT)
    assert (counted.failures, counted.disputes, counted.breaches, provider.sla_hash) == (0, 0, 0, None)
    with pytest.raises(NodeRefused, match="never registered"):
        client.provider(people.address("ann"))


def test_amounts_are_decimal_strings_in_json(busy: RunningNode) -> None:
    answer = httpx.get(f"{busy.url}/v1/supply").json()
    assert answer["minted"] == str(30 * ATOMS_PER_AIT + 7)
    account = httpx.get(f"{busy.url}/v1/accounts/{to_hex(busy.people.address('eve'))}").json()
    assert account["balance"] == str(7 * ATOMS_PER_AIT)


def test_follower_without_peers_answers_the_same_and_makes_no_blocks(node: RunningNode, start_node: StartNode) -> None:
    node.settle(node.people.mint("ann", 1, nonce=0))
    before = node.client.status().finalized
    node.stop()
    follower = start_node(node.people, path=node.path, as_validator=False)
    assert follower.client.status().finalized == before
    assert follower.client.status().role == "follower"
    sent = follower.client.send_transaction(node.people.mint("fay", 1, nonce=0).raw)
    assert sent.status == "pending"  # It waits here until there is a peer to pass it on to.
    assert follower.client.status().finalized == before


def test_metrics_and_health(node: RunningNode) -> None:
    node.settle(node.people.mint("ann", 1, nonce=0))
    assert httpx.get(f"{node.url}/healthz").json() == {"status": "ok"}
    metrics = httpx.get(f"{node.url}/metrics").text
    height = node.client.status().finalized.height
    assert f"aitbc_finalized_height {float(height)}" in metrics
    assert "aitbc_transactions_total 1.0" in metrics
    assert 'aitbc_mempool_transactions{lane="mint"} 0.0' in metrics
    assert f"aitbc_votes_total {2.0 * height}" in metrics  # A Notarize and a Finalize for each block.
    for name in ("aitbc_view", "aitbc_epoch 0.0", "aitbc_is_validator 1.0", "aitbc_peers 0.0", "aitbc_catching_up 0.0"):
        assert f"\n{name}" in metrics
    assert "\n# TYPE aitbc_peer_height gauge" in metrics  # Of each connected validator.
    assert "\n# TYPE aitbc_peer_events_total counter" in metrics
    for name in ("journal_sync", "block_build", "block_commit", "block_finality"):
        assert f"\naitbc_{name}_seconds_count" in metrics
    with NodeClient(node.url) as client:
        assert client.status().version == "test"


def test_page_of_full_blocks_needs_the_memory_of_one(chain: Chain, start_node: StartNode) -> None:
    people, blocks, per_block = chain.people, 12, 400
    chain.fund("ann")
    for first in range(1, blocks * per_block, per_block):
        nonces = range(first, first + per_block)
        chain.add_block(*(people.transfer("ann", "bob", 1, nonce=nonce, data=bytes(200)) for nonce in nonces))
    chain.ledger.close()
    node = start_node(people, path=chain.path, as_validator=False)
    one_block_bytes = node.client.block(2).size_bytes
    assert one_block_bytes > per_block * 300
    tracemalloc.start()
    try:
        page = node.client.blocks(limit=200)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(block.transaction_count for block in page.items) == blocks * per_block + 1
    assert peak_bytes < 5 * one_block_bytes


def test_node_remembers_nobody_for_being_asked(node: RunningNode) -> None:
    def remembered() -> int:
        return sum(type(each).__name__ == "_AccountEntry" for each in gc.get_objects())

    before = remembered()
    for number in range(200):
        node.client.account(to_hex(keccak256(b"stranger %d" % number)[:20]))
    assert remembered() - before < 20
