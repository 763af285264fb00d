"""What peers say: who is blamed and who is not, what is answered, what is dropped."""

from __future__ import annotations

import msgspec
import pytest

from chain.consensus.effects import (
    Blame,
    BlockExecuted,
    ChainReceived,
    CommitBlock,
    ExecuteBlock,
    FetchFinal,
    KeepEvidence,
    PeerConnected,
    Verdict,
)
from chain.consensus.messages import (
    BlockMessage,
    CertificateMessage,
    EvidenceMessage,
    GetBlock,
    GetCertificates,
    Message,
    Proposal,
    Status,
    VoteMessage,
)
from chain.primitives.certificate import Certificate, Vote
from chain.primitives.types import BlockHeight
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, NULLIFY, Cast

HEIGHT = 10


def spoiled(signed: Vote) -> Vote:
    """The same with somebody else's signature."""
    return msgspec.structs.replace(signed, signature=Cast(4, first_key=50).vote(0, NULLIFY, 99).signature)


# Proposals


def test_a_proposal_is_executed_and_notarized(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(1, block))
    assert bench.wanted(ExecuteBlock) == [ExecuteBlock(block)]
    assert bench.votes() == [cast.vote(0, NOTARIZE, 1, 0, block)]


@pytest.mark.parametrize("fault", ["not the leader", "no notarize", "not its signature"])
def test_a_proposal_without_its_leaders_notarize_counts_as_nothing(bench: Bench, cast: Cast, fault: str) -> None:
    block = cast.block(cast.genesis)
    vote = {
        "not the leader": cast.vote(2, NOTARIZE, 1, 0, block),
        "no notarize": cast.vote(1, FINALIZE, 1, 0, block),
        "not its signature": spoiled(cast.vote(1, NOTARIZE, 1, 0, block)),
    }[fault]
    bench.hear(Proposal(block, vote, None, ()), "liar")
    assert [each.peer for each in bench.wanted(Blame)] == ["liar"]
    assert bench.engine.block(block.header.hash) is None
    assert bench.votes() == []


def test_a_body_that_the_vote_does_not_bind_is_missing(bench: Bench, cast: Cast) -> None:
    block, other = cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    proposal = cast.proposal(1, block)
    bench.hear(Proposal(other, proposal.vote, None, ()), "leader")
    assert bench.wanted(Blame) == []
    assert len(bench.engine._work.tree) == 0
    assert [(each.message, each.peer) for each in bench.sends] == [(GetBlock(block.header.hash), "leader")]
    bench.hear(BlockMessage(block))
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 1, 0, block)]


def test_a_wrong_justification_is_missing_and_the_vote_counts_all_the_same(bench: Bench, cast: Cast) -> None:
    bench.hear_certificate(NULLIFY, 2)
    block, bad = cast.block(cast.genesis), cast.certificate(NULLIFY, 1, signers=(1, 2))
    proposal = msgspec.structs.replace(cast.proposal(3, block), nullifications=(bad,))
    bench.clear()
    bench.hear(proposal, "leader")
    assert [each.peer for each in bench.wanted(Blame)] == ["leader"]
    assert bench.said(GetCertificates, "leader") == [GetCertificates(0, 1)]
    bench.hear_certificate(NULLIFY, 1)
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 3, 0, block)]


def test_a_proposals_justification_leads_into_its_view(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(7, block, nullified=range(1, 7)))
    assert bench.engine.view == 7
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 7, 0, block)]


def test_a_proposal_from_far_ahead_without_justification_is_dropped(bench: Bench, cast: Cast) -> None:
    for view in (5, 2**62 + 1):
        block = cast.block(cast.genesis, time_ms=view)
        effects = bench.hear(cast.proposal(view, block), "leader")
        assert (effects.sends, effects.tasks) == ((), ())
    assert len(bench.engine._knowledge._states) <= 2


def test_a_proposal_of_the_next_view_waits_for_it(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(2, block))
    assert bench.votes() == []
    bench.hear_certificate(NULLIFY, 1)
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 2, 0, block)]


def test_a_body_that_comes_many_views_late_is_not_kept(bench: Bench, cast: Cast) -> None:
    bench.enter(20)
    block = cast.block(cast.genesis)
    bench.hear(cast.proposal(5, block))
    assert len(bench.engine._work.tree) == 0


# Votes, certificates, evidence


def test_a_vote_with_a_false_signature_is_blamed(bench: Bench, cast: Cast) -> None:
    bench.hear(VoteMessage(spoiled(cast.vote(1, NULLIFY, 1))), "liar")
    assert [each.peer for each in bench.wanted(Blame)] == ["liar"]


def test_a_vote_of_nobody_is_blamed(bench: Bench, cast: Cast) -> None:
    bench.hear(VoteMessage(msgspec.structs.replace(cast.vote(1, NULLIFY, 1), signer=4)), "liar")
    assert [each.peer for each in bench.wanted(Blame)] == ["liar"]


@pytest.mark.parametrize("fault", ["too few", "signer twice", "not theirs"])
def test_a_false_certificate_is_blamed_and_enters_nothing(bench: Bench, cast: Cast, fault: str) -> None:
    good = cast.certificate(NULLIFY, 1)
    bad: Certificate = {
        "too few": cast.certificate(NULLIFY, 1, signers=(1, 2)),
        "signer twice": msgspec.structs.replace(good, signatures=good.signatures[:1] * 3),
        "not theirs": msgspec.structs.replace(good, view=2),
    }[fault]
    bench.hear(CertificateMessage(bad), "liar")
    assert [each.peer for each in bench.wanted(Blame)] == ["liar"]
    assert bench.engine.view == 1


def test_votes_one_by_one_make_the_certificate(bench: Bench, cast: Cast) -> None:
    bench.hear_votes(cast.vote(signer, NULLIFY, 1) for signer in (2, 3))
    assert bench.engine.view == 1
    bench.hear_votes([cast.vote(1, NULLIFY, 1)])
    assert bench.engine.view == 2
    assert [each.certificate.signers for each in bench.said(CertificateMessage)] == [[1, 2, 3]]


def test_evidence_is_checked_kept_and_passed_on_once(bench: Bench, cast: Cast) -> None:
    one, other = cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    message = EvidenceMessage(cast.vote(2, NOTARIZE, 1, 0, one), cast.vote(2, NOTARIZE, 1, 0, other))
    for _ in range(2):
        bench.hear(message)
    assert bench.wanted(KeepEvidence) == [KeepEvidence(message.first, message.second)]
    assert bench.said(EvidenceMessage) == [message]


def test_false_evidence_accuses_nobody(bench: Bench, cast: Cast) -> None:
    one, other = cast.block(cast.genesis), cast.block(cast.genesis, transactions=())
    first = cast.vote(2, NOTARIZE, 1, 0, one)
    bench.hear(EvidenceMessage(first, spoiled(cast.vote(2, NOTARIZE, 1, 0, other))), "liar")
    assert [each.peer for each in bench.wanted(Blame)] == ["liar"]
    bench.hear(EvidenceMessage(first, cast.vote(2, NULLIFY, 1)), "confused")
    assert len(bench.wanted(Blame)) == 1
    assert bench.wanted(KeepEvidence) == []


# Other epochs: nobody is blamed for being ahead or behind


def messages_of(cast: Cast) -> list[Message]:
    """One of each kind that names an epoch."""
    block = cast.block(cast.genesis)
    return [
        cast.proposal(1, block),
        VoteMessage(cast.vote(1, NULLIFY, 1)),
        CertificateMessage(cast.certificate(NULLIFY, 1)),
        GetCertificates(cast.epoch, 1),
        Status(cast.epoch, 1, HEIGHT),
    ]


@pytest.mark.parametrize("index", range(5))
def test_who_is_an_epoch_ahead_is_asked_for_final_blocks(bench: Bench, index: int) -> None:
    # Even another set's votes, of which this node cannot check any.
    message = messages_of(Cast(5, epoch=1, first_key=20))[index]
    bench.hear(message, "ahead")
    assert bench.tasks == [FetchFinal("ahead")]


@pytest.mark.parametrize("index", range(5))
def test_who_is_epochs_behind_is_not_blamed(index: int) -> None:
    bench = Bench(Cast(4, epoch=7))
    bench.hear(messages_of(Cast(5, epoch=6, first_key=20))[index], "behind")
    bench.hear(messages_of(Cast(5, epoch=2, first_key=20))[index], "behind")
    assert (bench.tasks, bench.sends) == ([], [])


def test_evidence_of_another_epoch_is_dropped(bench: Bench) -> None:
    other = Cast(4, epoch=1)
    one, two = other.block(other.genesis), other.block(other.genesis, transactions=())
    bench.hear(EvidenceMessage(other.vote(1, NOTARIZE, 1, 0, one), other.vote(1, NOTARIZE, 1, 0, two)))
    assert bench.tasks == []


# Answers


def test_who_asks_for_a_view_gets_its_certificates(bench: Bench, cast: Cast) -> None:
    certificate = bench.hear_certificate(NULLIFY, 1)
    bench.hear(GetCertificates(0, 1), "asker")
    assert bench.said(CertificateMessage, "asker") == [CertificateMessage(certificate)]
    bench.hear(GetCertificates(0, 2**62), "asker")
    assert len(bench.said(CertificateMessage, "asker")) == 1


def test_who_asks_for_a_final_view_gets_the_newest_finality(bench: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    final = bench.finalize(1, 0, block)
    bench.hear(GetCertificates(0, 1), "asker")
    assert bench.said(CertificateMessage, "asker") == [CertificateMessage(final)]


@pytest.mark.parametrize(("view", "height"), [(1, HEIGHT), (2, HEIGHT)])
def test_who_is_behind_in_views_or_blocks_gets_what_helps(bench: Bench, cast: Cast, view: int, height: int) -> None:
    """One that lacks only the newest finality certificate is in the same view."""
    final = bench.finalize(1, 0, cast.block(cast.genesis))
    bench.hear(Status(0, view, height), "behind")
    assert CertificateMessage(final) in bench.said(CertificateMessage, "behind")


def test_who_is_as_far_gets_nothing(bench: Bench, cast: Cast) -> None:
    bench.finalize(1, 0, cast.block(cast.genesis))
    bench.clear()
    bench.hear(Status(0, 2, HEIGHT + 1), "peer")
    assert bench.sends == []


def test_who_is_ahead_in_views_is_asked_how_it_got_there(bench: Bench) -> None:
    bench.hear(Status(0, 9, HEIGHT), "ahead")
    assert [(each.message, each.peer) for each in bench.sends] == [(GetCertificates(0, 8), "ahead")]


def test_a_new_peer_gets_what_it_needs_to_take_part(bench: Bench, cast: Cast) -> None:
    entered_by = bench.hear_certificate(NULLIFY, 1)
    bench.hear(cast.proposal(2, cast.block(cast.genesis)))
    bench.handle(PeerConnected("new"))
    assert bench.said(Status, "new") == [Status(0, 2, HEIGHT)]
    assert bench.said(CertificateMessage, "new") == [CertificateMessage(entered_by)]
    assert [each.vote.kind for each in bench.said(VoteMessage, "new")] == [NOTARIZE]


def test_a_new_peer_gets_the_own_proposal_whole(bench: Bench, cast: Cast) -> None:
    bench.enter(4)
    bench.wait_for()
    block = bench.build()
    bench.handle(PeerConnected("new"))
    assert [each.block for each in bench.said(Proposal, "new")] == [block]


# Blocks


def test_only_a_block_that_was_asked_for_is_taken(bench: Bench, cast: Cast) -> None:
    bench.hear(BlockMessage(cast.block(cast.genesis)))
    assert len(bench.engine._work.tree) == 0


def test_a_body_that_its_header_does_not_bind_is_blamed_on_its_sender_and_asked_for_again(
    bench: Bench, cast: Cast
) -> None:
    block = cast.block(cast.genesis)
    bench.verdicts[block.header.hash] = Verdict.UNBOUND
    bench.hear(cast.proposal(1, block), "liar")
    assert [each.peer for each in bench.wanted(Blame)] == ["liar"]
    assert bench.said(GetBlock, "liar") == [GetBlock(block.header.hash)]
    assert bench.votes() == [], "the real body may be valid"
    del bench.verdicts[block.header.hash]
    bench.hear(BlockMessage(block))
    assert bench.votes(NOTARIZE) == [cast.vote(0, NOTARIZE, 1, 0, block)]


def test_a_body_is_passed_on_only_when_it_is_known_to_be_bound(bench: Bench, cast: Cast) -> None:
    """Else this node would be blamed for what a liar has sent it."""
    block = cast.block(cast.genesis)
    bench.handle_message(cast.proposal(1, block))
    assert bench.engine.block(block.header.hash) is None
    bench.work()
    assert bench.engine.block(block.header.hash) == block


def test_an_unknown_blocks_execution_changes_nothing(bench: Bench, cast: Cast) -> None:
    effects = bench.handle(BlockExecuted(cast.block(cast.genesis).header.hash, Verdict.VALID))
    assert (effects.sends, effects.tasks) == ((), ())


# Ranges of final blocks


def chain_of(cast: Cast, length: int) -> list[tuple[object, ...]]:
    blocks = [cast.block(cast.genesis)]
    while len(blocks) < length:
        blocks.append(cast.block(blocks[-1]))
    return [(block, cast.certificate(FINALIZE, view, view - 1, block)) for view, block in enumerate(blocks, start=1)]


def hear_chain(bench: Bench, links: list[tuple[object, ...]]) -> None:
    bench.handle(ChainReceived("peer", tuple(links)))  # type: ignore[arg-type]
    bench.work()


def test_a_range_of_final_blocks_is_executed_and_committed(bench: Bench, cast: Cast) -> None:
    links = chain_of(cast, 3)
    links[1] = (links[1][0], None)
    hear_chain(bench, links)
    assert [task.certificate for task in bench.wanted(CommitBlock)] == [links[0][1], None, links[2][1]]
    assert (bench.floor.height, bench.floor.view, bench.engine.view) == (HEIGHT + 3, 3, 4)


def test_a_range_that_begins_with_committed_blocks_is_used_from_the_head_on(bench: Bench, cast: Cast) -> None:
    links = chain_of(cast, 3)
    hear_chain(bench, links[:2])
    hear_chain(bench, links)
    assert bench.floor.height == HEIGHT + 3
    assert bench.wanted(Blame) == []


def test_a_range_from_the_past_or_the_future_is_passed_over(bench: Bench, cast: Cast) -> None:
    links = chain_of(cast, 3)
    hear_chain(bench, links[1:])
    hear_chain(bench, links[:1])
    hear_chain(bench, links[:1])
    assert bench.wanted(Blame) == []
    assert bench.floor.height == HEIGHT + 1


@pytest.mark.parametrize(
    "fault", ["broken chain", "uncertified", "notarized only", "another block's", "forged", "other epoch"]
)
def test_a_false_range_is_blamed_and_nothing_of_it_is_executed(bench: Bench, cast: Cast, fault: str) -> None:
    links = chain_of(cast, 3)
    block, certificate = links[2]
    assert isinstance(certificate, Certificate)
    later = Cast(4, epoch=1)
    links[2] = {
        "broken chain": (cast.block(cast.genesis, height=BlockHeight(HEIGHT + 3)), certificate),
        "uncertified": (block, None),
        "notarized only": (block, cast.certificate(NOTARIZE, 3, 2, block)),  # type: ignore[arg-type]
        "another block's": (block, links[1][1]),
        "forged": (block, msgspec.structs.replace(certificate, view=4)),
        "other epoch": (block, later.certificate(FINALIZE, 3, 2, block)),  # type: ignore[arg-type]
    }[fault]
    hear_chain(bench, links)
    assert [each.peer for each in bench.wanted(Blame)] == ["peer"]
    assert bench.wanted(ExecuteBlock) == []
    assert bench.wanted(FetchFinal) == [FetchFinal(None)], "from somebody else"


def test_finality_of_an_unknown_block_is_fetched_from_whoever_knows_it(bench: Bench, cast: Cast) -> None:
    parent = cast.block(cast.genesis)
    bench.hear(CertificateMessage(cast.certificate(FINALIZE, 7, 6, cast.block(parent))), "peer")
    assert bench.wanted(FetchFinal) == [FetchFinal("peer")]
