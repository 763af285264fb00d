"""What is asked for, executed and committed, in which order; and how much is kept."""

from __future__ import annotations

import pytest

from chain.consensus.block_tree import BlockState
from chain.consensus.block_work import BlockWork, Wanted
from chain.consensus.committee import Committee
from chain.consensus.draft import Draft
from chain.consensus.effects import CommitBlock, ExecuteBlock, Floor, ForgetBlocks, Task
from chain.consensus.knowledge import Knowledge
from chain.consensus.messages import GetBlock
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate
from chain.primitives.keys import recover_address
from chain.primitives.types import BlockHeight, Hash32
from tests.chain.consensus.cast import FINALIZE, GENESIS_HASH, Cast


class Yard:
    """Block work above the cast's genesis block, in view 1; the test says when work is done."""

    def __init__(self, cast: Cast) -> None:
        self.cast, self.draft = cast, Draft()
        floor = Floor(cast.epoch, 0, cast.genesis.height, cast.genesis.hash)
        self.work = BlockWork(floor, cast.genesis)
        committee = Committee(GENESIS_HASH, cast.epoch, cast.validators, None, recover_address)
        self.knowledge = Knowledge(committee, floor, self.draft)
        self.wanted: Wanted = {}

    def chain(self, length: int, *, of: int = 1) -> list[Block]:
        blocks = [self.cast.block(self.cast.genesis, time_ms=of)]
        while len(blocks) < length:
            blocks.append(self.cast.block(blocks[-1]))
        return blocks

    def add(self, *blocks: Block) -> None:
        for block in blocks:
            self.work.tree.add(block, source="peer", view=self.knowledge.view)

    def finalize(self, view: int, block: Block) -> Certificate:
        certificate = self.cast.certificate(FINALIZE, view, view - 1, block)
        self.work.add_final(certificate)
        self.knowledge.learn_certificate(certificate)
        self.draft.finish()
        return certificate

    def advance(self) -> tuple[Task, ...]:
        self.work.advance(self.draft, self.wanted, self.knowledge)
        self.effects = self.draft.finish()
        return self.effects.tasks

    def executed(self, block: Block, state: BlockState = BlockState.VALID) -> None:
        known = self.work.tree.get(block.header.hash)
        assert known is not None
        known.state = state

    def asked(self) -> list[tuple[Hash32, str | None]]:
        return [
            (each.message.block_hash, each.peer) for each in self.effects.sends if isinstance(each.message, GetBlock)
        ]


@pytest.fixture
def yard(cast: Cast) -> Yard:
    return Yard(cast)


def test_blocks_are_executed_parent_first_and_one_after_another(yard: Yard) -> None:
    first, second = yard.chain(2)
    yard.add(second, first)
    yard.wanted = {second.header.hash: None}
    assert yard.advance() == (ExecuteBlock(first),)
    assert yard.advance() == ()
    yard.executed(first)
    assert yard.advance() == (ExecuteBlock(second),)


def test_nothing_is_executed_on_an_invalid_block(yard: Yard) -> None:
    first, second = yard.chain(2)
    yard.add(first, second)
    yard.executed(first, BlockState.INVALID)
    yard.wanted = {second.header.hash: None}
    assert yard.advance() == ()


def test_a_final_block_is_committed_with_its_certificate_once_it_is_executed(yard: Yard) -> None:
    (block,) = yard.chain(1)
    yard.add(block)
    certificate = yard.finalize(3, block)
    assert yard.advance() == (ExecuteBlock(block),)
    yard.executed(block)
    floor = Floor(0, 3, block.header.height, block.header.hash)
    assert yard.advance() == (CommitBlock(block.header.hash, certificate, floor),)
    assert yard.work.floor.height == block.header.height - 1, "the floor moves when the disk has it"
    yard.work.committed(block.header.hash, yard.draft)
    assert yard.work.floor == floor


def test_there_is_one_commit_at_a_time_and_ancestors_come_without_certificate(yard: Yard) -> None:
    first, second = yard.chain(2)
    yard.add(first, second)
    certificate = yard.finalize(5, second)
    for block in (first, second):
        yard.executed(block)
    # The view stays: that of the ancestor's own notarization is not needed any more.
    assert yard.advance() == (CommitBlock(first.header.hash, None, Floor(0, 0, BlockHeight(11), first.header.hash)),)
    assert yard.advance() == ()
    yard.work.committed(first.header.hash, yard.draft)
    assert yard.advance() == (
        CommitBlock(second.header.hash, certificate, Floor(0, 5, BlockHeight(12), second.header.hash)),
    )


def test_the_block_that_ends_an_epoch_puts_the_floor_into_the_next(yard: Yard) -> None:
    last = yard.cast.block(yard.cast.genesis, next_set=Cast(4, epoch=1))
    yard.add(last)
    certificate = yard.finalize(7, last)
    yard.executed(last)
    assert yard.advance() == (
        CommitBlock(last.header.hash, certificate, Floor(1, 0, BlockHeight(11), last.header.hash)),
    )


def test_a_commit_forgets_what_lies_beside(yard: Yard) -> None:
    (block,), (sibling,) = yard.chain(1), yard.chain(1, of=2)
    yard.add(block, sibling)
    yard.finalize(1, block)
    yard.executed(block)
    yard.advance()
    yard.work.committed(block.header.hash, yard.draft)
    assert yard.draft.finish().tasks == (ForgetBlocks((sibling.header.hash,)),)


def test_a_missing_block_is_asked_for_once_of_whoever_has_it(yard: Yard) -> None:
    (block,) = yard.chain(1)
    yard.wanted = {block.header.hash: "leader"}
    yard.advance()
    assert yard.asked() == [(block.header.hash, "leader")]
    assert yard.work.was_asked_for(block.header.hash)
    yard.advance()
    assert yard.asked() == []
    yard.work.ask_again()
    yard.advance()
    assert yard.asked() == [(block.header.hash, "leader")]


def test_missing_ancestors_are_asked_for_backward(yard: Yard) -> None:
    first, second, third = yard.chain(3)
    yard.add(third)
    yard.wanted = {third.header.hash: None}
    yard.advance()
    assert [block_hash for block_hash, _ in yard.asked()] == [second.header.hash]
    yard.add(second)
    yard.advance()
    assert [block_hash for block_hash, _ in yard.asked()] == [first.header.hash]


def test_a_long_way_back_from_a_final_block_is_left_to_ranges(yard: Yard) -> None:
    blocks = yard.chain(20)
    yard.add(*blocks[18:])
    yard.finalize(20, blocks[-1])
    yard.wanted = {blocks[-1].header.hash: None}
    yard.advance()
    assert yard.asked() == []


def test_live_blocks_far_above_the_head_are_not_kept_for_ever(yard: Yard) -> None:
    """A node that catches up for an hour hears of every new block meanwhile."""
    blocks = yard.chain(200)
    largest = 0
    for view, block in enumerate(blocks[100:], start=101):
        yard.knowledge.view = view
        yard.add(block)
        yard.finalize(view, block)
        yard.wanted = {block.header.hash: None}
        yard.work.forget_before(view - 8, yard.draft, yard.wanted, yard.knowledge)
        yard.advance()
        largest = max(largest, len(yard.work.tree))
    assert largest <= 10


def test_an_unfinalized_chain_is_kept_whole_however_long_it_grows(yard: Yard) -> None:
    """Every later proposal stands on it."""
    blocks = yard.chain(40)
    for view, block in enumerate(blocks, start=1):
        yard.knowledge.view = view
        yard.add(block)
        yard.executed(block)
        yard.wanted = {block.header.hash: None}
        yard.work.forget_before(view - 8, yard.draft, yard.wanted, yard.knowledge)
        yard.advance()
    assert yard.work.tree.path_to(blocks[-1].header.hash)[1] is None


def test_of_too_many_finality_certificates_the_highest_stays(yard: Yard) -> None:
    """It makes everything below final; here it has come first, as while ranges are fetched."""
    block = yard.cast.block(yard.cast.genesis)
    newest = yard.cast.certificate(FINALIZE, 10_000, 0, block)
    yard.work.add_final(newest)
    for view in range(1, 600):
        header_only = yard.cast.block(yard.cast.genesis, time_ms=view)
        yard.work.add_final(
            Certificate(
                kind=FINALIZE,
                epoch=0,
                view=view,
                block_hash=header_only.header.hash,
                signer_bitmap=14,
                signatures=newest.signatures,
            )
        )
    yard.add(block)
    yard.executed(block)
    yard.wanted = {}
    assert [task.certificate for task in yard.advance() if isinstance(task, CommitBlock)] == [newest]
    assert len(yard.work._final) == 512


def test_an_epochs_end_leaves_nothing(yard: Yard) -> None:
    (block,) = yard.chain(1)
    yard.add(block)
    yard.finalize(1, block)
    yard.work.begin_epoch(yard.draft)
    assert yard.draft.finish().tasks == (ForgetBlocks((block.header.hash,)),)
    assert yard.work.final_path() == []
