"""nginx's site in front of a real node: the market's events arrive through TLS as they happen."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.chain.conftest import People, RunningNode
from tests.chain.trading import Trading
from tests.deploy.machine import until
from tests.deploy.nginx_server import SERVER_NAME, Nginx

pytestmark = pytest.mark.programs("nginx", "openssl")
STREAMS_PER_ADDRESS = 16


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """Whose market 1 is open."""
    running = RunningNode(People(), tmp_path_factory.mktemp("node") / "chain")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, node: RunningNode) -> Iterator[Nginx]:
    """nginx in front of it."""
    server = Nginx.prepare(tmp_path_factory.mktemp("nginx"))
    server.render("node", "--upstream", node.url.removeprefix("http://"))
    process = server.start()
    yield server
    process.terminate()
    process.wait(30)


class Asking:
    """One request over TLS, from an address of loopback's."""

    def __init__(self, nginx: Nginx, path: str, address: str = "127.0.0.1") -> None:
        raw = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=60, source_address=(address, 0))
        self.connection: ssl.SSLSocket = nginx.tls().wrap_socket(raw, server_hostname=SERVER_NAME)
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\n\r\n".encode())
        self._lines = self.connection.makefile("rb")
        self.status = int(self._lines.readline().split()[1])

    def close(self) -> None:
        """Goes away in the middle."""
        self._lines.close()
        self.connection.close()

    def until_event(self, name: str) -> dict[str, Any]:
        """The next event of this name."""
        is_it = False
        for line in self._lines:
            if line.startswith(b"event: "):
                is_it = line.strip() == f"event: {name}".encode()
            elif is_it and line.startswith(b"data: "):
                content: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
                return content
        raise AssertionError("the stream has ended")


def test_a_trade_is_told_while_the_stream_goes_on(nginx: Nginx, node: RunningNode) -> None:
    trading = Trading(node.people)
    for transactions in trading.founding():
        assert set(node.settle(*transactions)) == {"success"}
    with closing(Asking(nginx, "/v1/stream?market=1")) as stream:
        assert stream.status == 200
        assert stream.until_event("block")["height"] > 0
        for price in (500, 510):  # Each arrives before anything follows it.
            assert node.settle(*trading.trade(price, 2)) == ["success", "success"]
            assert stream.until_event("trade")["price"] == str(price)


def test_the_site_keeps_streams_open_and_buffers_nothing(nginx: Nginx) -> None:
    """The node's own X-Accel-Buffering would do for buffering; not for another service's header rules in between."""
    site = (nginx.folder / "sites-available/aitbc-node.conf").read_text()
    (location,) = (part for part in site.split("location ") if part.startswith("= /v1/stream {"))
    for directive in ("proxy_buffering off;", "proxy_cache off;", "proxy_read_timeout 3600s;"):
        assert directive in location


def test_one_address_cannot_take_every_stream(nginx: Nginx) -> None:
    """To the node all of them come from nginx, which it bounds by no address."""
    with ExitStack() as opened:
        for _ in range(STREAMS_PER_ADDRESS):
            stream = opened.enter_context(closing(Asking(nginx, "/v1/stream", "127.0.0.2")))
            assert stream.status == 200
        for path, address, status in (
            ("/v1/stream", "127.0.0.2", 429),
            ("/v1/markets", "127.0.0.2", 200),
            ("/v1/stream", "127.0.0.3", 200),
        ):
            with closing(Asking(nginx, path, address)) as other:
                assert other.status == status, (path, address)

    def is_let_in_again() -> bool:
        with closing(Asking(nginx, "/v1/stream", "127.0.0.2")) as again:
            return again.status == 200

    until(is_let_in_again, "a place for a new stream")


def test_the_exchange_is_served_with_its_policy(nginx: Nginx) -> None:
    with closing(Asking(nginx, "/exchange")) as page:
        headers = b"".join(iter(page._lines.readline, b"\r\n")).decode().lower()
    assert page.status == 200
    assert headers.count("content-security-policy: default-src 'none'") == 1
    assert "strict-transport-security: max-age=31536000" in headers
