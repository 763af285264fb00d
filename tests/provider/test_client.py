"""The typed client against a whole provider, over links that break, and against servers that lie."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from openai import OpenAI

from chain.primitives.keys import PrivateKey
from provider.client import AsyncProviderClient, Expected, PictureOrder, Pictures, ProviderClient, Signing
from provider.ordering import calls
from provider.ordering.errors import (
    ClientError,
    JobFailed,
    ProviderRefused,
    ProviderUnavailable,
    UntrustedAnswer,
)
from provider.ordering.live import Accepted, Event, Finished, Logged, Previewed, Stepped

CHAIN_ID = 424_242
CLIENT_KEY = PrivateKey(b"\x52" * 32)
QUICK = PictureOrder("a red circle on a blue background", steps=5, guidance=2.5, width=256, height=256)
LONG = PictureOrder("a red circle", steps=100, width=1024, height=1024)


@pytest.fixture
def client(running: Any) -> Iterator[ProviderClient]:
    with ProviderClient(running.url, running.client_secret) as opened:
        yield opened


# Pictures


def test_a_picture_that_is_checked(client: ProviderClient, provider_key: PrivateKey) -> None:
    made = client.generate(QUICK)
    assert made.pictures[0].startswith(b"\x89PNG")
    assert made.receipt.provider == provider_key.address
    assert (made.receipt.chain_id, made.receipt.client) == (CHAIN_ID, "alice")
    assert client.artifact(made.job_id) == made.pictures[0]


def test_everything_at_once(client: ProviderClient, running: Any, provider_key: PrivateKey) -> None:
    source = client.generate(QUICK).pictures[0]
    order = PictureOrder(
        "a green square",
        negative_prompt="noise",
        steps=10,
        guidance=3,
        width=320,
        height=256,
        seed=2**63 - 1,
        count=2,
        scheduler="euler_a",
        model="aitbc/tiny-sd",
        source=source,
        strength=0.6,
        output_format="webp",
        quality=70,
    )
    expected = Expected(provider_key.address, CHAIN_ID)
    with ProviderClient(running.url, running.client_secret, expected=expected) as careful:
        made = careful.generate(order, signing=Signing(CLIENT_KEY, 10**18))
    assert made.seeds == (2**63 - 1, 0)
    assert [picture[:4] for picture in made.pictures] == [b"RIFF"] * 2
    assert made.receipt.client_signature is not None
    assert made.receipt.amount <= 10**18


def test_progress_by_websocket(client: ProviderClient) -> None:
    events: list[Event] = []
    made = client.generate(QUICK, on_event=events.append, preview_every=2)
    assert isinstance(events[0], Accepted)
    assert events[-1] == Finished(made)
    steps = [event.step for event in events if isinstance(event, Stepped)]
    assert steps == sorted(steps)
    assert steps[-1] == 5
    previews = [event.jpeg for event in events if isinstance(event, Previewed)]
    assert all(jpeg.startswith(b"\xff\xd8") for jpeg in previews)
    assert previews
    assert not any(QUICK.prompt in event.line for event in events if isinstance(event, Logged))


def test_a_source_too_large_for_the_websocket_goes_by_http(client: ProviderClient) -> None:
    noise = PictureOrder("noise", steps=5, width=512, height=512, source=_noisy_png(), strength=0.5)
    events: list[Event] = []
    assert client.generate(noise, on_event=events.append).pictures
    assert events == []


def _noisy_png() -> bytes:
    import io
    import random

    from PIL import Image

    encoded = io.BytesIO()
    Image.frombytes("RGB", (256, 256), random.Random(1).randbytes(256 * 256 * 3)).save(encoded, "PNG")
    assert len(encoded.getvalue()) > 128 * 1024
    return encoded.getvalue()


def test_the_asynchronous_client(running: Any, provider_key: PrivateKey) -> None:
    expected = Expected(provider_key.address, CHAIN_ID)

    async def both() -> tuple[int, list[Event]]:
        events: list[Event] = []
        async with AsyncProviderClient(running.url, running.client_secret, expected=expected) as client:
            assert (await client.health()).status == "ok"
            made = await client.generate(QUICK, on_event=events.append)
            again = await client.generate(QUICK, signing=Signing(CLIENT_KEY, 10**18))
            assert (await client.job(again.job_id)).state == "done"
            return len(made.pictures), events

    count, events = asyncio.run(both())
    assert count == 1
    assert isinstance(events[-1], Finished)


# What else it asks


def test_jobs_receipts_and_health(client: ProviderClient, provider_key: PrivateKey) -> None:
    made = client.generate(QUICK)
    health = client.health()
    assert health.provider.lower() == "0x" + provider_key.address.hex()
    assert (health.chain_id, health.models[0].name) == (CHAIN_ID, "aitbc/tiny-sd")
    job = client.job(made.job_id)
    assert (job.state, job.way_in, job.receipt_hash) == ("done", "plan", "0x" + made.receipt_hash.hex())
    assert client.jobs(limit=1).items[0].job_id == made.job_id
    page = client.receipts(limit=1)
    assert page.items[0].receipt == made.receipt.to_object()
    assert page.next_cursor is not None
    assert client.receipts(cursor=page.next_cursor, limit=1).items[0].job_id != made.job_id
    assert client.receipt(page.items[0].receipt_hash).job_id == made.job_id


# Cancelling


class StopHere(Exception):
    """What a listener raises to have no more of it."""


def test_a_listener_that_has_enough_cancels_the_job(client: ProviderClient) -> None:
    job_ids: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Accepted):
            job_ids.append(event.job_id)
        if isinstance(event, Stepped):
            raise StopHere

    with pytest.raises(StopHere):
        client.generate(LONG, on_event=listen)
    assert client.job(job_ids[0]).state == "cancelled"


def test_a_cancelled_task_cancels_the_job(running: Any) -> None:
    async def cancel_after_a_step() -> str:
        accepted: list[str] = []
        has_begun = asyncio.Event()

        def listen(event: Event) -> None:
            if isinstance(event, Accepted):
                accepted.append(event.job_id)
            if isinstance(event, Stepped):
                has_begun.set()

        async with AsyncProviderClient(running.url, running.client_secret) as client:
            task = asyncio.create_task(client.generate(LONG, on_event=listen))
            await has_begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await client.job(accepted[0])).state

    assert asyncio.run(cancel_after_a_step()) == "cancelled"


def test_a_job_that_another_cancels(client: ProviderClient) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, Accepted):
            client.cancel(event.job_id)

    with pytest.raises(JobFailed) as error:
        client.generate(LONG, on_event=listen)
    assert error.value.reason == "generation_cancelled"


# Refusals


def test_what_a_provider_refuses(client: ProviderClient, running: Any) -> None:
    for on_event in (None, lambda _event: None):
        with pytest.raises(ProviderRefused) as error:
            client.generate(PictureOrder("a", steps=1), on_event=on_event)
        assert (error.value.reason, error.value.field) == ("out_of_range", "steps")
        with pytest.raises(ProviderRefused, match="model"):
            client.generate(PictureOrder("a", model="another"), on_event=on_event)
        with (
            ProviderClient(running.url, "wrong-secret-0123456789") as stranger,
            pytest.raises(ProviderRefused) as error,
        ):
            stranger.generate(QUICK, on_event=on_event)
        assert error.value.reason == "invalid_api_key"


def test_a_maximum_price_that_is_too_low(running: Any, provider_key: PrivateKey) -> None:
    expected = Expected(provider_key.address, CHAIN_ID)
    with (
        ProviderClient(running.url, running.client_secret, expected=expected) as client,
        pytest.raises(ProviderRefused) as refused,
    ):
        client.generate(QUICK, signing=Signing(CLIENT_KEY, 1))
    assert refused.value.reason == "price_limit"


def test_a_provider_that_is_another_than_expected(running: Any) -> None:
    expected = Expected(CLIENT_KEY.address, CHAIN_ID)
    with ProviderClient(running.url, running.client_secret, expected=expected) as careful:
        with pytest.raises(UntrustedAnswer):
            careful.generate(QUICK)
        with pytest.raises(ProviderRefused):  # What is signed for another address is no good here.
            careful.generate(QUICK, signing=Signing(CLIENT_KEY, 10**18))


@pytest.mark.parametrize("known", ["nothing", "provider", "chain"])
def test_nothing_is_signed_for_whom_a_provider_calls_itself(known: str, provider_key: PrivateKey) -> None:
    """It could name another provider, or a network whose coins have worth; so nothing goes out at all."""
    expected = Expected(
        provider=provider_key.address if known == "provider" else None, chain_id=CHAIN_ID if known == "chain" else None
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            ProviderClient(url, "secret-0123456789abcdef", expected=expected) as client,
            pytest.raises(ClientError, match="one provider on one network") as refused,
        ):
            client.generate(QUICK, signing=Signing(CLIENT_KEY, 10**18))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):  # Nobody has connected.
            listener.accept()
    assert refused.value.reason == "bad_signing"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a",
        "127.0.0.1:8000",
        "http://",
        "http://[::1",
        "http://a:99999",
        "http://alice:secret@a",
        "http://a?b",
        "http://a/#",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ClientError):
        ProviderClient(url, "key")


@pytest.mark.parametrize("api_key", ["two words", "a\r\nX-Evil: 1", "schlüssel"])
def test_what_is_no_api_key(api_key: str) -> None:
    with pytest.raises(ClientError):
        ProviderClient("http://127.0.0.1:9", api_key)


@pytest.mark.parametrize("job_id", ["", "../receipts", "a/b", "a?b", "x" * 65])
def test_what_is_no_job_id(job_id: str) -> None:
    with pytest.raises(ClientError):
        calls.job(job_id)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "HTTP://127.0.0.1:9/"])
def test_nobody_there(url: str) -> None:
    began_s = time.monotonic()
    with ProviderClient(url, "key") as client:
        for on_event in (None, lambda _event: None):
            with pytest.raises(ProviderUnavailable):
                client.generate(QUICK, on_event=on_event)
    assert time.monotonic() - began_s < 60


# Links that break


class BreakingLink:
    """A TCP relay to a provider that cuts connections, as routers do, after so many bytes of the answer.

    Where a cut is AWAY, it answers itself, as a proxy does that finds nobody behind it.
    """

    AWAY = 0

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._port = port
        self._cuts = cuts
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            left = self._cuts.pop(0) if self._cuts else 2**62
            if left == self.AWAY:
                near.recv(65536)
                near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._relay, args=(near, far, 2**62), daemon=True).start()
            threading.Thread(target=self._relay, args=(far, near, left), daemon=True).start()

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket, left: int) -> None:
        try:
            while left > 0 and (piece := source.recv(min(left, 65536))):
                target.sendall(piece)
                left -= len(piece)
        except OSError:
            left = 0
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # A close alone waits for the other thread, which reads.
            end.close()


@pytest.fixture
def link(running: Any) -> Iterator[Callable[[list[int]], BreakingLink]]:
    links: list[BreakingLink] = []

    def build(cuts: list[int]) -> BreakingLink:
        links.append(BreakingLink(running.settings.bind_port or int(running.url.rpartition(":")[2]), cuts))
        return links[-1]

    yield build
    for each in links:
        each.close()


def test_an_answer_that_is_cut_off_is_fetched_again_and_charged_once(
    link: Callable[[list[int]], BreakingLink], running: Any, client: ProviderClient
) -> None:
    before = len(client.receipts(limit=200).items)
    broken = link([1, 500])
    with ProviderClient(broken.url, running.client_secret) as far:
        made = far.generate(QUICK)
    assert broken.connections == 3
    assert made.pictures
    receipts = client.receipts(limit=200).items
    assert len(receipts) == before + 1
    assert receipts[0].job_id == made.job_id


def test_a_websocket_that_breaks_is_taken_up_again(
    link: Callable[[list[int]], BreakingLink], running: Any, client: ProviderClient
) -> None:
    before = len(client.receipts(limit=200).items)
    broken = link([600, 900])
    events: list[Event] = []
    with ProviderClient(broken.url, running.client_secret) as far:
        made = far.generate(QUICK, on_event=events.append)
    assert broken.connections == 3
    assert events[-1] == Finished(made)
    assert {event.job_id for event in events if isinstance(event, Accepted)} == {made.job_id}
    assert len(client.receipts(limit=200).items) == before + 1


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_a_websocket_that_is_refused_in_the_middle_of_a_job_is_tried_again(
    link: Callable[[list[int]], BreakingLink], running: Any, client: ProviderClient, is_asynchronous: bool
) -> None:
    broken = link([600, BreakingLink.AWAY])
    events: list[Event] = []
    order = replace(QUICK, steps=50)
    if is_asynchronous:

        async def generate() -> Pictures:
            async with AsyncProviderClient(broken.url, running.client_secret) as far:
                return await far.generate(order, on_event=events.append)

        made = asyncio.run(generate())
    else:
        with ProviderClient(broken.url, running.client_secret) as far:
            made = far.generate(order, on_event=events.append)
    assert broken.connections == 3
    assert {event.job_id for event in events if isinstance(event, Accepted)} == {made.job_id}
    assert client.job(made.job_id).state == "done"


def test_openais_sdk_with_an_idempotency_key_is_charged_once_too(
    link: Callable[[list[int]], BreakingLink], running: Any, client: ProviderClient
) -> None:
    before = len(client.receipts(limit=200).items)
    broken = link([1, 500])
    with OpenAI(
        base_url=f"{broken.url}/v1", api_key=running.client_secret, timeout=120
    ) as sdk:  # It tries three times.
        made = sdk.images.generate(
            prompt=QUICK.prompt,
            size="256x256",
            extra_body={"steps": 5},
            extra_headers={"Idempotency-Key": "sdk-over-a-broken-link"},
        )
    assert broken.connections == 3
    assert made.data
    assert len(client.receipts(limit=200).items) == before + 1


# Servers that lie


class Liar(ThreadingHTTPServer):
    """Answers every request with the same bytes."""

    def __init__(self, status: int, body: bytes, drip_s: float = 0.0) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response_only(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                piece = 1 if drip_s else 65536
                with contextlib.suppress(OSError):  # The client has had enough.
                    for start in range(0, len(body), piece):
                        self.wfile.write(body[start : start + piece])
                        time.sleep(drip_s)

        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"{}", ProviderUnavailable),
        (200, b"x" * 4 * 1024 * 1024, ProviderUnavailable),
        (404, b"<html>", ProviderUnavailable),
        (302, b"", ProviderUnavailable),
        (500, b'{"reason": "internal_error", "detail": "a fault"}', ProviderUnavailable),
        (422, b'{"reason": "malformed", "detail": "\\u001b[31mred\\u0007"}', ProviderRefused),
        (503, b'{"reason": "queue_full", "detail": "full"}', ProviderRefused),
    ],
)
def test_what_a_server_may_say(status: int, body: bytes, error: type[ClientError]) -> None:
    liar = Liar(status, body)
    with ProviderClient(liar.url, "key") as client, pytest.raises(error) as raised:
        client.generate(QUICK)
    liar.shutdown()
    assert "\x1b" not in str(raised.value)


def test_no_redirect_is_followed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        port = elsewhere.getsockname()[1]

        class Redirecting(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(307)
                self.send_header("Location", f"http://127.0.0.1:{port}/v1/live")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"

        async def generate() -> None:
            async with AsyncProviderClient(url, "key") as client:
                await client.generate(QUICK, on_event=lambda _event: None)

        with pytest.raises(ProviderUnavailable):
            asyncio.run(generate())
        with ProviderClient(url, "key") as client, pytest.raises(ProviderUnavailable):
            client.generate(QUICK, on_event=lambda _event: None)
        server.shutdown()
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def test_an_answer_that_drips_is_given_up_in_time() -> None:
    liar = Liar(200, b"x" * 10_000, drip_s=0.1)
    began_s = time.monotonic()
    with ProviderClient(liar.url, "key", timeout_s=1.0) as client, pytest.raises(ProviderUnavailable, match="long"):
        client.generate(QUICK)
    liar.shutdown()
    assert time.monotonic() - began_s < 60
