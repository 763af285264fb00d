"""A job's events over a WebSocket. A browser cannot set headers on one, so the first message may authenticate."""

import asyncio
import json
from collections import Counter
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from chain.primitives.rejection import Rejected
from chain.web.problems import Problem
from chain.web.strict_json import parse_json
from hub.http.event_routes import as_object
from hub.http.following import follow
from hub.http.guard import Reader
from hub.http.job_routes import own_job
from hub.http.parts import HubParts

PATH: Final = "/v1/jobs/{job_id}/live"
MAX_CONNECTIONS: Final = 512
MAX_CONNECTIONS_PER_ADDRESS: Final = 64
_PROXY_ADDRESSES: Final = frozenset({"127.0.0.1", "::1"})
"""A proxy on this machine brings everybody; it bounds them by their own addresses."""
AUTHENTICATE_S: Final = 10.0
_MAX_MESSAGE_CHARACTERS: Final = 4_096

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.live")


class Close:
    """Codes of RFC 6455, and of this application, with which a connection ends."""

    NORMAL: Final = 1000
    UNAUTHENTICATED: Final = 4401
    NOT_FOUND: Final = 4404
    TOO_LATE: Final = 4408
    TOO_MANY: Final = 4429


class LiveSockets:
    """All clients' WebSockets of one hub."""

    def __init__(self, parts: HubParts) -> None:
        self._parts = parts
        self._addresses: Counter[str] = Counter()

    def mount(self, application: FastAPI) -> None:
        """Adds the endpoint."""
        application.router.routes.append(WebSocketRoute(PATH, self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for one connection."""
        socket = WebSocket(scope, receive, send)
        address = socket.client.host if socket.client else "unknown"
        is_crowded = self._addresses.total() >= MAX_CONNECTIONS
        is_many = address not in _PROXY_ADDRESSES and self._addresses[address] >= MAX_CONNECTIONS_PER_ADDRESS
        if is_crowded or is_many or not _is_welcome(socket):
            await socket.close()  # Answers the opening request with 403.
            return
        self._addresses[address] += 1
        try:
            await socket.accept()
            await self._serve(socket)
        except (WebSocketDisconnect, OSError, RuntimeError):
            _log.debug("websocket_ended", address=address)
        finally:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    async def _serve(self, socket: WebSocket) -> None:
        reader, after = await self._authenticate(socket)
        if reader is None:
            return
        job_id = socket.path_params["job_id"]
        try:
            job = await own_job(self._parts, job_id, reader)
        except Problem as problem:
            await _end(socket, Close.NOT_FOUND, problem.reason, problem.detail)
            return
        try:
            with self._parts.streams.open(job.owner):
                await self._follow(socket, job_id, after)
        except Problem as problem:
            await _end(socket, Close.TOO_MANY, problem.reason, problem.detail)

    async def _follow(self, socket: WebSocket, job_id: str, after: int) -> None:
        telling = asyncio.create_task(self._tell(socket, job_id, after))
        listening = asyncio.create_task(_listen(socket))
        try:
            await asyncio.wait({telling, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, listening):
                task.cancel()
            await asyncio.gather(telling, listening, return_exceptions=True)

    async def _tell(self, socket: WebSocket, job_id: str, after: int) -> None:
        async with aclosing(follow(self._parts, job_id, after)) as news:
            async for item in news:
                await socket.send_text(json.dumps({"kind": "alive"} if item is None else as_object(item)))
        await socket.close(Close.NORMAL)

    async def _authenticate(self, socket: WebSocket) -> tuple[Reader | None, int]:
        """Whose it is and after which event to begin; None after the connection was ended."""
        header = socket.headers.get("authorization")
        try:
            if header is not None:
                return self._parts.guard.reader_of(header), _number(socket.query_params.get("after"))
            async with asyncio.timeout(AUTHENTICATE_S):
                said = _parsed(await socket.receive_text())
            reader = self._parts.guard.find_reader(str(said.get("api_key", "")))
            if reader is not None:
                return reader, _number(said.get("after"))
            detail = 'the first message is {"type": "authenticate", "api_key": "…"}'
            await _end(socket, Close.UNAUTHENTICATED, "invalid_api_key", detail)
        except TimeoutError:
            await _end(socket, Close.TOO_LATE, "authentication_timeout", "the first message must authenticate")
        except Problem as problem:
            await _end(socket, Close.UNAUTHENTICATED, problem.reason, problem.detail)
        return None, 0


async def _listen(socket: WebSocket) -> None:
    """What a client says after its first message means nothing; that it goes does."""
    while True:
        await socket.receive_text()


async def _end(socket: WebSocket, code: int, reason: str, detail: str) -> None:
    await socket.send_text(json.dumps({"kind": "error", "reason": reason, "detail": detail}))
    await socket.close(code)


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > _MAX_MESSAGE_CHARACTERS:
        return {}
    try:
        said = parse_json(text.encode("utf-8", "surrogateescape"))
    except (Rejected, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _number(text: object) -> int:
    """Of an event; 0, before the first, for anything else."""
    if isinstance(text, bool) or not isinstance(text, str | int):
        return 0
    digits = str(text)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else 0


def _is_welcome(socket: WebSocket) -> bool:
    """Pages of this very origin; who is no browser names no origin."""
    origin = socket.headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == socket.headers.get("host")
    except ValueError:  # No browser sends such an origin.
        return False
