"""One call: to the address that was judged, signed, not redirected, bounded in time."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hub.delivery.addresses import read_networks
from hub.delivery.calling import Caller, CallFailed, signature_of
from hub.delivery.webhooks import LONGEST_RETRY_S, pause_s

LOOPBACK = read_networks(["127.0.0.0/8", "::1/128"])


class Server:
    """A client's, that answers as a test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.headers, self.pause_s = 200, dict[str, str](), 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.calls.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                time.sleep(server.pause_s)
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def call(url: str, *, is_allowed: bool = True, timeout_s: float = 5.0) -> None:
    async def once() -> None:
        caller = Caller(LOOPBACK if is_allowed else (), timeout_s=timeout_s)
        try:
            await caller.call(url, "a-secret", webhook_id="w-1", event="job.done", body=b"{}")
        finally:
            await caller.close()

    asyncio.run(once())


def fault_of(url: str) -> str | None:
    async def once() -> str | None:
        caller = Caller()
        try:
            return await caller.fault(url)
        finally:
            await caller.close()

    return asyncio.run(once())


@pytest.mark.parametrize("url", ["http://", "http://[", "gopher://x/", "http://x:99999999/", "http://x:0/"])
def test_what_is_no_url_is_told_beforehand(url: str) -> None:
    assert fault_of(url) == "that is no URL that can be called"


@pytest.mark.parametrize("url", ["https://1.1.1.1/told", "https://nobody.invalid/"])
def test_nothing_speaks_against_servers_in_the_open_internet(url: str) -> None:
    assert fault_of(url) is None


def test_a_call_is_signed(server: Server) -> None:
    call(server.url + "/a?b=c")
    ((path, headers, body),) = server.calls
    assert (path, body, headers["webhook-event"]) == ("/a?b=c", b"{}", "job.done")
    assert headers["webhook-signature"] == signature_of("a-secret", int(headers["webhook-timestamp"]), b"{}")
    assert headers["host"] == server.url.removeprefix("http://")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_inner_addresses_are_refused_however_they_are_written(server: Server, name: str) -> None:
    port = server.http.server_port
    with pytest.raises(CallFailed) as failed:
        call(f"http://{name}:{port}/", is_allowed=False)
    assert failed.value.is_final or "resolved" in str(failed.value)
    assert server.calls == []
    assert fault_of(f"http://{name}:{port}/") == str(failed.value) or "resolved" in str(failed.value)


def test_redirects_are_not_followed(server: Server) -> None:
    server.status, server.headers = 302, {"Location": server.url + "/elsewhere"}
    with pytest.raises(CallFailed, match="answered 302"):
        call(server.url + "/")
    assert len(server.calls) == 1


def test_a_server_that_does_not_answer_is_not_waited_for(server: Server) -> None:
    server.pause_s = 3.0
    with pytest.raises(CallFailed, match="no answer"):
        call(server.url, timeout_s=0.3)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://a b/", "gopher://x/", "http://x:99999999/"])
def test_what_is_no_url_is_final(url: str) -> None:
    with pytest.raises(CallFailed):
        call(url)


def test_pauses_double_up_to_a_bound() -> None:
    assert 0.75 * 5 <= pause_s(1) <= 1.25 * 5
    assert 0.75 * 40 <= pause_s(4) <= 1.25 * 40
    assert pause_s(1_000) <= 1.25 * LONGEST_RETRY_S
