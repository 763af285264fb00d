"""Transactions from clients and peers: admitted, passed on, and what costs the sender its connection."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from chain.node.intake import REPEAT_AFTER_MS, SLICE, Forged, Intake
from chain.node.mempool import Mempool
from chain.node.pool_limits import PoolLimits
from chain.primitives.rejection import Rejected, RejectionReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chain.node.waiting import Entry
    from chain.primitives.transaction import Transaction
    from tests.chain.conftest import Chain


class Desk:
    """An intake on a chain of ann's, and what it has passed on to whom."""

    def __init__(self, chain: Chain, thread: ThreadPoolExecutor) -> None:
        chain.fund("ann", "bob")
        self.people = chain.people
        self.age_ms = 0
        self.pool = Mempool(
            PoolLimits(),
            chain_id=chain.people.network.chain_id,
            recover=chain.ledger.signatures.recover,
            decode=chain.ledger.transactions.decode,
            age_clock_ms=lambda: self.age_ms,
        )
        self.pool.rebase(chain.ledger.view(), chain.head)
        self.shared: list[tuple[tuple[bytes, ...], str | None]] = []
        self.admitted: list[Entry] = []
        self.intake = Intake(
            chain.ledger,
            self.pool,
            thread=thread,
            share=self.share,
            on_admitted=self.admitted.append,
            age_clock_ms=lambda: self.age_ms,
        )

    def share(self, raws: Iterable[bytes], source: str | None) -> None:
        self.shared.append((tuple(raws), source))

    def transfers(self, sender: str, count: int) -> list[Transaction]:
        return [self.people.transfer(sender, "cat", 1, nonce=nonce) for nonce in range(1, count + 1)]


@pytest.fixture
def desk(chain: Chain) -> Iterator[Desk]:
    with ThreadPoolExecutor(1) as thread:
        yield Desk(chain, thread)


def test_clients_transaction_is_passed_on_once(desk: Desk) -> None:
    (transfer,) = desk.transfers("ann", 1)
    entry = desk.intake.submit(transfer.raw)
    assert desk.intake.submit(transfer.raw) is entry
    assert desk.shared == [((transfer.raw,), None)]
    assert desk.admitted == [entry]
    with pytest.raises(Rejected):
        desk.intake.submit(desk.people.transfer("ann", "cat", 1, nonce=7).raw)
    assert len(desk.shared) == 1


async def test_clients_batch_has_a_result_for_each_in_order(desk: Desk) -> None:
    known, *fresh = desk.transfers("ann", SLICE + 2)
    desk.intake.submit(known.raw)
    desk.shared.clear()
    elsewhere = desk.people.transfer("bob", "cat", 1, nonce=1, chain_id=5)
    raws = [known.raw, b"\x02nonsense", elsewhere.raw, *(each.raw for each in fresh)]
    results = await desk.intake.submit_all(raws)
    assert [each.reason if isinstance(each, Rejected) else each.transaction.raw for each in results] == [
        known.raw,
        RejectionReason.NON_CANONICAL,
        RejectionReason.WRONG_CHAIN_ID,
        *raws[3:],
    ]
    assert [raw for passed_on, source in desk.shared for raw in passed_on if source is None] == raws[3:]
    assert len(desk.admitted) == len(desk.pool) == 1 + len(fresh)


async def test_peers_transactions_are_passed_on_to_others(desk: Desk) -> None:
    raws = tuple(each.raw for each in desk.transfers("ann", 3))
    await desk.intake.take("peer", raws)
    assert desk.shared == [(raws, "peer")]
    await desk.intake.take("another", raws)
    assert len(desk.shared) == 1


async def test_what_cannot_wait_here_is_nobodys_fault(desk: Desk) -> None:
    stale = desk.people.mint("ann", 5, nonce=0)
    early = desk.people.transfer("ann", "cat", 1, nonce=9)
    poor = desk.people.transfer("nobody", "cat", 1, nonce=0)
    good = desk.people.transfer("bob", "cat", 1, nonce=1)
    await desk.intake.take("peer", (stale.raw, early.raw, poor.raw, good.raw))
    assert desk.shared == [((good.raw,), "peer")]


@pytest.mark.parametrize("kind", ["garbage", "another chain", "signature"])
async def test_what_no_node_passes_on_is_the_peers_fault(desk: Desk, kind: str) -> None:
    good = desk.people.transfer("bob", "cat", 1, nonce=1)
    forged = {
        "garbage": b"\x02nonsense",
        "another chain": desk.people.transfer("ann", "cat", 1, nonce=1, chain_id=5).raw,
        "signature": good.raw[:-64] + bytes(32) + good.raw[-32:],
    }[kind]
    with pytest.raises(Forged):
        await desk.intake.take("peer", (good.raw, forged))
    assert len(desk.pool) == 1  # What was in order is not lost.


async def test_large_batch_lets_others_have_their_turn(desk: Desk) -> None:
    raws = tuple(each.raw for each in desk.transfers("ann", 12 * SLICE))
    longest_s, is_done = 0.0, False

    async def watch() -> None:
        nonlocal longest_s
        while not is_done:
            before = time.process_time()  # Which does not count what other programs do meanwhile.
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.process_time() - before)

    watching = asyncio.create_task(watch())
    started = time.process_time()
    await desk.intake.take("peer", raws)
    took_s = time.process_time() - started
    is_done = True
    await watching
    assert len(desk.pool) == len(raws)
    assert longest_s < took_s / 3


def test_what_waits_for_long_is_told_again_by_and_by(desk: Desk) -> None:
    transfers = desk.transfers("ann", 300)
    for transfer in transfers:
        desk.intake.submit(transfer.raw)
    desk.shared.clear()
    desk.intake.repeat()
    assert desk.shared == []
    desk.age_ms = REPEAT_AFTER_MS
    desk.intake.repeat()
    desk.intake.repeat()
    told = [raw for raws, source in desk.shared for raw in raws if source is None]
    assert told == [transfer.raw for transfer in transfers]
    desk.intake.repeat()
    assert desk.shared[-1][0][0] == transfers[0].raw
