"""Whatever is sent: a 4xx problem that names the cause, never a 5xx, nothing changed, and the node lives on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chain.primitives.hexadecimal import to_hex
from chain.web.problems import PROBLEM_MEDIA_TYPE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.conftest import RunningNode

HASH = "0x" + "ab" * 32
ADDRESS = "0x" + "ab" * 20


@pytest.fixture(scope="module")
def node(node_in: Callable[[Path], RunningNode], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One node for all of these; it must bear them all."""
    running = node_in(tmp_path_factory.mktemp("node") / "node")
    running.settle(running.people.mint("ann", 10**18, nonce=0), running.people.register("bob", nonce=0))
    yield running
    assert running.client.status().finalized.height >= 1
    assert running.node.fault is None
    assert running.client.account(running.people.address("ann")).balance == 10**18
    running.stop()


@pytest.fixture(scope="module")
def http(node: RunningNode) -> Iterator[httpx.Client]:
    """A plain client of that node."""
    with httpx.Client(base_url=node.url) as client:
        yield client


def assert_problem(answer: httpx.Response, *, field: str | None = None, reason: str | None = None) -> dict[str, Any]:
    assert 400 <= answer.status_code < 500, answer.text[:500]
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "reason", "field"} <= problem.keys()
    assert problem["status"] == answer.status_code
    assert len(answer.content) < 2_000  # Whatever was sent is not sent back.
    assert "Traceback" not in answer.text
    if field is not None:
        assert problem["field"] == field
    if reason is not None:
        assert problem["reason"] == reason
    return problem


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "raw_transaction"),
        ({"raw_transaction": None}, "raw_transaction"),
        ({"raw_transaction": 5}, "raw_transaction"),
        ({"raw_transaction": -1}, "raw_transaction"),
        ({"raw_transaction": True}, "raw_transaction"),
        ({"raw_transaction": ["0x02"]}, "raw_transaction"),
        ({"raw_transaction": {"0x": 1}}, "raw_transaction"),
        ({"raw_transaction": ""}, "raw_transaction"),
        ({"raw_transaction": "0x"}, "raw_transaction"),
        ({"raw_transaction": "02f8"}, "raw_transaction"),
        ({"raw_transaction": "0x0"}, "raw_transaction"),
        ({"raw_transaction": "0xzz"}, "raw_transaction"),
        ({"raw_transaction": "0x" + "é" * 4}, "raw_transaction"),
        ({"raw_transaction": "0x02" + "ff" * 32_768}, "raw_transaction"),
        ({"raw_transaction": "0x02c0", "block": {}}, "block"),
        ([], "body"),
        ("0x02", "body"),
        (7, "body"),
        (None, "body"),
    ],
)
def test_wrong_bodies(http: httpx.Client, body: Any, field: str) -> None:
    assert_problem(http.post("/v1/transactions", json=body), field=field)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"raw_transaction": "\\ud800"}',
        b'{"raw_transaction": NaN}',
        b'{"raw_transaction": Infinity}',
        b'{"raw_transaction": "0x02", "raw_transaction": "0x03"}',
        b'{"raw_transaction": ' + b"9" * 60_000 + b"}",
        b'{"raw_transaction": -' + b"9" * 60_000 + b"}",
        b'{"raw_transaction": 1e' + b"9" * 60_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'"' + b"x" * 100_000,
        b"x" * 200_000,
    ],
)
def test_bodies_that_are_no_json_object(http: httpx.Client, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(http.post("/v1/transactions", content=content, headers=headers))
    assert_problem(http.post("/v1/transactions", content=content))


def test_streamed_body_is_bounded(http: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 16_384

    answer = http.post("/v1/transactions", content=endless(), headers={"Content-Type": "application/json"})
    assert_problem(answer, field="body", reason="too_large")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/blocks/-1", "height_or_hash"),
        ("/v1/blocks/01", "height_or_hash"),
        ("/v1/blocks/1.5", "height_or_hash"),
        ("/v1/blocks/abc", "height_or_hash"),
        ("/v1/blocks/0x12", "height_or_hash"),
        ("/v1/blocks/" + "9" * 5_000, "height_or_hash"),
        ("/v1/blocks/999999999999999", "height_or_hash"),
        (f"/v1/blocks/{HASH}", "height_or_hash"),
        (f"/v1/transactions/{HASH}", "transaction_hash"),
        (f"/v1/transactions/{HASH}0", "transaction_hash"),
        ("/v1/transactions/0xzz", "transaction_hash"),
        (f"/v1/receipts/{HASH}", "receipt_hash"),
        (f"/v1/receipts/{HASH[2:]}", "receipt_hash"),
        ("/v1/accounts/0x12", "address"),
        ("/v1/accounts/0xABab" + "ab" * 18, "address"),
        ("/v1/accounts/" + "%F0%9F%A6%8A" * 5, "address"),
        ("/v1/accounts/0x12/transactions", "address"),
        ("/v1/accounts/0x12/mints", "address"),
        (f"/v1/providers/{ADDRESS}", "address"),
        ("/v1/providers/%00", "address"),
        *(
            (f"{path}?{query}", name)
            for path in (
                "/v1/blocks",
                "/v1/transactions",
                "/v1/receipts",
                "/v1/providers",
                f"/v1/accounts/{ADDRESS}/transactions",
                f"/v1/accounts/{ADDRESS}/mints",
            )
            for query, name in (
                ("limit=0", "limit"),
                ("limit=-1", "limit"),
                ("limit=201", "limit"),
                ("limit=1e3", "limit"),
                ("limit=" + "9" * 5_000, "limit"),
                ("limit=", "limit"),
                ("cursor=zz", "cursor"),
                ("cursor=", "cursor"),
                ("cursor=0x0", "cursor"),
                ("cursor=0x" + "ab" * 500, "cursor"),
            )
        ),
        ("/v1/blocks?cursor=0xabab", "cursor"),
        ("/v1/transactions?cursor=0xabab", "cursor"),
        (f"/v1/transactions?cursor={ADDRESS}" + "00" * 12, "cursor"),
        (f"/v1/accounts/{ADDRESS}/transactions?cursor=0x1234", "cursor"),
    ],
)
def test_wrong_parameters_are_named(http: httpx.Client, path: str, field: str) -> None:
    assert_problem(http.get(path), field=field)


def test_unknown_paths_and_methods(http: httpx.Client) -> None:
    assert_problem(http.get("/v2/status"), reason="not_found")
    assert_problem(http.get("/v1/accounts//transactions"))
    assert_problem(http.post("/v1/status"), reason="method_not_allowed")
    assert_problem(http.delete("/v1/transactions"), reason="method_not_allowed")


@pytest.mark.parametrize(
    "request_text",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/blocks/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET " + b"/x" * 100_000 + b" HTTP/1.1\r\n",
        b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
        b"\x16\x03\x01" + bytes(200),
    ],
)
def test_what_is_no_http_ends_the_connection_only(node: RunningNode, request_text: bytes) -> None:
    address = urlsplit(node.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=60) as connection:
        try:
            connection.sendall(request_text)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        except OSError:
            answer = b""
    assert answer == b"" or answer.split(b" ")[1].startswith(b"4")
    assert node.client.status().finalized.height >= 1


@given(noise=st.binary(max_size=300))
@settings(max_examples=60)
def test_noise_as_a_transaction(http: httpx.Client, noise: bytes) -> None:
    answer = http.post("/v1/transactions", json={"raw_transaction": to_hex(noise)})
    assert_problem(answer, field="raw_transaction")


@given(position=st.integers(0, 100), flip=st.integers(1, 255), cut=st.integers(0, 3), extra=st.binary(max_size=3))
@settings(max_examples=60)
def test_damaged_transactions(
    node: RunningNode, http: httpx.Client, position: int, flip: int, cut: int, extra: bytes
) -> None:
    """Either it is malformed, or somebody else's, who has nothing; never the signer's."""
    raw = bytearray(node.people.transfer("ann", "bob", 10**17, nonce=1).raw)
    raw[position] ^= flip
    damaged = bytes(raw[: len(raw) - cut]) + extra
    answer = http.post("/v1/transactions", json={"raw_transaction": to_hex(damaged)})
    assert_problem(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60)
@given(body=JSON | st.fixed_dictionaries({"raw_transaction": JSON}))
def test_any_json(http: httpx.Client, body: Any) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(http.post("/v1/transactions", content=json.dumps(body), headers=headers))


def test_every_endpoint_keeps_to_the_openapi_document(node: RunningNode) -> None:
    """Schemathesis makes up requests, good and bad, for every operation, and checks every answer."""
    schema = schemathesis.openapi.from_url(f"{node.url}/openapi.json").exclude(path="/v1/stream")  # It has no end.
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    count = 0

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=10, suppress_health_check=list(HealthCheck))
        def conforms(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(base_url=node.url, checks=checks)

        conforms()
        count += 1
    assert count >= 30
