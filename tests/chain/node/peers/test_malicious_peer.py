"""Peers that mean harm: everything that can be sent at the door, and by somebody who has proven an identity."""

from __future__ import annotations

import asyncio
import hmac
import os
import struct
from typing import TYPE_CHECKING

import pytest

from chain.consensus.messages import BlockMessage, GetBlock, Range, Status, VoteMessage, encode_message
from chain.node.peers.frames import Chunk, FrameOpener, FrameSealer, Lane
from chain.node.peers.handshake import Credentials, Role, proof_preimage, shake_hands_accepted, shake_hands_dialled
from chain.node.peers.messages import PROTOCOL_VERSION, Hello, Proof, Transactions, Urls
from chain.node.peers.sockets import SocketClosed, dial
from chain.primitives import message_pack
from chain.primitives.block import Block, Header
from chain.primitives.certificate import Vote, VoteKind
from chain.primitives.hashing import sha256
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.types import ZERO_ADDRESS, ZERO_HASH, BlockHeight, Hash32
from chain.web.server import listen
from tests.chain.node.peers.stations import WAIT_S, key_of, network_of, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.chain.node.peers.stations import Enter, MakeStation, Reachable, Station

UPGRADE = (
    b"GET /p2p HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
MIB = 1024 * 1024
HEADER = Header(1, 1, 0, BlockHeight(1), ZERO_HASH, 1, ZERO_ADDRESS, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)


def frame_of(payload: bytes, *, first_byte: int = 0x82, length: int | None = None) -> bytes:
    """A WebSocket frame with a mask of zeros, by hand."""
    length = len(payload) if length is None else length
    if length < 126:
        head = struct.pack("!BB", first_byte, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", first_byte, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first_byte, 0x80 | 127, length)
    return head + bytes(4) + payload


class Raw:
    """A TCP connection to a station."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, station: Reachable, *, upgrade: bytes | None = UPGRADE + b"\r\n") -> Raw:
        """Connects, and upgrades unless told otherwise."""
        raw = cls(*await asyncio.open_connection("127.0.0.1", station.port))
        if upgrade is not None:
            raw.writer.write(upgrade)
        return raw

    async def response(self) -> bytes:
        """The head of the answer to the upgrade."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def ended(self) -> bytes:
        """All that comes until the other side ends the connection."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        """At once."""
        self.writer.transport.abort()


def hello_of(station: Reachable, key: PrivateKey, **changes: object) -> Hello:
    """What a stranger says first."""
    fields: dict[str, object] = {
        "version": PROTOCOL_VERSION,
        "genesis_hash": station.network.genesis_hash,
        "identity": key.address,
        "nonce": Hash32(os.urandom(32)),
        "session_key": PrivateKey.generate().public_key,
        "instance": bytes(16),
        "listen_url": "",
        "is_probe": False,
    }
    return Hello(**(fields | changes))  # type: ignore[arg-type]


async def knock(station: Station, *frames: bytes) -> SocketClosed:
    """Opens a WebSocket and sends frames; how the station ends it."""
    socket = await dial(station.url, local_address=None, timeout_s=WAIT_S)
    try:
        for frame in frames:
            await socket.send(frame)
        async with asyncio.timeout(WAIT_S):
            while True:
                await socket.receive()
    except SocketClosed as closed:
        return closed
    finally:
        socket.abort()


@pytest.fixture
async def station(make_station: MakeStation) -> Station:
    """Validator a of a and b."""
    return await make_station(network_of("a", "b"), "a", handshake_timeout_s=2.0)


@pytest.mark.parametrize(
    "first_frame",
    [
        pytest.param(b"", id="empty"),
        pytest.param(os.urandom(200), id="garbage"),
        pytest.param(bytes(1025), id="too-large"),
        pytest.param(encode_message(Status(0, 0, 0)), id="message-before-the-handshake"),
        pytest.param(message_pack.encode(Proof(bytes(65))), id="proof-before-hello"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="array-of-four-billion"),
    ],
)
async def test_what_is_no_hello_ends_the_connection(station: Station, first_frame: bytes) -> None:
    assert (await knock(station, first_frame)).code == 4000
    assert station.connected == []
    assert station.peers._entrance.pending == 0


async def test_a_hello_must_be_of_this_network_and_sound(station: Station) -> None:
    key = key_of("b")
    encode = message_pack.encode
    wrong_genesis = await knock(station, encode(hello_of(station, key, genesis_hash=ZERO_HASH)))
    assert wrong_genesis.code == 4001
    assert "genesis" in str(wrong_genesis)
    assert (await knock(station, encode(hello_of(station, key, version=PROTOCOL_VERSION - 1)))).code == 4001
    assert (await knock(station, encode(hello_of(station, key, session_key=bytes(33))))).code == 4000
    assert (await knock(station, encode(hello_of(station, key, listen_url="http://169.254.169.254/p2p")))).code == 4000
    not_canonical = encode(hello_of(station, key))[:-1] + b"\xc3\xc0"
    assert (await knock(station, not_canonical)).code == 4000
    assert station.connected == []


async def test_a_forged_proof_is_refused(station: Station) -> None:
    hello = message_pack.encode(hello_of(station, key_of("b")))
    thief = PrivateKey.generate()
    for signature in (bytes(65), thief.sign(ZERO_HASH), os.urandom(64) + b"\x1b"):
        assert (await knock(station, hello, message_pack.encode(Proof(signature)))).code == 4000
    assert station.connected == []


async def test_a_replayed_handshake_is_refused(station: Station) -> None:
    recorded: list[bytes] = []
    socket = await dial(station.url, local_address=None, timeout_s=WAIT_S)

    class Recording:
        host = remote = ""
        receive = socket.receive
        close = socket.close

        async def send(self, frame: bytes) -> None:
            recorded.append(frame)
            await socket.send(frame)

    credentials = Credentials(station.network.genesis_hash, key_of("b"), bytes(16), "")
    await shake_hands_dialled(Recording(), credentials)
    await until(station.names)
    socket.abort()
    await until(lambda: not station.names())
    assert (await knock(station, *recorded)).code == 4000
    assert len(station.connected) == 1


async def test_a_proof_cannot_be_sent_back_to_its_maker(station: Station) -> None:
    """Whoever claims to be the station itself, and mirrors what it says, gets no proof to mirror."""
    socket = await dial(station.url, local_address=None, timeout_s=WAIT_S)
    await socket.send(message_pack.encode(hello_of(station, key_of("a"))))
    theirs = message_pack.decode(await socket.receive(), Hello)
    mirrored = proof_preimage(Role.ACCEPTED, theirs, theirs)
    await socket.send(message_pack.encode(Proof(key_of("b").sign_keccak(mirrored))))
    with pytest.raises(SocketClosed):
        await socket.receive()
    socket.abort()
    assert station.connected == []


async def test_who_relays_a_handshake_gets_no_word_in(make_station: MakeStation, station: Station) -> None:
    """Between two honest nodes: it can pass frames on, but neither read keys nor change or add a byte."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    tamper: list[Callable[[bytes], bytes]] = [lambda octets: octets]

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", station.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while octets := await source.read(65536):
                sink.write(tamper[0](octets))
            sink.close()

        await asyncio.gather(pump(reader, onward), pump(onward_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(relay, sock=listener)
    second = await make_station(network_of("a", "b"), "b", bootstrap=(f"ws://127.0.0.1:{port}/p2p",))
    await until(lambda: station.names() == {second.name})
    tamper[0] = lambda octets: octets[:-1] + bytes((octets[-1] ^ 1,))
    second.peers.send(Status(1, 1, 1))
    await until(lambda: station.disconnected)
    assert station.messages == []
    assert "MAC" in station.disconnected[0][1]
    server.close()


async def test_silent_and_slow_connections_end_at_the_deadline(station: Station) -> None:
    silent = await Raw.open(station)
    slow = await Raw.open(station)
    await slow.response()

    async def drip() -> None:
        for octet in frame_of(message_pack.encode(hello_of(station, key_of("b")))):
            slow.writer.write(bytes((octet,)))
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    assert b"no handshake in time" in await silent.ended()
    await slow.ended()
    await until(lambda: station.peers.counts.view().get("handshake_timeout") == 2)
    dripping.cancel()
    assert station.peers._entrance.pending == 0
    for raw in (silent, slow):
        raw.close()


async def test_a_peer_that_drips_a_frame_is_missed(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", heartbeat_s=0.05, dead_after_s=0.5)
    dripping = await enter(station, key_of("b"))
    await until(station.names)
    transport = dripping.socket._connection.transport
    frame = frame_of(bytes(10_000))
    for octet in frame[:100]:
        transport.write(bytes((octet,)))
        if station.disconnected:
            break
        await asyncio.sleep(0.05)
    assert "silent" in station.disconnected[0][1]


async def test_frames_that_lie_about_their_length_are_not_waited_for(station: Station) -> None:
    raw = await Raw.open(station)
    await raw.response()
    raw.writer.write(frame_of(b"", length=2**40))
    assert struct.pack("!H", 1009) in await raw.ended()
    raw.close()


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(frame_of(b"x", first_byte=0x02) + frame_of(b"", first_byte=0x00) * 10_000, id="empty-fragments"),
        pytest.param(frame_of(b"x", first_byte=0x01), id="text-fragment"),
        pytest.param(frame_of(os.urandom(100), first_byte=0xC2), id="compressed"),
        pytest.param(frame_of(b"", first_byte=0x8B), id="unknown-opcode"),
        pytest.param(frame_of(b"") * 20_000, id="crumbs"),
        pytest.param(b"\x82\x01x", id="unmasked"),
    ],
)
async def test_what_is_no_frame_of_ours_ends_the_connection(station: Station, octets: bytes) -> None:
    raw = await Raw.open(station)
    await raw.response()
    raw.writer.write(octets)
    await raw.ended()
    raw.close()
    await until(lambda: station.peers._entrance.pending == 0)
    assert "handshake_timeout" not in station.peers.counts.view()


async def test_compression_is_not_negotiated(station: Station) -> None:
    raw = await Raw.open(station, upgrade=UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    head = await raw.response()
    assert b"101" in head
    assert b"deflate" not in head.lower()
    raw.close()


async def test_answers_to_pings_do_not_pile_up(station: Station) -> None:
    raw = await Raw.open(station)
    await raw.response()
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    pings = frame_of(bytes(125), first_byte=0x89) * 1_000
    connections = station.server._uvicorn.server_state.connections
    for _ in range(1_000):
        raw.writer.write(pings)
        await asyncio.sleep(0)
        held = [each.transport.get_write_buffer_size() for each in connections if each.transport is not None]
        assert max(held, default=0) < 2 * MIB
        if raw.writer.transport.is_closing():
            break
    await until(lambda: not connections)
    raw.close()


async def test_upgrades_that_are_none_leave_nothing_behind(station: Station) -> None:
    """uvicorn waits for ever for what it cannot read as an upgrade, and would count the connection as open."""
    endless = [
        UPGRADE + b"".join(b"X-%d: y\r\n" % number for number in range(300)) + b"\r\n",
        UPGRADE + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
        UPGRADE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Key: x") + b"\r\n",
        UPGRADE.replace(b"/p2p", b"/elsewhere") + b"\r\n",
        UPGRADE.replace(b"GET", b"POST") + b"\r\n",
        UPGRADE.replace(b"GET /p2p", b"GET /" + b"p" * 30_000) + b"\r\n",
    ]
    for upgrade in endless:
        raw = await Raw.open(station, upgrade=upgrade)
        async with asyncio.timeout(8):  # Before the deadline for upgrades.
            await raw.ended()
        raw.close()
    await until(lambda: not station.server._uvicorn.server_state.connections)


async def test_bad_frames_cost_a_proven_peer_its_place(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a")
    sealed: list[Callable[[FrameSealer], bytes]] = [
        lambda sealer: os.urandom(500),
        lambda sealer: b"",
        lambda sealer: b"\0" + sealer.seal([Chunk(Lane.VOTES, 0, b"x")])[1:],
        lambda sealer: sealer.seal([Chunk(Lane.VOTES, 0, b"\xc1")]),
        lambda sealer: sealer.seal([Chunk(Lane.VOTES, 0, encode_message(BlockMessage(Block(HEADER, ()))))]),
        lambda sealer: sealer.seal([Chunk(Lane.CONTROL, 0, encode_message(Status(0, 0, 0)))]),
        lambda sealer: sealer.seal([Chunk(Lane.VOTES, 2**31, b"x")]),
        lambda sealer: sealer.seal([Chunk(Lane.BLOCKS, 100, b"x"), Chunk(Lane.BLOCKS, 100, b"x")]),
        lambda sealer: sealer.seal([Chunk(Lane.TRANSACTIONS, 2**20, b"x")]),
        lambda sealer: sealer.seal([Chunk(9, 0, b"x")]),  # type: ignore[arg-type]
        lambda sealer: sealer.seal([Chunk(Lane.VOTES, 0, b"")]),
    ]
    for index, make in enumerate(sealed):
        intruder = await enter(station)
        await intruder.socket.send(make(intruder.sealer))
        assert (await intruder.closed()).code == 4006, index
        again = await enter(station, intruder.key)
        assert (await again.closed()).code == 4005, index
    assert station.messages == []


async def test_a_repeated_frame_is_refused(station: Station, enter: Enter) -> None:
    intruder = await enter(station)
    frame = intruder.sealer.seal([Chunk(Lane.VOTES, 0, encode_message(Status(0, 0, 1)))])
    await intruder.socket.send(frame)
    await intruder.socket.send(frame)
    assert (await intruder.closed()).code == 4006
    assert station.messages == [(intruder.name, Status(0, 0, 1))]


async def test_unfinished_messages_are_bounded(make_station: MakeStation, enter: Enter) -> None:
    """A proposal of a validator's that never ends holds what a block may have; of anybody else, nothing."""
    station = await make_station(network_of("a", "b"), "a")
    stranger = await enter(station)
    piece = bytes(60_000)
    for lane in (Lane.BLOCKS, Lane.RANGES):
        for sent in range(1, 11):
            await stranger.send_chunks(Chunk(lane, 2 * MIB - sent * len(piece), piece))
    await until(lambda: station.peers._roster.get(stranger.name).inbox.discarded == 2)  # type: ignore[union-attr]
    held = station.peers._roster.get(stranger.name).inbox.held_bytes()  # type: ignore[union-attr]
    assert held == 0
    validator = await enter(station, key_of("b"))
    await validator.send_chunks(Chunk(Lane.BLOCKS, 9 * MIB + 1, piece))
    assert (await validator.closed()).code == 4006


async def test_answers_that_nobody_asked_for_are_left_out(station: Station, enter: Enter) -> None:
    intruder = await enter(station)
    await intruder.send(Lane.RANGES, Range(0, ()))
    await intruder.send(Lane.BLOCKS, BlockMessage(Block(HEADER, ())))
    await intruder.send(Lane.VOTES, Status(0, 0, 1))
    await until(lambda: station.messages)
    assert station.messages == [(intruder.name, Status(0, 0, 1))]
    station.peers.ask(GetBlock(ZERO_HASH), intruder.name)
    for _ in range(3):
        await intruder.send(Lane.BLOCKS, BlockMessage(Block(HEADER, ())))
    await intruder.send(Lane.VOTES, Status(0, 0, 2))
    await until(lambda: len(station.messages) >= 3)
    assert [type(message).__name__ for _, message in station.messages] == ["Status", "BlockMessage", "Status"]


async def test_told_urls_lead_nowhere_private_and_fill_no_book(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", probe_interval_s=1000)
    intruder = await enter(station)
    await intruder.send(Lane.CONTROL, Urls(("http://127.0.0.1/p2p", "ws://127.0.0.1:22/", "ws://u:p@h/p2p")))
    for batch in range(20):
        await intruder.send(Lane.CONTROL, Urls(tuple(f"ws://h{batch}-{each}.example/p2p" for each in range(32))))
    await intruder.send(Lane.VOTES, Status(0, 0, 1))
    await until(lambda: station.messages)
    assert len(station.peers._book) == 16


async def test_a_peer_over_its_quota_is_read_slowly_and_then_left(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", max_throttled_s=0.5)
    intruder = await enter(station)
    vote = VoteMessage(Vote(kind=VoteKind.NOTARIZE, epoch=9, view=2**40, signer=0, signature=bytes(65)))
    chunk = Chunk(Lane.VOTES, 0, encode_message(vote))
    while not station.disconnected:
        try:
            async with asyncio.timeout(1):
                await intruder.send_chunks(*[chunk] * 300)
        except (SocketClosed, TimeoutError):
            await asyncio.sleep(0.01)
    assert station.disconnected[0][1] == "over its quota for too long"
    assert len(station.messages) < 20_000
    assert (await (await enter(station, intruder.key)).closed()).code == 4005


async def test_a_malicious_host_wastes_little_of_who_dials_it(make_station: MakeStation) -> None:
    """Redirects, silence, garbage, a hello of somebody else, pings without end: the node dials on and is well."""
    behaviours = [
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"",
        os.urandom(100_000),
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 10_000,
    ]
    listeners = [listen("127.0.0.1", 0) for _ in behaviours]
    visits = [0] * len(behaviours)
    requested: list[bytes] = []

    def serve(index: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visits[index] += 1
            requested.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(behaviours[index])
            await reader.read()
            writer.close()

        return answer

    servers = [await asyncio.start_server(serve(i), sock=listener) for i, listener in enumerate(listeners)]
    urls = tuple(f"ws://127.0.0.1:{listener.getsockname()[1]}/p2p" for listener in listeners)
    honest = await make_station(network_of("a", "b"), "b")
    station = await make_station(
        network_of("a", "b"), "a", bootstrap=(*urls, honest.url), handshake_timeout_s=0.5, retry_first_s=0.05
    )
    await until(lambda: station.names() == {honest.name})
    await until(lambda: min(visits) >= 2, "all were tried twice")
    assert all(request.startswith(b"GET /p2p ") for request in requested)
    for server in servers:
        server.close()


async def test_a_dialled_host_that_lies_is_left(make_station: MakeStation) -> None:
    """Each side checks the other: a server without the key it names is no peer, and neither is a mirror."""
    key = key_of("b")
    seen: list[bytes] = []

    class Pair:
        """A socket in memory."""

        host = remote = "nowhere"

        def __init__(self, incoming: asyncio.Queue[bytes], outgoing: asyncio.Queue[bytes]) -> None:
            self.incoming, self.outgoing = incoming, outgoing

        async def receive(self) -> bytes:
            return await self.incoming.get()

        async def send(self, frame: bytes) -> None:
            seen.append(frame)
            await self.outgoing.put(frame)

        async def close(self, code: int, reason: str) -> None:
            raise AssertionError("the handshake closes nothing")

    network = network_of("a", "b")
    credentials = Credentials(network.genesis_hash, key_of("a"), bytes(16), "")
    one: asyncio.Queue[bytes] = asyncio.Queue()
    other: asyncio.Queue[bytes] = asyncio.Queue()
    honest, liar = Pair(one, other), Pair(other, one)
    dialling = asyncio.create_task(shake_hands_dialled(honest, credentials))
    theirs = message_pack.decode(await liar.receive(), Hello)
    mine = Hello(*(getattr(theirs, name) for name in Hello.__struct_fields__))
    await liar.send(message_pack.encode(mine))
    await liar.send(await liar.receive())
    with pytest.raises(Rejected):
        await dialling
    seen.clear()
    accepting = asyncio.create_task(shake_hands_accepted(honest, credentials))
    session = await shake_hands_dialled(liar, Credentials(network.genesis_hash, key, bytes(16), ""))
    accepted = await accepting
    assert session.sending_key == accepted.receiving_key
    hellos = [sha256(frame) for frame in seen[:2]]
    for secret in (b"", bytes(32)):
        known_to_all = hmac.digest(secret, b"aitbc/p2p/1/frames\1" + b"".join(hellos), "sha256")
        assert session.sending_key != known_to_all
    frame = FrameSealer(session.sending_key).seal([Chunk(Lane.VOTES, 0, b"x")])
    with pytest.raises(Rejected):
        FrameOpener(session.sending_key[::-1]).open(frame)
    with pytest.raises(Rejected):
        FrameOpener(accepted.sending_key).open(frame)
    assert FrameOpener(accepted.receiving_key).open(frame)[0].piece == b"x"


async def test_transactions_that_cannot_be_read_cost_the_peer(station: Station, enter: Enter) -> None:
    intruder = await enter(station)
    await intruder.send(Lane.TRANSACTIONS, Transactions((bytes(40_000),)))
    assert (await intruder.closed()).code == 4006
