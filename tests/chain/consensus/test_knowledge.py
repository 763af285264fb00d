"""What is learned of an epoch: views only go up, certificates are forwarded once, contradictions become evidence."""

from __future__ import annotations

import pytest

from chain.consensus.committee import Committee
from chain.consensus.draft import Draft
from chain.consensus.effects import Floor, KeepEvidence
from chain.consensus.knowledge import KEPT_VIEWS, Knowledge
from chain.consensus.messages import MAX_NULLIFICATIONS, CertificateMessage, EvidenceMessage, GetCertificates
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate
from chain.primitives.keys import recover_address
from tests.chain.consensus.cast import FINALIZE, GENESIS_HASH, NOTARIZE, NULLIFY, Cast


class Mind:
    """Knowledge on a floor in view 5, of validator 0."""

    def __init__(self, cast: Cast, *, is_member: bool = True) -> None:
        self.cast, self.draft = cast, Draft()
        committee = Committee(
            GENESIS_HASH, cast.epoch, cast.validators, cast.keys[0] if is_member else None, recover_address
        )
        floor = Floor(cast.epoch, 5, cast.genesis.height, cast.genesis.hash)
        self.knowledge = Knowledge(committee, floor, self.draft)
        self.block = cast.block(cast.genesis)

    def nullify(self, *views: int) -> None:
        for view in views:
            self.knowledge.learn_certificate(self.cast.certificate(NULLIFY, view))

    def notarize(self, view: int, parent_view: int, block: Block | None = None) -> Certificate:
        certificate = self.cast.certificate(NOTARIZE, view, parent_view, block or self.block)
        self.knowledge.learn_certificate(certificate)
        return certificate

    def finalize(self, view: int, parent_view: int, block: Block | None = None) -> Certificate:
        certificate = self.cast.certificate(FINALIZE, view, parent_view, block or self.block)
        self.knowledge.learn_certificate(certificate)
        return certificate

    def asked(self) -> list[int]:
        messages = [each.message for each in self.draft.finish().sends]
        return [each.view for each in messages if isinstance(each, GetCertificates)]


@pytest.fixture
def mind(cast: Cast) -> Mind:
    return Mind(cast)


@pytest.mark.parametrize("kind", [NOTARIZE, NULLIFY, FINALIZE])
def test_any_certificate_of_this_view_or_a_later_one_enters_the_view_after_it(mind: Mind, kind: object) -> None:
    assert mind.knowledge.view == 6
    for view in (6, 9):
        certificate = (
            mind.cast.certificate(NULLIFY, view)
            if kind is NULLIFY
            else mind.cast.certificate(NOTARIZE if kind is NOTARIZE else FINALIZE, view, 5, mind.block)
        )
        mind.knowledge.learn_certificate(certificate)
        assert (mind.knowledge.view, mind.knowledge.entered_by) == (view + 1, certificate)


def test_a_view_is_never_left_downward(mind: Mind) -> None:
    mind.nullify(9)
    entered_by = mind.knowledge.entered_by
    mind.nullify(7)
    assert (mind.knowledge.view, mind.knowledge.entered_by) == (10, entered_by)
    assert mind.knowledge.certificate(7, NULLIFY) is not None, "a proposal may need it"


def test_a_new_certificate_is_recorded_and_forwarded_once(mind: Mind) -> None:
    certificate = mind.notarize(6, 5)
    effects = mind.draft.finish()
    assert [each.message for each in effects.sends] == [CertificateMessage(certificate)]
    assert [(each.view, each.is_vote) for each in effects.records] == [(6, False)]
    mind.knowledge.learn_certificate(certificate)
    mind.knowledge.learn_certificate(mind.cast.certificate(NOTARIZE, 6, 5, mind.block, signers=(0, 1, 2)))
    assert mind.draft.finish().sends == ()


def test_the_record_of_a_finality_certificate_outlives_its_floor(mind: Mind) -> None:
    """The next proposal is justified by it."""
    mind.finalize(6, 5)
    assert [each.view for each in mind.draft.finish().records] == [7]


@pytest.mark.parametrize("kind", [NOTARIZE, NULLIFY, FINALIZE])
def test_certificates_up_to_the_final_view_tell_nothing(mind: Mind, kind: object) -> None:
    block = None if kind is NULLIFY else mind.block
    chosen = {NOTARIZE: NOTARIZE, NULLIFY: NULLIFY, FINALIZE: FINALIZE}[kind]  # type: ignore[index]
    assert not mind.knowledge.is_certificate_new(mind.cast.certificate(chosen, 5, 0, block))
    assert mind.knowledge.is_certificate_new(mind.cast.certificate(chosen, 6, 0, block))


def test_votes_count_above_the_final_view_up_to_the_next_one(mind: Mind) -> None:
    mind.nullify(6)
    new = [view for view in range(20) if mind.knowledge.is_vote_new(mind.cast.vote(1, NULLIFY, view))]
    # Those of the last round before it are signs of life.
    assert new == [2, 3, 4, 5, 6, 7, 8]
    mind.knowledge.learn_vote(mind.cast.vote(1, NULLIFY, 8))
    assert not mind.knowledge.is_vote_new(mind.cast.vote(1, NULLIFY, 8))


def test_a_vote_of_a_view_far_ahead_leaves_nothing_behind(mind: Mind) -> None:
    for view in (8, 2**62, 2**63 - 1):
        assert not mind.knowledge.is_vote_new(mind.cast.vote(1, NULLIFY, view))
    assert len(mind.knowledge._states) == 0


def test_late_votes_complete_an_old_views_finality(mind: Mind) -> None:
    mind.notarize(6, 5)
    mind.nullify(*range(7, 40))
    for signer in (1, 2, 3):
        vote = mind.cast.vote(signer, FINALIZE, 6, 5, mind.block)
        assert mind.knowledge.is_vote_new(vote)
        mind.knowledge.learn_vote(vote)
    assert (mind.knowledge.final_view, mind.knowledge.final_hash) == (6, mind.block.header.hash)


def test_finality_forgets_the_views_below(mind: Mind) -> None:
    mind.nullify(6, 7)
    mind.notarize(8, 5)
    mind.nullify(9)
    mind.finalize(8, 5)
    assert sorted(mind.knowledge._states) == [9]
    assert mind.knowledge.hash_of_view(8) == mind.block.header.hash


def test_a_lower_finality_certificate_takes_nothing_back(mind: Mind) -> None:
    higher = mind.cast.block(mind.block)
    mind.finalize(9, 8, higher)
    mind.finalize(8, 5)
    assert (mind.knowledge.final_view, mind.knowledge.final_hash) == (9, higher.header.hash)


def test_votes_with_their_certificate_are_kept_for_a_while_to_see_contradictions(mind: Mind) -> None:
    other = mind.cast.block(mind.cast.genesis, transactions=())
    for signer in (1, 2, 3):
        mind.knowledge.learn_vote(mind.cast.vote(signer, NOTARIZE, 6, 5, mind.block))
    mind.knowledge.learn_vote(mind.cast.vote(2, NOTARIZE, 6, 5, other))
    assert [each.first.signer for each in mind.draft.finish().tasks if isinstance(each, KeepEvidence)] == [2]
    mind.nullify(*range(7, 7 + KEPT_VIEWS))
    assert mind.knowledge.state(6).vote_of(NOTARIZE, 1) is None


# Evidence


def test_a_contradiction_is_kept_and_told_once_for_each_validator(mind: Mind) -> None:
    blocks = [mind.cast.block(mind.cast.genesis, time_ms=time_ms) for time_ms in (1, 2, 3)]
    for block in blocks:
        mind.knowledge.learn_vote(mind.cast.vote(1, NOTARIZE, 6, 5, block))
    effects = mind.draft.finish()
    first, second = (mind.cast.vote(1, NOTARIZE, 6, 5, block) for block in blocks[:2])
    assert effects.tasks == (KeepEvidence(first, second),)
    assert [each.message for each in effects.sends] == [EvidenceMessage(first, second)]


def test_finalize_with_nullify_is_a_contradiction_and_notarize_with_nullify_is_none(mind: Mind) -> None:
    mind.knowledge.learn_vote(mind.cast.vote(1, NOTARIZE, 6, 5, mind.block))
    mind.knowledge.learn_vote(mind.cast.vote(1, NULLIFY, 6))
    assert mind.draft.finish().tasks == ()
    mind.knowledge.learn_vote(mind.cast.vote(1, FINALIZE, 6, 5, mind.block))
    assert [type(each) for each in mind.draft.finish().tasks] == [KeepEvidence]


def test_one_conflicting_vote_does_not_hide_the_first(mind: Mind) -> None:
    other = mind.cast.block(mind.cast.genesis, transactions=())
    mind.knowledge.learn_vote(mind.cast.vote(1, NOTARIZE, 6, 5, mind.block))
    for signer in (1, 2):
        mind.knowledge.learn_vote(mind.cast.vote(signer, NOTARIZE, 6, 5, other))
    mind.knowledge.learn_vote(mind.cast.vote(3, NOTARIZE, 6, 5, mind.block))
    assert mind.knowledge.view == 6, "nobody's second vote counts"


# The own key


def test_an_own_vote_that_was_not_cast_here_is_noticed_and_not_counted(mind: Mind) -> None:
    mind.knowledge.learn_vote(mind.cast.vote(0, NULLIFY, 6))
    assert mind.knowledge.is_key_elsewhere
    assert mind.knowledge.state(6).vote_of(NULLIFY, 0) is None


def test_an_own_vote_that_comes_back_is_nothing_new(mind: Mind) -> None:
    vote = mind.cast.vote(0, NULLIFY, 6)
    mind.knowledge.restore_vote(vote)
    mind.knowledge.learn_vote(vote)
    assert not mind.knowledge.is_key_elsewhere


@pytest.mark.parametrize(("signers", "is_elsewhere"), [((0, 1, 2), True), ((1, 2, 3), False)])
def test_a_certificate_with_an_own_part_that_the_journal_does_not_hold_is_noticed(
    mind: Mind, signers: tuple[int, ...], is_elsewhere: bool
) -> None:
    """The journal is an older copy, or another process signs."""
    mind.knowledge.learn_certificate(mind.cast.certificate(FINALIZE, 6, 5, mind.block, signers=signers))
    assert mind.knowledge.is_key_elsewhere == is_elsewhere


def test_a_certificate_with_the_own_part_of_the_journal_is_in_order(mind: Mind) -> None:
    mind.knowledge.restore_vote(mind.cast.vote(0, FINALIZE, 6, 5, mind.block))
    mind.knowledge.learn_certificate(mind.cast.certificate(FINALIZE, 6, 5, mind.block, signers=(0, 1, 2)))
    assert not mind.knowledge.is_key_elsewhere


# Parents and justifications


def test_the_parent_is_the_highest_notarized_view_with_all_later_ones_nullified(mind: Mind) -> None:
    assert mind.knowledge.choose_parent() == (5, mind.cast.genesis.hash)
    mind.notarize(6, 5)
    mind.nullify(7, 8)
    assert mind.knowledge.choose_parent() == (6, mind.block.header.hash)


def test_a_view_that_is_both_notarized_and_nullified_is_a_parent(mind: Mind) -> None:
    mind.notarize(6, 5)
    mind.nullify(6)
    assert mind.knowledge.choose_parent() == (6, mind.block.header.hash)


def test_there_is_no_parent_below_a_view_without_certificates(mind: Mind) -> None:
    mind.nullify(6, 8)
    assert mind.knowledge.choose_parent() == (7, None)


def test_a_proposal_needs_its_parents_certificate_and_each_nullification_between(mind: Mind) -> None:
    mind.nullify(7, 9)
    vote = mind.cast.vote(3, NOTARIZE, 10, 6, mind.block)
    assert mind.knowledge.missing_for(vote) == [8, 6]
    mind.nullify(8)
    mind.notarize(6, 5)
    assert mind.knowledge.missing_for(vote) == []


def test_an_own_proposal_carries_its_newest_nullifications(mind: Mind) -> None:
    last = 6 + MAX_NULLIFICATIONS + 5
    mind.nullify(*range(6, last + 1))
    proposal = mind.knowledge.proposal(mind.cast.vote(0, NOTARIZE, last + 1, 5, mind.block), mind.block)
    assert [each.view for each in proposal.nullifications] == list(range(last + 1 - MAX_NULLIFICATIONS, last + 1))


def test_an_own_proposal_carries_its_parents_certificate(mind: Mind) -> None:
    child = mind.cast.block(mind.block)
    notarized = mind.notarize(6, 5)
    assert mind.knowledge.proposal(mind.cast.vote(0, NOTARIZE, 7, 6, child), child).parent_certificate == notarized
    final = mind.finalize(6, 5)
    assert mind.knowledge.proposal(mind.cast.vote(0, NOTARIZE, 7, 6, child), child).parent_certificate == final


def test_what_is_missing_is_asked_for_once_until_the_next_round(mind: Mind) -> None:
    mind.knowledge.ask_for(6)
    mind.knowledge.ask_for(6)
    assert mind.asked() == [6]
    mind.knowledge.ask_again()
    mind.knowledge.ask_for(6)
    assert mind.asked() == [6]


def test_a_leader_asks_for_all_that_it_lacks_down_to_a_notarized_view(mind: Mind) -> None:
    mind.notarize(7, 5)
    mind.nullify(9, 12)
    mind.draft.finish()
    mind.knowledge.ask_down_from(11)
    assert mind.asked() == [11, 10, 8]


def test_a_leader_does_not_ask_for_thousands_of_views_at_once(mind: Mind) -> None:
    mind.nullify(5000)
    mind.draft.finish()
    mind.knowledge.ask_down_from(4999)
    assert mind.asked() == list(range(4999, 4999 - MAX_NULLIFICATIONS, -1))


def test_for_a_view_that_is_over_the_newest_finality_certificate_is_the_answer(mind: Mind) -> None:
    assert mind.knowledge.certificates(3) == []
    notarized, final = mind.notarize(6, 5), mind.finalize(7, 6, mind.cast.block(mind.block))
    assert mind.knowledge.certificates(6) == mind.knowledge.certificates(7) == [final]
    assert notarized not in mind.knowledge.certificates(6)
    mind.nullify(8)
    assert [each.kind for each in mind.knowledge.certificates(8)] == [NULLIFY]


# Who is silent


def test_a_leader_silent_for_a_round_in_which_a_quorum_was_not_is_inactive(mind: Mind) -> None:
    for view in range(6, 11):
        for signer in (0, 1, 2):
            if signer:
                mind.knowledge.learn_vote(mind.cast.vote(signer, NULLIFY, view))
        mind.nullify(view)
    # The certificates are the others'; 0 is this node itself, which has not voted either.
    assert mind.knowledge.view == 11
    assert [mind.knowledge.is_inactive(each) for each in range(4)] == [True, False, False, False]
    mind.knowledge.restore_vote(mind.cast.vote(0, NULLIFY, 11))
    mind.knowledge.learn_vote(mind.cast.vote(0, NULLIFY, 11))
    assert not mind.knowledge.is_inactive(0)


def test_nobody_is_inactive_while_no_quorum_is_active(mind: Mind) -> None:
    """A node that was cut off must not take everybody else for silent."""
    mind.knowledge.view = 100
    assert not any(mind.knowledge.is_inactive(each) for each in range(4))


def test_a_late_vote_is_a_sign_of_life(cast: Cast) -> None:
    mind = Mind(cast, is_member=False)
    mind.nullify(*range(6, 12))
    assert mind.knowledge.is_inactive(0)
    mind.finalize(12, 5)
    mind.knowledge.learn_vote(mind.cast.vote(0, FINALIZE, 12, 5, mind.block))
    assert not mind.knowledge.is_inactive(0)
