"""A node in a process of its own under floods: its memory stays bounded, and an honest peer is served promptly."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from chain.consensus.messages import CertificateMessage, GetCertificates, GetRange, VoteMessage, encode_message
from chain.node.peers.frames import Chunk, Lane
from chain.node.peers.messages import Transactions, Urls
from chain.node.peers.sockets import SocketClosed
from chain.primitives import message_pack
from chain.primitives.certificate import Certificate, Vote, VoteKind
from chain.primitives.network import Network
from chain.primitives.types import Hash32
from tests.chain.node.peers.stations import Intruder, key_of, network_of

FLOOD_S: Final = 2.0
MAX_GROWTH_BYTES: Final = 48 * 1024 * 1024
"""Of the node's resident memory under any of the floods, from when it had served its first peer."""
MAX_MEDIAN_S: Final = 1.0
"""To answer the honest validator, beside the attackers and other tests; with the machine alone, some milliseconds."""
MAX_ENTRANCE_S: Final = 20.0
"""For validator c, who comes during the flood and tries again where it finds no place."""
UPGRADE: Final = (
    b"GET /p2p HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass
class Remote:
    """The node's process."""

    process: asyncio.subprocess.Process
    port: int
    network: Network = field(default_factory=lambda: network_of("a", "b", "c"))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.port}/p2p"

    def memory(self) -> int:
        """Resident bytes."""
        resident: int = psutil.Process(self.process.pid).memory_info().rss
        return resident


@asynccontextmanager
async def remote_station(**settings: object) -> AsyncIterator[Remote]:
    """Starts one, and ends it in good order."""
    script = Path(__file__).with_name("serve_station.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        json.dumps(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield Remote(process, int(await process.stdout.readline()))
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Honest:
    """Validator b, who asks and measures how long the answers take."""

    def __init__(self, station: Remote) -> None:
        self.station = station
        self.took_s: list[float] = []

    async def ask_until(self, stop: asyncio.Event) -> None:
        """Asks again as soon as it is answered."""
        peer = await Intruder.enter(self.station, key_of("b"))
        number = 0
        while not stop.is_set():
            number += 1
            began_s = time.monotonic()
            await peer.send(Lane.VOTES, GetCertificates(0, number))
            while not any(chunk.lane is Lane.VOTES for chunk in await peer.receive()):
                pass
            self.took_s.append(time.monotonic() - began_s)
            await asyncio.sleep(0.01)
        peer.leave()


async def enter_as_validator(station: Remote) -> float:
    """How long it takes in all."""
    began_s = time.monotonic()
    await asyncio.sleep(FLOOD_S / 4)
    while True:
        try:
            peer = await Intruder.enter(station, key_of("c"))
            await peer.receive()
            peer.leave()
            return time.monotonic() - began_s - FLOOD_S / 4
        except SocketClosed:
            await asyncio.sleep(0.05)


async def check(
    attack: Callable[[Remote, asyncio.Event], Coroutine[Any, Any, None]], attackers: int, **settings: object
) -> None:
    """Runs attackers against a station, and holds it to the bounds."""
    async with remote_station(**settings) as station:
        stop = asyncio.Event()
        honest = Honest(station)
        asking = asyncio.create_task(honest.ask_until(stop))
        while len(honest.took_s) < 5:
            await asyncio.sleep(0.02)
            assert not asking.done()
        before, asked = station.memory(), len(honest.took_s)
        attacks = [asyncio.create_task(attack(station, stop)) for _ in range(attackers)]
        newcomer = asyncio.create_task(enter_as_validator(station))
        peak, deadline_s = 0, time.monotonic() + FLOOD_S
        while time.monotonic() < deadline_s:
            await asyncio.sleep(0.05)
            peak = max(peak, station.memory())
        entered_s = await asyncio.wait_for(newcomer, 60)
        stop.set()
        await asyncio.gather(asking, *attacks)
        during = sorted(honest.took_s[asked:])
        assert peak - before < MAX_GROWTH_BYTES, f"grew by {(peak - before) / 2**20:.0f} MiB"
        assert during[len(during) // 2] < MAX_MEDIAN_S, f"median {during[len(during) // 2]:.3f} s"
        sys.stdout.write(
            f"{attack.__name__}: +{(peak - before) / 2**20:.1f} MiB, {len(during)} answers, "
            f"median {during[len(during) // 2] * 1000:.1f} ms, slowest {during[-1] * 1000:.1f} ms, "
            f"newcomer in after {entered_s:.2f} s\n"
        )
        assert entered_s < MAX_ENTRANCE_S


def flooding(*chunks: Chunk) -> Callable[[Remote, asyncio.Event], Coroutine[Any, Any, None]]:
    """Attackers with identities of their own who repeat a frame, and come back when they are thrown out."""

    async def flood(station: Remote, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                intruder = await Intruder.enter(station)
                try:
                    while not stop.is_set():
                        async with asyncio.timeout(0.5):
                            await intruder.send_chunks(*chunks)
                        await asyncio.sleep(0)
                finally:
                    intruder.leave()
            except (SocketClosed, TimeoutError):
                await asyncio.sleep(0.05)

    return flood


VOTE: Final = Vote(kind=VoteKind.NOTARIZE, epoch=9, view=2**40, signer=0, signature=bytes(65))
CERTIFICATE: Final = Certificate(
    kind=VoteKind.FINALIZE,
    epoch=2**40,
    view=2**40,
    parent_view=2**39,
    block_hash=Hash32(bytes(32)),
    signer_bitmap=2**20 - 1,
    signatures=(bytes(65),) * 20,
)


async def test_transactions() -> None:
    batch = message_pack.encode(Transactions(tuple(os.urandom(150) for _ in range(350))))
    await check(flooding(Chunk(Lane.TRANSACTIONS, 0, batch)), 6)


async def test_votes() -> None:
    vote = encode_message(VoteMessage(VOTE))
    await check(flooding(*[Chunk(Lane.VOTES, 0, vote)] * 400), 4)


async def test_certificates_of_the_far_future() -> None:
    certificate = encode_message(CertificateMessage(CERTIFICATE))
    await check(flooding(*[Chunk(Lane.VOTES, 0, certificate)] * 40), 4)


async def test_requests() -> None:
    chunks = [Chunk(Lane.VOTES, 0, encode_message(GetRange(height))) for height in range(500)]
    await check(flooding(*chunks), 4)


async def test_urls() -> None:
    urls = message_pack.encode(Urls(tuple(f"ws://host-{number}.example/p2p" for number in range(32))))
    await check(flooding(*[Chunk(Lane.CONTROL, 0, urls)] * 20), 4)


async def test_messages_that_never_end() -> None:
    async def flood(station: Remote, stop: asyncio.Event) -> None:
        try:
            intruder = await Intruder.enter(station)
            remaining = 4 * 1024 * 1024
            for lane in (Lane.BLOCKS, Lane.RANGES):
                for _ in range(60):
                    remaining -= 60_000
                    await intruder.send_chunks(Chunk(lane, remaining, bytes(60_000)))
                remaining = 4 * 1024 * 1024
            await stop.wait()
            intruder.leave()
        except SocketClosed:
            await stop.wait()

    await check(flood, 20)


async def test_crumbs() -> None:
    """Large messages of a byte a chunk."""
    chunks = [Chunk(Lane.TRANSACTIONS, 200_000 - number, b"x") for number in range(1, 1000)]
    await check(flooding(*chunks), 4)


async def test_connection_attempts() -> None:
    async def flood(station: Remote, stop: asyncio.Event) -> None:
        held: list[asyncio.StreamWriter] = []
        while not stop.is_set():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", station.port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.write(UPGRADE if len(held) % 2 else b"GET /p2p HT")
            held.append(writer)
            if len(held) > 100:
                held.pop(0).transport.abort()
            await asyncio.sleep(0.002)
        for writer in held:
            writer.transport.abort()

    await check(flood, 2)


async def test_tiny_frames_before_the_handshake() -> None:
    crumbs = struct.pack("!BB", 0x82, 0x80) + bytes(4)

    async def flood(station: Remote, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", station.port)
                writer.write(UPGRADE + crumbs * 40_000)
                async with asyncio.timeout(1):
                    await writer.drain()
                writer.transport.abort()
            except (OSError, TimeoutError):
                pass  # Thrown out, as it should be.
            await asyncio.sleep(0.02)

    await check(flood, 4)
