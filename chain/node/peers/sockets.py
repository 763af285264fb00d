"""The two ends of a WebSocket behind one face: one frame in, one frame out, bounded, an end with a reason."""

import asyncio
from typing import Any, Final, Protocol

from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from chain.node.peers.frames import MAX_FRAME_BYTES
from chain.primitives.rejection import Rejected, RejectionReason
from chain.web.websocket import UNSENT_BYTES, limit_unsent

_MAX_UNREAD_OUTPUT_BYTES: Final = 1024 * 1024
_MAX_REASON_BYTES: Final = 120  # RFC 6455: 123 in a close frame.
_CLOSE_TIMEOUT_S: Final = 1.0
_QUEUED_FRAMES: Final = 2


class CloseCode:
    """Why this side ends a connection, for the other side to read; codes of RFC 6455's private range."""

    GOING_AWAY: Final = 1001
    NOT_PROVEN: Final = 4000
    WRONG_NETWORK: Final = 4001
    DUPLICATE: Final = 4002
    FULL: Final = 4004
    BANNED: Final = 4005
    MISBEHAVED: Final = 4006
    TOO_SLOW: Final = 4007
    PROBED: Final = 4008


class SocketClosed(Exception):
    """The connection has ended, or could not be made. `str(error)` says why, as far as is known."""

    def __init__(self, reason: str, code: int = 1006) -> None:
        super().__init__(reason)
        self.code = code


class Socket(Protocol):
    """A WebSocket of binary messages."""

    @property
    def host(self) -> str:
        """The other end's address."""

    @property
    def remote(self) -> str:
        """The other end's address and port."""

    async def receive(self) -> bytes:
        """The next message, at most MAX_FRAME_BYTES. Raises SocketClosed, and Rejected for text."""

    async def send(self, frame: bytes) -> None:
        """Waits until the kernel has taken most of it. Raises SocketClosed."""

    async def close(self, code: int, reason: str) -> None:
        """Ends the connection within a second or two, with a reason where the other end still reads. Never raises."""


class AcceptedSocket:
    """A connection that came in, as ASGI hands it over."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        client = scope.get("client") or ("unknown", 0)
        self.host: str = client[0]
        self.remote = f"{client[0]}:{client[1]}"

    async def accept(self) -> None:
        """Takes the connection. Raises SocketClosed."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            raise SocketClosed("gone before it was accepted")
        await self._send_event({"type": "websocket.accept"})

    async def refuse(self) -> None:
        """Answers the opening request with 403, which costs nothing more."""
        message = await self._receive()
        if message["type"] == "websocket.connect":
            await self._send_event({"type": "websocket.close"})

    async def receive(self) -> bytes:
        """As in Socket."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise SocketClosed(_printable(message.get("reason") or "closed"), message.get("code", 1006))
        octets = message.get("bytes")
        if octets is None:
            raise Rejected(RejectionReason.MALFORMED, "peers exchange binary messages only")
        return bytes(octets)

    async def send(self, frame: bytes) -> None:
        """As in Socket."""
        await self._send_event({"type": "websocket.send", "bytes": frame})

    async def close(self, code: int, reason: str) -> None:
        """As in Socket; the server aborts what does not end by itself."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._send_event({"type": "websocket.close", "code": code, "reason": _short(reason)})
        except (SocketClosed, TimeoutError):
            return  # Gone already, or it does not read: there is nobody to tell.

    async def _send_event(self, event: dict[str, Any]) -> None:
        try:
            await self._send(event)
        except (OSError, RuntimeError) as error:  # uvicorn: gone; or closed by itself a moment ago.
            raise SocketClosed(str(error) or "closed") from None


class DialledSocket:
    """A connection that this node has opened."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        address = connection.remote_address or ("unknown", 0)
        self.host: str = str(address[0])
        self.remote = f"{address[0]}:{address[1]}"

    async def receive(self) -> bytes:
        """As in Socket."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as closed:
            received = closed.rcvd
            raise SocketClosed(
                _printable(received.reason or "closed") if received else "connection lost",
                received.code if received else 1006,
            ) from None

    async def send(self, frame: bytes) -> None:
        """As in Socket."""
        try:
            await self._connection.send(frame)
        except ConnectionClosed:
            raise SocketClosed("connection lost") from None

    async def close(self, code: int, reason: str) -> None:
        """As in Socket."""
        try:
            async with asyncio.timeout(2 * _CLOSE_TIMEOUT_S):
                await self._connection.close(code, _short(reason))
        except TimeoutError:
            return  # It does not read; what follows ends it.
        finally:
            self.abort()

    def abort(self) -> None:
        """Ends it at once."""
        self._connection.transport.abort()


async def dial(url: str, *, host: str | None = None, local_address: str | None, timeout_s: float) -> DialledSocket:
    """Opens a WebSocket; `host` replaces the URL's name where it was resolved before. Raises SocketClosed."""
    options: dict[str, Any] = {} if host is None else {"host": host}
    if local_address is not None:
        options["local_addr"] = (local_address, 0)
    try:
        connection = await _Connect(
            url,
            compression=None,  # A compressed frame can be a bomb.
            proxy=None,
            user_agent_header=None,
            open_timeout=timeout_s,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=None,  # Heartbeats are ours: they tell what `connection` must know.
            max_size=MAX_FRAME_BYTES,
            max_queue=_QUEUED_FRAMES,
            write_limit=UNSENT_BYTES,
            create_connection=_BoundedConnection,
            **options,
        )
    except (OSError, WebSocketException, TimeoutError, ValueError) as error:
        raise SocketClosed(_printable(str(error) or type(error).__name__)) from None
    return DialledSocket(connection)


class _Connect(connect):
    """Follows no redirects: a URL that a peer told must not lead anywhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _BoundedConnection(ClientConnection):
    """websockets' own, but for pings: each is answered at once, also to somebody who reads no answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        limit_unsent(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > _MAX_UNREAD_OUTPUT_BYTES:
            self.transport.abort()


def _printable(text: str) -> str:
    """What another node says goes into the log, and must not break its lines."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])


def _short(reason: str) -> str:
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
