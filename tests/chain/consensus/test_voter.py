"""Own votes: recorded before they are sent, never contradicted, none where votes may have been lost."""

from __future__ import annotations

import pytest

from chain.consensus.effects import Halt
from chain.consensus.messages import CertificateMessage, JournalEntry, VoteMessage
from chain.consensus.simplex import SimplexEngine
from chain.primitives import message_pack
from chain.primitives.certificate import VoteKind
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, NULLIFY, START_MS, Cast

DRIFT_MS = 5_000


def kinds(bench: Bench) -> list[VoteKind]:
    return [vote.kind for vote in bench.votes()]


def test_a_vote_comes_with_its_record(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    entries = [message_pack.decode(each.encoded, JournalEntry) for each in bench.records if each.is_vote]
    assert entries == [JournalEntry(vote=cast.vote(0, NOTARIZE, 1, 0, block), block=block)]
    assert [(each.epoch, each.view) for each in bench.records if each.is_vote] == [(0, 1)]


def test_each_vote_is_in_the_records_of_the_event_that_sends_it(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    effects = bench.handle_message(CertificateMessage(cast.certificate(NOTARIZE, 1, 0, block)))
    sent = [each.message.vote for each in effects.sends if isinstance(each.message, VoteMessage)]
    recorded = [message_pack.decode(each.encoded, JournalEntry).vote for each in effects.records if each.is_vote]
    assert sent == recorded == [cast.vote(0, FINALIZE, 1, 0, block)]


def test_a_block_is_recorded_once(bench: Bench, cast: Cast) -> None:
    last = cast.block(cast.genesis, next_set=Cast(4, epoch=1))
    bench.hear(cast.proposal(1, last))
    certificate = bench.hear_certificate(NOTARIZE, 1, 0, last)
    bench.hear(cast.proposal(2, last, 1, certificate))
    entries = [message_pack.decode(each.encoded, JournalEntry) for each in bench.records if each.is_vote]
    assert [(each.vote.kind, each.block is not None) for each in entries if each.vote is not None] == [
        (NOTARIZE, True),
        (FINALIZE, False),
        (NOTARIZE, False),
    ]


def test_one_notarize_a_view(bench: Bench, cast: Cast) -> None:
    one, other = cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    bench.hear(cast.proposal(1, one))
    bench.hear(cast.proposal(1, other))
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 1, 0, one)]


def test_no_notarize_after_giving_the_view_up(bench: Bench, cast: Cast) -> None:
    bench.wait_for()
    bench.fire("leader")
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    assert kinds(bench) == [NULLIFY]


def test_a_view_may_be_given_up_after_an_own_notarize(bench: Bench, cast: Cast) -> None:
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    bench.fire("view")
    assert kinds(bench) == [NOTARIZE, NULLIFY]


def test_a_notarized_block_is_finalized_even_without_its_body_or_an_own_notarize(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear_certificate(NOTARIZE, 1, 0, block)
    assert bench.votes() == [cast.vote(0, FINALIZE, 1, 0, block)]


def test_no_finalize_after_giving_the_view_up(bench: Bench, cast: Cast) -> None:
    bench.wait_for()
    bench.fire("leader")
    bench.hear_certificate(NOTARIZE, 1, 0, cast.block(cast.genesis))
    assert kinds(bench) == [NULLIFY]
    assert bench.engine.view == 2


def test_no_giving_up_after_a_finalize(bench: Bench, cast: Cast) -> None:
    """Not even when the leader gives up, or all others do."""
    bench.hear_certificate(NOTARIZE, 1, 0, cast.block(cast.genesis))
    bench.hear_votes(cast.vote(signer, NULLIFY, 1) for signer in (1, 2, 3))
    assert [(vote.kind, vote.view) for vote in bench.votes()] == [(FINALIZE, 1)]


def test_a_notarized_block_of_an_old_view_is_finalized_too(bench: Bench, cast: Cast) -> None:
    bench.enter(9)
    block = cast.block(cast.genesis)
    bench.hear_certificate(NOTARIZE, 3, 0, block)
    assert bench.votes() == [cast.vote(0, FINALIZE, 3, 0, block)]


def test_what_is_below_the_final_view_gets_no_vote(bench: Bench, cast: Cast) -> None:
    first = cast.block(cast.genesis)
    bench.finalize(5, 0, first)
    bench.clear()
    bench.hear_certificate(NOTARIZE, 3, 0, cast.block(cast.genesis, transactions=()))
    assert bench.votes() == []


@pytest.mark.parametrize("key", ["follower", "stranger"])
def test_who_is_no_validator_never_votes(cast: Cast, key: str) -> None:
    bench = Bench(cast, None) if key == "follower" else Bench(cast, key=Cast(1, first_key=77).keys[0])
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    bench.finalize(2, 0, cast.block(cast.genesis))
    bench.wait_for()
    assert bench.votes() == []
    assert bench.floor.height == 11, "it follows all the same"


# Somebody else with the same key


def test_a_foreign_vote_of_the_own_key_stops_the_node(bench: Bench, cast: Cast) -> None:
    bench.hear(VoteMessage(cast.vote(0, NULLIFY, 1)))
    assert len(bench.wanted(Halt)) == 1
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    assert bench.votes() == [], "and it votes no more"


def test_an_own_vote_that_peers_repeat_does_not_stop_the_node(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    bench.hear(VoteMessage(cast.vote(0, NOTARIZE, 1, 0, block)))
    bench.hear_certificate(NOTARIZE, 1, 0, block, signers=(0, 1, 2))
    assert bench.wanted(Halt) == []


def test_a_certificate_with_the_own_signature_stops_a_node_whose_journal_has_no_vote(cast: Cast) -> None:
    bench = Bench(cast, is_journal_new=True)
    bench.hear_certificate(NOTARIZE, 1, 0, cast.block(cast.genesis), signers=(0, 1, 2))
    assert len(bench.wanted(Halt)) == 1
    assert bench.votes() == []


@pytest.mark.parametrize("kind", [NOTARIZE, NULLIFY, FINALIZE])
def test_a_certificate_with_an_own_signature_that_an_older_journal_lacks_stops_the_node(
    bench: Bench, cast: Cast, kind: VoteKind
) -> None:
    """As after restoring the whole folder from a backup: it is noticed while catching up, before any vote."""
    bench.hear_certificate(kind, 5, 0, None if kind is NULLIFY else cast.block(cast.genesis), signers=(0, 1, 2))
    assert len(bench.wanted(Halt)) == 1
    assert bench.votes() == []


# Lost history


def lost(cast: Cast) -> Bench:
    return Bench(cast, is_journal_new=True, is_vote_history_lost=True)


def try_to_vote(bench: Bench, cast: Cast) -> None:
    """Everything that makes a validator vote."""
    view = bench.engine.view
    bench.hear(cast.proposal(view, cast.block(bench.head, time_ms=bench.head.time_ms + 1), bench.floor.view))
    bench.wait_for()
    if "view" in bench.timers:
        bench.fire("view")


def test_after_a_loss_no_vote_before_something_new_is_final(cast: Cast) -> None:
    bench = lost(cast)
    try_to_vote(bench, cast)
    bench.finalize(1, 0, cast.block(cast.genesis, time_ms=START_MS + DRIFT_MS - 1))
    for view in (2, 3, 5, 6):
        bench.enter(view)
        try_to_vote(bench, cast)
    assert bench.votes() == [], "this block may be from before the start"


def test_after_a_loss_votes_begin_two_views_above_fresh_finality(cast: Cast) -> None:
    bench = lost(cast)
    bench.finalize(6, 0, cast.block(cast.genesis, time_ms=START_MS + DRIFT_MS))
    try_to_vote(bench, cast)
    assert (bench.engine.view, bench.votes()) == (7, [])
    bench.hear_certificate(NOTARIZE, 7, 6, cast.block(bench.head))
    assert bench.votes(FINALIZE) == []
    try_to_vote(bench, cast)
    assert {vote.view for vote in bench.votes()} == {8}


def test_after_a_loss_votes_of_the_past_stop_nobody(cast: Cast) -> None:
    bench = lost(cast)
    bench.hear(VoteMessage(cast.vote(0, NULLIFY, 1)))
    bench.hear_certificate(NULLIFY, 1, signers=(0, 1, 2))
    assert bench.wanted(Halt) == []
    assert bench.engine.view == 2


def test_the_way_back_does_not_lead_over_into_the_next_epoch(cast: Cast) -> None:
    """There views begin at 1, and no lost vote can be: the epoch has begun after the start."""
    bench, later = lost(cast), Cast(4, epoch=1)
    first = cast.block(cast.genesis, time_ms=START_MS + DRIFT_MS)
    last = cast.block(first, next_set=later)
    bench.next_settings[last.header.hash] = later.settings
    bench.finalize(1_000, 0, first)
    bench.finalize(1_001, 1_000, last)
    bench.clear()
    bench.hear(later.proposal(1, later.block(last)))
    assert [(vote.epoch, vote.view, vote.kind) for vote in bench.votes()] == [(1, 1, NOTARIZE)]


@pytest.mark.parametrize("size", [2, 3])
def test_where_everybody_is_needed_a_loss_keeps_nobody_from_voting(size: int) -> None:
    """A lost vote cannot be outvoted there; and a view that one keeps away from would never end."""
    cast = Cast(size)
    bench, others = lost(cast), range(1, size)
    block = cast.block(cast.genesis, time_ms=START_MS + DRIFT_MS)
    bench.hear(cast.proposal(1, block))
    for kind in (NOTARIZE, FINALIZE):
        bench.hear_votes(cast.vote(signer, kind, 1, 0, block) for signer in others)
    assert bench.floor.height == 11
    bench.clear()
    if cast.leader(2) == 0:
        bench.wait_for()
        bench.fire("interval")
        bench.build()
    else:
        bench.hear(cast.proposal(2, cast.block(block), 1))
    assert [(vote.kind, vote.view) for vote in bench.votes()] == [(NOTARIZE, 2)]


def test_alone_the_operators_word_is_enough() -> None:
    cast = Cast(1)
    bench = lost(cast)
    for height in (11, 12, 13):
        bench.now_ms += DRIFT_MS
        bench.wait_for()
        if "interval" in bench.timers:
            bench.fire("interval")
        bench.build()
        assert bench.floor.height == height


def test_the_engine_says_whether_it_is_a_validator(cast: Cast) -> None:
    engines: list[SimplexEngine] = [Bench(cast, 2).engine, Bench(cast, None).engine]
    assert [engine.is_validator for engine in engines] == [True, False]
