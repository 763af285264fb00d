"""Stations: peer networks without a chain behind them, each served by a real uvicorn on the test's loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from chain.consensus.messages import Message
from chain.node.peers.frames import Chunk, FrameOpener, FrameSealer, Lane
from chain.node.peers.handshake import Credentials, shake_hands_dialled
from chain.node.peers.network import PeerNetwork
from chain.node.peers.settings import PeerSettings
from chain.node.peers.sockets import DialledSocket, SocketClosed, dial
from chain.primitives import message_pack
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.network import Network, Validator
from chain.web.server import Server, listen

WAIT_S = 90.0


def key_of(name: str) -> PrivateKey:
    """The same key for the same name."""
    return PrivateKey(keccak256(b"test key of " + name.encode()))


def network_of(*validators: str, urls: dict[str, str] | None = None, name: str = "peers") -> Network:
    """A network of named validators."""
    return Network(
        chain_id=2_718_281_828,
        name=name,
        validators=tuple(
            Validator(key_of(each).address, key_of(each).public_key, (urls or {}).get(each, "")) for each in validators
        ),
        attesters=(),
    )


async def until(condition: Callable[[], object], what: str = "condition") -> None:
    """Waits until it holds; a busy machine may need long."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.01)


class Station:
    """One node's peers; it is its own handler and remembers all that it hears."""

    def __init__(self, network: Network, key: PrivateKey | None, **settings: Any) -> None:
        self.listener = listen("127.0.0.1", 0)
        port = self.listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/p2p"
        self.port = port
        self.network = network
        settings.setdefault("listen_url", self.url)
        self.peers = PeerNetwork(network=network, key=key, settings=PeerSettings(**settings))
        self.is_remembering = True
        self.connected: list[str] = []
        self.disconnected: list[tuple[str, str]] = []
        self.errors: list[Exception] = []
        self.messages: list[tuple[str, Message]] = []
        self.raws: list[tuple[str, bytes]] = []
        self.on_raws: Callable[[str, tuple[bytes, ...]], Awaitable[None]] | None = None
        self.on_message_hook: Callable[[str, Message], Awaitable[None]] | None = None
        application = FastAPI(routes=[Route("/", lambda _request: PlainTextResponse("here"))])
        self.peers.mount(application)
        self.server = Server(application, self.listener)
        self._serving: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """As peers see it."""
        return to_checksum_address(self.peers.identity)

    def on_connected(self, peer: str) -> None:
        """PeerHandler."""
        self.connected.append(peer)

    def on_disconnected(self, peer: str, reason: str) -> None:
        """PeerHandler."""
        self.disconnected.append((peer, reason))

    async def on_message(self, peer: str, message: Message) -> None:
        """PeerHandler."""
        if self.is_remembering:
            self.messages.append((peer, message))
        if self.on_message_hook is not None:
            await self.on_message_hook(peer, message)

    async def on_transactions(self, peer: str, raws: tuple[bytes, ...]) -> None:
        """PeerHandler."""
        if self.is_remembering:
            self.raws += [(peer, raw) for raw in raws]
        if self.on_raws is not None:
            await self.on_raws(peer, raws)

    def on_error(self, error: Exception) -> None:
        """PeerHandler."""
        self.errors.append(error)

    async def start(self) -> None:
        """Serves and dials."""
        ready = asyncio.Event()
        self._serving = asyncio.create_task(self.server.serve(lambda _url: ready.set()))
        await ready.wait()
        await self.peers.start(self)

    async def stop(self) -> None:
        """In good order."""
        if self._serving is not None:
            await self.peers.stop()
            self.server.stop()
            await self._serving
            self._serving = None

    def names(self) -> set[str]:
        """Who is connected."""
        return {view.peer for view in self.peers.peers()}


class Reachable(Protocol):
    """A station, here or in another process."""

    @property
    def url(self) -> str:
        """Of its endpoint."""

    @property
    def port(self) -> int:
        """On loopback."""

    @property
    def network(self) -> Network:
        """Whose node it is."""


class Intruder:
    """A peer that has proven an identity and then sends what it likes."""

    def __init__(self, socket: DialledSocket, key: PrivateKey, sealer: FrameSealer, opener: FrameOpener) -> None:
        self.socket = socket
        self.key = key
        self.name = to_checksum_address(key.address)
        self.sealer = sealer
        self.opener = opener

    @classmethod
    async def enter(cls, station: Reachable, key: PrivateKey | None = None, *, instance: bytes = bytes(16)) -> Intruder:
        """Dials a station and shakes hands as the protocol says."""
        key = key or PrivateKey.generate()
        socket = await dial(station.url, local_address=None, timeout_s=WAIT_S)
        credentials = Credentials(station.network.genesis_hash, key, instance, "")
        session = await shake_hands_dialled(socket, credentials)
        return cls(socket, key, FrameSealer(session.sending_key), FrameOpener(session.receiving_key))

    async def send_chunks(self, *chunks: Chunk) -> None:
        """One frame."""
        await self.socket.send(self.sealer.seal(list(chunks)))

    async def send(self, lane: Lane, message: object) -> None:
        """One small message in one frame."""
        encoded = message if isinstance(message, bytes) else message_pack.encode(message)
        await self.send_chunks(Chunk(lane, 0, encoded))

    async def receive(self) -> tuple[Chunk, ...]:
        """One frame's chunks."""
        return self.opener.open(await self.socket.receive())

    async def closed(self) -> SocketClosed:
        """Reads until the other side ends the connection; says how it did."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    await self.socket.receive()
                except SocketClosed as closed:
                    return closed

    def leave(self) -> None:
        """At once."""
        self.socket.abort()


MakeStation = Callable[..., Awaitable[Station]]
Enter = Callable[..., Awaitable[Intruder]]
