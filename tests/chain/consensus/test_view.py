"""Contradictions, and certificates out of votes."""

from __future__ import annotations

from itertools import product

import pytest

from chain.consensus.view import ViewState, contradict
from chain.primitives.certificate import Vote, VoteKind
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, NULLIFY, Cast


def test_what_no_honest_validator_signs_both_of(cast: Cast) -> None:
    one, other = cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    votes = [
        cast.vote(1, NOTARIZE, 1, 0, one),
        cast.vote(1, NOTARIZE, 1, 0, other),
        cast.vote(1, NULLIFY, 1),
        cast.vote(1, FINALIZE, 1, 0, one),
        cast.vote(1, FINALIZE, 1, 0, other),
    ]
    contradictions = {(0, 1), (3, 4), (2, 3), (2, 4)}
    for (i, first), (j, second) in product(enumerate(votes), repeat=2):
        assert contradict(first, second) == ((min(i, j), max(i, j)) in contradictions), (i, j)


def test_a_vote_on_another_parent_view_is_another_vote(cast: Cast) -> None:
    block = cast.block(cast.genesis)
    assert contradict(cast.vote(1, NOTARIZE, 3, 0, block), cast.vote(1, NOTARIZE, 3, 1, block))


@pytest.mark.parametrize("change", ["signer", "view", "epoch"])
def test_votes_of_other_signers_views_and_epochs_never_contradict(cast: Cast, change: str) -> None:
    later = Cast(4, epoch=1)
    one, other = cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    second: Vote = {
        "signer": cast.vote(2, NOTARIZE, 1, 0, other),
        "view": cast.vote(1, NOTARIZE, 2, 0, other),
        "epoch": later.vote(1, NOTARIZE, 1, 0, other),
    }[change]
    assert not contradict(cast.vote(1, NOTARIZE, 1, 0, one), second)


def test_only_the_first_vote_of_a_kind_counts(cast: Cast) -> None:
    state, one, other = ViewState(1), cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    first, second = cast.vote(1, NOTARIZE, 1, 0, one), cast.vote(1, NOTARIZE, 1, 0, other)
    assert state.add(first) is None
    assert state.add(first) is None, "the same again is no contradiction"
    assert state.add(second) == first
    assert state.vote_of(NOTARIZE, 1) == first


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7)])
def test_a_quorum_of_like_votes_makes_a_certificate(size: int, needed: int) -> None:
    """n − f, also where n is not 3f + 1."""
    cast, state = Cast(size), ViewState(1)
    block, votes = cast.block(cast.genesis), []
    for signer in range(needed):
        votes.append(cast.vote(signer, NOTARIZE, 1, 0, block))
        assert state.certificate_of(votes[-1], cast.quorum) is None
        state.add(votes[-1])
    certificate = state.certificate_of(votes[-1], cast.quorum)
    assert certificate is not None
    assert certificate.signers == list(range(needed))


def test_votes_for_different_blocks_make_no_certificate(cast: Cast) -> None:
    state, one, other = ViewState(1), cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    for signer, block in ((0, one), (1, one), (2, other)):
        state.add(cast.vote(signer, NOTARIZE, 1, 0, block))
    assert state.certificate_of(cast.vote(0, NOTARIZE, 1, 0, one), cast.quorum) is None


def test_votes_are_dropped_only_where_their_certificate_is_here(cast: Cast) -> None:
    state, block = ViewState(1), cast.block(cast.genesis)
    state.add(cast.vote(1, NOTARIZE, 1, 0, block))
    state.add(cast.vote(1, FINALIZE, 1, 0, block))
    state.certificates[NOTARIZE] = cast.certificate(NOTARIZE, 1, 0, block)
    state.forget_votes()
    assert state.vote_of(NOTARIZE, 1) is None
    assert state.vote_of(FINALIZE, 1) is not None


def test_whoever_has_voted_at_all_is_a_voter(cast: Cast) -> None:
    state = ViewState(1)
    assert state.voters() == set()
    state.add(cast.vote(3, NULLIFY, 1))
    state.add(cast.vote(2, VoteKind.NOTARIZE, 1, 0, cast.block(cast.genesis)))
    assert state.voters() == {2, 3}
