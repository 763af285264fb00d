"""A serving process: ports, slow and endless clients, signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import Response
from prometheus_client import CollectorRegistry

from chain.web.application import create_application, create_router
from chain.web.protocol import MAX_HEAD_BYTES
from chain.web.server import CannotListen, Server, listen

LONG_BYTES = 16 * 1024 * 1024
"""More than the kernel keeps of what a client does not read."""


class Served:
    """An application that serves from a thread."""

    def __init__(self, **options: object) -> None:
        application = create_application(
            title="test", version="1", description="test", registry=CollectorRegistry(), max_body_bytes=1_000
        )
        router = create_router(tag="test")
        self.is_asked_to_wait = threading.Event()

        @router.get("/wait")
        async def wait(seconds: float) -> str:
            self.is_asked_to_wait.set()
            await asyncio.sleep(seconds)
            return "done"

        @router.get("/long")
        async def long() -> Response:
            return Response(bytes(LONG_BYTES))

        application.include_router(router)
        self.server = Server(application, listen("127.0.0.1", 0), **options)  # type: ignore[arg-type]
        self.ready = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(
            target=lambda: self.loop.run_until_complete(self.server.serve(lambda _url: self.ready.set()))
        )
        self.thread.start()
        assert self.ready.wait(60)

    def connect(self) -> socket.socket:
        """A raw connection."""
        address = urlsplit(self.server.url)
        return socket.create_connection((str(address.hostname), address.port or 0), timeout=60)

    def stop(self) -> None:
        """Ends it."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.server.stop)
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts servers, and stops them."""
    started: list[Served] = []

    def start(**options: object) -> Served:
        started.append(Served(**options))
        return started[-1]

    yield start
    for served in started:
        served.stop()


def test_port_in_use_says_what_to_do() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port} on 127.0.0.1 is in use.*--port"):
            listen("127.0.0.1", port)


def test_foreign_address_says_what_to_do() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 203\.0\.113\.1 port 80.*--host"):
        listen("203.0.113.1", 80)


def test_silent_and_slow_clients_are_cut_off(serve: Callable[..., Served]) -> None:
    served = serve(receive_timeout_s=0.3)
    beginnings = [b"", b"GET /healthz HTT", b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"]
    for beginning in beginnings:
        with served.connect() as connection:
            connection.sendall(beginning)
            started_at = time.monotonic()
            assert connection.recv(1) == b""
            assert time.monotonic() - started_at < 60
    assert not drips(served, b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 200)
    assert httpx.get(f"{served.server.url}/healthz").status_code == 200


def drips(served: Served, request_bytes: bytes) -> bool:
    """Whether the server bears one byte at a time to the end."""
    with served.connect() as connection:
        try:
            for byte in request_bytes:
                connection.sendall(bytes((byte,)))
                time.sleep(0.02)
        except OSError:
            return False
    return True


def test_empty_lines_hold_no_connection(serve: Callable[..., Served]) -> None:
    served = serve(receive_timeout_s=0.3)
    with served.connect() as connection:
        connection.settimeout(60)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        while connection.recv(4_096):
            pass


def test_endless_head_is_refused(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        received = b""
        try:
            for _ in range(100 * MAX_HEAD_BYTES // 4096):
                connection.sendall(b"X: " + b"y" * 4091 + b"\r\n")
            received = connection.recv(100)
        except OSError:
            received = received or b"HTTP/1.1 400"
    assert received.startswith(b"HTTP/1.1 400")


def test_what_is_no_http_gets_a_problem(serve: Callable[..., Served]) -> None:
    with serve().connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
        head, body = connection.makefile("rb").read().split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["reason"] == "malformed"


def test_keep_alive_survives_several_requests(serve: Callable[..., Served]) -> None:
    served = serve()
    with httpx.Client(base_url=served.server.url) as client:
        assert [client.get("/healthz").status_code for _ in range(5)] == [200] * 5


def await_room(served: Served) -> None:
    """Returns once others are served again."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{served.server.url}/healthz").status_code == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_too_many_connections_get_a_503(serve: Callable[..., Served]) -> None:
    served = serve(max_connections=3)
    idle = [served.connect() for _ in range(3)]
    time.sleep(0.2)
    crowded = httpx.get(f"{served.server.url}/healthz")
    assert (crowded.status_code, crowded.json()["reason"]) == (503, "crowded")
    for connection in idle:
        connection.close()
    await_room(served)


def test_connections_do_not_take_every_descriptor(serve: Callable[..., Served]) -> None:
    served = serve(max_connections=3)
    idle = [served.connect() for _ in range(10)]
    assert idle[-1].recv(1) == b""
    assert [is_cut_off(connection) for connection in idle] == [False] * 6 + [True] * 4
    for connection in idle:
        connection.close()
    await_room(served)


def is_cut_off(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_clients_that_do_not_read_are_cut_off(serve: Callable[..., Served]) -> None:
    served = serve(send_timeout_s=0.3)
    with served.connect() as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1)
        received = 0
        with contextlib.suppress(OSError):  # Cut off may mean an end or a reset.
            while chunk := connection.recv(1 << 20):
                received += len(chunk)
    assert received < LONG_BYTES


def test_slow_reader_gets_all(serve: Callable[..., Served]) -> None:
    served = serve(send_timeout_s=1.0)
    with served.connect() as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = 0
        while chunk := connection.recv(1 << 19):
            received += len(chunk)
            time.sleep(0.05)  # In all, more than a second.
    assert received > LONG_BYTES


def test_requests_in_flight_may_finish_and_whom_it_concerns_is_told_once(serve: Callable[..., Served]) -> None:
    told: list[str] = []
    served = serve(shutdown_timeout_s=60, on_stopping=lambda: told.append("stopping"))
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{served.server.url}/wait?seconds=0.6")))
    asking.start()
    assert served.is_asked_to_wait.wait(60)
    served.loop.call_soon_threadsafe(served.server.stop)
    served.stop()
    asking.join()
    assert answers[0].json() == "done"
    assert told == ["stopping"]


PROGRAM = """
from prometheus_client import CollectorRegistry
from chain.web.application import create_application
from chain.web.logs import set_up_logging
from chain.web.server import serve
set_up_logging()
application = create_application(title="t", version="1", description="d", registry=CollectorRegistry())
serve(application, host="127.0.0.1", port=0, on_ready=lambda url: print(url, flush=True))
print("clean", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_process_cleanly_and_soon(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/healthz").status_code == 200
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stdout.read() == "clean\n"
        assert '"event": "stopped"' in process.stderr.read()
