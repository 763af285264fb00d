"""Around the routes: which pages may ask, how large bodies may be, how many of them at once."""

import base64
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from provider.http.application import LARGE_BODY_ROUTES

AssertProblem = Callable[..., None]
StartProvider = Callable[..., Any]
PAGE = "https://gallery.example"


def preflight(provider: Any, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return httpx.options(provider.url + "/v1/generate-image", headers=headers)


def test_no_page_may_ask_unless_the_operator_names_it(running: Any, start_provider: StartProvider) -> None:
    assert "access-control-allow-origin" not in preflight(running, PAGE).headers
    assert "access-control-allow-origin" not in running.get("/v1/health", headers={"Origin": PAGE}).headers
    open_provider = start_provider(cors_origins=(PAGE,))
    allowed = preflight(open_provider, PAGE)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "access-control-allow-credentials" not in allowed.headers
    assert open_provider.get("/v1/health", headers={"Origin": PAGE}).headers["access-control-allow-origin"] == PAGE
    assert preflight(open_provider, "https://elsewhere.example").status_code == 400


def noisy_picture(side: int) -> str:
    encoded = io.BytesIO()
    Image.effect_noise((side, side), 90).save(encoded, "PNG")
    return base64.b64encode(encoded.getvalue()).decode()


def test_only_routes_that_take_pictures_take_large_bodies(running: Any, assert_problem: AssertProblem) -> None:
    source = noisy_picture(1024)
    assert len(source) > 8 * running.settings.body_max_bytes
    assert running.generate(init_image=source, strength=0.5).status_code == 200
    large = {"receipt_hash": source, "attestation": "0x"}
    assert_problem(running.mine("/v1/attestations", "POST", json=large), 413, "too_large", "body")
    documented = set(running.get("/openapi.json").json()["paths"])
    assert set(LARGE_BODY_ROUTES) <= documented


def test_large_bodies_have_room_together(start_provider: StartProvider, assert_problem: AssertProblem) -> None:
    """16 bodies of the largest size may be on their way; who comes then is told to come back, others are served."""
    provider = start_provider(image_body_max_bytes=2**20)
    address = urlsplit(provider.url)
    declared = f"Content-Length: {2**20}\r\n".encode()
    head = b"POST /v1/generate-image HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + declared + b"\r\n{"
    waiting = [socket.create_connection((str(address.hostname), address.port or 0)) for _ in range(16)]
    try:
        for connection in waiting:
            connection.sendall(head)
        deadline = time.monotonic() + 30
        body = b"x" * 2**20
        headers = {"Content-Type": "application/json"}
        while True:
            crowded = httpx.post(provider.url + "/v1/generate-image", content=body, headers=headers, timeout=30)
            if crowded.status_code == 503 or time.monotonic() > deadline:
                break
        assert_problem(crowded, 503, "crowded")
        assert crowded.headers["retry-after"]
        assert provider.generate().status_code == 200
    finally:
        for connection in waiting:
            connection.close()
    deadline = time.monotonic() + 30
    while httpx.post(provider.url + "/v1/generate-image", content=body, headers=headers).status_code == 503:
        assert time.monotonic() < deadline, "the room is never given back"


def test_a_chunked_body_is_bounded_too(running: Any) -> None:
    address = urlsplit(running.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    pieces = (b"x" * 65_536 for _ in range(4))
    connection.request("POST", "/v1/attestations", body=pieces, headers={"Content-Type": "application/json"})
    assert connection.getresponse().status == 413
    connection.close()


def test_a_provider_bears_many_clients_at_once(running: Any) -> None:
    failures: list[str] = []

    def ask(number: int) -> None:
        answer = running.generate(seed=number) if number % 3 else running.get("/v1/health")
        if answer.status_code not in (200, 503):
            failures.append(answer.text[:200])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
