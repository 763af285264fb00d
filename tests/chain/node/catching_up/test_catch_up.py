"""Catching up among peers that lie, keep silent, send garbage and leave, in any order of events."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.consensus.effects import ChainReceived
from chain.consensus.messages import GetRange, Link, Range
from chain.node.catching_up.catch_up import (
    BlockHead,
    CatchUp,
    CatchUpEffects,
    CatchUpEvent,
    CatchUpLimits,
    FetchWanted,
    HeadMoved,
    PeerJoined,
    PeerLeft,
    PeerStatus,
    RangeReceived,
    Tick,
)
from chain.node.catching_up.peers import MAX_PASS_OVER_MS
from chain.node.ranges import MAX_RANGE_BLOCKS, RANGE_BYTES_LIMIT, read_range
from chain.primitives import message_pack
from chain.primitives.block import Block, Header, results_root, transactions_root
from chain.primitives.certificate import Certificate, VoteKind, validators_hash
from chain.primitives.hashing import keccak256
from chain.primitives.types import Address, BlockHeight, Hash32
from chain.storage.reader import ChainReader

LENGTH = 120
EPOCH_BLOCKS = 50
GOOD_SIGNATURE, BAD_SIGNATURE = b"\x01" * 64, b"\x02" * 64
LIMITS = CatchUpLimits()


class ListedChain(ChainReader):
    """A chain in memory, whose certificates are signed with one of two constants. Heights are indexes."""

    def __init__(self, *, salt: int = 0, certified_every: int = 3, body_bytes: int = 0, length: int = LENGTH) -> None:
        self.blocks: list[Block] = []
        self.certificates: list[bytes | None] = []
        parent_hash, epoch = keccak256(b"genesis"), 0
        for height in range(length + 1):
            is_boundary = height > 0 and height % EPOCH_BLOCKS == 0
            body = (hashlib.shake_128(b"%d %d" % (salt, height)).digest(body_bytes),) if body_bytes else ()
            header = Header(
                protocol_version=1,
                chain_id=1,
                epoch=epoch,
                height=BlockHeight(height),
                parent_hash=parent_hash,
                time_ms=height if height == 0 else height + salt,
                proposer=Address(bytes(20)),
                transactions_root=transactions_root([keccak256(raw) for raw in body]),
                results_root=results_root([]),
                state_root=Hash32(bytes(32)),
                next_validators_hash=validators_hash(epoch + is_boundary, [Address(bytes(20))]),
            )
            self.blocks.append(Block(header, body))
            is_certified = is_boundary or height % certified_every == 0 or height == length
            self.certificates.append(certificate_of(header) if is_certified else None)
            parent_hash, epoch = header.hash, epoch + is_boundary

    def block_at(self, height: int) -> bytes | None:
        return self.blocks[height].encode() if height < len(self.blocks) else None

    def certificate_at(self, height: int) -> bytes | None:
        return self.certificates[height]

    def certificate_covering(self, height: int) -> tuple[int, bytes] | None:
        for above, certificate in enumerate(self.certificates[height:], start=height):
            if certificate is not None:
                return above, certificate
        return None

    def _snapshot_now(self) -> Any:
        raise NotImplementedError

    def head(self, height: int = 0) -> BlockHead:
        return BlockHead(height, self.blocks[height].header.hash)

    def range(self, from_height: int, max_blocks: int = MAX_RANGE_BLOCKS) -> Range:
        """As a peer with this chain answers."""
        return read_range(self, from_height, max_blocks=max_blocks) or Range(from_height, ())


def certificate_of(header: Header, **changes: Any) -> bytes:
    certificate = Certificate(
        kind=VoteKind.FINALIZE,
        epoch=header.epoch,
        view=header.height + 1,
        block_hash=header.hash,
        signer_bitmap=1,
        signatures=(GOOD_SIGNATURE + b"\x00",),
    )
    return message_pack.encode(msgspec.structs.replace(certificate, **changes))


@cache
def the_chain(certified_every: int = 3) -> ListedChain:
    return ListedChain(certified_every=certified_every)


@cache
def forged_chain() -> ListedChain:
    """Another chain on the same genesis block, in which every hash is right and no signature is."""
    chain = ListedChain(salt=1)
    for height, encoded in enumerate(chain.certificates):
        if encoded is not None:
            chain.certificates[height] = certificate_of(
                chain.blocks[height].header, signatures=(BAD_SIGNATURE + b"\x00",)
            )
    return chain


def from_genesis(*peers: str, height: int = LENGTH) -> CatchUp:
    """A node at genesis whose peers all say that they are at a height; nothing of what it does then is looked at."""
    catch_up = CatchUp(head=the_chain().head())
    for peer in peers:
        catch_up.handle(PeerJoined(peer), 0)
        catch_up.handle(PeerStatus(peer, height), 0)
    return catch_up


def asked(effects: CatchUpEffects) -> list[tuple[str | None, int]]:
    for send in effects.sends:
        assert isinstance(send.message, GetRange)
    return [(send.peer, send.message.from_height) for send in effects.sends if isinstance(send.message, GetRange)]


def commit(catch_up: CatchUp, chain: ChainReceived, now_ms: int) -> list[CatchUpEffects]:
    return [catch_up.handle(HeadMoved(block.header.height, block.header.hash), now_ms) for block, _ in chain.links]


# One peer, step by step


def test_a_range_is_asked_for_checked_and_handed_over() -> None:
    catch_up = CatchUp(head=the_chain().head())
    assert catch_up.handle(PeerJoined("ann"), 0) == CatchUpEffects()
    effects = catch_up.handle(PeerStatus("ann", LENGTH), 0)
    assert asked(effects) == [("ann", 1)]
    assert [timer.delay_ms for timer in effects.timers] == [LIMITS.answer_ms]
    effects = catch_up.handle(RangeReceived("ann", the_chain().range(1)), 50)
    (chain,) = effects.chains
    assert chain.peer == "ann"
    assert [block for block, _ in chain.links] == the_chain().blocks[1 : EPOCH_BLOCKS + 1], "up to the epoch's end"
    assert chain.links[-1][1] is not None
    assert asked(effects) == [("ann", EPOCH_BLOCKS + 1), ("ann", 2 * EPOCH_BLOCKS + 1)], "the next ones meanwhile"
    assert catch_up.progress(50, validators=()).is_catching_up
    assert catch_up.handle(RangeReceived("ann", the_chain().range(EPOCH_BLOCKS + 1)), 60).chains == ()
    last = commit(catch_up, chain, 70)[-1]
    assert [block.header.height for block, _ in last.chains[0].links] == [*range(EPOCH_BLOCKS + 1, 101)]


def test_nobody_is_asked_while_nobody_is_ahead() -> None:
    catch_up = CatchUp(head=the_chain().head(7))
    catch_up.handle(PeerJoined("ann"), 0)
    assert catch_up.handle(PeerStatus("ann", 7), 0) == CatchUpEffects()
    assert catch_up.handle(PeerStatus("ann", 3), 0) == CatchUpEffects()
    assert catch_up.handle(PeerStatus("stranger", 99), 0) == CatchUpEffects()
    assert not catch_up.progress(0, validators={"ann"}).is_catching_up


def test_one_missing_block_is_waited_for_a_little() -> None:
    catch_up = CatchUp(head=the_chain().head(7))
    catch_up.handle(PeerJoined("ann"), 0)
    effects = catch_up.handle(PeerStatus("ann", 8), 0)
    assert asked(effects) == []
    assert [timer.delay_ms for timer in effects.timers] == [LIMITS.grace_ms]
    # It comes by itself, and then another one.
    effects = catch_up.handle(HeadMoved(*msgspec.structs.astuple(the_chain().head(8))), 900)
    assert [timer.delay_ms for timer in effects.timers] == [None]
    catch_up.handle(PeerStatus("ann", 9), 1_000)
    assert asked(catch_up.handle(Tick(), 1_900)) == []
    assert asked(catch_up.handle(Tick(), 2_000)) == [("ann", 9)]


def test_engine_that_lacks_final_blocks_need_not_wait() -> None:
    catch_up = CatchUp(head=the_chain().head(7))
    for peer in ("ann", "bob"):
        catch_up.handle(PeerJoined(peer), 0)
    assert asked(catch_up.handle(FetchWanted("bob"), 0)) == [("bob", 8)]
    assert asked(catch_up.handle(FetchWanted("bob"), 0)) == [], "it has been asked"
    # That it has nothing is no reproach: it never said that it had.
    assert asked(catch_up.handle(RangeReceived("bob", Range(8, ())), 5)) == []
    assert asked(catch_up.handle(FetchWanted(None), 6)) == [("ann", 8)]
    assert asked(catch_up.handle(PeerStatus("bob", 20), 7)) == [], "ann is asked already"
    assert asked(catch_up.handle(PeerLeft("ann"), 8)) == [("bob", 8)]


def test_different_peers_are_asked_where_there_are_several() -> None:
    catch_up = from_genesis("ann", "bob", "cat")
    effects = catch_up.handle(RangeReceived("ann", the_chain().range(1, 10)), 5)
    questions = asked(effects)
    assert [height for _, height in questions] == [10, 19, 28], "ranges end with certificates: 9 blocks each"
    assert {peer for peer, _ in questions} == {"ann", "bob", "cat"}


def test_ranges_that_overlap_or_leave_gaps_come_together() -> None:
    catch_up = from_genesis("ann", "bob", "cat")
    questions = asked(catch_up.handle(RangeReceived("ann", the_chain().range(1, 10)), 5))
    owner = {height: str(peer) for peer, height in questions}
    # The middle one is longer than was expected, the last one has come first, the first one is short.
    assert catch_up.handle(RangeReceived(owner[28], the_chain().range(28, 10)), 6).chains == ()
    assert catch_up.handle(RangeReceived(owner[19], the_chain().range(19, 30)), 7).chains == ()
    effects = catch_up.handle(RangeReceived(owner[10], the_chain().range(10, 3)), 8)
    assert [height for _, height in asked(effects)] == [13], "the gap, for which the farthest range makes room"
    for height in range(1, 10):
        effects = catch_up.handle(HeadMoved(*msgspec.structs.astuple(the_chain().head(height))), 9)
    assert [block.header.height for block, _ in effects.chains[0].links] == [10, 11, 12]


# Peers that behave badly


def test_silent_peer_is_passed_over() -> None:
    catch_up = from_genesis("ann", "bob")
    effects = catch_up.handle(Tick(), LIMITS.answer_ms)
    assert asked(effects) == [("bob", 1)]
    assert effects.blames == (), "it may be slow, or its line"


def test_late_answer_is_still_of_use_and_a_slow_peer_gets_more_time() -> None:
    catch_up = from_genesis("ann")
    assert asked(catch_up.handle(Tick(), LIMITS.answer_ms)) == []
    again_ms = LIMITS.answer_ms + 1_000
    effects = catch_up.handle(Tick(), again_ms)
    assert asked(effects) == [("ann", 1)]
    assert [timer.delay_ms for timer in effects.timers] == [2 * LIMITS.answer_ms]
    catch_up = from_genesis("ann")
    catch_up.handle(Tick(), LIMITS.answer_ms)
    assert catch_up.handle(RangeReceived("ann", the_chain().range(1)), LIMITS.answer_ms + 1).chains
    assert catch_up.handle(RangeReceived("ann", the_chain().range(1)), LIMITS.answer_ms + 2).chains == ()


def test_answer_that_nobody_asked_for_is_dropped() -> None:
    catch_up = from_genesis("ann", "bob")
    for name, range_ in (
        ("bob", the_chain().range(1)),
        ("ann", the_chain().range(2)),
        ("stranger", the_chain().range(1)),
        ("bob", Range(1, (Link(b"noise", b""),))),
    ):
        effects = catch_up.handle(RangeReceived(name, range_), 1)
        assert (effects.chains, effects.blames, effects.sends) == ((), (), ())
    assert catch_up.handle(RangeReceived("ann", the_chain().range(1)), 2).chains


def test_peer_that_claims_what_it_has_not_is_asked_ever_less() -> None:
    catch_up = from_genesis("liar", height=10**18)
    now_ms, questions = 0, 1
    while now_ms < 600_000:
        effects = catch_up.handle(RangeReceived("liar", Range(1, ())), now_ms)
        assert asked(effects) == []
        assert effects.blames == ()
        catch_up.handle(PeerStatus("liar", 10**18), now_ms)
        (timer,) = effects.timers
        assert timer.delay_ms is not None
        now_ms += timer.delay_ms
        assert asked(catch_up.handle(Tick(), now_ms)) == [("liar", 1)]
        questions += 1
    assert questions < 20


def test_honest_peer_is_preferred_to_one_that_has_disappointed() -> None:
    catch_up = from_genesis("liar", height=10**18)
    catch_up.handle(RangeReceived("liar", Range(1, ())), 0)
    catch_up.handle(PeerJoined("ann"), 1)
    assert asked(catch_up.handle(PeerStatus("ann", LENGTH), 1)) == [("ann", 1)]
    assert catch_up.progress(1, validators={"ann", "liar"}).target_height == LENGTH
    questions = asked(catch_up.handle(RangeReceived("ann", the_chain().range(1, 10)), 5_000))
    assert {peer for peer, _ in questions} == {"ann"}


def bad_ranges() -> dict[str, Range]:
    chain = the_chain()
    links = list(chain.range(1).links)
    header = chain.blocks[3].header
    other = certificate_of(chain.blocks[2].header)
    strange = Block(header, (b"not in the header",)).encode()
    return {
        "noise": Range(1, (Link(b"noise", links[2].certificate),)),
        "trailing byte": Range(1, (Link(links[0].block + b"\x00", b""), *links[1:])),
        "noise for a certificate": Range(1, (*links[:2], Link(links[2].block, b"noise"))),
        "huge certificate": Range(1, (*links[:2], Link(links[2].block, b"\x00" * 100_000))),
        "does not start where asked": Range(1, tuple(links[3:])),
        "a gap": Range(1, (links[0], *links[2:])),
        "a block twice": Range(1, (links[0], links[0])),
        "backwards": Range(1, (*links[:2][::-1], links[2])),
        "another chain from the second block on": Range(1, (links[0], *forged_chain().range(2).links)),
        "body of another block": Range(1, (*links[:2], Link(strange, links[2].certificate))),
        "certificate of another block": Range(1, (*links[:2], Link(links[2].block, other))),
        "certificate that only notarizes": Range(
            1, (*links[:2], Link(links[2].block, certificate_of(header, kind=VoteKind.NOTARIZE)))
        ),
        "certificate of another epoch": Range(1, (*links[:2], Link(links[2].block, certificate_of(header, epoch=1)))),
        "views that fall": Range(
            1,
            (*links[:2], Link(links[2].block, certificate_of(header, view=1_000)), *links[3:]),
        ),
        "beyond the epoch's end": Range(1, (*links, *chain.range(EPOCH_BLOCKS + 1).links)),
        "too many blocks": Range(1, (links[0],) * (MAX_RANGE_BLOCKS + 1)),
    }


@pytest.mark.parametrize("fault", bad_ranges())
def test_peer_that_sends_what_no_honest_one_sends_is_blamed(fault: str) -> None:
    catch_up = from_genesis("eve", "ann")
    effects = catch_up.handle(RangeReceived("eve", bad_ranges()[fault]), 1)
    assert effects.chains == ()
    assert [blame.peer for blame in effects.blames] == ["eve"]
    assert asked(effects) == [("ann", 1)]
    assert catch_up.handle(PeerLeft("eve"), 2) == CatchUpEffects()


def test_range_that_does_not_stand_on_the_head_is_its_peers_fault() -> None:
    catch_up = from_genesis("ann", "eve", "bob")
    effects = catch_up.handle(RangeReceived("ann", the_chain().range(1, 10)), 5)
    (chain,) = effects.chains
    owner = {height: str(peer) for peer, height in asked(effects)}
    liar = owner[10]
    catch_up.handle(RangeReceived(liar, forged_chain().range(10, 9)), 6)
    last = commit(catch_up, chain, 7)[-1]
    assert last.chains == ()
    assert [blame.peer for blame in last.blames] == [liar]
    assert [height for _, height in asked(last)][:1] == [10]
    assert liar not in [peer for peer, _ in asked(last)]


def test_range_whose_peer_the_engine_blames_is_asked_for_elsewhere() -> None:
    catch_up = from_genesis("eve", "ann")
    assert catch_up.handle(RangeReceived("eve", forged_chain().range(1)), 1).chains
    assert ("ann", 1) in asked(catch_up.handle(PeerLeft("eve"), 2))


def test_range_that_the_engine_works_on_is_kept_when_its_peer_leaves() -> None:
    catch_up = from_genesis("ann", "bob")
    (chain,) = catch_up.handle(RangeReceived("ann", the_chain().range(1)), 1).chains
    first = chain.links[0][0].header
    catch_up.handle(HeadMoved(first.height, first.hash), 2)
    assert 2 not in [height for _, height in asked(catch_up.handle(PeerLeft("ann"), 3))]


def test_range_that_leads_nowhere_is_asked_for_again() -> None:
    catch_up = from_genesis("ann", "bob", height=EPOCH_BLOCKS)
    assert catch_up.handle(RangeReceived("ann", the_chain().range(1)), 0).chains
    effects = catch_up.handle(Tick(), LIMITS.stalled_ms)
    assert ("bob", 1) in asked(effects)


# Long stretches without a certificate


def test_range_without_a_certificate_waits_for_the_rest_from_the_same_peer() -> None:
    chain = ListedChain(certified_every=10)
    catch_up = from_genesis("ann", "bob")
    first, second, third = (chain.range(height, 4) for height in (1, 5, 9))
    effects = catch_up.handle(RangeReceived("ann", first), 1)
    assert effects.chains == ()
    assert ("ann", 5) in asked(effects)
    catch_up.handle(RangeReceived("ann", second), 2)
    (handed,) = catch_up.handle(RangeReceived("ann", third), 3).chains
    assert [block for block, _ in handed.links] == chain.blocks[1:11]


def test_rest_that_does_not_continue_the_beginning_is_its_peers_fault() -> None:
    chain, other = ListedChain(certified_every=10), ListedChain(certified_every=10, salt=1)
    catch_up = from_genesis("eve", "bob")
    catch_up.handle(RangeReceived("eve", chain.range(1, 4)), 1)
    effects = catch_up.handle(RangeReceived("eve", other.range(5, 6)), 2)
    assert [blame.peer for blame in effects.blames] == ["eve"]
    assert ("bob", 1) in asked(effects)


def test_peer_that_leaves_takes_its_beginning_along() -> None:
    chain = ListedChain(certified_every=10)
    catch_up = from_genesis("ann", "bob")
    catch_up.handle(RangeReceived("ann", chain.range(1, 4)), 1)
    assert ("bob", 1) in asked(catch_up.handle(PeerLeft("ann"), 2))
    assert catch_up.handle(RangeReceived("bob", chain.range(1)), 3).chains


def test_beginning_is_dropped_where_its_peer_does_not_go_on() -> None:
    chain = ListedChain(certified_every=10)
    catch_up = from_genesis("ann", "bob")
    catch_up.handle(RangeReceived("ann", chain.range(1, 4)), 1)
    assert ("bob", 1) in asked(catch_up.handle(Tick(), 1 + LIMITS.answer_ms))


def test_blocks_without_end_and_without_a_certificate_are_not_hoarded() -> None:
    """Whoever serves them may be honest: it is asked again, but ever so seldom."""
    body_bytes = 8 * 1024 * 1024
    chain = ListedChain(certified_every=1_000, body_bytes=body_bytes, length=12)
    catch_up = CatchUp(head=chain.head())
    catch_up.handle(PeerJoined("eve"), 0)
    now_ms, questions = 0, asked(catch_up.handle(PeerStatus("eve", 10**6), 0))
    for _ in range(3):
        assert questions[0] == ("eve", 1)
        answer_count = 0
        while questions:
            effects = catch_up.handle(RangeReceived("eve", chain.range(questions.pop(0)[1])), now_ms)
            assert (effects.chains, effects.blames) == ((), ())
            questions += asked(effects)
            answer_count += 1
        assert answer_count <= RANGE_BYTES_LIMIT // body_bytes + LIMITS.max_ranges
        assert asked(catch_up.handle(Tick(), now_ms + MAX_PASS_OVER_MS - 1)) == []
        now_ms += MAX_PASS_OVER_MS
        questions = asked(catch_up.handle(Tick(), now_ms))
    catch_up.handle(PeerJoined("ann"), now_ms)
    catch_up.handle(PeerStatus("ann", 12), now_ms)
    assert asked(catch_up.handle(PeerLeft("eve"), now_ms))[0] == ("ann", 1)


# Any interleaving


class Wire:
    """A node that catches up, its peers, and what is under way between them; time passes only when it is told to.

    The engine is played by its contract alone: it blames a peer whose signatures are wrong, else commits in order.
    """

    def __init__(self, behaviours: dict[str, str], max_blocks: int, certified_every: int) -> None:
        self.chain = the_chain(certified_every)
        self.behaviours = behaviours
        self.max_blocks = max_blocks
        self.now_ms = 0
        self.height = 0
        self.timer_at_ms: int | None = None
        self.catch_up = CatchUp(head=self.chain.head())
        self.under_way: list[CatchUpEvent | tuple[str, int]] = []
        self.to_commit: list[tuple[Block, Certificate | None]] = []
        self.connected: set[str] = set()
        for name in behaviours:
            self.join(name)

    def join(self, name: str) -> None:
        self.connected.add(name)
        self.tell(PeerJoined(name))
        self.under_way.append(PeerStatus(name, 10**9 if self.behaviours[name] == "liar" else LENGTH))

    def leave(self, name: str) -> None:
        if name in self.connected:
            self.connected.discard(name)
            self.tell(PeerLeft(name))

    def tell(self, event: CatchUpEvent) -> None:
        effects = self.catch_up.handle(event, self.now_ms)
        for send in effects.sends:
            assert isinstance(send.message, GetRange)
            assert send.peer in self.connected
            self.under_way.append((send.peer, send.message.from_height))
        for timer in effects.timers:
            self.timer_at_ms = None if timer.delay_ms is None else self.now_ms + timer.delay_ms
        for blame in effects.blames:
            assert self.behaviours[blame.peer] != "honest", blame
            self.leave(blame.peer)
        for received in effects.chains:
            self.execute(received)

    def execute(self, received: ChainReceived) -> None:
        assert received.links[0][0].header.height == self.height + 1
        assert received.links[0][0].header.parent_hash == self.chain.blocks[self.height].header.hash
        assert received.links[-1][1] is not None
        for _, certificate in received.links:
            if certificate is not None and certificate.signatures[0][:64] != GOOD_SIGNATURE:
                self.leave(received.peer)
                return
        self.to_commit = list(received.links)

    def commit(self) -> None:
        block, _ = self.to_commit.pop(0)
        if block.header.height == self.height + 1:
            assert block == self.chain.blocks[block.header.height]
            self.height += 1
            self.tell(HeadMoved(self.height, block.header.hash))

    def deliver(self, index: int) -> None:
        moving = self.under_way.pop(index)
        if isinstance(moving, tuple):
            self.answer(*moving)
        elif not isinstance(moving, PeerStatus | RangeReceived) or moving.peer in self.connected:
            self.tell(moving)

    def answer(self, name: str, from_height: int) -> None:
        range_ = self.chain.range(from_height, self.max_blocks)
        forged = forged_chain().range(from_height, self.max_blocks)
        answers: dict[str, list[Range]] = {
            "honest": [range_],
            "liar": [Range(from_height, ())],
            "silent": [],
            "garbage": [Range(from_height, (Link(b"garbage", b""),))],
            "forger": [forged],
            "elsewhere": [Range(from_height + 1, range_.links)],
            "shifted": [Range(from_height, range_.links[1:])],
            "talkative": [range_, range_, self.chain.range(1, self.max_blocks), Range(7, ())],
            "certainly not": [Range(from_height, tuple(Link(link.block, b"") for link in range_.links))],
        }
        self.under_way += [RangeReceived(name, each) for each in answers[self.behaviours[name]]]

    def tick(self) -> None:
        if self.timer_at_ms is not None:
            self.now_ms, self.timer_at_ms = max(self.now_ms, self.timer_at_ms), None
            self.tell(Tick())

    def settle(self) -> int:
        """Everything in order until nothing happens any more, or all is here; how many steps it took."""
        steps = 0
        while self.height < LENGTH and steps < 5_000:
            steps += 1
            if self.to_commit:
                self.commit()
            elif self.under_way:
                self.deliver(0)
            elif self.timer_at_ms is not None:
                self.tick()
            else:
                break
        return steps


BEHAVIOURS = [
    "honest",
    "liar",
    "silent",
    "garbage",
    "forger",
    "elsewhere",
    "shifted",
    "talkative",
    "certainly not",
]


@settings(max_examples=150, deadline=None)
@given(
    others=st.lists(st.sampled_from(BEHAVIOURS), max_size=5),
    honest_at=st.integers(0, 5),
    max_blocks=st.sampled_from([1, 3, 7, 50, 256]),
    certified_every=st.sampled_from([1, 3, 10]),
    steps=st.lists(
        st.tuples(st.sampled_from(["deliver", "commit", "tick", "live", "leave"]), st.integers(0)), max_size=80
    ),
)
def test_any_interleaving_ends_at_the_target_when_one_honest_peer_stays(
    others: list[str], honest_at: int, max_blocks: int, certified_every: int, steps: list[tuple[str, int]]
) -> None:
    behaviours = {f"{behaviour} {index}": behaviour for index, behaviour in enumerate(others)}
    names = [*behaviours]
    names.insert(min(honest_at, len(names)), "ann")
    wire = Wire({name: behaviours.get(name, "honest") for name in names}, max_blocks, certified_every)
    for action, number in steps:
        if action == "deliver" and wire.under_way:
            wire.deliver(number % len(wire.under_way))
        elif action == "commit" and wire.to_commit:
            wire.commit()
        elif action == "tick":
            wire.tick()
        elif action == "live" and wire.height < LENGTH:
            # The engine gets a block by itself, while it may have a range, too.
            wire.height += 1
            wire.tell(HeadMoved(wire.height, wire.chain.blocks[wire.height].header.hash))
        elif action == "leave" and (name := names[number % len(names)]) != "ann":
            if name in wire.connected:
                wire.leave(name)
            else:
                wire.join(name)
    wire.settle()
    assert wire.height == LENGTH
    assert "ann" in wire.connected
    assert wire.catch_up.progress(wire.now_ms, validators=()).height == LENGTH


def test_what_is_held_stays_bounded_whatever_comes_first() -> None:
    catch_up = from_genesis(*(f"peer {index}" for index in range(8)))
    effects = catch_up.handle(RangeReceived("peer 0", the_chain().range(1, 3)), 1)
    for round_number in range(50):
        for peer, height in asked(effects):
            if height > 4:
                effects = catch_up.handle(RangeReceived(str(peer), the_chain().range(height, 3)), 2 + round_number)
    assert len(asked(effects)) <= LIMITS.max_ranges


def test_speed_and_target_are_shown() -> None:
    catch_up = from_genesis("ann")
    (chain,) = catch_up.handle(RangeReceived("ann", the_chain().range(1)), 0).chains
    for block, _ in chain.links:
        catch_up.handle(HeadMoved(block.header.height, block.header.hash), 100 * block.header.height)
    progress = catch_up.progress(100 * EPOCH_BLOCKS, validators={"ann"})
    assert (progress.height, progress.target_height) == (EPOCH_BLOCKS, LENGTH)
    assert 9 < progress.blocks_per_second < 11
    assert catch_up.progress(10**6, validators={"ann"}).blocks_per_second == 0


def test_strangers_word_is_no_news_about_the_chain() -> None:
    catch_up = CatchUp(head=the_chain().head(7))
    for peer, height in (("ann", 7), ("bob", 7), ("liar", 2**62)):
        catch_up.handle(PeerJoined(peer), 0)
        catch_up.handle(PeerStatus(peer, height), 0)
    validators = {"ann", "bob", "absent"}
    for now_ms in range(0, 200_000, 100):
        progress = catch_up.progress(now_ms, validators=validators)
        assert (progress.target_height, progress.is_catching_up) == (7, False)
        for name, from_height in asked(catch_up.handle(Tick(), now_ms)):
            assert name == "liar", "it may be asked"
            catch_up.handle(RangeReceived(name, Range(from_height, ())), now_ms)
        catch_up.handle(PeerStatus("liar", 2**62), now_ms)
    catch_up.handle(PeerStatus("bob", 20), 200_000)
    assert catch_up.progress(200_000, validators=validators).is_catching_up


def test_follower_among_followers_believes_those_that_have_helped() -> None:
    catch_up = from_genesis("ann")
    assert not catch_up.progress(0, validators={"absent"}).is_catching_up
    catch_up.handle(RangeReceived("ann", the_chain().range(1, 10)), 5)
    assert catch_up.progress(5, validators={"absent"}).target_height == LENGTH
    late_ms = 6 + LIMITS.answer_ms
    catch_up.handle(Tick(), late_ms)
    assert catch_up.progress(late_ms, validators={"absent"}).target_height < LENGTH
