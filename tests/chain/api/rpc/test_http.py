"""POST /rpc and POST /: what a body may be, and what browsers are told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from chain.api.rpc.budget import ByteBudget
from chain.api.rpc.dispatch import Dispatcher
from chain.api.rpc.heavy_pool import HeavyPool
from chain.api.rpc.http import RpcEndpoint
from chain.api.rpc.methods import Method
from chain.api.rpc.metrics import RpcMetrics
from chain.api.rpc.protocol import MAX_BODY_BYTES
from chain.primitives.hexadecimal import to_hex
from chain.primitives.types import ATOMS_PER_AIT

if TYPE_CHECKING:
    from starlette.types import Message

    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode, StartNode

CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'
ORIGIN = {"Origin": "https://wallet.example"}


@pytest.mark.parametrize("path", ["/rpc", "/"])
@pytest.mark.parametrize("headers", [{}, ORIGIN])  # With an Origin, a request is not of the plainest kind.
def test_both_paths_and_both_ways_answer_alike(rpc: RpcClient, path: str, headers: dict[str, str]) -> None:
    for media_type in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        answer = rpc.http.post(path, content=CALL, headers={"Content-Type": media_type, **headers})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json()["id"] == 1
        assert answer.json()["result"].startswith("0x")
    for body in (b"{", b"[]", b"7", CALL[:-1], b"[" + CALL + b",7]", CALL.replace(b"eth_", b"exe_")):
        answer = rpc.http.post(path, content=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code == 200
        assert "error" in answer.text


def test_nobody_waits_for_notifications(rpc: RpcClient) -> None:
    answer = rpc.post(b'{"jsonrpc":"2.0","method":"eth_blockNumber"}')
    assert (answer.status_code, answer.content) == (204, b"")


def test_other_requests_go_where_they_went_before(rpc: RpcClient) -> None:
    assert rpc.http.get("/").status_code == 404
    assert rpc.http.get("/rpc").status_code == 404
    assert rpc.http.put("/rpc", content=CALL).status_code == 404
    assert rpc.http.post("/rpc/", content=CALL).status_code in (307, 404)
    assert rpc.http.get("/v1/status").status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_pages_send_json_and_programs_what_they_like(rpc: RpcClient, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    answer = rpc.http.post("/rpc", content=CALL, headers={**headers, **ORIGIN})
    assert (answer.status_code, answer.json()["reason"]) == (415, "unsupported_media_type")
    heavy = CALL.replace(b"eth_blockNumber", b"eth_getBlockByNumber").replace(b"[]", b'["latest"]')
    for body in (CALL, heavy):
        assert rpc.http.post("/rpc", content=body, headers=headers).json()["result"]


def test_bodies_are_bounded(rpc: RpcClient) -> None:
    padded = b" " * (MAX_BODY_BYTES - len(CALL)) + CALL
    assert rpc.post(padded).json()["result"]
    answer = rpc.post(b" " + padded)
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
    chunks = (b" " * 65_536 for _ in range(64))
    answer = rpc.http.post("/rpc", content=chunks, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_body_that_is_cut_off_harms_nobody(node: RunningNode, rpc: RpcClient) -> None:
    host, port = node.url.removeprefix("http://").split(":")
    for sent in (CALL[:20], b""):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 63\r\n\r\n"
            connection.sendall(head + sent)
    assert rpc.call("eth_blockNumber")


def test_a_hundred_transactions_in_one_body(start_node: StartNode, rpc_of: Callable[[RunningNode], RpcClient]) -> None:
    node = start_node(block_interval_ms=200)
    rpc, people = rpc_of(node), node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    transfers = [people.transfer("ann", "bob", 1, nonce=nonce, data=b"x" * 256) for nonce in range(1, 101)]
    calls = [{"id": n, "method": "eth_sendRawTransaction", "params": [to_hex(t.raw)]} for n, t in enumerate(transfers)]
    answers = rpc.batch(*calls)
    assert [answer["result"] for answer in answers] == [to_hex(transfer.hash) for transfer in transfers]


def test_any_page_may_ask_by_default(rpc: RpcClient) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type", **ORIGIN}
    for path in ("/rpc", "/", "/v1/transactions"):
        answer = rpc.http.options(path, headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "content-type"
    asked = {**preflight, "Access-Control-Request-Private-Network": "true"}  # By Chrome, for a node on loopback.
    assert rpc.http.options("/rpc", headers=asked).headers["access-control-allow-private-network"] == "true"
    for answer in (
        rpc.http.post("/rpc", content=CALL, headers={"Content-Type": "application/json", **ORIGIN}),
        rpc.http.post("/rpc", content=CALL, headers={"Content-Type": "text/plain", **ORIGIN}),
        rpc.http.get("/v1/status", headers=ORIGIN),
        rpc.http.get("/v1/blocks/nix", headers=ORIGIN),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


def test_counted_by_method(rpc: RpcClient) -> None:
    rpc.call("eth_chainId")
    rpc.error("eth_getBalance")
    metrics = rpc.http.get("/metrics").text
    assert 'aitbc_rpc_call_seconds_count{method="eth_chainId"} 1.0' in metrics
    assert 'aitbc_rpc_errors_total{code="-32602",method="eth_getBalance"} 1.0' in metrics


def test_node_that_has_failed_takes_no_transactions(node: RunningNode, rpc: RpcClient) -> None:
    node.node.fault = "the disk is full"
    mint = node.people.mint("ann", 1, nonce=0)
    alone = rpc.error("eth_sendRawTransaction", to_hex(mint.raw))
    assert alone["message"].startswith("this node has stopped making blocks")
    calls = [{"id": n, "method": "eth_sendRawTransaction", "params": [to_hex(mint.raw)]} for n in range(2)]
    assert [json.dumps(answer["error"]) for answer in rpc.batch(*calls)] == [json.dumps(alone)] * 2
    assert rpc.call("eth_blockNumber")


@pytest.mark.asyncio
async def test_answers_that_nobody_reads_are_bounded_together() -> None:
    pool = HeavyPool()
    method = Method(name="large", summary="", result={}, handler=lambda: "x" * 100_000)
    dispatcher = Dispatcher([method], pool=pool, metrics=RpcMetrics(CollectorRegistry()))
    endpoint = RpcEndpoint(FastAPI(), dispatcher, unsent=ByteBudget(150_000), bodies=ByteBudget(150_000))
    reads = asyncio.Event()
    answered: list[list[Message]] = []

    async def ask() -> None:
        sent: list[Message] = []
        answered.append(sent)

        async def receive() -> Message:
            return {"type": "http.request", "body": b'{"jsonrpc":"2.0","id":1,"method":"large"}'}

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                await reads.wait()

        headers = [(b"content-type", b"application/json")]
        await endpoint({"type": "http", "method": "POST", "path": "/rpc", "headers": headers}, receive, send)

    first, second = asyncio.create_task(ask()), asyncio.create_task(ask())
    await asyncio.sleep(0.05)
    assert [sent[0]["status"] for sent in answered] == [200, 503]
    reads.set()
    await asyncio.gather(first, second)
    await ask()
    assert answered[2][0]["status"] == 200
    assert sum(len(message["body"]) for message in answered[2][1:]) > 100_000
    await pool.close()


@pytest.mark.asyncio
async def test_requests_in_hand_are_bounded_together() -> None:
    pool = HeavyPool()
    dispatcher = Dispatcher([], pool=pool, metrics=RpcMetrics(CollectorRegistry()))
    endpoint = RpcEndpoint(FastAPI(), dispatcher, unsent=ByteBudget(1), bodies=ByteBudget(1_000))
    comes = asyncio.Event()
    answered: dict[str, int] = {}

    async def ask(name: str, headers: list[tuple[bytes, bytes]]) -> None:
        async def receive() -> Message:
            await comes.wait()
            return {"type": "http.request", "body": b"{}"}

        async def send(message: Message) -> None:
            answered.setdefault(name, message.get("status", 0))

        await endpoint({"type": "http", "method": "POST", "path": "/rpc", "headers": headers}, receive, send)

    slow = asyncio.create_task(ask("slow", [(b"content-length", b"900")]))
    await asyncio.sleep(0.01)
    await ask("unannounced", [])
    await ask("large", [(b"content-length", b"101")])
    assert answered == {"unannounced": 503, "large": 503}
    small = asyncio.create_task(ask("small", [(b"content-length", b"100")]))
    comes.set()
    await asyncio.gather(slow, small)
    await ask("later", [(b"content-length", b"900")])
    assert answered == {"unannounced": 503, "large": 503, "slow": 200, "small": 200, "later": 200}
    await pool.close()
