"""Several engines, or one alone: any number of validators makes blocks final, as long as a quorum lives."""

from __future__ import annotations

import pytest

from chain.consensus.effects import BlockBuilt, BuildBlock, CommitBlock, ExecuteBlock
from chain.consensus.messages import JournalEntry
from chain.consensus.pace import GRACE, HEARTBEAT, INTERVAL, LEADER, RETRY, VIEW
from chain.primitives import message_pack
from chain.primitives.certificate import verify_certificate
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, GENESIS_HASH, NOTARIZE, Cast
from tests.chain.consensus.table import Table


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 10])
def test_any_number_of_validators_makes_blocks_final(size: int) -> None:
    table = Table(size)
    table.wait_for()
    for height in range(11, 16):
        table.fire(INTERVAL)
        assert min(bench.floor.height for bench in table.benches.values()) >= height
    heads = {bench.floor.block_hash for bench in table.benches.values()}
    assert len(heads) == 1


@pytest.mark.parametrize(("size", "dead"), [(4, [1]), (4, [2]), (7, [1, 2]), (5, [1])])
def test_dead_leaders_are_passed_over(size: int, dead: list[int]) -> None:
    table = Table(size, dead=dead)
    table.wait_for()
    for _ in range(4 * size):
        table.fire(INTERVAL)
        table.fire(LEADER)
    assert {bench.floor.height for bench in table.benches.values()} == {table.benches[0].floor.height}
    assert table.benches[0].floor.height >= 10 + size


@pytest.mark.parametrize(("size", "dead"), [(2, [1]), (3, [1]), (4, [1, 2]), (7, [1, 2, 3])])
def test_without_a_quorum_nothing_is_final_and_no_view_ends(size: int, dead: list[int]) -> None:
    table = Table(size, dead=dead)
    table.wait_for()
    for name in (INTERVAL, LEADER, VIEW, RETRY) * 3:
        table.fire(name)
    assert {bench.floor.height for bench in table.benches.values()} == {10}
    assert {bench.engine.view for bench in table.benches.values()} == {1}


def test_an_idle_chain_makes_one_block_a_heartbeat() -> None:
    table = Table(4)
    for height in (11, 12, 13):
        table.fire(HEARTBEAT)
        for name in (INTERVAL, GRACE):
            table.fire(name)
        assert {bench.floor.height for bench in table.benches.values()} == {height}


def test_one_pass_of_a_lone_validator_makes_all_certificates_with_one_batch_of_records() -> None:
    cast = Cast(1)
    bench = Bench(cast)
    bench.wait_for()
    bench.fire(INTERVAL)
    block = cast.block(cast.genesis)
    effects = bench.handle(BlockBuilt(block))
    (commit,) = bench.wanted(CommitBlock)
    assert (commit.block_hash, commit.floor.view) == (block.header.hash, 1)
    assert commit.certificate is not None
    verify_certificate(commit.certificate, genesis_hash=GENESIS_HASH, validators=cast.validators)
    entries = [message_pack.decode(each.encoded, JournalEntry) for each in effects.records]
    assert [each.vote.kind for each in entries if each.vote is not None] == [NOTARIZE, FINALIZE]
    assert [each.certificate.kind for each in entries if each.certificate is not None] == [NOTARIZE, FINALIZE]
    assert bench.wanted(ExecuteBlock) == [], "it was executed when it was built"


def test_a_lone_validator_builds_on_a_block_that_is_still_being_written() -> None:
    cast = Cast(1)
    bench = Bench(cast)
    bench.wait_for()
    bench.fire(INTERVAL)
    bench.handle(BlockBuilt(cast.block(cast.genesis)))
    bench.fire_only(INTERVAL)
    assert [each.parent_hash for each in bench.wanted(BuildBlock)][1:] == [cast.block(cast.genesis).header.hash]
    assert bench.floor.height == 10
