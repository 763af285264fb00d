"""Blocks built, executed and committed on one another, and what the mempool makes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from chain.consensus.effects import (
    BlockBuilt,
    BlockCommitted,
    BlockExecuted,
    BuildBlock,
    CommitBlock,
    Event,
    ExecuteBlock,
    Floor,
    NothingToBuild,
    Verdict,
)
from chain.node.blocks import BlockWork
from chain.node.clock import now_ms
from chain.node.mempool import Mempool
from chain.node.metrics import NodeMetrics
from chain.node.pool_limits import PoolLimits
from chain.primitives.block import Block
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Hash32

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.conftest import Chain, MakeChain

START_MS = 1_700_000_000_000


class Bench:
    """A BlockWork on a chain of ann's and bob's, and the events that it has reported."""

    def __init__(self, chain: Chain) -> None:
        chain.fund("ann", "bob")
        self.chain = chain
        self.ledger = chain.ledger
        self.pool = Mempool(
            PoolLimits(),
            chain_id=chain.people.network.chain_id,
            recover=chain.ledger.signatures.recover,
            decode=chain.ledger.transactions.decode,
        )
        self.pool.rebase(chain.ledger.view(), chain.head)
        self.events: list[Event] = []
        self.errors: list[Exception] = []
        self.work = BlockWork(
            chain.ledger,
            self.pool,
            proposer=chain.people.address("validator"),
            metrics=NodeMetrics(CollectorRegistry()),
            on_event=self.events.append,
            on_error=self.errors.append,
        )

    def add(self, *transactions: Transaction) -> None:
        for transaction in transactions:
            self.pool.add(transaction.raw, START_MS)

    def transfer(self, sender: str, nonce: int) -> Transaction:
        return self.chain.people.transfer(sender, "cat", 1, nonce=nonce)

    async def do(self, task: BuildBlock | ExecuteBlock | CommitBlock) -> Event | None:
        """One task; its result, None where there is none."""
        self.work.add(task)
        return await self.result()

    async def result(self) -> Event | None:
        for _ in range(20):  # Long enough for a task in hand; there need not be a result.
            if self.events:
                return self.events.pop(0)
            await asyncio.sleep(0.02)
        assert not self.errors, self.errors
        return None

    async def build(self, parent_hash: Hash32, height: int, **options: bool) -> Event | None:
        fields = {"may_be_empty": False, "must_be_empty": False, **options}
        return await self.do(BuildBlock(parent_hash, START_MS + 10_000 * height, **fields))

    async def built(self, parent_hash: Hash32, height: int, **options: bool) -> Block:
        event = await self.build(parent_hash, height, **options)
        assert isinstance(event, BlockBuilt)
        return event.block

    async def commit(self, block: Block) -> Event | None:
        header = block.header
        certificate = self.chain.certificate(header.hash)
        floor = Floor(0, certificate.view, header.height, header.hash)
        return await self.do(CommitBlock(header.hash, certificate, floor))


@pytest.fixture
def bench(make_chain: MakeChain) -> Bench:
    return Bench(make_chain(registration_quota=3))


def raws(*transactions: Transaction) -> tuple[bytes, ...]:
    return tuple(each.raw for each in transactions)


async def test_blocks_on_unfinalized_ones_go_on_with_the_nonces(bench: Bench) -> None:
    first, second, third = (bench.transfer("ann", nonce) for nonce in (1, 2, 3))
    head = bench.chain.head.block_hash
    bench.add(first)
    one = await bench.built(head, 2)
    assert one.transactions == raws(first)
    bench.add(second)
    two = await bench.built(one.header.hash, 3)
    assert two.transactions == raws(second)
    assert isinstance(await bench.build(two.header.hash, 4), NothingToBuild)
    bench.add(third)
    three = await bench.built(two.header.hash, 4)
    assert three.transactions == raws(third)
    assert (await bench.built(three.header.hash, 5, must_be_empty=True, may_be_empty=True)).transactions == ()
    assert len(bench.pool) == 3  # Nothing is final yet.
    for block in (one, two, three):
        event = await bench.commit(block)
        assert isinstance(event, BlockCommitted)
    assert len(bench.pool) == 0
    assert bench.chain.balance("cat") == 3


async def test_a_block_beside_it_has_the_same_transactions_again(bench: Bench) -> None:
    bench.add(bench.transfer("ann", 1))
    head = bench.chain.head.block_hash
    one, other = await bench.built(head, 2), await bench.built(head, 3)
    assert one.transactions == other.transactions
    assert one.header.hash != other.header.hash
    await bench.commit(other)
    # The one that lost can neither be built upon nor be committed.
    assert isinstance(await bench.build(one.header.hash, 4), NothingToBuild)
    assert bench.errors == []


async def test_waiting_means_beyond_the_tip(bench: Bench) -> None:
    head = bench.chain.head.block_hash
    assert not bench.work.is_waiting
    entry = bench.pool.add(bench.transfer("ann", 1).raw, START_MS)
    assert bench.work.is_waiting
    assert bench.work.is_new(entry)
    one = await bench.built(head, 2)
    assert bench.work.is_waiting  # Built, but nobody has accepted it.
    assert bench.work.set_tip(one.header.hash)
    assert not bench.work.set_tip(one.header.hash)
    assert not bench.work.is_waiting
    assert not bench.work.is_new(entry)
    bench.add(bench.transfer("ann", 2))
    assert bench.work.is_waiting
    assert bench.work.set_tip(head)  # It was given up.
    assert bench.work.is_new(entry)
    bench.work.set_tip(one.header.hash)
    event = await bench.commit(one)
    assert isinstance(event, BlockCommitted)
    assert event.is_waiting


async def test_verdicts(bench: Bench) -> None:
    bench.add(bench.transfer("ann", 1), bench.transfer("bob", 1))
    good = await bench.built(bench.chain.head.block_hash, 2)
    bench.work.forget((good.header.hash,))
    wrong = Block(msgspec.structs.replace(good.header, state_root=Hash32(bytes(32))), good.transactions)
    unbound = Block(good.header, good.transactions[:1])
    expected = [
        (wrong, Verdict.INVALID),
        (unbound, Verdict.UNBOUND),
        (good, Verdict.VALID),
        (good, Verdict.VALID),
        (unbound, Verdict.UNBOUND),  # However well its header is known.
    ]
    for block, verdict in expected:
        event = await bench.do(ExecuteBlock(block))
        assert isinstance(event, BlockExecuted)
        assert (event.block_hash, event.verdict) == (block.header.hash, verdict)
        assert bool(event.reason) == (verdict is not Verdict.VALID)
    assert isinstance(await bench.commit(good), BlockCommitted)


async def test_what_was_forgotten_is_not_executed(bench: Bench) -> None:
    bench.add(bench.transfer("ann", 1))
    one = await bench.built(bench.chain.head.block_hash, 2)
    two = await bench.built(one.header.hash, 3, may_be_empty=True)
    bench.work.forget((one.header.hash, two.header.hash))
    assert await bench.do(ExecuteBlock(two)) is None
    bench.work.add(ExecuteBlock(one))
    bench.work.add(ExecuteBlock(two))
    bench.work.forget((two.header.hash,))
    event = await bench.result()
    assert isinstance(event, BlockExecuted)
    assert event.block_hash == one.header.hash
    assert await bench.result() is None


async def test_what_a_kept_block_stands_on_is_not_forgotten(bench: Bench) -> None:
    """An engine that never drops what it has voted for may drop its parent, and fetch it again once both are final."""
    one = await bench.built(bench.chain.head.block_hash, 2, may_be_empty=True)
    two = await bench.built(one.header.hash, 3, may_be_empty=True)
    three = await bench.built(two.header.hash, 4, may_be_empty=True)
    bench.work.forget((one.header.hash, two.header.hash))
    for block in (one, two):
        event = await bench.do(ExecuteBlock(block))
        assert isinstance(event, BlockExecuted)
        assert event.verdict is Verdict.VALID
    for block in (one, two, three):
        assert isinstance(await bench.commit(block), BlockCommitted)


async def test_commits_come_before_what_waits_to_be_executed(bench: Bench) -> None:
    blocks, parent_hash = [], bench.chain.head.block_hash
    for height in range(2, 6):
        blocks.append(await bench.built(parent_hash, height, may_be_empty=True))
        parent_hash = blocks[-1].header.hash
    bench.work.forget(tuple(block.header.hash for block in blocks[1:]))
    for block in blocks[1:]:
        bench.work.add(ExecuteBlock(block))
    assert isinstance(await bench.commit(blocks[0]), BlockCommitted)
    executed = [await bench.result() for _ in blocks[1:]]
    assert [event.block_hash for event in executed if isinstance(event, BlockExecuted)] == [
        block.header.hash for block in blocks[1:]
    ]


async def test_impossible_transaction_is_dropped_on_the_head_and_kept_on_another_block(bench: Bench) -> None:
    """Both mint for one receipt: whoever comes first uses it up."""
    people = bench.chain.people
    receipt_hash = people.receipt_hash()
    first = people.mint("eve", 5, nonce=0, receipt_hash=receipt_hash)
    bench.add(first)
    one = await bench.built(bench.chain.head.block_hash, 2)
    assert one.transactions == raws(first)
    bench.pool.drop(first.hash, Rejected(RejectionReason.MEMPOOL_FULL, "for the test"))
    bench.add(people.mint("dan", 5, nonce=0, receipt_hash=receipt_hash))
    assert isinstance(await bench.build(one.header.hash, 3), NothingToBuild)
    assert len(bench.pool) == 1  # The block may never be final.
    await bench.commit(one)
    assert len(bench.pool) == 0
    assert not bench.work.is_waiting


async def test_unsynced_commits_are_known_as_such(bench: Bench) -> None:
    one = await bench.built(bench.chain.head.block_hash, 2, may_be_empty=True)
    two = await bench.built(one.header.hash, 3, may_be_empty=True)
    bench.work.expect_more(frozenset((one.header.hash,)))
    await bench.commit(one)
    assert not bench.work.is_head_synced
    await bench.commit(two)
    assert bench.work.is_head_synced


async def test_ledger_that_fails_is_reported(bench: Bench) -> None:
    bench.add(bench.transfer("ann", 1))
    bench.ledger.store.close()
    bench.work.add(BuildBlock(bench.chain.head.block_hash, START_MS + 20_000, False, False))
    for _ in range(200):
        if bench.errors:
            break
        await asyncio.sleep(0.02)
    assert len(bench.errors) == 1
    await bench.work.close()


async def test_what_no_block_will_take_any_more_is_found_without_building(bench: Bench) -> None:
    """Registrations are free for newcomers, within a quota of all of them: others have used it up."""
    people, ledger = bench.chain.people, bench.ledger
    quota = bench.chain.state().parameters().registration_quota
    bench.add(people.register("eve", nonce=0))
    registrations = (people.register(f"newcomer {index}", nonce=0) for index in range(quota))
    bench.chain.commit(bench.chain.propose(*registrations, time_ms=now_ms()))
    bench.pool.rebase(ledger.view(), bench.chain.head)
    assert len(bench.pool) == 1
    await bench.work.recheck_pool()
    assert len(bench.pool) == 0
