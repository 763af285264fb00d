"""A foreign node that talks nonsense: one kind of error, no traceback, no key in a message, no endless reading."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import py_ecc  # noqa: F401 - it lifts Python's recursion limit, as eth-keyfile's import does in the wallet
import pytest

from chain.primitives.hashing import sha256
from chain.primitives.swap_records import SwapStatus
from chain.primitives.swaps import SWAP
from chain.primitives.types import Address
from wallet.swaps.json_rpc import JsonRpc, RpcRefused, RpcUnavailable
from wallet.swaps.reading import AssetName, read_asset, read_lock
from wallet.swaps.terms import Lock

SECRET = b"\x05" * 32
MAKER, TAKER, CONTRACT, TOKEN = (Address(bytes((number,)) * 20) for number in (1, 2, 3, 4))
LOCK = Lock(
    chain_id=8,
    contract=CONTRACT,
    asset=TOKEN,
    value=20,
    deadline=1_000,
    sender=MAKER,
    recipient=TAKER,
    hash=sha256(SECRET),
)
Answer = Callable[[dict[str, Any]], bytes]


class Node:
    """Answers each request with what `answer` makes of it."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: b""
        self.headers: dict[str, str] = {}
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                content = node.answer(request)
                self.send_response(200)
                for name, value in node.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_request(self, *_: object) -> None:
                """Nothing on the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v3/api-key-of-somebody"

    def says(self, results: dict[str, Any]) -> None:
        """A result by method."""
        self.answer = lambda request: json.dumps({"id": 1, "result": results[request["method"]]}).encode()


@pytest.fixture
def node() -> Iterator[Node]:
    """On loopback."""
    running = Node()
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


@pytest.fixture
def rpc(node: Node) -> Iterator[JsonRpc]:
    """A client of it."""
    with JsonRpc(node.url, "the node") as client:
        yield client


def swap_answer(**changes: Any) -> str:
    terms = {
        "sender": MAKER,
        "recipient": TAKER,
        "asset": TOKEN,
        "value": 20,
        "hash": LOCK.hash,
        "deadline": 1_000,
        "status": 2,
        "secret": SECRET,
    }
    return "0x" + SWAP.encode_output(*{**terms, **changes}.values()).hex()


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"id": 1}', b"x" * (5 * 1024 * 1024)],
)
def test_no_usable_answer(node: Node, rpc: JsonRpc, content: bytes) -> None:
    node.answer = lambda request: content
    with pytest.raises(RpcUnavailable) as caught:
        rpc.call("eth_chainId")
    assert "api-key" not in str(caught.value)


def test_what_was_compressed_without_being_asked_is_not_unpacked(node: Node, rpc: JsonRpc) -> None:
    bomb = gzip.compress(b'{"result": "' + b"0" * 50_000_000 + b'"}')
    node.headers, node.answer = {"Content-Encoding": "gzip"}, lambda request: bomb
    with pytest.raises(RpcUnavailable, match="no JSON-RPC answer"):
        rpc.call("eth_chainId")


def test_no_proxy_stands_between_two_processes_of_one_machine(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    node.says({"eth_chainId": "0x7"})
    with JsonRpc(node.url, "the node") as client:
        assert client.quantity("eth_chainId") == 7


@pytest.mark.parametrize("result", [None, 5, "5", "0x", "0xg", "0x" + "1" * 65, [], {}, True])
def test_a_number_that_is_none(node: Node, rpc: JsonRpc, result: Any) -> None:
    node.says({"eth_chainId": result})
    with pytest.raises(RpcUnavailable):
        rpc.quantity("eth_chainId")


def test_a_refusal_is_cut_short(node: Node, rpc: JsonRpc) -> None:
    for error in ({"code": 3, "message": "execution reverted: " + "x" * 10_000}, {"code": 3}, "no", [1]):
        node.answer = lambda request, error=error: json.dumps({"id": 1, "error": error}).encode()  # type: ignore[misc]
        with pytest.raises(RpcRefused) as caught:
            rpc.call("eth_call")
        assert len(str(caught.value)) <= 300


def test_nobody_there_and_no_url() -> None:
    with JsonRpc("http://127.0.0.1:1/api-key", "the node") as client, pytest.raises(RpcUnavailable) as caught:
        client.call("eth_chainId")
    assert str(caught.value) == "no answer from the node: ConnectError"
    for url in ("", "ftp://host", "http://", "file:///etc/passwd", "host:8545"):
        with pytest.raises(ValueError, match="the URL of"):
            JsonRpc(url, "the node")


def test_a_lock_is_read_and_its_terms_are_compared(node: Node, rpc: JsonRpc) -> None:
    block = {"number": "0x10", "timestamp": "0x64"}
    node.says({"eth_getBlockByNumber": block, "eth_call": swap_answer()})
    state = read_lock(rpc, LOCK, 12, 90)
    assert (state.status, state.secret, state.chain_s, state.now_s) == (SwapStatus.CLAIMED, SECRET, 100, 100)
    for changes in ({"recipient": MAKER}, {"value": 19}, {"deadline": 1_001}, {"asset": CONTRACT}, {"status": 9}):
        node.says({"eth_getBlockByNumber": block, "eth_call": swap_answer(**changes)})
        with pytest.raises(RpcUnavailable):
            read_lock(rpc, LOCK, 12, 90)
    for answer in ("0x00", swap_answer() + "00"):
        node.says({"eth_getBlockByNumber": block, "eth_call": answer})
        with pytest.raises(RpcUnavailable):
            read_lock(rpc, LOCK, 12, 90)
    node.says({"eth_getBlockByNumber": block, "eth_call": "0x"})  # No contract there.
    assert read_lock(rpc, LOCK, 12, 90).status is SwapStatus.NONE
    node.says({"eth_getBlockByNumber": None, "eth_call": "0x"})
    with pytest.raises(RpcUnavailable):
        read_lock(rpc, LOCK, 12, 90)


def test_confirmations_are_counted_from_the_newest_block(node: Node, rpc: JsonRpc) -> None:
    asked: list[str] = []

    def answer(request: dict[str, Any]) -> bytes:
        if request["method"] == "eth_call":
            asked.append(request["params"][1])
            return json.dumps({"result": swap_answer(status=1) if request["params"][1] == "latest" else "0x"}).encode()
        return json.dumps({"result": {"number": "0x10", "timestamp": "0x64"}}).encode()

    node.answer = answer
    for confirmations, block in ((1, "0x10"), (12, "0x5"), (17, "0x0"), (100, "0x0"), (None, "finalized")):
        asked.clear()
        state = read_lock(rpc, LOCK, confirmations, 90)
        assert (state.status, state.confirmed) == (SwapStatus.OPEN, SwapStatus.NONE)
        assert asked == ["latest", block]


def test_a_tokens_own_words_are_tamed(node: Node, rpc: JsonRpc) -> None:
    words = {"0x313ce567": "0x" + (6).to_bytes(32, "big").hex()}

    def answer(request: dict[str, Any]) -> bytes:
        return json.dumps({"result": words.get(request["params"][0]["data"], "0x")}).encode()

    node.answer = answer
    assert read_asset(rpc, TOKEN) == AssetName("?", 6)
    hostile = "\x1b[2J" + "U" * 100
    encoded = hostile.encode()
    tail = len(encoded).to_bytes(32, "big") + encoded.ljust(128, b"\0")
    words["0x95d89b41"] = "0x" + ((32).to_bytes(32, "big") + tail).hex()
    assert read_asset(rpc, TOKEN) == AssetName("[2J" + "U" * 13, 6)
    words["0x313ce567"] = "0x" + (200).to_bytes(32, "big").hex()
    with pytest.raises(RpcRefused, match="200 decimals"):
        read_asset(rpc, TOKEN)
    del words["0x313ce567"]
    with pytest.raises(RpcRefused, match="no token"):
        read_asset(rpc, TOKEN)


def test_amounts_for_people() -> None:
    assert AssetName("T", 6).format(1_500_000) == "1.5 T"
    assert AssetName("T", 6).format(1) == "0.000001 T"
    assert AssetName("T", 6).format(2_000_000) == "2 T"
    assert AssetName("T", 0).format(7) == "7 T"
