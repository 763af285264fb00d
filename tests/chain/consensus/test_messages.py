"""What goes over the wire and into the journal, byte for byte; and what strangers may send without any harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.consensus.effects import TimerFired, Verdict
from chain.consensus.messages import (
    MAX_NULLIFICATIONS,
    BlockMessage,
    CertificateMessage,
    EvidenceMessage,
    GetBlock,
    GetCertificates,
    GetRange,
    JournalEntry,
    Link,
    Message,
    Proposal,
    Range,
    Status,
    VoteMessage,
    decode_message,
    encode_message,
)
from chain.consensus.view import contradict
from chain.primitives import message_pack
from chain.primitives.certificate import Certificate, Vote, VoteKind
from chain.primitives.hashing import sha256
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Hash32
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, NULLIFY, Cast

CAST = Cast(4)
ONE, OTHER = CAST.block(CAST.genesis), CAST.block(CAST.genesis, transactions=())


def examples() -> dict[str, Message]:
    """One message of each kind."""
    return {
        "proposal": CAST.proposal(3, ONE, 1, CAST.certificate(NOTARIZE, 1, 0, OTHER), nullified=(2,)),
        "first proposal": CAST.proposal(1, ONE),
        "notarize": VoteMessage(CAST.vote(1, NOTARIZE, 3, 2, ONE)),
        "nullify": VoteMessage(CAST.vote(2, NULLIFY, 300)),
        "finalize": VoteMessage(CAST.vote(3, FINALIZE, 2**40, 2**33, ONE)),
        "certificate": CertificateMessage(CAST.certificate(FINALIZE, 7, 6, ONE)),
        "evidence": EvidenceMessage(CAST.vote(1, NOTARIZE, 3, 2, ONE), CAST.vote(1, NOTARIZE, 3, 2, OTHER)),
        "get certificates": GetCertificates(5, 2**63 - 1),
        "get block": GetBlock(ONE.header.hash),
        "block": BlockMessage(ONE),
        "status": Status(1, 200, 70_000),
        "get range": GetRange(12),
        "range": Range(11, (Link(ONE.encode(), b""), Link(b"\x90", b"\xc0"))),
    }


def journal_examples() -> dict[str, JournalEntry]:
    """One entry of each kind."""
    return {
        "vote": JournalEntry(vote=CAST.vote(0, NULLIFY, 9)),
        "vote with block": JournalEntry(vote=CAST.vote(0, NOTARIZE, 9, 8, ONE), block=ONE),
        "certificate": JournalEntry(certificate=CAST.certificate(NULLIFY, 9)),
    }


# Short ones in full, SHA-256 of the others: a change of any of these is a change of the protocol, or of the journal's
# format, which running networks have on their disks.
GOLDEN = {
    "proposal": "4d5dd2d10545f6682cecc41278c15ba394585c52f8fae110ff9b3d5d4160931d",
    "first proposal": "77edd229e2a30e7f35e809595afcc8e9f0212cede407ffa0c5ce7b54ffd65dea",
    "notarize": "60508cf12f615d46019c7ae822966439f91a9c015bdc4f392eeb68a1f346d05b",
    "nullify": "390baab5592f8665549309cb8afa318b121d403f89386d35ff43b9edb4086d29",
    "finalize": "5ed8fe485c63b6833a5b75600e99233e8dd99b7ac48bbe1f7d94908e7ba79ac6",
    "certificate": "617044c36e45c6e0a00d92311734c7ce6c592eb2e9f4d1708e862663862cd4ef",
    "evidence": "973c4fbeffff52228f3ea619117f34a7e31a902891d208d497c717ce9d648aff",
    "get certificates": "930505cf7fffffffffffffff",
    "get block": "9206c4208bb63fa586a29e98ea43c4754300cfa2e5712e078a59c087670345c56a6801b5",
    "block": "c016c95ec9c452e37e21a65bfdd1f042c635fe9edb0df0c1ff3ec2adc1fdfb82",
    "status": "940801ccc8ce00011170",
    "get range": "92090c",
    "range": "bb96a01620fe573c0fb56371325f77f59c2d356a563c2ef30e0ed30bb7c8c88c",
}
GOLDEN_JOURNAL = {
    "vote": "e965f63d9296cb91a57da9d010138ab31a154e4ae914251f1b1bbc4ad3c27f41",
    "vote with block": "658bd26eb639da3c382461a8bb39901790cfc0c5fa1f68ebb179f73d7ed6f518",
    "certificate": "920f616e5ed434df107fc4f05f766d0b636f4af867d34fe8bfaf147b6774d7d2",
}


def pinned(encoded: bytes) -> str:
    return encoded.hex() if len(encoded) <= 48 else sha256(encoded).hex()


@pytest.mark.parametrize("name", examples())
def test_the_encoding_of_messages_is_fixed(name: str) -> None:
    message = examples()[name]
    encoded = encode_message(message)
    assert pinned(encoded) == GOLDEN[name]
    assert decode_message(encoded) == message


@pytest.mark.parametrize("name", journal_examples())
def test_the_encoding_of_journal_entries_is_fixed(name: str) -> None:
    entry = journal_examples()[name]
    encoded = message_pack.encode(entry)
    assert pinned(encoded) == GOLDEN_JOURNAL[name]
    assert message_pack.decode_trusted(encoded, JournalEntry) == entry


def test_a_certificate_of_four_validators_is_short() -> None:
    """Thirty peers send one each view."""
    assert len(encode_message(CertificateMessage(CAST.certificate(FINALIZE, 10**6, 10**6 - 1, ONE)))) < 260


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x91\x63",  # No such tag.
        b"\x92\x06\xc4\x1f" + bytes(31),  # A hash that is too short.
        b"\x94\x08\x01\x02\xcc\x03",  # 3 in two bytes.
        b"\x94\x08\x01\x02\x03\x00",  # One byte more.
        b"\x95\x08\x01\x02\x03\x04",  # One field more.
        b"\x93\x08\x01\x02",  # One field less.
        b"\x94\x08\x01\x02\xff",  # Negative.
        b"\x94\x08\x01\x02\xcf" + b"\xff" * 8,  # Beyond 63 bits.
        b"\x94\x08\x01\x02\xca\x40\x40\x00\x00",  # 3.0
    ],
)
def test_what_is_no_canonical_message_is_refused(encoded: bytes) -> None:
    assert decode_message(b"\x94\x08\x01\x02\x03") == Status(1, 2, 3)
    with pytest.raises(Rejected) as refused:
        decode_message(encoded)
    assert refused.value.reason in (RejectionReason.MALFORMED, RejectionReason.NON_CANONICAL)


def test_a_proposal_carries_a_bounded_number_of_nullifications() -> None:
    few = CAST.proposal(1, ONE)
    many = Proposal(few.block, few.vote, None, (CAST.certificate(NULLIFY, 1),) * (MAX_NULLIFICATIONS + 1))
    with pytest.raises(Rejected):
        decode_message(encode_message(many))


# Anything at all

ENCODED = [encode_message(message) for message in examples().values()]


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_or_canonical(encoded: bytes) -> None:
    check_canonical(encoded)


@given(st.sampled_from(ENCODED), st.data())
def test_spoiled_messages_are_refused_or_canonical(encoded: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(encoded)))
    gone = data.draw(st.integers(0, 3))
    check_canonical(encoded[:at] + data.draw(st.binary(max_size=3)) + encoded[at + gone :])


def check_canonical(encoded: bytes) -> None:
    try:
        message = decode_message(encoded)
    except Rejected:
        return
    assert encode_message(message) == encoded


# Whatever can be decoded, an engine takes, and stays as small as it is

VIEWS = st.one_of(st.integers(0, 6), st.sampled_from([7, 40, 2**32, 2**62, 2**63 - 1]))
EPOCHS = st.sampled_from([0, 0, 0, 0, 0, 1, 2**63 - 1])
SIGNERS = st.integers(0, 3)
CHILD = CAST.block(ONE)
BLOCKS = [
    ONE,
    OTHER,
    CHILD,
    CAST.block(CHILD),
    CAST.block(CAST.genesis, next_set=Cast(4, epoch=1)),
    CAST.block(CAST.genesis, height=2**62),
    CAST.block(CAST.genesis, parent_hash=Hash32(b"\7" * 32)),
]
KINDS = st.sampled_from(VoteKind)


@st.composite
def votes(draw: Any) -> Vote:
    """Of real keys, rarely of the engine's own; some with a false signature or another index."""
    kind, signer = draw(KINDS), draw(st.integers(1, 3))
    fields: tuple[Any, ...] = (draw(VIEWS), draw(VIEWS), draw(st.sampled_from(BLOCKS)))
    vote = CAST.vote(signer, kind, *(fields if kind is not NULLIFY else fields[:1]))
    if draw(st.integers(0, 9)) == 0:
        changes = {"epoch": draw(EPOCHS), "signer": draw(st.integers(1, 62)), "parent_view": draw(VIEWS)}
        names = draw(st.sets(st.sampled_from(sorted(changes))))
        values = {name: getattr(vote, name) for name in vote.__struct_fields__}
        vote = Vote(**{**values, **{name: changes[name] for name in names}})
    return vote


@st.composite
def certificates(draw: Any) -> Certificate:
    """Of real keys, some of too few."""
    kind, view = draw(KINDS), draw(VIEWS)
    signers = draw(st.sampled_from([(1, 2, 3), (1, 2, 3), (1, 2), (3,)]))
    if kind is NULLIFY:
        return CAST.certificate(kind, view, signers=signers)
    return CAST.certificate(kind, view, draw(VIEWS), draw(st.sampled_from(BLOCKS)), signers=signers)


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(VoteMessage, votes()),
    st.builds(CertificateMessage, certificates()),
    st.builds(EvidenceMessage, votes(), votes()),
    st.builds(
        Proposal,
        st.sampled_from(BLOCKS),
        votes(),
        st.one_of(st.none(), certificates()),
        st.lists(certificates(), max_size=3).map(tuple),
    ),
    st.builds(GetCertificates, EPOCHS, VIEWS),
    st.builds(BlockMessage, st.sampled_from(BLOCKS)),
    st.builds(Status, EPOCHS, VIEWS, st.integers(0, 20)),
    st.builds(GetBlock, st.sampled_from([block.header.hash for block in BLOCKS])),
    st.builds(GetRange, VIEWS),
    st.builds(Range, VIEWS, st.just(())),
)
TIMERS = st.builds(TimerFired, st.sampled_from(["leader", "view", "retry", "interval", "grace", "heartbeat", "hold"]))


@settings(max_examples=150)
@given(st.lists(st.one_of(MESSAGES, MESSAGES, TIMERS, st.booleans()), max_size=40), st.sampled_from([0, None]))
def test_no_message_makes_an_engine_fail_contradict_itself_or_grow(steps: list[Any], index: int | None) -> None:
    """Only one validator of the four may lie; here all keys are used for lies, so that blocks of one view conflict."""
    bench = Bench(CAST, index)
    bench.next_settings[BLOCKS[4].header.hash] = Cast(4, epoch=1).settings
    bench.verdicts[BLOCKS[5].header.hash] = Verdict.INVALID
    own: list[Vote] = []
    for step in steps:
        if isinstance(step, bool):
            bench.wait_for(step)
            effects = bench.handle(TimerFired("retry"))
        elif isinstance(step, TimerFired):
            effects = bench.handle(step)
        else:
            assert decode_message(encode_message(step)) == step
            effects = bench.handle_message(step)
        assert len(effects.sends) <= 100
        assert len(effects.records) <= 20
        assert len(effects.tasks) <= 20
        bench.work()
        own += [vote for vote in bench.votes() if vote not in own]
        bench.clear()
    assert not any(contradict(first, second) for first in own for second in own)
    knowledge = bench.engine._knowledge
    assert len(knowledge._states) <= 60
    assert len(bench.engine._work.tree) <= len(BLOCKS)


def test_the_votes_of_a_liar_far_ahead_cost_nothing() -> None:
    """Neither memory nor a walk over 2^62 views."""
    bench = Bench(CAST)
    for view in (2**62 + 1, 2**63 - 1):
        leader = CAST.leader(view)
        bench.hear(VoteMessage(CAST.vote(leader, NOTARIZE, view, 0, ONE)))
        bench.hear(CAST.proposal(view, ONE))
        bench.hear(GetCertificates(0, view))
    assert len(bench.engine._knowledge._states) == 1


def test_a_real_jump_over_many_views_costs_as_many_questions_as_a_message_may_carry() -> None:
    """A quorum that lies could do this; nothing may hang even then."""
    bench = Bench(CAST)
    bench.hear(CertificateMessage(CAST.certificate(NULLIFY, 200_000)))
    effects = bench.hear(CAST.proposal(200_001, ONE))
    assert len(effects.sends) <= MAX_NULLIFICATIONS + 3
    assert len(bench.engine._knowledge._states) <= 3


def test_no_golden_value_is_left_over() -> None:
    assert (set(GOLDEN), set(GOLDEN_JOURNAL)) == (set(examples()), set(journal_examples()))
