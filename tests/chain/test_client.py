"""The client of a node's REST API, against real nodes and against servers that are none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
import pytest

from chain import calls, escrow_calls, market_calls
from chain.answers import Atoms, BigInteger, SupplyView, answer_decoder, encode_answer
from chain.client import (
    MAX_RESPONSE_BYTES,
    AsyncNodeClient,
    NodeClient,
    NodeRefused,
    NodeUnavailable,
    TransactionNotFinal,
)
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import TOKEN, TOKEN_TRANSFER
from chain.primitives.rejection import Rejected
from chain.primitives.types import ATOMS_PER_AIT, Address, BlockHeight

if TYPE_CHECKING:
    from tests.chain.conftest import People, RunningNode, StartNode

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer everything with the same; `serve(body, status=…, headers=…)` gives the URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(body: bytes = b"{}", *, status: int = 200, headers: dict[str, str] | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answers."""
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_arguments: object) -> None:
                """Says nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def status_of(url: str) -> None:
    with NodeClient(url) as client:
        client.status()


async def test_async_client_speaks_like_the_blocking_one(node: RunningNode) -> None:
    mint = node.people.mint("ann", 5, nonce=0)
    async with AsyncNodeClient(node.url) as client:
        sent = await client.send_transaction(mint.raw)
        assert sent == node.client.send_transaction(mint.raw) or sent.status == "pending"
        view = await client.wait_for_transaction(mint.hash, poll_interval_s=0.01)
        assert view == node.client.transaction(mint.hash)
        address = node.people.address("ann")
        assert await client.account(address) == node.client.account(to_checksum_address(address))
        assert await client.account_mints(address) == node.client.account_mints(address)
        assert await client.status() == node.client.status()
        with pytest.raises(NodeRefused):
            await client.receipt(keccak256(b"none"))


@pytest.mark.parametrize(("module", "count"), [(calls, 23), (market_calls, 13), (escrow_calls, 2)])
def test_every_call_is_a_method_of_both_clients(module: ModuleType, count: int) -> None:
    names = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    not_requests = ("get", "hash_text", "address_text")
    requests = [name for name in names if name.islower() and not name.startswith("_") and name not in not_requests]
    assert len(requests) == count
    for client in (NodeClient, AsyncNodeClient):
        for name in requests:
            assert getattr(client, name).__doc__ == getattr(module, name).__doc__


def test_refusals_carry_reason_field_and_status(node: RunningNode) -> None:
    with pytest.raises(NodeRefused) as caught:
        node.client.send_transaction(b"\x02\xc0")
    refused = caught.value
    assert (refused.status, refused.reason, refused.field) == (400, "malformed", "raw_transaction")
    assert refused.message == str(refused)
    with pytest.raises(NodeRefused) as missing:
        node.client.transaction(keccak256(b"none"))
    assert (missing.value.status, missing.value.reason) == (404, "not_found")


def test_waiting_ends_in_time(start_node: StartNode) -> None:
    node = start_node(block_interval_ms=60_000)
    mint = node.people.mint("ann", 5, nonce=0)
    node.send(mint)
    with pytest.raises(TransactionNotFinal, match="is not final after"):
        node.client.wait_for_transaction(mint.hash, timeout_s=0.2, poll_interval_s=0.05)


def test_waiting_rides_out_a_restart(node: RunningNode, start_node: StartNode, people: People) -> None:
    mint = node.people.mint("ann", 5, nonce=0)
    node.settle(mint)
    port = int(node.url.rsplit(":", 1)[1])
    node.stop()
    with NodeClient(f"http://127.0.0.1:{port}") as client, pytest.raises(NodeUnavailable):
        client.wait_for_transaction(mint.hash, timeout_s=0.3, poll_interval_s=0.05)


@pytest.mark.parametrize("url", ["", "localhost:8545", "ftp://host", "http://", "file:///etc/passwd"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a node"):
        NodeClient(url)


def test_nobody_listens() -> None:
    with pytest.raises(NodeUnavailable, match=r"no answer from the node at http://127\.0\.0\.1:9: "):
        status_of("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"chain_id": "x"}',
        b"\xff" * 10,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        json.dumps({"chain_id": 1, "genesis_hash": "0xzz"}).encode(),
    ],
)
@pytest.mark.parametrize("status", [200, 404, 500])
def test_answers_of_something_else(serve: Serve, body: bytes, status: int) -> None:
    with pytest.raises(NodeUnavailable, match="something that no AITBC node says"):
        status_of(serve(body, status=status))


def test_fault_of_the_node_is_no_refusal(serve: Serve) -> None:
    problem = json.dumps({"reason": "internal_error", "detail": "broken", "field": None}).encode()
    with pytest.raises(NodeUnavailable, match="has a problem: broken"):
        status_of(serve(problem, status=500))


def test_redirects_are_not_followed(serve: Serve) -> None:
    with pytest.raises(NodeUnavailable):
        status_of(serve(b"", status=302, headers={"Location": "http://127.0.0.1:9/"}))


def test_endless_answers_are_cut_off(serve: Serve) -> None:
    with pytest.raises(NodeUnavailable, match="more than"):
        status_of(serve(b" " * (MAX_RESPONSE_BYTES + 1)))


def test_compressed_answers_are_not_unpacked(serve: Serve) -> None:
    with pytest.raises(NodeUnavailable):
        status_of(serve(b"\x1f\x8b\x08" + bytes(100), headers={"Content-Encoding": "gzip"}))


def test_a_transaction_is_tried_before_it_is_signed(node: RunningNode) -> None:
    ann, bob = node.people.address("ann"), node.people.address("bob")
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    transfer = TOKEN_TRANSFER.encode(bob, 1)
    with NodeClient(node.url) as client:
        assert client.estimate_gas(ann, bob, ATOMS_PER_AIT, b"") == calls.GasEstimate(21_000, None)
        assert client.estimate_gas(ann, TOKEN, 0, transfer) == calls.GasEstimate(100_000 + 16 * len(transfer), None)
        refused = client.estimate_gas(ann, bob, ATOMS_PER_AIT + 1, b"")
    assert refused.gas is None
    assert refused.refusal is not None
    assert "insufficient funds" in refused.refusal


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"result": 1}', b'{"result": "21000"}', b'{"result": "0x"}', b'{"error": "no"}']
)
def test_estimates_of_something_else(body: bytes) -> None:
    call = calls.estimate_gas(Address(bytes(20)), Address(bytes(20)), 0, b"")
    with pytest.raises(msgspec.MsgspecError):
        call.read(body)
    assert call.read(b'{"error": {"code": 3, "message": "' + b"x" * 9999 + b'"}}').refusal == "x" * 500


@pytest.mark.parametrize("field", ["nonce", "pending_nonce"])
def test_nonces_below_zero_are_no_answer(field: str) -> None:
    fields = {"address": "0x" + "11" * 20, "balance": "0", "nonce": 0, "pending_nonce": 0, "height": 1}
    read = calls.account(Address(b"\x11" * 20)).read
    assert read(json.dumps(fields | {"finalized": True}).encode()).nonce == 0
    with pytest.raises(msgspec.ValidationError):
        read(json.dumps(fields | {"finalized": True, field: -1}).encode())


def test_paths_cannot_be_forged(node: RunningNode) -> None:
    for text in ("../status", "0x12?x=1", "a/b", "", "0x%00"):
        with pytest.raises(ValueError, match="hex digits"):
            node.client.transaction(text)


def test_amounts_survive_json_to_the_atom() -> None:
    supply = SupplyView(
        minted=Atoms(2**200 + 1), burned=Atoms(1), supply=Atoms(2**200), height=BlockHeight(3), finalized=True
    )
    encoded = encode_answer(supply)
    assert json.loads(encoded)["minted"] == str(2**200 + 1)
    assert answer_decoder(SupplyView).decode(encoded) == supply
    for wrong in (b'"-1"', b'"01"', b'"1e3"', b"5", b'"' + b"9" * 5_000 + b'"'):
        with pytest.raises((Rejected, ValueError)):
            answer_decoder(BigInteger).decode(wrong)
