"""Around the routes: which pages may ask, how large bodies may be, how many of them at once."""

import base64
import contextlib
import http.client
import io
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from provider.http.application import LARGE_BODY_ROUTES
from provider.storage.database import DATABASE_FILE_NAME

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


def begin(provider: Any, path: str, length: int, beginning: bytes, *headers: str) -> socket.socket:
    """A POST that declares so many bytes, and has sent the first of them."""
    address = urlsplit(provider.url)
    connection = socket.create_connection((str(address.hostname), address.port or 0), timeout=60)
    fields = ["Host: x", "Content-Type: application/json", f"Content-Length: {length}", *headers]
    head = "\r\n".join([f"POST {path} HTTP/1.1", *fields, "", ""]).encode()
    connection.sendall(head + beginning)
    return connection


def test_strangers_who_send_slowly_leave_room_to_who_has_a_key(
    start_provider: StartProvider, assert_problem: AssertProblem
) -> None:
    """Each of them has sent all but the last byte of the largest body that there may be."""
    most = 2**20
    provider = start_provider(image_body_max_bytes=most)
    source = noisy_picture(512)
    assert provider.settings.body_max_bytes < len(source) < most
    waiting = [begin(provider, LARGE_BODY_ROUTES[0], most, b"x" * (most - 1)) for _ in range(24)]
    try:
        assert any(first_line(connection) == b"HTTP/1.1 503" for connection in waiting)
        stranger = httpx.post(provider.url + LARGE_BODY_ROUTES[0], content=b"x" * most, timeout=30)
        assert_problem(stranger, 503, "crowded")
        assert stranger.headers["retry-after"]
        assert provider.generate(init_image=source, strength=0.5).status_code == 200
        fields = {"prompt": "a red circle", "steps": 5, "width": 256, "height": 256, "init_images": [source]}
        assert provider.mine("/sdapi/v1/img2img", "POST", json=fields).status_code == 200
    finally:
        for connection in waiting:
            connection.close()
    deadline = time.monotonic() + 90
    while httpx.post(provider.url + LARGE_BODY_ROUTES[0], content=b"x" * most).status_code == 503:
        assert time.monotonic() < deadline, "the room is never given back"


def first_line(connection: socket.socket) -> bytes:
    """Of the answer, if there is one by now."""
    connection.settimeout(1)
    try:
        return connection.recv(12)
    except TimeoutError:
        return b""


@pytest.mark.parametrize("key", ["", "wrong-key-wrong-key-wrong"])
@pytest.mark.parametrize("path", LARGE_BODY_ROUTES)
def test_a_large_body_is_not_read_to_its_end_for_a_wrong_key(running: Any, path: str, key: str) -> None:
    beginning = json.dumps({"api_key": key, "prompt": "x" * running.settings.body_max_bytes}).encode()
    header = f"Authorization: Bearer {key}"
    with begin(running, path, 2**20, beginning, header) as connection:
        if path == LARGE_BODY_ROUTES[0] and not key:
            connection.sendall(b" " * (2**20 - len(beginning)))  # A key may still follow there.
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")


def test_small_orders_of_no_declared_length_need_no_room(start_provider: StartProvider) -> None:
    provider = start_provider(rate_limit="1000/minute")
    order = {"api_key": provider.client_secret, "prompt": "a red circle", "steps": 20, "width": 256, "height": 256}

    def ask(number: int) -> int:
        pieces = (piece.encode() for piece in json.dumps(order | {"seed": number}))
        headers = {"Content-Type": "application/json"}
        url = provider.url + "/v1/generate-image"
        return httpx.post(url, content=pieces, headers=headers, timeout=120).status_code

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(20))) == [200] * 20


def test_metrics_are_shown_while_receipts_cannot_be_counted(start_provider: StartProvider) -> None:
    provider = start_provider()
    with contextlib.closing(sqlite3.connect(provider.settings.data_dir / DATABASE_FILE_NAME)) as database:
        database.execute("ALTER TABLE receipts RENAME TO elsewhere")
        try:
            scraped = provider.get("/metrics")
        finally:
            database.execute("ALTER TABLE elsewhere RENAME TO receipts")
    assert scraped.status_code == 200
    assert "aitbc_provider_ready 1.0" in scraped.text
    assert "aitbc_provider_receipts{" not in scraped.text
    assert 'aitbc_provider_receipts{state="signed"} 0.0' in provider.get("/metrics").text


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
