"""The plainest requests are answered at the socket, all others go the usual way: whoever asks cannot tell."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator

import httptools
import httpx
import pytest
from fastapi import Request, Response
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from chain.web.application import create_application, create_router
from chain.web.direct import DirectAnswer, DirectRequests
from chain.web.server import Server, listen

PLAIN = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n"
ECHO = {b"/echo": lambda body: b"direct " + body}


def answer_directly(request: bytes, answers: dict[bytes, DirectAnswer]) -> bytes | None:
    return DirectRequests(answers).take(request)[0]


def is_direct(request: bytes) -> bool:
    return answer_directly(request, ECHO) is not None


def test_a_plain_request_is_answered_whole() -> None:
    response = answer_directly(PLAIN + b"1234", ECHO)
    assert response == (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\ndirect 1234")


def test_a_body_may_come_in_pieces() -> None:
    requests = DirectRequests(ECHO)
    assert requests.take(PLAIN) == (None, b"")
    assert requests.take(b"12") == (None, b"")
    assert requests.is_holding
    response, rest = requests.take(b"34")
    assert response is not None
    assert response.endswith(b"direct 1234")
    assert (rest, requests.is_holding) == (b"", False)


def test_what_was_held_goes_the_usual_way_where_more_follows_or_the_handler_declines() -> None:
    requests = DirectRequests(ECHO)
    requests.take(PLAIN)
    assert requests.take(b"12345") == (None, PLAIN + b"12345")
    declining = DirectRequests({b"/echo": lambda body: None})
    declining.take(PLAIN)
    assert declining.take(b"1234") == (None, PLAIN + b"1234")
    assert not declining.is_holding


def test_little_is_held() -> None:
    large = PLAIN.replace(b"Content-Length: 4", b"Content-Length: 1000000")
    assert DirectRequests(ECHO).take(large) == (None, large)


def test_what_comes_byte_by_byte_costs_no_more_the_longer_the_head_is() -> None:
    """Whoever sends bytes one by one would otherwise have the whole head read again for each of them."""
    head = PLAIN.replace(b"Content-Length: 4", b"A: b\r\n" * 8_000 + b"Content-Length: 9000")
    requests = DirectRequests(ECHO)
    started_at = time.perf_counter()
    assert requests.take(head) == (None, b"")
    head_s = time.perf_counter() - started_at
    started_at = time.perf_counter()
    for _ in range(8_999):
        assert requests.take(b"1") == (None, b"")
    assert time.perf_counter() - started_at < 1_000 * head_s
    response, _ = requests.take(b"2")
    assert response is not None
    assert response.endswith(b"\r\n\r\ndirect " + b"1" * 8_999 + b"2")


def test_the_handler_may_send_it_the_usual_way() -> None:
    assert answer_directly(PLAIN + b"1234", {b"/echo": lambda body: None}) is None


@pytest.mark.parametrize("name", [b"Host", b"Content-TypeS", b"X-Y_z"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_ordinary_fields_stay_plain(name: bytes, where: str) -> None:
    head, field = b"POST /echo HTTP/1.1\r\nContent-Type: application/json\r\n", name + b": some thing\r\n"
    length = b"content-LENGTH:4\r\n"
    assert is_direct(head + (field + length if where == "before" else length + field) + b"\r\n1234")
    assert is_direct(head + field + b"Connection: Keep-Alive\r\n" + length + b"\r\n1234")


@pytest.mark.parametrize(
    "field",
    [
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:identity",
        b"Connection: close",
        b"Connection: Upgrade",
        b"connection: keep-alive, upgrade",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"Content-Encoding: gzip",
        b"Origin: http://evil",
        b"Content-Length: 4",
        b"Content-Length: 5",
        b"Content-Length : 4",
        b"TE: trailers",
        b" folded",
        b"no colon",
        b"Bad\x00Name: 1",
        b"Control: a\x01b",
        b"Bare: a\rb",
        b"Bare: a\nb",
        b": nameless",
    ],
)
def test_anything_unusual_is_not(field: bytes) -> None:
    head, length = b"POST /echo HTTP/1.1\r\nContent-Type: application/json\r\n", b"Content-Length: 4\r\n"
    for lines in (field + b"\r\n" + length, length + field + b"\r\n"):
        assert not is_direct(head + lines + b"\r\n1234")


@pytest.mark.parametrize(
    "request_bytes",
    [
        PLAIN + b"123",
        PLAIN + b"12345",
        PLAIN + b"1234" + PLAIN + b"1234",
        PLAIN[:-2],
        b"\r\n" + PLAIN + b"1234",
        PLAIN.replace(b"POST", b"GET") + b"1234",
        PLAIN.replace(b"POST", b"post") + b"1234",
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0") + b"1234",
        PLAIN.replace(b"HTTP/1.1", b"http/1.1") + b"1234",
        PLAIN.replace(b"/echo", b"/other") + b"1234",
        PLAIN.replace(b"/echo", b"/echo?x") + b"1234",
        PLAIN.replace(b"/echo", b"http://x/echo") + b"1234",
        PLAIN.replace(b"Content-Length: 4", b"Content-Length: +4") + b"1234",
        PLAIN.replace(b"Content-Length: 4", b"Content-Length: 0x4") + b"1234",
        PLAIN.replace(b"Content-Length: 4", b"Content-Length: 4 ") + b"1234",
        PLAIN.replace(b"Content-Length: 4\r\n", b"") + b"1234",
        PLAIN.replace(b"Content-Type: application/json\r\n", b"") + b"1234",
        PLAIN.replace(b"application/json", b"text/plain") + b"1234",
        b"",
    ],
)
def test_other_requests_are_not(request_bytes: bytes) -> None:
    assert not is_direct(request_bytes)


class Parsed:
    """What httptools makes of a request."""

    def __init__(self, request: bytes) -> None:
        self.url = self.body = b""
        self.is_complete = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(request)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


FIELDS = st.sampled_from(
    [
        b"Host: x",
        b"A:b",
        b"Connection: keep-alive",
        b"Content-Length: 4",
        b"Transfer-Encoding: chunked",
        b"X: \xff",
        b"\tX: y",
    ]
)


@given(st.lists(FIELDS, max_size=4), st.binary(max_size=8), st.sampled_from([b"\r\n", b"\n"]))
@example([b"Content-Length: 4"], b"1234", b"\r\n")
def test_what_is_direct_says_the_same_to_the_parser(fields: list[bytes], rest: bytes, line_end: bytes) -> None:
    request = line_end.join((b"POST /echo HTTP/1.1", b"Content-Type: application/json", *fields, b"", rest))
    response = answer_directly(request, ECHO)
    if response is not None:
        parsed = Parsed(request)
        assert parsed.is_complete
        assert parsed.url == b"/echo"
        assert response.endswith(b"direct " + parsed.body)
        assert parsed.parser.should_keep_alive()


@pytest.fixture
def echo() -> Iterator[str]:
    """A server whose direct way declines bodies that begin with `x`."""
    application = create_application(title="t", version="1", description="t", registry=CollectorRegistry())
    router = create_router(tag="test")

    @router.post("/echo")
    async def usual(request: Request) -> Response:
        return Response(b"usual " + await request.body(), media_type="application/json")

    application.include_router(router)
    server = Server(
        application,
        listen("127.0.0.1", 0),
        receive_timeout_s=3,
        direct_answers={"/echo": lambda body: None if body.startswith(b"x") else b"direct " + body},
    )
    ready = threading.Event()
    loops = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(lambda _url: ready.set())

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield server.url
    loops[0].call_soon_threadsafe(server.stop)
    thread.join(60)
    assert not thread.is_alive()


def test_both_ways_on_one_connection(echo: str) -> None:
    with httpx.Client(base_url=echo, headers={"Content-Type": "application/json"}) as client:
        for _ in range(3):
            assert client.post("/echo", content=b"plain").content == b"direct plain"
            assert client.post("/echo", content=b"x").content == b"usual x"
            assert client.post("/echo", content=iter([b"in ", b"pieces"])).content == b"usual in pieces"
            assert client.post("/echo", content=b"plain", headers={"Origin": "http://a"}).content == b"usual plain"
            assert client.get("/healthz").status_code == 200


def test_a_body_that_never_comes_is_not_waited_for(echo: str) -> None:
    url = httpx.URL(echo)
    with socket.create_connection((url.host, url.port or 0), timeout=60) as connection:
        for piece in (PLAIN, b"1234"):
            connection.sendall(piece)
            time.sleep(0.05)
        assert connection.recv(1000).endswith(b"direct 1234")
        connection.sendall(PLAIN)
        assert connection.recv(1000) == b""


def test_pieces_and_pipelines_come_out_in_order(echo: str) -> None:
    url = httpx.URL(echo)
    usual = PLAIN.replace(b"Host: x", b"Host: x\r\nOrigin: http://a") + b"1234"
    with socket.create_connection((url.host, url.port or 0), timeout=60) as connection:
        for piece in (PLAIN[:20], PLAIN[20:], b"12", b"34", PLAIN + b"5678", usual + PLAIN + b"abcd", PLAIN + b"efgh"):
            connection.sendall(piece)
        received = b""
        while b"efgh" not in received:
            received += connection.recv(65536)
    # Which way each goes depends on what the kernel hands over together.
    assert re.findall(rb"(?:usual|direct) (....)", received) == [b"1234", b"5678", b"1234", b"abcd", b"efgh"]
    assert received.count(b"HTTP/1.1 200 OK") == 5
