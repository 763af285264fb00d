"""The proxies themselves: what is cut waits, what is delayed is late, what is reset ends."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.processes.links import Links


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends everything back."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(connection: socket.socket) -> None:
            with connection:
                while received := connection.recv(65_536):
                    connection.sendall(received)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def is_silent(connection: socket.socket, for_s: float = 0.15) -> bool:
    connection.settimeout(for_s)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def test_bytes_pass_both_ways(links: Links, echo_port: int) -> None:
    with connect(links.add(0, 1, echo_port)) as connection:
        sent = bytes(range(256)) * 4_000
        threading.Thread(target=connection.sendall, args=(sent,)).start()
        received = b""
        while len(received) < len(sent):
            received += connection.recv(65_536)
        assert received == sent


@pytest.mark.parametrize("way", [(0, 1), (1, 0)])
def test_a_cut_holds_one_way_back_until_it_heals(links: Links, echo_port: int, way: tuple[int, int]) -> None:
    with connect(links.add(0, 1, echo_port)) as connection:
        connection.sendall(b"a")
        assert connection.recv(1) == b"a"
        links.cut(*way)
        connection.sendall(b"b")
        assert is_silent(connection)
        links.heal()
        assert connection.recv(1) == b"b"


def test_nobody_connects_through_a_cut(links: Links, echo_port: int) -> None:
    links.isolate(1, [0])
    with connect(links.add(0, 1, echo_port)) as connection:
        connection.sendall(b"a")
        assert is_silent(connection)
        links.heal()
        assert connection.recv(1) == b"a"


def test_a_delay_makes_everything_late_and_keeps_the_order(links: Links, echo_port: int) -> None:
    with connect(links.add(0, 1, echo_port)) as connection:
        links.delay(1, 0, 150)
        started = time.monotonic()
        connection.sendall(b"ab")
        assert connection.recv(1) + connection.recv(1) == b"ab"
        assert time.monotonic() - started >= 0.15


def test_a_reset_ends_what_is_connected_and_nothing_else(links: Links, echo_port: int) -> None:
    port = links.add(0, 1, echo_port)
    with connect(port) as connection, connect(links.add(0, 2, echo_port)) as other:
        for each in (connection, other):
            each.sendall(b"a")
            assert each.recv(1) == b"a"
        links.reset(1, 0)
        assert has_ended(connection)
        other.sendall(b"b")
        assert other.recv(1) == b"b"
        with connect(port) as again:
            again.sendall(b"c")
            assert again.recv(1) == b"c"


def test_a_target_that_is_down_ends_the_connection(links: Links) -> None:
    with connect(links.add(0, 1, 9)) as connection:
        assert has_ended(connection)
