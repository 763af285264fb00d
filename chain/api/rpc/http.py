"""POST /rpc, and POST / for tools that are given the bare URL: ASGI without a framework, since a call costs less than
routing and validating it there would.
"""

from contextlib import AbstractContextManager
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from chain.api.rpc.budget import ByteBudget
from chain.api.rpc.dispatch import Dispatcher
from chain.api.rpc.protocol import MAX_BODY_BYTES
from chain.web.middleware import send_problem
from chain.web.problems import Problem

PATHS: Final = frozenset(("/rpc", "/"))
_MEDIA_TYPES: Final = (b"application/json", b"application/json-rpc", b"application/jsonrequest")
_PIECE_BYTES: Final = 64 * 1024
_CONTENT_TYPE: Final = (b"content-type", b"application/json")


class RpcEndpoint:
    """Answers JSON-RPC, and hands every other request on."""

    def __init__(self, app: ASGIApp, dispatcher: Dispatcher, unsent: ByteBudget, bodies: ByteBudget) -> None:
        self._app = app
        self._dispatcher = dispatcher
        self._unsent = unsent
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] not in PATHS or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            with self._held_body(scope):
                body = await _read_body(receive)
                if body is None:
                    return  # The client went away.
                response = await self._dispatcher.answer(body)
        except Problem as problem:
            await send_problem(send, problem)
            return
        if response is None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif not self._unsent.has_room(len(response)):
            detail = "this node has too many answers to deliver at present; try again"
            await send_problem(send, Problem(503, "congested", detail, headers={"Retry-After": "1"}))
        else:
            await self._deliver(response, send)

    def _held_body(self, scope: Scope) -> AbstractContextManager[None]:
        """Room for as much as the client announces, or may send; raises Problem where there is none."""
        byte_count = _check_head(scope)
        if not self._bodies.has_room(byte_count):
            detail = "this node has too many requests in hand at present; try again"
            raise Problem(503, "congested", detail, headers={"Retry-After": "1"})
        return self._bodies.held(byte_count)

    async def _deliver(self, response: bytes, send: Send) -> None:
        """In pieces, the next one when the client has read most of those before: so it is known what it has not."""
        headers = [_CONTENT_TYPE, (b"content-length", b"%d" % len(response))]
        with self._unsent.held(len(response)):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for end in range(_PIECE_BYTES, len(response) + _PIECE_BYTES, _PIECE_BYTES):
                piece = response[end - _PIECE_BYTES : end]
                await send({"type": "http.response.body", "body": piece, "more_body": end < len(response)})


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, None where the client goes away; raises Problem where it is too long."""
    chunks: list[bytes] = []
    received_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        received_bytes += len(chunks[-1])
        if received_bytes > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(chunks)


def _check_head(scope: Scope) -> int:
    """How long the body may be, in bytes; raises Problem where it is announced as too long, or may not be sent.

    A page must say that it sends JSON, so that its browser asks first; programs need not, and many do not.
    """
    media_type, is_of_page, byte_count = b"", False, MAX_BODY_BYTES
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_type = value.partition(b";")[0].strip().lower()
        elif name == b"origin":
            is_of_page = True
        elif name == b"content-length":
            if len(value) > 18 or not value.isdigit() or int(value) > MAX_BODY_BYTES:
                raise _too_large()
            byte_count = int(value)
    if is_of_page and media_type not in _MEDIA_TYPES:
        raise Problem(415, "unsupported_media_type", "send JSON, as application/json", field="Content-Type")
    return byte_count


def _too_large() -> Problem:
    return Problem(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes here", field="body")
