"""Uncommitted blocks: ways to the head, what dies with a commit, what is forgotten."""

from __future__ import annotations

import pytest

from chain.consensus.block_tree import BlockState, BlockTree, TreeBlock
from chain.primitives.block import Block
from chain.primitives.types import Hash32
from tests.chain.consensus.cast import Cast


def add(tree: BlockTree, block: Block, *, view: int = 1) -> TreeBlock:
    known = tree.add(block, source=None, view=view)
    assert known is not None
    return known


def hashes(*blocks: Block) -> list[Hash32]:
    return [block.header.hash for block in blocks]


@pytest.fixture
def tree(cast: Cast) -> BlockTree:
    return BlockTree(cast.genesis)


def chain_of(cast: Cast, length: int) -> list[Block]:
    blocks = [cast.block(cast.genesis)]
    while len(blocks) < length:
        blocks.append(cast.block(blocks[-1]))
    return blocks


def test_the_way_from_the_head_to_a_block(cast: Cast, tree: BlockTree) -> None:
    first, second, third = chain_of(cast, 3)
    for block in (third, first, second):
        add(tree, block)
    path, missing = tree.path_to(third.header.hash)
    assert ([each.hash for each in path], missing) == (hashes(first, second, third), None)
    assert tree.path_to(cast.genesis.hash) == ([], None)


def test_the_lowest_missing_ancestor_is_named(cast: Cast, tree: BlockTree) -> None:
    first, second, third = chain_of(cast, 3)
    add(tree, third)
    assert tree.path_to(third.header.hash)[1] == second.header.hash
    assert tree.path_to(first.header.hash) == ([], first.header.hash)


def test_a_block_beside_the_head_has_no_way_and_nothing_helps(cast: Cast, tree: BlockTree) -> None:
    beside = cast.block(cast.genesis, parent_hash=Hash32(b"\1" * 32))
    add(tree, beside)
    assert tree.path_to(beside.header.hash) == ([], None)


def test_blocks_of_the_past_are_not_taken(cast: Cast, tree: BlockTree) -> None:
    old = cast.block(cast.genesis, height=cast.genesis.height)
    assert tree.add(old, source=None, view=1) is None


def test_the_first_body_stays_and_the_newest_view_counts(cast: Cast, tree: BlockTree) -> None:
    block = cast.block(cast.genesis)
    first = add(tree, block, view=3)
    assert tree.add(block, source="peer", view=5) is first
    assert (first.view, first.source) == (5, None)
    add(tree, block, view=4)
    assert first.view == 5


def test_a_commit_takes_siblings_and_their_descendants_along(cast: Cast, tree: BlockTree) -> None:
    first, second = chain_of(cast, 2)
    sibling = cast.block(cast.genesis, transactions=())
    nephew = cast.block(sibling)
    for block in (first, second, sibling, nephew):
        add(tree, block)
    assert sorted(tree.commit(first.header.hash)) == sorted(hashes(sibling, nephew))
    assert tree.committed == first.header
    assert [each.hash for each in tree.path_to(second.header.hash)[0]] == hashes(second)


def test_a_commit_keeps_what_may_still_descend_from_the_head(cast: Cast, tree: BlockTree) -> None:
    first, _, third = chain_of(cast, 3)
    add(tree, first)
    add(tree, third)
    assert tree.commit(first.header.hash) == []
    assert tree.get(third.header.hash) is not None


def test_blocks_not_wanted_for_long_are_forgotten_unless_voted_for_or_kept(cast: Cast, tree: BlockTree) -> None:
    blocks = [cast.block(cast.genesis, time_ms=time_ms) for time_ms in (1, 2, 3, 4)]
    old, recorded, kept, young = (add(tree, block, view=view) for block, view in zip(blocks, (1, 1, 1, 9), strict=True))
    recorded.is_recorded = True
    assert tree.forget_before(9, {kept.hash}) == [old.hash]
    assert all(tree.get(each.hash) is each for each in (recorded, kept, young))


def test_what_was_voted_for_keeps_its_ancestors(cast: Cast, tree: BlockTree) -> None:
    """Executed anew, they would not be the parents that the block was executed on."""
    first, second, third = chain_of(cast, 3)
    for block in (first, second, third):
        add(tree, block, view=1)
    voted_for = tree.get(second.header.hash)
    assert voted_for is not None
    voted_for.is_recorded = True
    assert tree.forget_before(9, set()) == [third.header.hash]
    assert [each.hash for each in tree.ancestry(second.header.hash)] == hashes(second, first)


def test_what_executes_on_a_forgotten_parent_begins_anew(cast: Cast, tree: BlockTree) -> None:
    """The driver drops both tasks, and nobody would ever answer for the child."""
    parent, child = chain_of(cast, 2)
    add(tree, parent, view=1)
    executing = add(tree, child, view=9)
    executing.state = BlockState.EXECUTING
    tree.forget_before(9, set())
    assert executing.state is BlockState.KNOWN


def test_a_block_can_be_built_on_where_it_is_the_head_or_valid(cast: Cast, tree: BlockTree) -> None:
    block = cast.block(cast.genesis)
    known = add(tree, block)
    assert tree.is_executed(cast.genesis.hash)
    assert not tree.is_executed(block.header.hash)
    known.state = BlockState.VALID
    assert tree.is_executed(block.header.hash)


def test_the_ancestry_goes_down_as_far_as_blocks_are_here(cast: Cast, tree: BlockTree) -> None:
    first, second, third = chain_of(cast, 3)
    for block in (second, third):
        add(tree, block)
    assert [each.hash for each in tree.ancestry(third.header.hash)] == hashes(third, second)
    add(tree, first)
    assert [each.hash for each in tree.ancestry(third.header.hash)] == hashes(third, second, first)


def test_an_epochs_end_leaves_nothing(cast: Cast, tree: BlockTree) -> None:
    blocks = chain_of(cast, 2)
    for block in blocks:
        add(tree, block)
    assert tree.clear() == hashes(*blocks)
    assert len(tree) == 0
