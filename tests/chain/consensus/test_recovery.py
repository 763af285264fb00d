"""After a crash: own votes are never contradicted, whatever was torn away; views, certificates and bodies come back."""

from __future__ import annotations

import pytest

from chain.consensus.effects import CommitBlock, ExecuteBlock, FetchFinal, Floor, Halt, PeerConnected, PruneJournal
from chain.consensus.messages import CertificateMessage, GetCertificates, JournalEntry, Proposal, VoteMessage
from chain.consensus.pace import GRACE, INTERVAL, LEADER, RETRY, VIEW
from chain.primitives import message_pack
from chain.primitives.types import BlockHeight
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, NULLIFY, START_MS, Cast


def restart(bench: Bench, *, keep: int | None = None) -> None:
    """The process dies; `keep` of the journal's records are whole."""
    if keep is not None:
        del bench.records[keep:]
    bench.start()


# Own votes


def test_an_own_notarize_is_not_repeated_with_another_block(bench: Bench, cast: Cast) -> None:
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    restart(bench)
    bench.hear(cast.proposal(1, cast.block(cast.genesis, transactions=())))
    assert bench.votes() == []
    bench.fire(VIEW)
    assert [vote.kind for vote in bench.votes()] == [NULLIFY]


def test_a_leader_does_not_propose_another_block_after_a_restart(bench: Bench) -> None:
    bench.enter(4)
    bench.wait_for()
    block = bench.build()
    restart(bench)
    bench.wait_for()
    bench.fire(INTERVAL)
    bench.fire(GRACE)
    assert bench.tasks == [ExecuteBlock(block)]
    bench.handle(PeerConnected("new"))
    assert [each.block for each in bench.said(Proposal, "new")] == [block], "it may have reached nobody"


def test_a_view_given_up_before_the_crash_is_not_finalized_after_it(bench: Bench, cast: Cast) -> None:
    bench.wait_for()
    bench.fire(LEADER)
    restart(bench)
    bench.hear_certificate(NOTARIZE, 1, 0, cast.block(cast.genesis))
    assert bench.votes() == []


def test_a_view_finalized_before_the_crash_is_not_given_up_after_it(bench: Bench, cast: Cast) -> None:
    bench.hear_certificate(NOTARIZE, 1, 0, cast.block(cast.genesis))
    # The certificate's record is gone, as if votes alone had brought the view about.
    del bench.records[0]
    restart(bench)
    bench.hear_votes(cast.vote(signer, NULLIFY, 1) for signer in (1, 2))
    assert bench.engine.view == 1
    bench.wait_for()
    bench.fire(VIEW)
    assert bench.votes(NULLIFY) == []


def test_a_repeated_finalize_after_a_crash_is_the_same_vote(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear_certificate(NOTARIZE, 1, 0, block)
    (vote,) = bench.votes()
    restart(bench, keep=1)
    assert bench.votes() == [vote], "the certificate is here, the vote was never sent"
    restart(bench)
    assert bench.votes() == []
    bench.fire(RETRY)
    assert bench.votes() == [vote]


@pytest.mark.parametrize("keep", range(6))
def test_wherever_the_journal_is_torn_nothing_is_contradicted(cast: Cast, keep: int) -> None:
    """What was torn away was never sent; what is there counts."""
    bench = Bench(cast)
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    bench.fire(VIEW)
    bench.hear_certificate(NULLIFY, 1)
    bench.hear(cast.proposal(2, cast.block(cast.genesis, transactions=())))
    bench.hear_certificate(NOTARIZE, 2, 0, cast.block(cast.genesis, transactions=()))
    assert len(bench.records) == 6
    restart(bench, keep=keep)
    kept = [message_pack.decode(each.encoded, JournalEntry).vote for each in bench.records]
    bench.hear(cast.proposal(1, cast.block(cast.genesis, time_ms=START_MS + 1)))
    bench.hear(cast.proposal(2, cast.block(cast.genesis, time_ms=START_MS + 2), nullified=(1,)))
    bench.wait_for()
    if VIEW in bench.timers:
        bench.fire(VIEW)
    bench.hear_certificate(NOTARIZE, 2, 0, cast.block(cast.genesis, transactions=()))
    votes = [vote for vote in kept if vote is not None] + bench.votes()
    for view in (1, 2):
        mine = [vote for vote in votes if vote.view == view]
        assert len({vote.block_hash for vote in mine if vote.kind is NOTARIZE}) <= 1
        assert not {NULLIFY, FINALIZE} <= {vote.kind for vote in mine}


# Where it goes on


def test_the_view_of_the_last_own_vote_or_certificate_comes_back(bench: Bench, cast: Cast) -> None:
    bench.enter(5)
    bench.wait_for()
    bench.fire(LEADER)
    restart(bench)
    assert bench.engine.view == 5
    bench.records = [record for record in bench.records if record.is_vote]
    restart(bench)
    assert bench.engine.view == 5, "by the vote alone"


def test_deadlines_are_armed_again_where_there_is_something_to_do(bench: Bench, cast: Cast) -> None:
    bench.hear_certificate(NOTARIZE, 1, 0, cast.block(cast.genesis))
    restart(bench)
    assert {LEADER, VIEW, RETRY, GRACE, INTERVAL} <= set(bench.timers)


def test_bodies_that_were_voted_for_are_executed_again(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    bench.hear_certificate(NOTARIZE, 1, 0, block)
    restart(bench)
    assert bench.wanted(ExecuteBlock) == [ExecuteBlock(block)]
    bench.work()
    bench.hear_certificate(FINALIZE, 1, 0, block)
    assert bench.floor.height == 11


def test_a_block_that_was_final_but_not_committed_is_committed_after_the_restart(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    certificate = cast.certificate(FINALIZE, 1, 0, block)
    bench.handle_message(CertificateMessage(certificate))
    restart(bench)
    bench.work()
    assert [each.certificate for each in bench.wanted(CommitBlock)] == [certificate]
    assert bench.floor.height == 11


def test_a_final_block_whose_body_is_lost_is_fetched(bench: Bench, cast: Cast) -> None:
    bench.handle_message(CertificateMessage(cast.certificate(FINALIZE, 1, 0, cast.block(cast.genesis))))
    restart(bench)
    bench.fire(RETRY)
    assert bench.wanted(FetchFinal) == [FetchFinal(None)]


def test_a_quorums_own_part_is_made_again(cast: Cast) -> None:
    """Alone: the vote is on the disk, its certificate is not."""
    alone = Cast(1)
    bench = Bench(alone)
    bench.wait_for()
    bench.fire(INTERVAL)
    block = bench.build()
    height, records = bench.floor.height, bench.records[:1]
    assert height == 11
    again = Bench(alone)
    again.records = records
    again.start()
    again.work()
    assert again.floor.block_hash == block.header.hash


def test_the_floors_certificate_justifies_the_next_proposal_after_a_restart(bench: Bench, cast: Cast) -> None:
    bench.enter(3)
    final = bench.finalize(3, 0, cast.block(cast.genesis))
    (prune,) = bench.wanted(PruneJournal)
    bench.records = [each for each in bench.records if (each.epoch, each.view) > (prune.epoch, prune.view)]
    restart(bench)
    bench.wait_for()
    bench.fire(INTERVAL)
    bench.build()
    assert [each.parent_certificate for each in bench.said(Proposal)] == [final]


def test_the_journal_is_pruned_up_to_the_floor_and_only_after_the_commit(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    bench.handle_message(CertificateMessage(cast.certificate(FINALIZE, 1, 0, block)))
    assert bench.wanted(PruneJournal) == []
    bench.work()
    assert bench.wanted(PruneJournal) == [PruneJournal(0, 1)]


def test_a_floor_whose_view_is_an_older_ones_is_good_enough(bench: Bench, cast: Cast) -> None:
    """The crash came between an ancestor's commit and that of the block with the certificate."""
    first = cast.block(cast.genesis)
    second = cast.block(first)
    bench.hear(cast.proposal(1, first))
    bench.hear_certificate(NOTARIZE, 1, 0, first)
    bench.hear(cast.proposal(2, second, 1))
    bench.hear_certificate(NOTARIZE, 2, 1, second)
    final = cast.certificate(FINALIZE, 2, 1, second)
    bench.handle_message(CertificateMessage(final))
    bench.floor, bench.head = Floor(0, 0, BlockHeight(11), first.header.hash), first.header
    restart(bench)
    bench.work()
    assert [each.certificate for each in bench.wanted(CommitBlock)] == [final]
    assert (bench.floor.height, bench.floor.view) == (12, 2)


def test_what_the_journal_lacks_is_asked_for(bench: Bench, cast: Cast) -> None:
    bench.enter(4)
    bench.wait_for()
    bench.fire(LEADER)
    bench.records = [record for record in bench.records if record.is_vote]
    restart(bench)
    bench.hear_certificate(NULLIFY, 7)
    assert [each.view for each in bench.said(GetCertificates)] == [6, 5, 4, 3, 2, 1]


# Votes and records of other epochs, and strangers


def test_votes_of_a_later_epoch_than_the_stores_wait_for_it(cast: Cast) -> None:
    """The store has lost its newest blocks to a power cut, and with them an epoch's end; the journal has not."""
    bench, later = Bench(cast), Cast(4, epoch=1)
    last = cast.block(cast.genesis, next_set=later)
    bench.next_settings[last.header.hash] = later.settings
    old_floor, old_settings = bench.floor, bench.settings
    bench.finalize(1, 0, last)
    assert bench.engine.epoch == 1
    bench.hear_votes([later.vote(later.leader(1), NULLIFY, 1)])
    assert [(vote.epoch, vote.kind) for vote in bench.votes()][-1] == (1, NULLIFY)
    bench.floor, bench.head, bench.settings = old_floor, cast.genesis, old_settings
    bench.records = [record for record in bench.records if record.epoch == 1]
    restart(bench)
    assert bench.engine.epoch == 0
    bench.finalize(1, 0, last)
    bench.clear()
    bench.hear(CertificateMessage(later.certificate(NULLIFY, 1, signers=(0, 1, 2))))
    assert bench.wanted(Halt) == [], "the own part is the journal's"
    bench.hear(CertificateMessage(later.certificate(NOTARIZE, 1, 0, later.block(last))))
    assert [vote for vote in bench.votes(FINALIZE) if vote.view == 1] == []


def test_records_of_an_earlier_epoch_are_passed_over(cast: Cast) -> None:
    later = Cast(4, epoch=1)
    bench = Bench(cast)
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    after = Bench(later)
    after.records = bench.records
    after.start()
    assert (after.engine.view, after.votes()) == (1, [])
    after.hear(later.proposal(1, later.block(later.genesis)))
    assert [vote.kind for vote in after.votes()] == [NOTARIZE]


def test_a_foreign_vote_is_noticed_after_a_restart_too(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    restart(bench)
    bench.hear(VoteMessage(cast.vote(0, NOTARIZE, 1, 0, block)))
    assert bench.wanted(Halt) == []
    bench.hear(VoteMessage(cast.vote(0, FINALIZE, 1, 0, block)))
    assert len(bench.wanted(Halt)) == 1


def test_an_accepted_loss_still_holds_after_another_restart(cast: Cast) -> None:
    """The journal remembers it until all that may be lost is below the floor; what it has is not contradicted."""
    bench = Bench(cast)
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    bench.start(is_vote_history_lost=True)
    bench.wait_for()
    bench.fire(VIEW)
    assert bench.votes() == []
