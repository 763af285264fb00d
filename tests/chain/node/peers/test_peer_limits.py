"""Queues, chunks, quotas, bans and places at the door: the bounds themselves, with a clock of the test's."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from chain.consensus.messages import CertificateMessage, GetBlock, GetRange, Proposal, Status, VoteMessage
from chain.node.peers.bans import Bans, address_group, is_loopback
from chain.node.peers.doors import Doors
from chain.node.peers.frames import CHUNK_BYTES, Chunk, FrameOpener, FrameSealer, Lane, lane_of
from chain.node.peers.inbox import Inbox
from chain.node.peers.outbox import Outbox, PeerTooSlow
from chain.node.peers.quotas import PeerQuota, ThrottleMeter, TokenBucket, signature_count
from chain.node.peers.settings import OTHER_QUOTA, VALIDATOR_QUOTA, PeerSettings, Quota, Rate
from chain.primitives.block import Block, Header
from chain.primitives.certificate import Certificate, Vote, VoteKind
from chain.primitives.rejection import Rejected
from chain.primitives.types import ZERO_ADDRESS, ZERO_HASH, BlockHeight

KIB = 1024
MIB = 1024 * KIB
VOTE = Vote(kind=VoteKind.NOTARIZE, epoch=0, view=1, signer=0, signature=bytes(65))
CERTIFICATE = Certificate(kind=VoteKind.NULLIFY, epoch=0, view=1, signer_bitmap=7, signatures=(bytes(65),) * 3)
HEADER = Header(1, 1, 0, BlockHeight(1), ZERO_HASH, 1, ZERO_ADDRESS, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)


async def drained(outbox: Outbox) -> list[Chunk]:
    """Every chunk that is queued, in order."""
    chunks: list[Chunk] = []
    while outbox.queued_bytes:
        chunks += await outbox.next_chunks()
    return chunks


async def test_urgent_messages_go_first_and_large_ones_are_cut() -> None:
    outbox = Outbox(4 * MIB)
    outbox.put(Lane.TRANSACTIONS, b"t" * 1000, 0)
    outbox.put(Lane.BLOCKS, b"b" * (3 * CHUNK_BYTES), 0)
    outbox.put(Lane.VOTES, b"v", 0)
    first = await outbox.next_chunks()
    assert [chunk.lane for chunk in first] == [Lane.VOTES, Lane.BLOCKS]
    assert sum(len(chunk.piece) for chunk in first) <= CHUNK_BYTES
    outbox.put(Lane.VOTES, b"w", 0)
    assert (await outbox.next_chunks())[0] == Chunk(Lane.VOTES, 0, b"w")
    rest = await drained(outbox)
    assert rest[-1] == Chunk(Lane.TRANSACTIONS, 0, b"t" * 1000)


async def test_what_is_cut_is_put_together_again() -> None:
    outbox, inbox = Outbox(4 * MIB), Inbox(4 * MIB)
    inbox.is_validator = True
    messages = [(Lane.BLOCKS, bytes([number]) * (number * 50_000)) for number in range(1, 8)]
    messages += [(Lane.VOTES, bytes([number]) * 100) for number in range(1, 50)]
    for lane, encoded in messages:
        outbox.put(lane, encoded, 0)
    arrived = [(chunk.lane, inbox.add(chunk, 0)) for chunk in await drained(outbox)]
    whole = [(lane, encoded) for lane, encoded in arrived if encoded is not None]
    assert sorted(whole) == sorted(messages)
    assert inbox.held_bytes() == 0


async def test_an_outbox_leaves_out_what_can_be_had_again() -> None:
    outbox = Outbox(1 * MIB)
    for number in range(100):
        outbox.put(Lane.TRANSACTIONS, bytes([number]) * 200_000, 0)
        outbox.put(Lane.RANGES, bytes([number]) * MIB, 0)
        outbox.put(Lane.BLOCKS, bytes([number]) * (MIB - 200), 0)
    assert outbox.queued_bytes < 21 * MIB
    chunks = await drained(outbox)
    first_of = {lane: next(chunk.piece[0] for chunk in chunks if chunk.lane is lane) for lane in set(Lane) - {0, 1}}
    assert first_of[Lane.RANGES] == 0
    assert first_of[Lane.TRANSACTIONS] > 80
    assert first_of[Lane.BLOCKS] == 98
    assert outbox.dropped > 200


async def test_a_half_sent_block_is_finished() -> None:
    outbox, inbox = Outbox(MIB), Inbox(MIB)
    inbox.is_validator = True
    outbox.put(Lane.BLOCKS, b"1" * (MIB - 200), 0)
    arrived = [inbox.add(chunk, 0) for chunk in await outbox.next_chunks()]
    for number in b"234":
        outbox.put(Lane.BLOCKS, bytes([number]) * (MIB - 200), 0)
    arrived += [inbox.add(chunk, 0) for chunk in await drained(outbox)]
    assert [encoded[:1] for encoded in arrived if encoded is not None] == [b"1", b"4"]


async def test_votes_that_nobody_takes_end_the_connection() -> None:
    outbox = Outbox(MIB)
    assert outbox.waits_since() is None
    outbox.put(Lane.VOTES, bytes(200), 17.0)

    def pile_up() -> None:
        for _ in range(100_000):
            outbox.put(Lane.VOTES, bytes(200), 18.0)

    with pytest.raises(PeerTooSlow):
        pile_up()
    assert outbox.queued_bytes <= 4 * MIB
    assert outbox.waits_since() == 17.0


def test_large_messages_are_kept_only_where_they_may_come() -> None:
    def begin(inbox: Inbox, lane: Lane) -> int:
        inbox.add(Chunk(lane, 2 * MIB, bytes(CHUNK_BYTES)), 0)
        return inbox.held_bytes()

    assert begin(Inbox(4 * MIB), Lane.BLOCKS) == 0
    assert begin(Inbox(4 * MIB), Lane.RANGES) == 0
    validator = Inbox(4 * MIB)
    validator.is_validator = True
    assert begin(validator, Lane.BLOCKS) == CHUNK_BYTES
    assert begin(validator, Lane.RANGES) == CHUNK_BYTES  # The block's alone.
    asked = Inbox(4 * MIB)
    asked.expect_answer(0)
    assert begin(asked, Lane.RANGES) == CHUNK_BYTES
    late = Inbox(4 * MIB)
    late.expect_answer(-61)
    assert begin(late, Lane.RANGES) == 0


def test_questions_are_used_up_and_bounded() -> None:
    inbox = Inbox(MIB)
    for _ in range(100):
        inbox.expect_answer(0)
    assert [inbox.take_answer(1) for _ in range(17)] == [True] * 16 + [False]


@pytest.mark.parametrize(
    "chunks",
    [
        [Chunk(Lane.VOTES, 16 * KIB, b"x")],
        [Chunk(Lane.VOTES, 0, bytes(17 * KIB))],
        [Chunk(Lane.CONTROL, 16 * KIB, b"x")],
        [Chunk(Lane.BLOCKS, 2 * MIB, b"x")],
        [Chunk(Lane.RANGES, 7 * MIB, b"x")],
        [Chunk(Lane.TRANSACTIONS, 400 * KIB, b"x")],
        [Chunk(Lane.BLOCKS, 10, b"x"), Chunk(Lane.BLOCKS, 10, b"x")],
        [Chunk(Lane.BLOCKS, 10, b"x"), Chunk(Lane.BLOCKS, 0, b"x")],
        [Chunk(Lane.BLOCKS, 10, b"x"), Chunk(Lane.BLOCKS, 8, b"x")],
    ],
)
def test_chunks_that_are_too_large_or_do_not_fit_are_refused(chunks: list[Chunk]) -> None:
    inbox = Inbox(MIB)

    def add_all() -> None:
        for chunk in chunks:
            inbox.add(chunk, 0)

    with pytest.raises(Rejected):
        add_all()


def test_a_message_that_never_ends_is_overdue() -> None:
    inbox = Inbox(4 * MIB)
    inbox.add(Chunk(Lane.BLOCKS, 4 * MIB, b"x"), 100.0)
    assert not inbox.is_overdue(160.0)
    assert inbox.is_overdue(163.0)
    assert not Inbox(MIB).is_overdue(1e9)


def test_frames_are_bound_to_their_connection_direction_and_order() -> None:
    sealer = FrameSealer(bytes(32))
    chunk = Chunk(Lane.VOTES, 0, b"x")
    frames = [sealer.seal([chunk]) for _ in range(3)]
    opener = FrameOpener(bytes(32))
    assert opener.open(frames[0]) == (chunk,)
    for frame in (frames[0], frames[2], frames[1][:-1], frames[1] + b"x", b"", bytes(16), bytes(100_000)):
        with pytest.raises(Rejected):
            opener.open(frame)
    assert opener.open(frames[1]) == (chunk,)
    with pytest.raises(Rejected):
        FrameOpener(bytes(31) + b"1").open(frames[0])


def test_lanes_and_costs_of_messages() -> None:
    proposal = Proposal(Block(HEADER, ()), VOTE, CERTIFICATE, (CERTIFICATE, CERTIFICATE))
    assert lane_of(proposal) is Lane.BLOCKS
    assert lane_of(VoteMessage(VOTE)) is Lane.VOTES
    assert signature_count(proposal) == 10
    assert signature_count(VoteMessage(VOTE)) == 1
    assert signature_count(CertificateMessage(CERTIFICATE)) == 3
    assert signature_count(Status(0, 0, 0)) == 0


def test_a_bucket_fills_up_and_owes() -> None:
    bucket = TokenBucket(Rate(10, 20), 0)
    bucket.take(20, 0)
    assert bucket.delay_s(0) == 0
    bucket.take(5, 0)
    assert bucket.delay_s(0) == 0.5
    assert not bucket.try_take(1, 0.5)
    assert bucket.try_take(1, 0.7)
    assert bucket.delay_s(-100) == 0
    assert bucket.try_take(20, 100)
    assert not bucket.try_take(1, 100)


def test_quotas_are_apart_by_kind() -> None:
    shared = PeerQuota(dataclasses.replace(OTHER_QUOTA, signatures=Rate(1, 1)), None, 0)
    quota = PeerQuota(OTHER_QUOTA, shared, 0)
    for _ in range(16):
        quota.take_message(GetRange(1), 0)
    assert quota.delay_s(0) == 0
    quota.take_message(GetRange(1), 0)
    assert quota.delay_s(0) == pytest.approx(1 / 8)
    later = PeerQuota(OTHER_QUOTA, shared, 100)
    later.take_message(CertificateMessage(CERTIFICATE), 100)
    assert later.delay_s(100) == 2
    assert PeerQuota(OTHER_QUOTA, shared, 100).delay_s(100) == 2
    assert later.own_delay_s(100) == 0
    assert PeerQuota(OTHER_QUOTA, None, 0).delay_s(0) == 0


@pytest.mark.parametrize(("allowed", "at_once"), [(OTHER_QUOTA, 64), (VALIDATOR_QUOTA, 320)])
def test_a_block_costs_a_quarter_of_a_range(allowed: Quota, at_once: int) -> None:
    quota = PeerQuota(allowed, None, 0)
    for _ in range(at_once):
        quota.take_message(GetBlock(ZERO_HASH), 0)
    assert quota.delay_s(0) == 0, "whoever fetches a few dozen blocks one by one waits for nothing"
    quota.take_message(GetBlock(ZERO_HASH), 0)
    assert quota.delay_s(0) == pytest.approx(0.25 / allowed.ranges.per_second)


def test_who_is_throttled_less_than_half_of_the_time_is_left_alone() -> None:
    meter = ThrottleMeter(0)
    for second in range(1, 1000):
        assert meter.add(0.5, float(second)) == 0
    excesses_s = [meter.add(1.0, float(second)) for second in range(1000, 1010)]
    assert excesses_s[-1] == pytest.approx(5.0)


def test_bans_grow_and_are_forgotten() -> None:
    bans = Bans(10, 600)
    assert [bans.ban("x", 0) for _ in range(8)] == [10, 20, 40, 80, 160, 320, 600, 600]
    assert bans.is_banned("x", 599)
    assert not bans.is_banned("x", 600)
    assert bans.ban("x", 600 + 3601) == 10
    assert [bans.ban("v", 0, last_s=60) for _ in range(5)] == [10, 20, 40, 60, 60]
    for number in range(10_000):
        bans.ban(str(number), 0)
    assert len(bans) == 4096


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_by_group(host: str, group: str) -> None:
    assert address_group(host) == group
    assert is_loopback(group) == (group == "::1")


async def test_newcomers_take_the_places_of_the_address_with_the_most() -> None:
    doors = Doors(PeerSettings(max_pending=8, max_pending_per_address=6))
    honest = doors.enter("192.0.2.7", 0, is_banned=False)
    assert honest is not None
    places = [doors.enter("192.0.2.1", 0, is_banned=False) for _ in range(20)]
    places += [doors.enter(f"198.51.100.{number}", 0, is_banned=False) for number in range(2)]
    assert len(doors) == 8
    assert not honest.evicted.is_set()
    evicted = [place is not None and place.evicted.is_set() for place in places]
    assert sum(evicted) == 15
    assert evicted[:14] == [True] * 14
    doors.leave(honest)
    doors.leave(honest)
    assert len(doors) == 7


async def test_an_address_opens_only_so_many_connections() -> None:
    doors = Doors(PeerSettings(attempts_per_address=Rate(1, 5)))
    assert sum(doors.enter("192.0.2.1", 0, is_banned=False) is not None for _ in range(100)) == 5
    assert doors.enter("192.0.2.2", 0, is_banned=False) is not None
    assert doors.enter("192.0.2.1", 1, is_banned=False) is not None
    assert sum(doors.enter("127.0.0.1", 0, is_banned=False) is not None for _ in range(1000)) == 100
    assert len(doors) <= 16


async def test_a_banned_address_has_one_place() -> None:
    doors = Doors(PeerSettings())
    first = doors.enter("192.0.2.1", 0, is_banned=True)
    second = doors.enter("192.0.2.1", 0, is_banned=True)
    assert first is not None
    assert second is not None
    assert first.evicted.is_set()
    assert not second.evicted.is_set()
    await asyncio.wait_for(first.evicted.wait(), 60)
