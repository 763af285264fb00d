"""A process that serves one application on one port: the listening socket, signals, a graceful end."""

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from chain.web.direct import DirectAnswer
from chain.web.middleware import send_problem
from chain.web.problems import Problem
from chain.web.protocol import BoundedHttpProtocol
from chain.web.websocket import MAX_MESSAGE_BYTES, BoundedWebSocketProtocol

RECEIVE_TIMEOUT_S: Final = 30.0
"""From a connection's, or the next request's, beginning to its last byte: what a slow client may take."""
SEND_TIMEOUT_S: Final = 30.0
"""What a client may take to read any more of an answer that waits for it."""
KEEP_ALIVE_TIMEOUT_S: Final = 30
SHUTDOWN_TIMEOUT_S: Final = 1
"""What requests in flight may take after a signal; then they are cancelled."""
_BACKLOG: Final = 512
_REFUSED_FACTOR: Final = 2
"""Open connections, as a multiple of those that are served, beyond which they are not even told 503: each costs a
descriptor, and whoever took them all (usually 1,024) would leave none to the database."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.web")


class CannotListen(OSError):
    """The port cannot be had. `str(error)` says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 lets the system choose. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Restart at once: TIME_WAIT is no neighbour.
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is in use: stop what listens there, or choose another with --port"
        elif error.errno == errno.EACCES:
            message = f"port {port} needs more rights than this user has: choose one above 1023 with --port"
        else:
            message = f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --host"
        raise CannotListen(error.errno, message) from None
    return listener


class Server:
    """Serves one application on one listening socket until a signal or `stop`."""

    def __init__(
        self,
        application: FastAPI,
        listener: socket.socket,
        *,
        max_connections: int = 256,
        shutdown_timeout_s: int = SHUTDOWN_TIMEOUT_S,
        on_stopping: Callable[[], None] | None = None,
        on_signal: Callable[[int], None] | None = None,
        receive_timeout_s: float = RECEIVE_TIMEOUT_S,
        send_timeout_s: float = SEND_TIMEOUT_S,
        direct_answers: Mapping[str, DirectAnswer] | None = None,
        is_announced: bool = True,
    ) -> None:
        """Beyond `max_connections`, requests are answered with 503 at once; beyond twice as many, not at all.

        `on_stopping` is called once on the event loop when the end begins; requests in flight then have
        `shutdown_timeout_s` until they are cancelled. `on_signal` gets every SIGINT and SIGTERM in place of `stop`, for
        a service that answers on for a while before it stops itself. `receive_timeout_s` is what a client may take to
        send a request, `send_timeout_s` how long it may read nothing of an answer. `direct_answers`: paths whose
        plainest POSTs never reach the application, if these answer them. `is_announced`: whether the log says that it
        serves, and where; not for what stands in for a service that starts.
        """
        host, self.port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self._listener = listener
        self._is_announced = is_announced
        bounds = {
            "receive_timeout_s": receive_timeout_s,
            "send_timeout_s": send_timeout_s,
            "max_open_connections": _REFUSED_FACTOR * max_connections,
            "max_connections": max_connections,
            "direct_answers": {path.encode(): answer for path, answer in (direct_answers or {}).items()},
        }
        self._uvicorn = _UvicornServer(
            on_stopping or (lambda: None),
            on_signal,
            uvicorn.Config(
                self._unless_crowded(application, max_connections),
                http=type("Protocol", (BoundedHttpProtocol,), bounds),
                lifespan="on",
                log_config=None,
                access_log=False,  # ObservingMiddleware writes the one line per request.
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_TIMEOUT_S,
                timeout_graceful_shutdown=shutdown_timeout_s,
                ws=type("WebSocketProtocol", (BoundedWebSocketProtocol,), {"send_timeout_s": send_timeout_s}),
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # A compressed message can be a bomb.
                ws_ping_interval=None,  # Those who speak over WebSockets here have heartbeats of their own.
            ),
        )

    def _unless_crowded(self, application: ASGIApp, max_connections: int) -> ASGIApp:
        """uvicorn's own bound answers in plain text, which no client of ours could read."""

        async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and len(self._uvicorn.server_state.connections) > max_connections:
                headers = {"Retry-After": "1", "Connection": "close"}
                await send_problem(send, Problem(503, "crowded", "too many connections; try again", headers=headers))
            else:
                await application(scope, receive, send)

        return bounded

    def stop(self) -> None:
        """Begins a graceful shutdown; to be called on the event loop's thread."""
        self._uvicorn.begin_exit()

    async def serve(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serves until stopped; `on_ready` gets the URL once requests are answered. The lifespan ends first."""

        def on_started() -> None:
            if self._is_announced:
                _log.info("serving", url=self.url)
            if on_ready is not None:
                on_ready(self.url)

        self._uvicorn.on_started = on_started
        try:
            await self._uvicorn.serve(sockets=[self._listener])
        finally:
            self._listener.close()
        if self._is_announced:
            _log.info("stopped", url=self.url)

    def run(self, on_ready: Callable[[str], None] | None = None) -> None:
        """`serve` on a fresh event loop; returns normally after SIGINT and SIGTERM."""
        with asyncio.Runner(loop_factory=self._uvicorn.config.get_loop_factory()) as runner:
            runner.run(self.serve(on_ready))


def serve(
    application: FastAPI,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None] | None = None,
    max_connections: int = 256,
) -> None:
    """Listens and serves until a signal. Raises CannotListen."""
    Server(application, listen(host, port), max_connections=max_connections).run(on_ready)


class _UvicornServer(uvicorn.Server):
    """Takes signals as a request to end, and does not raise them again afterwards: a clean end has exit code 0."""

    on_started: Callable[[], None]

    def __init__(
        self, on_stopping: Callable[[], None], on_signal: Callable[[int], None] | None, config: uvicorn.Config
    ) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping
        self._on_signal = on_signal or (lambda _number: self.begin_exit())

    def begin_exit(self) -> None:
        """Tells whom it concerns, once, and lets uvicorn end.

        More signals change nothing: Ctrl-C reaches a whole process group, and a parent may add its SIGTERM.
        """
        if not self.should_exit:
            self.should_exit = True
            self._on_stopping()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells when requests are answered."""
        await super().startup(sockets)
        if self.started:
            self.on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signal handlers for as long as it serves; none when the event loop is not on the main thread."""
        loop = asyncio.get_running_loop()
        captured: list[signal.Signals] = []
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._on_signal, number)
                captured.append(number)
        except (RuntimeError, ValueError):
            _log.debug("no_signals_outside_of_the_main_thread")
        try:
            yield
        finally:
            for number in captured:
                loop.remove_signal_handler(number)
