"""One provider's WebSocket, as ASGI hands it over: bounded frames in and out, an end with a reason."""

import asyncio
from typing import Any, Final

from starlette.types import Receive, Scope, Send

_CLOSE_TIMEOUT_S: Final = 1.0
_MAX_REASON_BYTES: Final = 120  # RFC 6455: 123 in a close frame.


class CloseCode:
    """Why the hub ends a connection; codes of RFC 6455 and of its private range."""

    GOING_AWAY: Final = 1001
    REFUSED: Final = 4000
    REPLACED: Final = 4001
    SILENT: Final = 4002
    MISBEHAVED: Final = 4003


class SocketClosed(Exception):
    """The connection has ended. `str(error)` says why, as far as is known."""


class WorkerSocket:
    """Frames, not messages. `receive` is for one task; `send_…` for any."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        client = scope.get("client") or ("unknown", 0)
        self.host: str = client[0]

    async def accept(self) -> None:
        """Takes the connection. Raises SocketClosed."""
        event = await self._receive()
        if event["type"] != "websocket.connect":
            raise SocketClosed("gone before it was accepted")
        await self._emit({"type": "websocket.accept"})

    async def refuse(self) -> None:
        """Answers the opening request with 403."""
        event = await self._receive()
        if event["type"] == "websocket.connect":
            await self._emit({"type": "websocket.close"})

    async def receive(self) -> str | bytes:
        """The next frame: text or bytes, at most what the server allows. Raises SocketClosed."""
        event = await self._receive()
        if event["type"] != "websocket.receive":
            raise SocketClosed(str(event.get("reason") or "closed")[:_MAX_REASON_BYTES])
        octets: bytes | None = event.get("bytes")
        return octets if octets is not None else str(event.get("text") or "")

    async def send_text(self, text: bytes) -> None:
        """Waits until the kernel has taken most of it. Raises SocketClosed."""
        await self._emit({"type": "websocket.send", "text": text.decode()})

    async def send_bytes(self, octets: bytes) -> None:
        """As `send_text`."""
        await self._emit({"type": "websocket.send", "bytes": octets})

    async def close(self, code: int, reason: str) -> None:
        """Ends the connection; the server aborts what does not end by itself. Never raises."""
        short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._emit({"type": "websocket.close", "code": code, "reason": short})
        except (SocketClosed, TimeoutError):
            return  # Gone already, or it does not read: there is nobody to tell.

    async def _emit(self, event: dict[str, Any]) -> None:
        try:
            await self._send(event)
        except (OSError, RuntimeError) as error:  # uvicorn: gone; or closed by itself a moment ago.
            raise SocketClosed(str(error) or "closed") from None
