"""Nothing of an event leaves, and nothing is committed, before the votes that go before it are on the disk."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from chain.consensus.effects import (
    Ask,
    Blame,
    BlockCommitted,
    Event,
    FetchFinal,
    KeepEvidence,
    PeerConnected,
    Recovered,
    Send,
    Started,
)
from chain.consensus.messages import Proposal
from chain.consensus.simplex import SimplexEngine
from chain.node.blocks import BlockWork
from chain.node.clock import now_ms
from chain.node.driver import Driver
from chain.node.mempool import Mempool
from chain.node.metrics import NodeMetrics
from chain.node.outbox import Outbox
from chain.node.pool_limits import PoolLimits
from chain.storage.errors import JournalError
from chain.storage.journal import JournalRecord, VoteJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.chain.conftest import Chain, People

PATIENCE_S = 90.0


class HeldJournal(VoteJournal):
    """A real journal on a disk that takes its time."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.begun = threading.Event()
        self.released = threading.Event()

    def append(self, records: Sequence[JournalRecord], *, sync: bool) -> None:
        self.begun.set()
        assert self.released.wait(PATIENCE_S)
        super().append(records, sync=sync)


class Desk:
    """The driver of a network's only validator, with all that is real but peers; it is the messenger."""

    def __init__(self, chain: Chain, journal: HeldJournal) -> None:
        self.people, self.ledger, self.journal = chain.people, chain.ledger, journal
        self.sent: list[Send | Ask] = []
        self.committed: list[int] = []
        self.errors: list[Exception] = []
        metrics = NodeMetrics(CollectorRegistry())
        self.pool = Mempool(
            PoolLimits(),
            chain_id=chain.people.network.chain_id,
            recover=chain.ledger.signatures.recover,
            decode=chain.ledger.transactions.decode,
        )
        self.pool.rebase(chain.ledger.view(), chain.head)
        key = chain.people.key("validator")
        self.engine = SimplexEngine(
            genesis_hash=chain.people.network.genesis_hash,
            key=key,
            settings=chain.ledger.settings(),
            recovered=Recovered(floor=chain.ledger.floor(), head=chain.head.header),
        )
        self.work = BlockWork(
            chain.ledger,
            self.pool,
            proposer=key.address,
            metrics=metrics,
            on_event=self.report,
            on_error=self.fail,
        )
        self.outbox = Outbox(
            journal, on_error=self.fail, sync_seconds=metrics.journal_sync_seconds, votes=metrics.votes
        )
        self.driver = Driver(self.engine, self.work, self.outbox, self, on_error=self.fail)

    def report(self, event: Event) -> None:
        """As the node does."""
        self.driver.dispatch(event)

    def fail(self, error: Exception) -> None:
        """As the node does."""
        self.errors.append(error)
        self.driver.stop()

    def send(self, send: Send | Ask) -> None:
        """Messenger."""
        self.sent.append(send)

    def on_task(self, task: FetchFinal | KeepEvidence | Blame) -> None:
        """Messenger."""
        raise AssertionError(f"alone in the network, and yet {task}")

    def after_commit(self, committed: BlockCommitted) -> None:
        """Messenger."""
        self.committed.append(self.ledger.head.height)

    def transfer(self, nonce: int) -> None:
        """Hands a transaction in, as `Node.submit` does."""
        self.pool.add(self.people.transfer("ann", "bob", 1, nonce=nonce).raw, now_ms())
        self.driver.tell_waiting()

    async def until(self, is_so: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline_s
            assert not self.errors, self.errors
            await asyncio.sleep(0.01)

    async def build_two_unsynced(self) -> int:
        """Two blocks are built and voted for, and the first vote's sync has not ended; gives the view before them."""
        view = self.engine.view
        self.driver.dispatch(Started())
        self.transfer(1)
        await self.until(lambda: self.engine.view == view + 1)
        assert await asyncio.to_thread(self.journal.begun.wait, PATIENCE_S)
        self.transfer(2)
        await self.until(lambda: self.engine.view == view + 2)
        return view

    async def close(self) -> None:
        self.driver.stop()
        await self.outbox.close()
        await self.work.close()


@pytest.fixture
def desk(chain: Chain, people: People, tmp_path: Path) -> Iterator[Desk]:
    chain.fund("ann")
    path = tmp_path / "votes.journal"
    with HeldJournal.open(path, genesis_hash=people.network.genesis_hash, journal_id=None) as journal:
        yield Desk(chain, journal)


async def test_while_a_vote_waits_for_the_disk_blocks_are_built_and_nothing_else_happens(desk: Desk) -> None:
    height = desk.ledger.head.height
    await desk.build_two_unsynced()  # For the second one the engine has also waited for its interval's timer.
    await asyncio.sleep(0.1)
    assert desk.sent == []
    assert desk.ledger.head.height == height
    desk.journal.released.set()
    await desk.until(lambda: desk.committed == [height + 1, height + 2])
    assert desk.sent
    await desk.close()
    assert desk.errors == []


async def test_what_has_waited_leaves_in_the_order_of_the_events(desk: Desk) -> None:
    view = await desk.build_two_unsynced()
    desk.driver.dispatch(PeerConnected("peer"))  # It is told what the engine knows: no vote of this event's waits.
    assert desk.sent == []
    desk.journal.released.set()
    await desk.until(lambda: len(desk.committed) == 2)
    await desk.close()
    proposals = [send.message for send in desk.sent if isinstance(send.message, Proposal)]
    assert [proposal.vote.view for proposal in proposals][:2] == [view, view + 1]
    told = [index for index, send in enumerate(desk.sent) if send.peer == "peer"]
    assert min(told) > desk.sent.index(Send(proposals[1]))
    first, second = (proposal.block.header for proposal in proposals[:2])
    assert second.parent_hash == first.hash


async def test_a_sync_that_fails_ends_it_all_and_nothing_is_sent(desk: Desk) -> None:
    height = desk.ledger.head.height
    await desk.build_two_unsynced()
    desk.journal.close()
    desk.journal.released.set()
    await desk.outbox.close()
    await desk.close()
    (error,) = desk.errors
    assert isinstance(error, JournalError)
    assert desk.sent == []
    assert desk.ledger.head.height == height
