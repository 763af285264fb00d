"""A process that serves one application on one port: the listening socket, slow clients, signals, a graceful end."""

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Request line and headers. A chunk that the kernel hands over whole may exceed it once."""
RECEIVE_TIMEOUT_S: Final = 30.0
"""From a connection's, or the next request's, beginning to its last byte: what a slow client may take."""
KEEP_ALIVE_TIMEOUT_S: Final = 30
SHUTDOWN_TIMEOUT_S: Final = 1
"""What requests in flight may take after a signal; then they are cancelled."""
_BACKLOG: Final = 512

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
        receive_timeout_s: float = RECEIVE_TIMEOUT_S,
    ) -> None:
        """Beyond `max_connections`, requests are answered with 503 at once.

        `on_stopping` is called once on the event loop when the end begins; requests in flight then have
        `shutdown_timeout_s` until they are cancelled. `receive_timeout_s` is what a client may take to send a request.
        """
        host, self.port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self._listener = listener
        self._uvicorn = _UvicornServer(
            on_stopping or (lambda: None),
            uvicorn.Config(
                application,
                http=type("Protocol", (BoundedHttpProtocol,), {"receive_timeout_s": receive_timeout_s}),
                lifespan="on",
                log_config=None,
                access_log=False,  # ObservingMiddleware writes the one line per request.
                proxy_headers=False,
                server_header=False,
                limit_concurrency=max_connections,
                timeout_keep_alive=KEEP_ALIVE_TIMEOUT_S,
                timeout_graceful_shutdown=shutdown_timeout_s,
                ws_max_size=1024 * 1024,
            ),
        )

    def stop(self) -> None:
        """Begins a graceful shutdown; to be called on the event loop's thread."""
        self._uvicorn.begin_exit()

    async def serve(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serves until stopped; `on_ready` gets the URL once requests are answered. The lifespan ends first."""

        def on_started() -> None:
            _log.info("serving", url=self.url)
            if on_ready is not None:
                on_ready(self.url)

        self._uvicorn.on_started = on_started
        try:
            await self._uvicorn.serve(sockets=[self._listener])
        finally:
            self._listener.close()
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

    def __init__(self, on_stopping: Callable[[], None], config: uvicorn.Config) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping

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
                loop.add_signal_handler(number, self.begin_exit)
                captured.append(number)
        except (RuntimeError, ValueError):
            _log.debug("no_signals_outside_of_the_main_thread")
        try:
            yield
        finally:
            for number in captured:
                loop.remove_signal_handler(number)


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with what it lacks: bounds on the head and on the time a request takes to arrive."""

    receive_timeout_s = RECEIVE_TIMEOUT_S

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._receive_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock starts with the connection: one that sends nothing ends too."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuses a head that goes on for ever."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes = 0
        self._is_in_head = True
        if self._receive_timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        """The body follows, if there is one."""
        self._is_in_head = False
        if self.parser.should_upgrade():
            self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._stop_timer()
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._receive_timer = self.loop.call_later(self.receive_timeout_s, self._end_slow_client)

    def _stop_timer(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _end_slow_client(self) -> None:
        self._receive_timer = None
        if not self.transport.is_closing():
            self.transport.close()
