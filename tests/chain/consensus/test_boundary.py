"""The block that ends an epoch: proposed again until it is final, committed once; then everything begins anew."""

from __future__ import annotations

import pytest

from chain.consensus.effects import (
    BlockBuilt,
    BuildBlock,
    ChainReceived,
    CommitBlock,
    ExecuteBlock,
    FetchFinal,
    Floor,
    ForgetBlocks,
    PruneJournal,
)
from chain.consensus.messages import CertificateMessage, Proposal, Status, VoteMessage
from chain.consensus.pace import FOLLOW_UP_MS, GRACE, HEARTBEAT, INTERVAL, LEADER
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, NULLIFY, Cast


@pytest.fixture
def later() -> Cast:
    """The next epoch's set: the first validator's place is the same, one key is new, one gone."""
    return Cast(5, epoch=1)


@pytest.fixture
def last(cast: Cast, later: Cast) -> Block:
    """The block that ends the epoch."""
    return cast.block(cast.genesis, next_set=later)


def notarize_last(bench: Bench, cast: Cast, last: Block, view: int = 1) -> Certificate:
    """It is notarized and not final."""
    bench.enter(view)
    bench.hear(cast.proposal(view, last))
    certificate = bench.hear_certificate(NOTARIZE, view, 0, last)
    bench.clear()
    return certificate


def end_epoch(bench: Bench, last: Block, later: Cast, view: int = 1) -> Certificate:
    bench.next_settings[last.header.hash] = later.settings
    certificate = bench.finalize(view, 0, last)
    bench.cast = later
    return certificate


# Proposed again


def test_nothing_but_itself_extends_it(bench: Bench, cast: Cast, last: Block) -> None:
    certificate = notarize_last(bench, cast, last)
    bench.hear(cast.proposal(2, cast.block(last), 1, certificate))
    assert [vote.kind for vote in bench.votes()] == [NULLIFY]


def test_it_is_notarized_again_without_being_executed_again(bench: Bench, cast: Cast, last: Block) -> None:
    certificate = notarize_last(bench, cast, last)
    bench.hear(cast.proposal(2, last, 1, certificate))
    assert bench.votes() == [cast.vote(0, NOTARIZE, 2, 1, last)]
    assert bench.wanted(ExecuteBlock) == []


def test_its_repetition_is_exempt_from_the_rule_on_time(bench: Bench, cast: Cast, last: Block) -> None:
    certificate = notarize_last(bench, cast, last)
    bench.now_ms -= 3_600_000
    bench.hear(cast.proposal(2, last, 1, certificate))
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 2, 1, last)]


def test_an_ordinary_block_cannot_be_its_own_parent(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    certificate = notarize_last(bench, cast, block)
    bench.hear(cast.proposal(2, block, 1, certificate))
    assert [vote.kind for vote in bench.votes()] == [NULLIFY]


def test_a_leader_proposes_it_again_when_its_finality_is_late(bench: Bench, cast: Cast, last: Block) -> None:
    certificate = notarize_last(bench, cast, last, view=3)
    bench.wait_for()
    assert bench.said(Proposal) == []
    bench.fire(GRACE)
    (proposal,) = bench.said(Proposal)
    assert (proposal.block, proposal.vote) == (last, cast.vote(0, NOTARIZE, 4, 3, last))
    assert proposal.parent_certificate == certificate
    assert bench.wanted(BuildBlock) == []


def test_finality_in_any_of_its_views_commits_it_once(bench: Bench, cast: Cast, later: Cast, last: Block) -> None:
    bench.next_settings[last.header.hash] = later.settings
    first = notarize_last(bench, cast, last)
    bench.hear(cast.proposal(2, last, 1, first))
    bench.hear_certificate(NOTARIZE, 2, 1, last)
    final = bench.hear_certificate(FINALIZE, 2, 1, last)
    bench.hear(CertificateMessage(cast.certificate(FINALIZE, 1, 0, last)))
    floor = Floor(1, 0, last.header.height, last.header.hash)
    assert bench.wanted(CommitBlock) == [CommitBlock(last.header.hash, final, floor)]


def test_once_it_is_final_nobody_proposes_it_again(bench: Bench, cast: Cast, last: Block) -> None:
    notarize_last(bench, cast, last, view=3)
    bench.handle_message(CertificateMessage(cast.certificate(FINALIZE, 3, 0, last)))
    bench.fire_only(GRACE)
    assert bench.said(Proposal) == []
    assert bench.wanted(BuildBlock) == []


def test_another_block_may_win_while_it_is_not_notarized(bench: Bench, cast: Cast, last: Block) -> None:
    bench.hear(cast.proposal(1, last))
    bench.hear_certificate(NULLIFY, 1)
    other = cast.block(cast.genesis)
    bench.finalize(2, 0, other)
    assert (bench.engine.epoch, bench.floor.block_hash) == (0, other.header.hash)


# The next epoch


def test_the_next_epoch_begins_at_view_one_on_it(bench: Bench, cast: Cast, later: Cast, last: Block) -> None:
    bench.enter(7)
    end_epoch(bench, last, later, view=7)
    engine = bench.engine
    assert (engine.epoch, engine.view, engine.floor) == (1, 1, Floor(1, 0, last.header.height, last.header.hash))
    assert bench.wanted(PruneJournal) == [PruneJournal(1, 0)]
    assert bench.timers[HEARTBEAT] == FOLLOW_UP_MS
    bench.clear()
    block = later.block(last)
    bench.hear(later.proposal(1, block))
    assert bench.votes() == [later.vote(0, NOTARIZE, 1, 0, block)]


def test_who_begins_an_epoch_says_so(bench: Bench, cast: Cast, later: Cast, last: Block) -> None:
    end_epoch(bench, last, later)
    assert bench.said(Status)[-1] == Status(1, 1, 11)


def test_who_begins_later_hears_again_what_it_has_dropped(bench: Bench, later: Cast, last: Block) -> None:
    end_epoch(bench, last, later)
    block = later.block(last)
    bench.hear(later.proposal(1, block))
    bench.clear()
    bench.hear(Status(1, 1, 11), "late")
    assert [(each.message, each.peer) for each in bench.sends] == [
        (VoteMessage(later.vote(0, NOTARIZE, 1, 0, block)), "late")
    ]


def test_votes_and_certificates_of_the_old_epoch_count_no_more(
    bench: Bench, cast: Cast, later: Cast, last: Block
) -> None:
    end_epoch(bench, last, later)
    bench.hear(CertificateMessage(cast.certificate(NULLIFY, 2)))
    bench.hear_votes(cast.vote(signer, NULLIFY, 1) for signer in (1, 2, 3))
    assert bench.engine.view == 1


def test_who_is_still_in_the_old_epoch_gets_the_certificate_that_ended_it(
    bench: Bench, cast: Cast, later: Cast, last: Block
) -> None:
    final = end_epoch(bench, last, later)
    bench.clear()
    bench.hear(VoteMessage(cast.vote(1, NULLIFY, 2)), "late")
    assert [(each.message, each.peer) for each in bench.sends] == [(CertificateMessage(final), "late")]


def test_who_hears_of_the_next_epoch_fetches_what_ended_this_one(bench: Bench, later: Cast) -> None:
    bench.hear(VoteMessage(later.vote(4, NULLIFY, 1)), "ahead")
    assert bench.wanted(FetchFinal) == [FetchFinal("ahead")]


def test_a_removed_validator_follows_and_a_new_one_votes(cast: Cast) -> None:
    later = Cast(4, epoch=1, first_key=1)
    last = cast.block(cast.genesis, next_set=later)
    removed, added = Bench(cast, 0), Bench(cast, key=later.keys[3])
    for bench in (removed, added):
        end_epoch(bench, last, later)
        bench.clear()
        bench.finalize(1, 0, later.block(last))
        assert bench.floor.height == 12
    assert removed.votes() == []
    assert {(vote.kind, vote.signer) for vote in added.votes()} == {(NOTARIZE, 3), (FINALIZE, 3)}


def test_an_epoch_may_begin_with_an_unchanged_set(bench: Bench, cast: Cast) -> None:
    again = Cast(4, epoch=1)
    last = cast.block(cast.genesis, next_set=again)
    end_epoch(bench, last, again)
    assert bench.engine.epoch == 1
    bench.finalize(1, 0, again.block(last))
    assert (bench.engine.epoch, bench.floor.height) == (1, 12)


def test_leaders_rotate_with_the_epoch(bench: Bench, cast: Cast) -> None:
    again = Cast(4, epoch=1)
    last = cast.block(cast.genesis, next_set=again)
    end_epoch(bench, last, again)
    bench.enter(3)  # (3 + 1) mod 4: this node's
    bench.wait_for()
    bench.fire(INTERVAL) if INTERVAL in bench.timers else None
    assert len(bench.wanted(BuildBlock)) == 1


def test_what_lay_beside_it_is_forgotten(bench: Bench, cast: Cast, later: Cast, last: Block) -> None:
    above = cast.block(last)  # Nothing may stand there, but a liar may propose it.
    bench.hear(cast.proposal(1, last))
    bench.hear(cast.proposal(2, above, 1))
    end_epoch(bench, last, later)
    assert ForgetBlocks((above.header.hash,)) in bench.wanted(ForgetBlocks)
    assert len(bench.engine._work.tree) == 0


def test_a_build_that_the_epochs_end_overtakes_is_awaited_before_the_next(cast: Cast) -> None:
    """One at a time: the driver knows no epochs."""
    bench, again = Bench(cast), Cast(4, epoch=1)
    last = cast.block(cast.genesis, next_set=again)
    bench.enter(4)
    bench.wait_for()
    assert len(bench.wanted(BuildBlock)) == 1
    end_epoch(bench, last, again, view=5)
    bench.wait_for()
    bench.enter(3)
    assert len(bench.wanted(BuildBlock)) == 1
    bench.work()
    stale = cast.block(cast.genesis)
    bench.handle(BlockBuilt(stale))
    assert ForgetBlocks((stale.header.hash,)) in bench.wanted(ForgetBlocks)
    assert len(bench.wanted(BuildBlock)) == 2
    assert bench.said(Proposal) == []


def test_a_range_may_end_an_epoch_but_not_cross_its_end(bench: Bench, cast: Cast, later: Cast, last: Block) -> None:
    bench.next_settings[last.header.hash] = later.settings
    final = cast.certificate(FINALIZE, 1, 0, last)
    above = later.block(last)
    crossing = ((last, final), (above, later.certificate(FINALIZE, 1, 0, above)))
    bench.handle(ChainReceived("liar", crossing))
    assert bench.wanted(ExecuteBlock) == []
    bench.handle(ChainReceived("peer", ((last, final),)))
    bench.work()
    assert (bench.engine.epoch, bench.floor.height) == (1, 11)


def test_views_given_up_in_the_old_epoch_do_not_lengthen_the_new_ones(bench: Bench, later: Cast, last: Block) -> None:
    bench.enter(4)
    end_epoch(bench, last, later, view=5)
    bench.wait_for()
    assert bench.timers[LEADER] == 2 * later.settings.network_delay_ms + later.settings.block_interval_ms
