"""A provider that lies over HTTP never gets an attestation; the reason is kept, and the next provider serves."""

import gzip
import json
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import sign_receipt

Lie = Callable[[Any, Any, BaseHTTPRequestHandler], None]


def respond(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {
        "Content-Length": str(len(body)),
        **{n.replace("_", "-"): v for n, v in headers.items()},
    }.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def bent(bend: Callable[[Any], Any]) -> Lie:
    """A lie that answers at once with the honest answer, bent."""
    return lambda _server, answering, handler: respond(handler, bend(answering).body())


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


BOMB = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    + chunk(b"IEND", b"")
)
STRANGER = PrivateKey(b"\x66" * 32)


def sign_as_stranger(answering: Any) -> Any:
    return answering.with_fields(provider_signature=to_hex(sign_receipt(STRANGER, answering.make_receipt())))


def send_endless_body(_server: Any, _answering: Any, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(65_536))


def drip_body(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: no single read ever times out."""
    body = answering.body()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for position in range(100):
        handler.wfile.write(body[position : position + 1])
        handler.wfile.flush()
        time.sleep(0.05)


def say_nothing(_server: Any, _answering: Any, handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)
    handler.close_connection = True


def break_off(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(answering.body()[:1000])
    handler.close_connection = True


def speak_no_http(_server: Any, _answering: Any, handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def send_compressed(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
    respond(handler, gzip.compress(answering.body()), Content_Encoding="gzip")


def refuse_with(status: int) -> Lie:
    return lambda _server, _answering, handler: respond(handler, b'{"reason": "no", "detail": "\\u001b[2J"}', status)


LIES: dict[str, tuple[Lie, str]] = {
    "wrong size": (bent(lambda a: replace(a, png=a.png_of(512, 512))), "wrong_size"),
    "garbage picture": (bent(lambda a: replace(a, png=b"\x89PNG\r\n\x1a\n" + bytes(500))), "bad_picture"),
    "picture bomb": (bent(lambda a: replace(a, png=BOMB)), "wrong_size"),
    "another picture": (bent(lambda a: a.with_receipt(artifact_sha256="00" * 32)), "wrong_artifact"),
    "stranger's signature": (bent(sign_as_stranger), "wrong_signature"),
    "stranger's receipt": (bent(lambda a: replace(a, key=STRANGER)), "wrong_provider"),
    "other chain": (bent(lambda a: a.with_receipt(chain_id=1)), "wrong_chain_id"),
    "other hub": (bent(lambda a: a.with_receipt(hub_id="hub-2")), "wrong_hub"),
    "inflated units": (bent(lambda a: a.with_receipt(micro_units=3_600_000_000)), "implausible_units"),
    "doubled price": (bent(lambda a: a.with_receipt(price_per_unit=2 * 10**17)), "wrong_price"),
    "inflated amount": (bent(lambda a: a.with_receipt(amount=10**18)), "bad_receipt"),
    "unregistered model": (bent(lambda a: a.with_receipt(model="other/model")), "wrong_model"),
    "other seed": (bent(lambda a: a.with_fields(seed=(a.job.seed + 1) % 1000)), "wrong_seed"),
    "long ago": (bent(lambda a: replace(a, started_at=a.started_at - 100)), "implausible_time"),
    "no JSON": (lambda _s, _a, handler: respond(handler, b"<html>"), "malformed_answer"),
    "endless body": (send_endless_body, "answer_too_large"),
    "compressed body": (send_compressed, "malformed_answer"),
    "dripping body": (drip_body, "timed_out"),
    "silence": (say_nothing, "timed_out"),
    "breaking off": (break_off, "unreachable"),
    "another protocol": (speak_no_http, "unreachable"),
    "server error": (refuse_with(500), "server_error"),
    "refusal": (refuse_with(422), "request_refused"),
    "key refused": (refuse_with(403), "key_refused"),
    "no content": (refuse_with(204), "server_error"),
}


@pytest.mark.parametrize("name", LIES)
def test_lie_is_never_attested(hub: Any, liar: Any, name: str) -> None:
    liar.behaviour, reason = LIES[name]

    answer = hub.post_job(model="liar/model")

    assert answer.status_code == 502, answer.text
    problem = answer.json()
    assert problem["reason"] == "providers_failed"
    assert reason in problem["detail"]
    job = hub.request("GET", "/v1/jobs", params={"limit": 1}).json()["items"][0]
    assert job["status"] == "failed"
    assert [attempt["outcome"] for attempt in job["attempts"]] == [reason]
    assert job["attempts"][0]["provider"] == liar.address
    assert job["attempts"][0]["detail"].isprintable()
    assert job["receipt"] is None
    assert job["attestation"] is None
    assert liar.attestations == []


def test_redirect_is_not_followed(hub: Any, liar: Any, good: Any) -> None:
    def redirect(_server: Any, _answering: Any, handler: BaseHTTPRequestHandler) -> None:
        respond(handler, b"", 307, Location=f"{good.url}/v1/generate-image")

    liar.behaviour = redirect
    assert hub.post_job(model="liar/model").status_code == 502
    assert good.requests == []


def test_replayed_answer_of_an_earlier_job(hub: Any, liar: Any, eventually: Callable[..., Any]) -> None:
    first = hub.post_job(model="liar/model")
    assert first.status_code == 200, first.text
    earlier = first.json()

    def replay(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
        fields = {name: earlier[name] for name in ("image_base64", "receipt", "receipt_hash", "provider_signature")}
        body = answering.answer() | fields | {"prompt_salt": earlier["prompt_salt"]}
        respond(handler, json.dumps(body).encode())

    liar.behaviour = replay
    again = hub.post_job(model="liar/model")
    assert again.status_code == 502
    assert "wrong_job" in again.json()["detail"]
    eventually(lambda: len(liar.attestations) == 1)
    assert liar.attestations[0][0] == earlier["receipt_hash"]


def test_next_provider_serves(hub: Any, liar: Any, good: Any) -> None:
    liar.behaviour = LIES["inflated units"][0]
    jobs = [hub.post_job().json() for _ in range(4)]

    assert [job["provider"] for job in jobs] == [good.address] * 4
    outcomes = [[attempt["outcome"] for attempt in job["attempts"]] for job in jobs]
    assert ["implausible_units", "ok"] in outcomes
    assert all(each in (["ok"], ["implausible_units", "ok"]) for each in outcomes)
    assert liar.attestations == []


def test_busy_provider_is_asked_again(hub: Any, liar: Any) -> None:
    def busy_once(server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
        if len(server.requests) == 1:
            respond(handler, b'{"reason": "queue_full"}', 503, Retry_After="0")
        else:
            respond(handler, answering.body())

    liar.behaviour = busy_once
    answer = hub.post_job(model="liar/model")
    assert answer.status_code == 200, answer.text
    first, second = liar.requests
    assert first == second, "the same nonce: a provider that had begun can answer with what it has"
    assert [attempt["outcome"] for attempt in answer.json()["attempts"]] == ["ok"]
