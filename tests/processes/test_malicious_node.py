"""One of four validators is malicious, and so are strangers: the other three go on, serve, and stay small.

Real nodes in processes of their own; the attacker speaks through the real handshake. The transport alone is attacked in
tests/chain/node/peers/test_malicious_peer.py, the engine alone in tests/simulation.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import msgspec
import pytest

from chain.consensus.messages import (
    CertificateMessage,
    GetRange,
    Link,
    Range,
    Status,
    VoteMessage,
    encode_message,
)
from chain.node.peers.frames import Lane
from chain.node.peers.messages import Transactions
from chain.node.peers.sockets import SocketClosed
from chain.primitives.block import Header, transactions_root
from chain.primitives.certificate import Certificate, VoteKind, validators_hash
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.types import ATOMS_PER_AIT, BlockHeight, Hash32
from tests.processes.byzantine import Byzantine, enter, say
from tests.processes.chaos import SETTLE_S, find_wrong_balances
from tests.processes.cluster import Cluster
from tests.processes.load import Load
from tests.processes.payer import Payer

pytestmark = pytest.mark.timeout(300)

TRAITOR = 3
SERVED_S = 30.0
"""An honest client's mint becomes final within this long, during an attack or right after it; usually in a second."""
MORE_RSS_BYTES = 150 * 1024 * 1024
"""What a node may grow by under all of this. Its mempool may hold 28 MiB, a peer's queues some more."""
FLOOD_S = 5.0
JUNK = Hash32(keccak256(b"junk"))

Wrong = Callable[[Header], Header]


def with_fields(**changes: object) -> Wrong:
    return lambda header: msgspec.structs.replace(header, **changes)


def with_time(change_ms: int) -> Wrong:
    return lambda header: msgspec.structs.replace(header, time_ms=header.time_ms + change_ms)


def with_height(change: int) -> Wrong:
    return lambda header: msgspec.structs.replace(header, height=BlockHeight(header.height + change))


WRONG_FIELDS: dict[str, Wrong] = {
    "a protocol version that nobody set": with_fields(protocol_version=0),
    "another chain's id": with_fields(chain_id=1),
    "the next epoch": with_fields(epoch=1),
    "the height of its parent": with_height(-1),
    "a height too far": with_height(1),
    "another parent": with_fields(parent_hash=JUNK),
    "the time of long ago": with_time(-3_600_000),
    "a proposer that is nobody": with_fields(proposer=bytes(20)),
    "results that are not there": with_fields(results_root=JUNK),
    "another state": with_fields(state_root=JUNK),
    "other validators next": with_fields(next_validators_hash=JUNK),
    "a new epoch for nothing": with_fields(next_validators_hash=validators_hash(1, [bytes(20)])),  # type: ignore[list-item]
}


class Arena:
    """Three honest validators under a light load."""

    def __init__(self, cluster: Cluster, load: Load) -> None:
        self.cluster = cluster
        self.network = cluster.network
        self.nodes = cluster.nodes
        self._load = load
        self._rss_bytes = {node.name: node.rss_bytes() for node in cluster.nodes}
        self.most_rss_bytes = max(self._rss_bytes.values())
        self.forbidden: set[str] = set()
        """Hashes of blocks that must never be in the chain."""
        self._payers = 0

    def new_payer(self) -> Payer:
        """An honest client, who mints once."""
        self._payers += 1
        return Payer(self.cluster)

    async def require_service(self) -> None:
        """A client is served, and no node has grown beyond the bound."""
        payer = self.new_payer()
        for node in self.nodes:
            assert node.is_running, node.log_tail()
        await asyncio.to_thread(payer.settle_mint, self.nodes[0].client, SERVED_S)
        for node in self.nodes:
            rss_bytes = node.rss_bytes()
            self.most_rss_bytes = max(self.most_rss_bytes, rss_bytes)
            more = rss_bytes - self._rss_bytes[node.name]
            assert more < MORE_RSS_BYTES, f"{node.name} has grown by {more >> 20} MiB"

    def require_truth(self) -> None:
        """Everything signed for is final and added up, and nothing forbidden is in the chain."""
        self._load.drain(SETTLE_S)
        self.cluster.wait_height(max(node.height for node in self.nodes))
        minted_atoms = self._payers * ATOMS_PER_AIT
        assert self._load.violations == []
        assert find_wrong_balances(self.cluster, self._load, others_minted_atoms=minted_atoms) == []
        client = self.nodes[0].client
        cursor, hashes = None, set()
        while True:
            page = client.blocks(cursor=cursor, limit=200)
            hashes |= {block.hash for block in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
        assert not hashes & self.forbidden


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """Validator 4 never runs: its key is the attacker's."""
    with Cluster.make(tmp_path_factory.mktemp("nodes"), followers=0, network_delay_ms=300) as cluster:
        cluster.nodes.pop(TRAITOR)
        cluster.start()
        load = Load(cluster.network, [node.url for node in cluster.nodes], rng=random.Random(5), per_second=20)
        try:
            running = Arena(cluster, load.start())
            yield running
            running.require_truth()
            print(f"the most memory that a node took: {running.most_rss_bytes >> 20} MiB")  # For docs/benchmarks.md.
        finally:
            load.close()


@pytest.fixture
async def traitor(arena: Arena) -> AsyncIterator[Byzantine]:
    """The malicious validator, connected to everybody."""
    async with Byzantine(arena.cluster, TRAITOR) as byzantine:
        yield byzantine


async def test_an_honest_block_of_the_traitor_is_welcome(arena: Arena, traitor: Byzantine) -> None:
    """Else the following tests would show nothing: a refusal must be for the one thing that is wrong."""
    notarized: set[Hash32] = set()
    proposed: set[Hash32] = set()
    for _ in range(5):  # On a busy machine one may come too late.
        turn = await traitor.turn()
        await traitor.tell_all(traitor.proposal(turn, turn.header))
        proposed.add(turn.header.hash)
        outcome = await traitor.outcome(turn.view)
        if outcome.kind is VoteKind.NOTARIZE:
            notarized.add(outcome.block_hash)
    assert notarized
    assert notarized <= proposed
    await arena.require_service()


async def test_a_block_with_any_field_wrong_is_given_up(arena: Arena, traitor: Byzantine) -> None:
    seconds: dict[str, float] = {}
    for name, make_wrong in WRONG_FIELDS.items():
        turn = await traitor.turn()
        wrong = make_wrong(turn.header)
        arena.forbidden.add(to_hex(wrong.hash))
        started = time.monotonic()
        await traitor.tell_all(traitor.proposal(turn, wrong))
        outcome = await traitor.outcome(turn.view)
        seconds[name] = time.monotonic() - started
        assert outcome.kind is VoteKind.NULLIFY, name
    assert set(Header.__struct_fields__) == {
        "protocol_version", "chain_id", "epoch", "height", "parent_hash", "time_ms", "proposer", "results_root",
        "state_root", "next_validators_hash", "transactions_root",  # The last one has a test of its own.
    }, "a new field needs a wrong value here"  # fmt: skip
    assert max(seconds.values()) < SERVED_S, seconds
    await arena.require_service()


async def test_a_block_from_the_future_or_of_bad_transactions_is_given_up(arena: Arena, traitor: Byzantine) -> None:
    from_nobody = Payer(arena.cluster).transfer().raw
    bodies: list[tuple[bytes, ...]] = [(b"\x02\xc0",), (b"",) * 2_000, (from_nobody,)]
    for hours, transactions in ((1, ()), *((0, body) for body in bodies)):
        turn = await traitor.turn()
        root = transactions_root([keccak256(raw) for raw in transactions])
        header = msgspec.structs.replace(with_time(3_600_000 * hours)(turn.header), transactions_root=root)
        arena.forbidden.add(to_hex(header.hash))
        await traitor.tell_all(traitor.proposal(turn, header, transactions))
        assert (await traitor.outcome(turn.view)).kind is VoteKind.NULLIFY
    await arena.require_service()


async def test_two_blocks_in_one_view_and_contradicting_votes_leave_evidence(arena: Arena, traitor: Byzantine) -> None:
    turn = await traitor.turn()
    names = list(traitor.intruders)
    for change_ms, name in enumerate(names):
        await traitor.tell(name, traitor.proposal(turn, with_time(change_ms)(turn.header)))
    for kind in (VoteKind.FINALIZE, VoteKind.NULLIFY):
        block_hash = turn.header.hash if kind is VoteKind.FINALIZE else Hash32(bytes(32))
        parent_view = turn.parent_view if kind is VoteKind.FINALIZE else 0
        await traitor.tell_all(VoteMessage(traitor.vote(kind, turn.view, parent_view, block_hash)))
    for _ in range(3):
        await arena.require_service()
    async with httpx.AsyncClient(base_url=arena.nodes[0].url) as client:
        evidence = (await client.get("/v1/evidence")).json()["items"]
    assert {entry["signer"] for entry in evidence} == {TRAITOR}


async def test_forged_and_replayed_votes(arena: Arena, traitor: Byzantine) -> None:
    await traitor.turn()
    heard = list(traitor.votes)
    assert heard
    for vote in heard[-20:]:
        forged = msgspec.structs.replace(vote, signature=bytes((vote.signature[0] ^ 1,)) + vote.signature[1:])
        stranger = await enter(arena.nodes[0], arena.network)
        await say(stranger, VoteMessage(forged))
        stranger.leave()
    stranger = await enter(arena.nodes[0], arena.network)
    ends_at = time.monotonic() + FLOOD_S
    try:
        while time.monotonic() < ends_at:
            for vote in heard:
                await say(stranger, VoteMessage(vote))
    except SocketClosed:
        stranger.leave()  # Read slowly for long, then thrown out: as good.
    await arena.require_service()


async def test_certificates_of_the_far_future(arena: Arena, traitor: Byzantine) -> None:
    own = traitor.vote(VoteKind.NOTARIZE, 2**60, 2**60 - 1, JUNK)
    certificate = Certificate(
        kind=VoteKind.NOTARIZE,
        epoch=0,
        view=2**60,
        parent_view=2**60 - 1,
        block_hash=JUNK,
        signer_bitmap=0b1101,
        signatures=(own.signature,) * 3,
    )
    nullified = msgspec.structs.replace(certificate, kind=VoteKind.NULLIFY, parent_view=0, block_hash=Hash32(bytes(32)))
    for each in (certificate, nullified, msgspec.structs.replace(certificate, kind=VoteKind.FINALIZE)):
        await traitor.tell_all(CertificateMessage(each))
        stranger = await enter(arena.nodes[1], arena.network)
        await say(stranger, CertificateMessage(each))
        stranger.leave()
    for view in range(10_000):  # Its own vote is real, for any view.
        await traitor.tell_all(VoteMessage(traitor.vote(VoteKind.NULLIFY, 2**40 + view)))
        if not traitor.intruders:
            break
    await traitor.tell_all(Status(epoch=2**60, view=2**60, height=2**60))
    await arena.require_service()


async def test_who_sends_a_body_that_its_block_does_not_name_is_left(arena: Arena, traitor: Byzantine) -> None:
    """The hash may well stand for a good block, so only its sender is to blame."""
    turn = await traitor.turn()
    nameless = with_fields(transactions_root=JUNK)(turn.header)
    arena.forbidden.add(to_hex(nameless.hash))
    await traitor.tell_all(traitor.proposal(turn, nameless))
    await traitor.thrown_out()
    await arena.require_service()


async def test_garbage_and_lies_after_the_handshake(arena: Arena) -> None:
    rng = random.Random(9)
    target = arena.nodes[2]
    attacks = [
        encode_message(Range(1, ())),
        encode_message(Range(1, (Link(b"\x00" * 100, b""),))),
        encode_message(Status(epoch=0, view=2**62, height=2**62)),
        encode_message(GetRange(2**62)),
        *(rng.randbytes(rng.randrange(1, 2_000)) for _ in range(30)),
    ]
    for attack in attacks:
        stranger = await enter(target, arena.network)
        for lane in Lane:
            try:
                await stranger.send(lane, attack)
            except SocketClosed:
                break
        stranger.leave()
    stranger = await enter(target, arena.network)
    await stranger.socket.send(rng.randbytes(5_000))
    await stranger.closed()
    await arena.require_service()


async def test_a_flood_of_valid_transactions(arena: Arena) -> None:
    """Signed by an account that holds something, so each has to be looked at; several peers bring them at once."""
    rich = arena.new_payer()
    await asyncio.to_thread(rich.settle_mint, arena.nodes[0].client, SERVED_S)
    flood = [rich.transfer().raw for _ in range(6_000)]
    strangers = [await enter(node, arena.network) for node in arena.nodes for _ in range(2)]
    started = time.monotonic()

    async def pour(number: int) -> None:
        try:
            while time.monotonic() < started + FLOOD_S:
                for start in range(0, len(flood), 200):
                    await strangers[number].send(Lane.TRANSACTIONS, Transactions(tuple(flood[start : start + 200])))
        except SocketClosed:
            strangers[number].leave()

    pouring = [asyncio.create_task(pour(number)) for number in range(len(strangers))]
    await arena.require_service()
    await asyncio.gather(*pouring)
    await arena.require_service()
    for stranger in strangers:
        stranger.leave()


async def test_a_flood_of_connections(arena: Arena) -> None:
    held: list[asyncio.StreamWriter] = []
    refused = 0
    ends_at = time.monotonic() + FLOOD_S
    port = arena.nodes[0].port
    while time.monotonic() < ends_at:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            refused += 1
            continue
        writer.write(
            b"GET /p2p HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        held.append(writer)
        if len(held) > 300:
            held.pop(0).transport.abort()
        await asyncio.sleep(0)
    await asyncio.to_thread(arena.new_payer().settle_mint, arena.nodes[1].client, SERVED_S)
    for writer in held:
        writer.transport.abort()
    await arena.require_service()
