"""Requests as bytes: what JSON-RPC 2.0 says of each, and bounds that nothing gets past."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import pytest

from chain.api.rpc.errors import INVALID_PARAMETERS, INVALID_REQUEST, PARSE_ERROR, RpcError
from chain.api.rpc.protocol import (
    MAX_BATCH_CALLS,
    MAX_BODY_BYTES,
    Call,
    InvalidCall,
    check_call,
    decode_request,
    encode_batch,
    encode_error,
    encode_result,
)
from chain.primitives.hexadecimal import to_hex

CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x01"},"latest"]}'


@pytest.fixture
def no_limit_of_recursion() -> Iterator[None]:
    """What importing py_ecc does to a process."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    yield
    sys.setrecursionlimit(limit)


def code_of(body: bytes) -> int:
    with pytest.raises(RpcError) as caught:
        decode_request(body)
    return caught.value.code


def test_one_call() -> None:
    call = decode_request(b" \n" + CALL)
    assert isinstance(call, Call)
    assert (call.id, call.method) == (1, "eth_call")
    assert check_call(call) == [{"to": "0x01"}, "latest"]
    assert not call.is_notification


@pytest.mark.parametrize("call_id", [0, -1, 7, 2**64, 10**30, "x", "", "ü", None, 1.5])
def test_ids_come_back_as_they_are(call_id: object) -> None:
    call = decode_request(json.dumps({"jsonrpc": "2.0", "id": call_id, "method": "m"}).encode())
    assert isinstance(call, Call)
    assert json.loads(encode_result(call.id, "0x1")) == {"jsonrpc": "2.0", "id": call_id, "result": "0x1"}


def test_without_an_id_nobody_waits() -> None:
    call = decode_request(b'{"jsonrpc":"2.0","method":"m"}')
    assert isinstance(call, Call)
    assert call.is_notification


@pytest.mark.parametrize("version", [b"", b',"jsonrpc":"1.0"'])
def test_who_names_no_version_is_told_also_without_an_id(version: bytes) -> None:
    call = decode_request(b'{"method":"m"' + version + b"}")
    assert isinstance(call, Call)
    assert not call.is_notification
    with pytest.raises(RpcError) as caught:
        check_call(call)
    assert json.loads(encode_error(call.id, caught.value))["id"] is None


def test_members_that_the_standard_does_not_know_are_left_alone() -> None:
    call = decode_request(b'{"jsonrpc":"2.0","id":3,"method":"m","params":["0x1"],"origin":"a","tab":{"b":[1]}}')
    assert call == Call("m", "2.0", 3, ["0x1"])


@pytest.mark.parametrize("body", [b"", b" ", b"{", b'{"id":1,', b"[1,", b"nix", b"\xff", b'{"a":NaN}', CALL + b"x"])
def test_no_json(body: bytes) -> None:
    assert code_of(body) == PARSE_ERROR


@pytest.mark.parametrize("escaped", [rb"\ud800", rb"\udc00\ud800", rb"\ud800\u0041"])
def test_half_a_surrogate_pair_is_no_json(escaped: bytes) -> None:
    assert code_of(b'{"jsonrpc":"2.0","id":1,"method":"' + escaped + b'"}') == PARSE_ERROR
    assert code_of(b'{"jsonrpc":"2.0","id":"' + escaped + b'","method":"m"}') == PARSE_ERROR


@pytest.mark.parametrize(
    ("body", "call_id"),
    [
        (b"1", None),
        (b"null", None),
        (b'"eth_call"', None),
        (b"{}", None),
        (b'{"id":5}', 5),
        (b'{"jsonrpc":"2.0","id":5,"method":7}', 5),
        (b'{"jsonrpc":"2.0","id":5,"method":"m","params":"0x"}', 5),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":[1],"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":{},"method":"m"}', None),
    ],
)
def test_no_request(body: bytes, call_id: int | None) -> None:
    assert decode_request(body) == InvalidCall(call_id)
    assert decode_request(b"[" + body + b"," + CALL + b"]") == [InvalidCall(call_id), decode_request(CALL)]


def test_version_and_form_of_parameters() -> None:
    for body, code in (
        (b'{"id":1,"method":"m"}', INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","id":1,"method":"m"}', INVALID_REQUEST),
        (b'{"jsonrpc":2.0,"id":1,"method":"m"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"to":"0x"}}', INVALID_PARAMETERS),
    ):
        call = decode_request(body)
        assert isinstance(call, Call)
        with pytest.raises(RpcError) as caught:
            check_call(call)
        assert caught.value.code == code
    absent = decode_request(b'{"jsonrpc":"2.0","id":1,"method":"m","params":null}')
    assert isinstance(absent, Call)
    assert check_call(absent) == []


def test_batches_have_a_size() -> None:
    assert code_of(b"[]") == INVALID_REQUEST
    calls = decode_request(b"[" + b",".join([CALL] * MAX_BATCH_CALLS) + b"]")
    assert calls == [decode_request(CALL)] * MAX_BATCH_CALLS
    assert code_of(b"[" + b",".join([CALL] * (MAX_BATCH_CALLS + 1)) + b"]") == INVALID_REQUEST
    assert code_of(b"[" + b",".join([b"1"] * (MAX_BATCH_CALLS + 1)) + b"]") == INVALID_REQUEST


@pytest.mark.usefixtures("no_limit_of_recursion")
@pytest.mark.parametrize(
    "start",
    [
        b"",
        b'{"jsonrpc":"2.0","id":',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":[',
        b'{"jsonrpc":"2.0","id":1,"method":"m","unknown":',
        b'[{"jsonrpc":"2.0","id":1,"method":"m","params":[{"to":',
    ],
)
@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [16_000, 300_000])
def test_depth_is_bounded_whatever_python_s_own_limit_is(start: bytes, bracket: bytes, depth: int) -> None:
    assert code_of(start + bracket * depth) in (INVALID_REQUEST, PARSE_ERROR)


@pytest.mark.parametrize(
    ("start", "value", "end"),
    [
        (b"[", b"0", b"]"),
        (b"[", b"{}", b"]"),
        (b"[", b'{"jsonrpc":"","method":""}', b"]"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[', b"[[[[0]]]]", b"]}"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[', b"0", b"]}"),
    ],
)
def test_body_full_of_little_values_is_refused_before_it_is_decoded(start: bytes, value: bytes, end: bytes) -> None:
    body = start + b",".join([value] * (MAX_BODY_BYTES // (len(value) + 1) - 100)) + end
    started_at = time.thread_time()
    assert code_of(body) == INVALID_REQUEST
    assert time.thread_time() - started_at < 0.2  # Decoding them took 0.4 s and more.


def test_the_busiest_batch_has_room() -> None:
    topics = [[to_hex(bytes(32))] * 4] * 4
    query = {"address": [to_hex(bytes(20))], "topics": topics, "fromBlock": "0x1", "toBlock": "latest"}
    calls = [{"jsonrpc": "2.0", "id": each, "method": "eth_getLogs", "params": [query]} for each in range(1_000)]
    decoded = decode_request(json.dumps(calls).encode())
    assert isinstance(decoded, list)
    assert len(decoded) == MAX_BATCH_CALLS


def test_numbers_are_bounded() -> None:
    for number in (b"9" * 100_000, b"-" + b"9" * 100_000, b"1e" + b"9" * 100_000):
        assert code_of(b'{"jsonrpc":"2.0","id":' + number + b',"method":"m"}') == INVALID_REQUEST
        assert code_of(b'{"jsonrpc":"2.0","id":1,"method":"m","params":[' + number + b"]}") == INVALID_REQUEST


def test_errors_have_data_only_where_there_is_some() -> None:
    plain = json.loads(encode_error(7, RpcError(-32000, "header not found")))
    assert plain == {"jsonrpc": "2.0", "id": 7, "error": {"code": -32000, "message": "header not found"}}
    assert json.loads(encode_error(7, RpcError(3, "execution reverted", "0x")))["error"]["data"] == "0x"
    assert json.loads(encode_batch([encode_result(1, None), encode_error(None, RpcError(1, "x"))]))[0]["result"] is None
