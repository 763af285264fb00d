"""The rules of a view: what is notarized, when it is given up, how blocks become final; alone and with others."""

from __future__ import annotations

from typing import Any

import pytest

from chain.consensus.effects import (
    Blame,
    BlockExecuted,
    CommitBlock,
    Halt,
    TimerFired,
    Verdict,
)
from chain.consensus.messages import (
    BlockMessage,
    CertificateMessage,
    GetBlock,
    GetCertificates,
    Status,
    VoteMessage,
)
from chain.consensus.pace import FOLLOW_UP_MS, GRACE, HEARTBEAT, HOLD, INTERVAL, LEADER, MAX_CLOCK_DRIFT_MS, RETRY, VIEW
from chain.primitives.types import Hash32
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import DELAY_MS, FINALIZE, HEARTBEAT_MS, INTERVAL_MS, NOTARIZE, NULLIFY, START_MS, Cast


def given_up(bench: Bench) -> list[int]:
    return [vote.view for vote in bench.votes(NULLIFY)]


# Notarizing


@pytest.mark.parametrize(
    "changes",
    [
        {"parent_hash": Hash32(b"\1" * 32)},
        {"height": 12},
        {"epoch": 1},
        {"time_ms": START_MS - 60_000},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_block_that_does_not_follow_its_parent_is_not_executed_but_given_up(
    bench: Bench, cast: Cast, changes: dict[str, Any]
) -> None:
    block = cast.block(cast.genesis, **changes)
    bench.hear(cast.proposal(1, block))
    assert bench.votes(NOTARIZE) == []
    assert given_up(bench) == [1]


def test_made_up_ancestors_are_not_asked_for(bench: Bench, cast: Cast) -> None:
    """A liar could answer with a chain of them that never ends."""
    bench.hear(cast.proposal(1, cast.block(cast.genesis, parent_hash=Hash32(b"\1" * 32), height=12)))
    assert bench.said(GetBlock, "peer") == bench.said(GetBlock) == []


def test_a_block_that_breaks_a_rule_is_given_up(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.verdicts[block.header.hash] = Verdict.INVALID
    bench.hear(cast.proposal(1, block))
    assert (bench.votes(NOTARIZE), given_up(bench)) == ([], [1])
    assert bench.wanted(Blame) == [], "whoever brought it may be honest"


def test_no_vote_before_the_block_is_executed(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.handle_message(cast.proposal(1, block))
    assert bench.votes() == []
    bench.handle(BlockExecuted(block.header.hash, Verdict.VALID))
    assert bench.votes() == [cast.vote(0, NOTARIZE, 1, 0, block)]


def test_a_proposal_on_an_older_block_needs_every_nullification_between(bench: Bench, cast: Cast) -> None:
    for view in (1, 3):
        bench.hear_certificate(NULLIFY, view)
    bench.hear_certificate(NULLIFY, 4)
    bench.clear()
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(5, block), "leader")
    assert bench.votes() == []
    assert bench.said(GetCertificates, "leader") == [GetCertificates(0, 2)]
    bench.hear_certificate(NULLIFY, 2)
    assert bench.votes() == [cast.vote(0, NOTARIZE, 5, 0, block)]


def test_a_proposal_cannot_stand_below_the_final_block(bench: Bench, cast: Cast) -> None:
    first = cast.block(cast.genesis)
    bench.finalize(1, 0, first)
    bench.clear()
    bench.hear(cast.proposal(2, cast.block(cast.genesis, transactions=()), 0))
    assert (bench.votes(NOTARIZE), bench.sends) == ([], []), "and no certificate could help"


def test_a_proposal_on_the_final_view_must_stand_on_the_final_block(bench: Bench, cast: Cast) -> None:
    bench.finalize(1, 0, cast.block(cast.genesis))
    bench.clear()
    bench.hear(cast.proposal(2, cast.block(cast.block(cast.genesis, transactions=())), 1))
    assert (bench.votes(NOTARIZE), given_up(bench)) == ([], [2])


def test_a_proposal_of_a_parent_view_not_before_its_own_is_nothing(bench: Bench, cast: Cast) -> None:
    bench.hear(cast.proposal(1, cast.block(cast.genesis), 1))
    bench.hear(cast.proposal(1, cast.block(cast.genesis), 2**62))
    assert bench.votes() == []


def test_of_a_view_notarized_here_and_nullified_there_the_missing_certificate_is_fetched(
    bench: Bench, cast: Cast
) -> None:
    lost, block = cast.block(cast.genesis, transactions=()), cast.block(cast.genesis)
    bench.hear_certificate(NOTARIZE, 1, 0, lost)
    bench.clear()
    bench.hear(cast.proposal(2, block, 0), "leader")
    assert bench.said(GetCertificates, "leader") == [GetCertificates(0, 1)]
    bench.hear_certificate(NULLIFY, 1)
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 2, 0, block)]


def test_a_body_that_only_the_leaders_vote_names_is_asked_of_the_leader_and_then_of_anybody(
    bench: Bench, cast: Cast
) -> None:
    block = cast.block(cast.genesis)
    bench.hear(VoteMessage(cast.vote(1, NOTARIZE, 1, 0, block)), "leader")
    assert bench.said(GetBlock, "leader") == [GetBlock(block.header.hash)]
    bench.fire(RETRY)
    assert bench.said(GetBlock) == [GetBlock(block.header.hash)]
    bench.hear(BlockMessage(block))
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 1, 0, block)]


def test_a_missing_body_is_asked_for_again_in_the_next_view(bench: Bench, cast: Cast) -> None:
    """Where views are quick, the retry timer never runs out."""
    block = cast.block(cast.genesis)
    bench.hear_certificate(NOTARIZE, 1, 0, block)
    bench.hear_certificate(NULLIFY, 2)
    assert bench.said(GetBlock) == [GetBlock(block.header.hash)] * 2


# Time


def test_a_block_from_the_near_future_is_held(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis, time_ms=START_MS + MAX_CLOCK_DRIFT_MS + 700)
    bench.hear(cast.proposal(1, block))
    assert (bench.votes(), bench.timers[HOLD]) == ([], 700)
    bench.now_ms += 700
    bench.fire(HOLD)
    assert bench.votes() == [cast.vote(0, NOTARIZE, 1, 0, block)]


def test_a_block_at_the_edge_of_the_drift_is_taken(bench: Bench, cast: Cast) -> None:
    bench.hear(cast.proposal(1, cast.block(cast.genesis, time_ms=START_MS + MAX_CLOCK_DRIFT_MS)))
    assert len(bench.votes(NOTARIZE)) == 1


def test_one_block_from_the_future_slows_nobody_after_it(bench: Bench, cast: Cast) -> None:
    far = cast.block(cast.genesis, time_ms=START_MS + 3_600_000)
    bench.finalize(1, 0, far)
    next_one = cast.block(far, time_ms=far.header.time_ms + 1)
    bench.hear(cast.proposal(2, next_one, 1))
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 2, 1, next_one)]


# Giving up


def test_a_silent_leaders_view_is_given_up_after_two_delays(bench: Bench) -> None:
    bench.wait_for()
    assert bench.timers[LEADER] == 2 * DELAY_MS + INTERVAL_MS
    bench.fire(LEADER)
    assert given_up(bench) == [1]


def test_a_view_without_an_end_is_given_up_after_three_delays(bench: Bench, cast: Cast) -> None:
    bench.wait_for()
    bench.hear(cast.proposal(1, cast.block(cast.genesis)))
    assert bench.timers[VIEW] == 3 * DELAY_MS + INTERVAL_MS
    bench.fire(LEADER)
    assert given_up(bench) == []
    bench.fire(VIEW)
    assert given_up(bench) == [1]


def test_a_view_that_its_leader_gives_up_is_given_up(bench: Bench, cast: Cast) -> None:
    bench.hear(VoteMessage(cast.vote(2, NULLIFY, 1)))
    assert given_up(bench) == []
    bench.hear(VoteMessage(cast.vote(1, NULLIFY, 1)))
    assert given_up(bench) == [1]


def test_the_view_of_a_leader_that_was_silent_for_a_round_is_given_up_at_once(bench: Bench, cast: Cast) -> None:
    """Here validator 1, while the others go on."""
    for view in range(1, 9):
        bench.wait_for()
        if view not in given_up(bench):
            bench.fire(LEADER)
        bench.hear_votes(cast.vote(signer, NULLIFY, view) for signer in (2, 3))
    assert (bench.engine.view, cast.leader(9)) == (9, 1)
    assert 9 in given_up(bench), "no timer had to run out"


def test_a_given_up_view_doubles_the_next_ones_time(bench: Bench) -> None:
    bench.wait_for()
    bench.hear_certificate(NULLIFY, 1)
    assert bench.timers[LEADER] == 4 * DELAY_MS + INTERVAL_MS


# Idle


def test_an_idle_view_lasts_until_there_is_something_to_do(bench: Bench) -> None:
    assert set(bench.timers) == {INTERVAL, GRACE, HEARTBEAT}
    bench.wait_for()
    assert {LEADER, VIEW, RETRY} <= set(bench.timers)
    bench.wait_for(False)
    assert not {LEADER, VIEW, RETRY} & set(bench.timers)


@pytest.mark.parametrize("reason", ["heartbeat", "proposal", "votes of more than f", "unfinalized parent", "own vote"])
def test_what_ends_the_idleness(bench: Bench, cast: Cast, reason: str) -> None:
    block = cast.block(cast.genesis)
    match reason:
        case "heartbeat":
            bench.fire(HEARTBEAT)
        case "proposal":
            bench.hear(cast.proposal(1, block))
        case "votes of more than f":
            bench.hear_votes([cast.vote(2, NULLIFY, 1)])
            assert VIEW not in bench.timers, "one may lie"
            bench.hear_votes([cast.vote(3, NULLIFY, 1)])
        case "unfinalized parent":
            bench.hear_certificate(NOTARIZE, 1, 0, block)
        case _:
            bench.hear_votes([cast.vote(1, NULLIFY, 1)])
            assert given_up(bench) == [1]
    assert VIEW in bench.timers


def test_who_has_voted_in_a_view_sees_it_through(bench: Bench) -> None:
    """Though the transaction that it was for has gone."""
    bench.wait_for()
    bench.fire(LEADER)
    bench.wait_for(False)
    assert RETRY in bench.timers


def test_the_first_heartbeat_after_a_start_counts_from_the_head(cast: Cast) -> None:
    bench = Bench(cast)
    assert bench.timers[HEARTBEAT] == 0, "the head is a whole heartbeat old"


def test_one_empty_block_soon_follows_the_last_with_transactions(bench: Bench, cast: Cast) -> None:
    """Clients of Ethereum look again when a block comes; on an idle chain that would else be a whole heartbeat away."""
    full = cast.block(cast.genesis)
    bench.finalize(1, 0, full)
    assert bench.timers[HEARTBEAT] == FOLLOW_UP_MS
    bench.finalize(2, 1, cast.block(full, transactions=()))
    assert bench.timers[HEARTBEAT] == HEARTBEAT_MS


def test_it_follows_too_where_an_empty_block_has_made_the_full_one_final(bench: Bench, cast: Cast) -> None:
    full = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, full))
    bench.hear_certificate(NOTARIZE, 1, 0, full)
    bench.finalize(2, 1, cast.block(full, transactions=()))
    assert bench.timers[HEARTBEAT] == FOLLOW_UP_MS


# Saying it again


def test_a_stuck_view_is_told_again_with_all_that_may_be_lost(bench: Bench, cast: Cast) -> None:
    final = bench.finalize(1, 0, cast.block(cast.genesis))
    notarized = cast.block(bench.head)
    bench.hear(cast.proposal(2, notarized, 1))
    bench.hear_certificate(NOTARIZE, 2, 1, notarized)
    third = cast.block(notarized)
    bench.hear(cast.proposal(3, third, 2))
    bench.fire(VIEW)
    bench.clear()
    bench.fire(RETRY)
    assert bench.said(Status) == [Status(0, 3, 11)]
    assert [(each.certificate.kind, each.certificate.view) for each in bench.said(CertificateMessage)] == [
        (NOTARIZE, 2),
        (FINALIZE, 1),
    ]
    assert CertificateMessage(final) in bench.said(CertificateMessage)
    assert [(vote.kind, vote.view) for vote in bench.votes()] == [(NOTARIZE, 3), (NULLIFY, 3), (FINALIZE, 2)]
    assert RETRY in bench.timers


def test_a_stale_retry_does_not_go_on_in_an_idle_view(bench: Bench) -> None:
    bench.handle(TimerFired(RETRY))
    assert RETRY not in bench.timers


# Finality


def test_a_final_block_makes_its_ancestors_final(bench: Bench, cast: Cast) -> None:
    first = cast.block(cast.genesis)
    second = cast.block(first)
    bench.hear(cast.proposal(1, first))
    bench.hear_certificate(NOTARIZE, 1, 0, first)
    bench.hear(cast.proposal(2, second, 1))
    bench.hear_certificate(NOTARIZE, 2, 1, second)
    assert bench.wanted(CommitBlock) == []
    final = bench.hear_certificate(FINALIZE, 2, 1, second)
    assert [(each.block_hash, each.certificate) for each in bench.wanted(CommitBlock)] == [
        (first.header.hash, None),
        (second.header.hash, final),
    ]


def test_finality_of_an_old_view_comes_however_late(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    bench.hear_certificate(NOTARIZE, 1, 0, block)
    bench.enter(30)
    bench.hear_votes(cast.vote(signer, FINALIZE, 1, 0, block) for signer in (2, 3))
    assert bench.floor.height == 11
    assert bench.engine.view == 30


def test_finality_can_come_before_everything_else(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(CertificateMessage(cast.certificate(FINALIZE, 3, 0, block)))
    assert bench.said(GetBlock) == [GetBlock(block.header.hash)]
    bench.hear(BlockMessage(block))
    assert bench.floor.height == 11


@pytest.mark.parametrize("first", ["verdict", "certificate"])
@pytest.mark.parametrize("kind", [NOTARIZE, FINALIZE])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_node_that_finds_a_certified_block_invalid_halts(
    bench: Bench, cast: Cast, first: str, kind: Any, depth: int
) -> None:
    """Also where only a descendant of it is certified; else the node would wait for ever without a word."""
    block = cast.block(cast.genesis)
    tip = cast.block(block) if depth else block
    bench.verdicts[block.header.hash] = Verdict.INVALID
    if first == "verdict":
        bench.hear(cast.proposal(1, block))
        if depth:
            bench.hear(cast.proposal(2, tip, 1))
    bench.hear_certificate(kind, 1 + depth, depth, tip)
    for each in (tip, block):  # Whichever has been asked for.
        bench.hear(BlockMessage(each))
    assert len(bench.wanted(Halt)) >= 1
    bench.clear()
    bench.hear(cast.proposal(3, cast.block(cast.genesis, transactions=()), 0))
    assert bench.votes() == []
