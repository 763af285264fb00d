"""The WebSocket `/v1/live`: orders, progress, previews and log lines, then the picture, on one connection.

A browser cannot set headers on a WebSocket, so the first message may authenticate. Whoever reads slowly holds up his
own jobs' events only: they wait in bounded queues that drop previews first (`provider.jobs.running`). When the
connection ends, so do the jobs that it ordered, but for those with an idempotency key.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from chain.primitives.rejection import Rejected
from chain.web.problems import Problem, problem_of_validation
from chain.web.strict_json import parse_json
from provider.api_keys import Caller
from provider.errors import ProviderError
from provider.http.guard import Guard
from provider.http.live_messages import (
    AUTHENTICATE,
    COMMAND,
    Cancel,
    Generate,
    Watch,
    error_message,
    event_message,
    refusal_message,
)
from provider.http.parts import ProviderParts
from provider.http.plan import plan_order
from provider.jobs.errors import JobNotFound
from provider.jobs.order import WayIn
from provider.jobs.running import Failed, Finished, RunningJob

PATH: Final = "/v1/live"
MAX_CONNECTIONS: Final = 128
MAX_CONNECTIONS_PER_ADDRESS: Final = 32
MAX_JOBS_PER_CONNECTION: Final = 16
"""Ordered or watched at once."""
AUTHENTICATE_S: Final = 10.0
_MESSAGES: Final = 60
_MESSAGES_S: Final = 10.0
"""So many messages in so many seconds; more end the connection."""
_MAX_ID_CHARACTERS: Final = 64


class Close:
    """Codes of RFC 6455, and of this application, with which a connection ends."""

    GOING_AWAY: Final = 1001
    TOO_MANY: Final = 1008
    UNAUTHENTICATED: Final = 4401
    TOO_LATE: Final = 4408


_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.live")


class LiveSockets:
    """All WebSockets of one provider."""

    def __init__(self, parts: ProviderParts, guard: Guard) -> None:
        self._parts = parts
        self._guard = guard
        self._addresses: dict[str, int] = {}

    def mount(self, application: FastAPI) -> None:
        """Adds the endpoint."""
        application.router.routes.append(WebSocketRoute(PATH, self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for one connection."""
        socket = WebSocket(scope, receive, send)
        address = socket.client.host if socket.client else "unknown"
        if not self._is_welcome(socket) or not self._has_room(address):
            await socket.close()  # Answers the opening request with 403.
            return
        self._addresses[address] = self._addresses.get(address, 0) + 1
        try:
            await socket.accept()
            await _Connection(self._parts, self._guard, socket, address).run()
        except (WebSocketDisconnect, OSError):
            _log.debug("websocket_ended", address=address)
        finally:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _is_welcome(self, socket: WebSocket) -> bool:
        """Pages of this very origin, and those that the operator has named; who is no browser names no origin."""
        origin = socket.headers.get("origin")
        origins = self._parts.settings.cors_origins
        if origin is None or "*" in origins or origin in origins:
            return True
        try:
            return urlsplit(origin).netloc == socket.headers.get("host")
        except ValueError:  # No browser sends such an origin.
            return False

    def _has_room(self, address: str) -> bool:
        is_crowded = sum(self._addresses.values()) >= MAX_CONNECTIONS
        return not is_crowded and self._addresses.get(address, 0) < MAX_CONNECTIONS_PER_ADDRESS


class _Connection:
    """One client, from its first message to its last."""

    def __init__(self, parts: ProviderParts, guard: Guard, socket: WebSocket, address: str) -> None:
        self._parts = parts
        self._guard = guard
        self._socket = socket
        self._address = address
        self._sending = asyncio.Lock()
        self._heard_s: deque[float] = deque()
        self._jobs: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client goes, or is sent away."""
        try:
            caller = await self._authenticate()
            if caller is None:
                return
            await self._say({"type": "authenticated", "name": caller.name})
            while await self._take_command(caller):
                pass
        finally:
            for task in self._jobs:
                task.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    async def _authenticate(self) -> Caller | None:
        """Who it is; None after the connection was ended."""
        header = self._socket.headers.get("authorization")
        try:
            if header is not None:
                scheme, _, secret = header.partition(" ")
                return self._guard.find(secret.strip() if scheme.lower() == "bearer" else "", self._address, "api_key")
            async with asyncio.timeout(AUTHENTICATE_S):
                message = AUTHENTICATE.validate_python(await self._hear())
            return self._guard.find(message.api_key, self._address, "api_key")
        except TimeoutError:
            await self._end(Close.TOO_LATE, "authentication_timeout", "the first message must authenticate")
        except (ValidationError, Rejected):
            detail = 'the first message is {"type": "authenticate", "api_key": "…"}'
            await self._end(Close.UNAUTHENTICATED, "missing_api_key", detail)
        except Problem as problem:
            await self._end(Close.UNAUTHENTICATED, problem.reason, problem.detail)
        return None

    async def _take_command(self, caller: Caller) -> bool:
        """Carries out the next message; False where the client sends too many."""
        request_id: str | None = None
        try:
            spoken = await self._hear()
            if self._is_too_fast():
                await self._end(Close.TOO_MANY, "rate_limited", f"at most {_MESSAGES} messages in {_MESSAGES_S:g} s")
                return False
            request_id = _request_id_in(spoken)
            command = COMMAND.validate_python(spoken)
            if isinstance(command, Cancel):
                await self._cancel(caller, command)
            elif len(self._jobs) >= MAX_JOBS_PER_CONNECTION:
                detail = f"at most {MAX_JOBS_PER_CONNECTION} jobs at once on one connection"
                await self._say(error_message("too_many_jobs", detail, request_id=request_id))
            elif isinstance(command, Watch):
                self._begin(self._watch(caller, command))
            else:
                self._begin(self._generate(caller, command))
        except ValidationError as error:
            # "body" is what stands before a field's path in a request, and is taken off.
            problem = problem_of_validation([{**fault, "loc": _path(fault["loc"])} for fault in error.errors()])
            await self._say(error_message(problem.reason, problem.detail, field=problem.field, request_id=request_id))
        except Rejected as rejected:
            await self._say(error_message(rejected.reason.value, rejected.message, request_id=request_id))
        except ProviderError as error:
            await self._say(refusal_message(error, request_id))
        return True

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _generate(self, caller: Caller, command: Generate) -> None:
        """Orders pictures and tells what becomes of them; leaves the job when the connection ends."""
        try:
            order = await plan_order(
                self._parts,
                command,
                caller,
                WayIn.LIVE,
                signed=command.client_request,
                idempotency_key=command.idempotency_key,
                preview_every=command.preview_every,
            )
            job = await self._parts.jobs.start(order)
        except ProviderError as error:
            await self._say_if_heard(refusal_message(error, command.request_id))
            return
        except Rejected as rejected:
            field = str(rejected.values.get("field", "client_request"))
            said = error_message(rejected.reason.value, rejected.message, field=field, request_id=command.request_id)
            await self._say_if_heard(said)
            return
        try:
            await self._follow(job, command.request_id)
        finally:
            if not job.is_ended:
                job.leave()

    async def _watch(self, caller: Caller, command: Watch) -> None:
        """Tells what becomes of a job, or became of it."""
        job = self._parts.jobs.running_job(caller, command.job_id)
        if job is not None:
            await self._follow(job, command.request_id)
            return
        try:
            end = await self._end_of(caller, command.job_id)
        except ProviderError as error:
            await self._say_if_heard(refusal_message(error, command.request_id))
        else:
            await self._say_if_heard(event_message(end, command.job_id, command.request_id))

    async def _end_of(self, caller: Caller, job_id: str) -> Finished | Failed:
        """How a job ended before; raises JobNotFound, and ArtifactGone."""
        record = await self._parts.jobs.record(caller, job_id)
        if record.answer_json is not None:
            return Finished(await self._parts.jobs.answer(caller, job_id))
        message = f"this job is {record.state}, and there is no picture (any more)"
        return Failed(ProviderError(message, reason=record.reason or record.state))

    async def _follow(self, job: RunningJob, request_id: str | None) -> None:
        async with aclosing(job.events()) as events:
            async for event in events:
                if not await self._say_if_heard(event_message(event, job.job_id, request_id)):
                    return

    async def _cancel(self, caller: Caller, command: Cancel) -> None:
        job = self._parts.jobs.running_job(caller, command.job_id)
        if job is None:
            raise JobNotFound("no job of this API key with this id is queued or running", "job_id")
        job.cancel()

    async def _hear(self) -> Any:
        """The next message, parsed; raises Rejected for what is no JSON, and WebSocketDisconnect."""
        event = await self._socket.receive()
        if event["type"] != "websocket.receive":
            raise WebSocketDisconnect(event.get("code") or Close.GOING_AWAY)
        text = event.get("text")
        return parse_json(event["bytes"] if text is None else text.encode("utf-8", errors="surrogatepass"))

    def _is_too_fast(self) -> bool:
        now_s = time.monotonic()
        self._heard_s.append(now_s)
        while self._heard_s[0] < now_s - _MESSAGES_S:
            self._heard_s.popleft()
        return len(self._heard_s) > _MESSAGES

    async def _say(self, message: dict[str, Any]) -> None:
        """Returns when most of it is read: whoever has more to say waits, or drops it."""
        text = json.dumps(message)
        async with self._sending:
            await self._socket.send_text(text)

    async def _say_if_heard(self, message: dict[str, Any]) -> bool:
        """False where the client has gone, which the reading side learns by itself."""
        try:
            await self._say(message)
        except (WebSocketDisconnect, OSError, RuntimeError):  # RuntimeError: closed a moment ago.
            return False
        return True

    async def _end(self, code: int, reason: str, detail: str) -> None:
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
            await self._say(error_message(reason, detail))
            await self._socket.close(code, reason)


def _request_id_in(spoken: Any) -> str | None:
    """So that even a refused message's answer names it."""
    named = spoken.get("request_id") if isinstance(spoken, dict) else None
    return named if isinstance(named, str) and len(named) <= _MAX_ID_CHARACTERS else None


def _path(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """A field's place as in a request's body: without the name of the message's type that pydantic puts first."""
    return ("body", *location[1:])
