"""Around every request: bounds on body and time, one log line, one metric, and no traceback to anybody outside.

Pure ASGI: Starlette's BaseHTTPMiddleware costs a task per request and breaks streaming.
"""

import asyncio
import time
import uuid
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chain.web.bodies import BodyReader, Hold, LargerBodies
from chain.web.problems import PROBLEM_MEDIA_TYPE, Problem

_MAX_LOGGED_PATH_CHARACTERS: Final = 200
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.web")


class ObservingMiddleware:
    """Logs and counts each request, and turns an unexpected exception into a 500 whose id stands in the log.

    Query strings are not logged: they may carry keys. Metrics name the route's template: so their number is bounded.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "aitbc_http_request_seconds",
            "Time to answer a request, by route and status",
            ("method", "route", "status"),
            registry=registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
        )
        self._in_flight = Gauge("aitbc_http_requests_in_flight", "Requests being answered", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.perf_counter()
        status = 0

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._in_flight.inc()
        try:
            await self._app(scope, receive, observed_send)
        except Exception:  # noqa: BLE001 - the last resort: the client gets a problem, the log the traceback
            request_id = uuid.uuid4().hex[:12]
            _log.exception("request_failed", request_id=request_id, path=_path(scope))
            if status == 0:
                status = 500
                detail = f"a fault in this service; its log has it under {request_id}"
                await send_problem(send, Problem(500, "internal_error", detail))
        finally:
            self._in_flight.dec()
            self._record(scope, status, time.perf_counter() - started_at)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        template = getattr(route, "path", "unknown")
        self._seconds.labels(_method(scope), template, str(status)).observe(seconds)
        client = scope.get("client")
        # Hubs, wallets and monitors look every second: a look that succeeded is no news, and would fill the disk.
        is_news = _method(scope) not in ("GET", "HEAD") or not 200 <= status < 400
        log = _log.info if is_news else _log.debug
        log(
            "request",
            method=_method(scope),
            path=_path(scope),
            status=status or "disconnected",
            duration_ms=round(seconds * 1000, 1),
            client=client[0] if client else None,
        )


class LimitsMiddleware:
    """Bounds a request's body in bytes (413), whether or not its length is declared, and the wait for a response (503).

    The body is read whole before the application sees the request. How long a client may take to send it is bounded in
    `chain.web.server`. Where there is no room for one more large body, the answer is 503.
    """

    def __init__(
        self, app: ASGIApp, max_body_bytes: int, response_timeout_s: float | None, larger: LargerBodies | None = None
    ) -> None:
        self._app = app
        self._bodies = BodyReader(max_body_bytes, larger)
        self._response_timeout_s = response_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hold = self._bodies.hold()
        try:
            await self._serve(scope, receive, send, hold)
        finally:
            hold.release()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, hold: Hold) -> None:
        try:
            body = await self._bodies.read(scope, receive, hold)
        except Problem as problem:
            await send_problem(send, problem)
            return
        if body is None:
            return  # The client went away.
        is_delivered = False

        async def replay() -> Message:
            nonlocal is_delivered
            if is_delivered:
                return await receive()
            is_delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._answer(scope, replay, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_started = False
        deadline = asyncio.timeout(self._response_timeout_s)

        async def noting_send(message: Message) -> None:
            nonlocal is_started
            if not is_started:
                is_started = True
                deadline.reschedule(None)  # A response that has begun may stream for as long as it likes.
            await send(message)

        try:
            async with deadline:
                await self._app(scope, receive, noting_send)
        except TimeoutError:
            if is_started or not deadline.expired():
                raise
            detail = f"no answer within {self._response_timeout_s:g} s; the request may still take effect"
            await send_problem(send, Problem(503, "timeout", detail, headers={"Retry-After": "1"}))


async def send_problem(send: Send, problem: Problem) -> None:
    """Answers with a problem body, outside of any framework."""
    body = problem.body()
    headers = [
        (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in (problem.headers or {}).items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path[:_MAX_LOGGED_PATH_CHARACTERS]


def _method(scope: Scope) -> str:
    """The method as a metric's label: those that HTTP defines, so that their number is bounded."""
    method: str = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
