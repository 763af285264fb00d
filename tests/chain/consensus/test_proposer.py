"""On what, when and with which reasons a leader proposes."""

from __future__ import annotations

import pytest

from chain.consensus.effects import BlockBuilt, BuildBlock, ForgetBlocks, NothingToBuild
from chain.consensus.messages import CertificateMessage, GetBlock, GetCertificates, Proposal
from chain.consensus.pace import GRACE, HEARTBEAT, INTERVAL
from chain.primitives.block import Block
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, NULLIFY, START_MS, Cast


@pytest.fixture
def leading(bench: Bench) -> Bench:
    """In view 4, which this node leads; all others before it have been given up."""
    bench.enter(4)
    bench.clear()
    return bench


def lead_on(bench: Bench, cast: Cast) -> Block:
    """View 4 on a block that is notarized in view 3 and not final."""
    bench.enter(3)
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(3, block, nullified=(1, 2)))
    bench.hear_certificate(NOTARIZE, 3, 0, block)
    bench.clear()
    return block


# When


def test_on_a_final_block_a_leader_waits_for_a_transaction(leading: Bench) -> None:
    assert leading.wanted(BuildBlock) == []
    leading.wait_for()
    assert [each.may_be_empty for each in leading.wanted(BuildBlock)] == [False]


def test_on_a_final_block_a_leader_makes_an_empty_one_when_the_heartbeat_is_due(leading: Bench) -> None:
    leading.fire(HEARTBEAT)
    assert [each.may_be_empty for each in leading.wanted(BuildBlock)] == [True]


def test_a_leader_keeps_the_interval_between_blocks(bench: Bench, cast: Cast) -> None:
    bench.enter(3)
    bench.finalize(3, 0, cast.block(cast.genesis))
    bench.wait_for()
    assert bench.wanted(BuildBlock) == []
    bench.fire(INTERVAL)
    assert len(bench.wanted(BuildBlock)) == 1


def test_a_block_that_is_not_final_gets_another_one_soon_even_an_empty_one(bench: Bench, cast: Cast) -> None:
    block = lead_on(bench, cast)
    assert bench.wanted(BuildBlock) == []
    bench.fire(GRACE)
    assert [(each.parent_hash, each.may_be_empty) for each in bench.wanted(BuildBlock)] == [(block.header.hash, True)]


def test_a_block_that_becomes_final_in_time_needs_no_other(bench: Bench, cast: Cast) -> None:
    block = lead_on(bench, cast)
    bench.hear_certificate(FINALIZE, 3, 0, block)
    bench.fire(GRACE)
    assert bench.wanted(BuildBlock) == []


def test_who_does_not_lead_builds_nothing(bench: Bench) -> None:
    bench.enter(3)
    bench.wait_for()
    bench.fire(HEARTBEAT)
    assert bench.wanted(BuildBlock) == []


def test_a_leader_that_has_given_its_view_up_proposes_no_more(leading: Bench) -> None:
    leading.wait_for()
    leading.fire("leader")
    assert [vote.kind for vote in leading.votes()] == [NULLIFY]
    leading.build()
    assert leading.said(Proposal) == []
    assert len(leading.wanted(BuildBlock)) == 1


def test_a_leader_proposes_once(leading: Bench) -> None:
    leading.wait_for()
    leading.build()
    leading.wait_for(False)
    leading.wait_for()
    leading.fire(HEARTBEAT)
    assert len(leading.wanted(BuildBlock)) == len(leading.said(Proposal)) == 1


# On what


def test_a_proposal_names_its_parents_view_and_carries_its_reasons(leading: Bench, cast: Cast) -> None:
    leading.wait_for()
    block = leading.build()
    (proposal,) = leading.said(Proposal)
    assert (proposal.block, proposal.vote) == (block, cast.vote(0, NOTARIZE, 4, 0, block))
    assert [each.view for each in proposal.nullifications] == [1, 2, 3]
    assert proposal.parent_certificate is None, "the epoch begins on it"


def test_the_next_proposal_carries_the_certificate_of_its_parent(bench: Bench, cast: Cast) -> None:
    bench.enter(3)
    final = bench.finalize(3, 0, cast.block(cast.genesis))
    bench.wait_for()
    bench.fire(INTERVAL)
    block = bench.build()
    (proposal,) = bench.said(Proposal)
    assert (proposal.vote, proposal.parent_certificate) == (cast.vote(0, NOTARIZE, 4, 3, block), final)


def test_the_time_is_now_but_always_after_the_parents(bench: Bench, cast: Cast) -> None:
    bench.enter(3)
    bench.finalize(3, 0, cast.block(cast.genesis, time_ms=START_MS + 3_000))
    bench.wait_for()
    bench.fire(INTERVAL)
    assert [each.time_ms for each in bench.wanted(BuildBlock)] == [START_MS + 3_001]


def test_a_leader_that_lacks_certificates_asks_for_all_of_them(bench: Bench, cast: Cast) -> None:
    bench.hear_certificate(NULLIFY, 1)
    bench.clear()
    bench.hear_certificate(NULLIFY, 3)
    asked = bench.said(GetCertificates)
    assert asked == [GetCertificates(0, 2)]
    bench.wait_for()
    assert bench.wanted(BuildBlock) == []
    bench.hear_certificate(NULLIFY, 2)
    assert len(bench.wanted(BuildBlock)) == 1


def test_a_leader_far_behind_in_views_asks_for_many_at_once(bench: Bench) -> None:
    bench.hear_certificate(NULLIFY, 103)
    assert [each.view for each in bench.said(GetCertificates)] == list(range(102, 70, -1))


def test_a_leader_without_the_parents_body_asks_for_it(bench: Bench, cast: Cast) -> None:
    bench.enter(3)
    block = cast.block(cast.genesis)
    bench.hear_certificate(NOTARIZE, 3, 0, block)
    bench.fire(GRACE)
    assert bench.said(GetBlock) == [GetBlock(block.header.hash)]
    assert bench.wanted(BuildBlock) == []


def test_a_leader_that_cannot_have_the_final_block_soon_gives_up_at_once(bench: Bench, cast: Cast) -> None:
    """It cannot serve: the next leader may."""
    bench.enter(3)
    bench.hear_certificate(FINALIZE, 3, 0, cast.block(cast.genesis))
    assert [(vote.kind, vote.view) for vote in bench.votes(NULLIFY)] == [(NULLIFY, 4)]


# What it makes of the answer


def test_a_block_for_a_view_that_is_over_is_dropped(leading: Bench) -> None:
    leading.wait_for()
    leading.hear_certificate(NULLIFY, 4)
    block = leading.build()
    assert leading.said(Proposal) == []
    assert leading.wanted(ForgetBlocks) == [ForgetBlocks((block.header.hash,))]


def test_there_is_one_build_at_a_time(leading: Bench) -> None:
    leading.wait_for()
    leading.enter(8)
    assert len(leading.wanted(BuildBlock)) == 1
    leading.build()
    assert len(leading.wanted(BuildBlock)) == 2
    leading.build()
    assert [proposal.vote.view for proposal in leading.said(Proposal)] == [8]


def test_when_nothing_could_be_built_it_is_tried_again_after_a_pause(leading: Bench, cast: Cast) -> None:
    leading.wait_for()
    leading.handle(NothingToBuild(cast.genesis.hash, is_waiting=True))
    assert len(leading.wanted(BuildBlock)) == 1
    leading.fire(INTERVAL)
    assert len(leading.wanted(BuildBlock)) == 2


def test_an_empty_block_that_could_not_be_built_is_not_asked_for_again_at_once(leading: Bench, cast: Cast) -> None:
    """Where the next block needs rules that this software lacks, nothing is ever built."""
    leading.fire(HEARTBEAT)
    leading.handle(NothingToBuild(cast.genesis.hash, is_waiting=False))
    assert len(leading.wanted(BuildBlock)) == 1
    leading.fire(INTERVAL)
    assert len(leading.wanted(BuildBlock)) == 2


def test_an_own_block_from_the_future_is_built_anew(leading: Bench) -> None:
    """The clock has gone back while it was built."""
    leading.wait_for()
    leading.now_ms -= 60_000
    old = leading.build()
    assert leading.said(Proposal) == []
    assert leading.wanted(ForgetBlocks) == [ForgetBlocks((old.header.hash,))]
    new = leading.build()
    assert [proposal.block for proposal in leading.said(Proposal)] == [new]


# When something is wrong, blocks are small


def test_after_many_failures_blocks_are_empty_and_need_no_heartbeat(bench: Bench) -> None:
    """Else nobody could propose anything for a whole heartbeat while transactions wait."""
    bench.enter(8)
    bench.wait_for()
    (task,) = bench.wanted(BuildBlock)
    assert (task.must_be_empty, task.may_be_empty) == (True, True)


def test_too_long_a_chain_without_finality_carries_no_transactions(bench: Bench, cast: Cast) -> None:
    parent: Block | None = None
    for view in range(1, 12):
        if cast.leader(view) == 0:
            bench.wait_for(False)
            bench.fire(GRACE)
            block = bench.build()
        else:
            block = cast.block(parent or cast.genesis)
            bench.hear(cast.proposal(view, block, view - 1))
        bench.hear_certificate(NOTARIZE, view, view - 1, block)
        parent = block
    assert bench.engine.view == 12
    bench.clear()
    bench.wait_for()
    bench.fire(INTERVAL)
    assert bench.wanted(BuildBlock) == [], "an empty block only where time has passed"
    bench.fire(GRACE)
    assert [(each.must_be_empty, each.may_be_empty) for each in bench.wanted(BuildBlock)] == [(True, True)]


def test_an_unknown_built_block_is_forgotten(leading: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    leading.handle(BlockBuilt(block))
    assert leading.wanted(ForgetBlocks) == [ForgetBlocks((block.header.hash,))]
    assert leading.said(CertificateMessage) == []
