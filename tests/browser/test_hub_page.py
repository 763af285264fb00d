"""The hub's page in Chromium: a prompt is typed, its pictures grow, the receipt and its mint are read."""

import asyncio
import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from chain.primitives.provider_messages import Progress
from tests.browser.exchange_floor import visit
from tests.hub.dialled import DialledProvider, serve_honestly
from tests.hub.running import CLIENT_KEYS, Chain, HubProcess, wait_until

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.timeout(280)]

SCRIPT = Path(__file__).parent / "hub.mjs"
KEY = CLIENT_KEYS["alice"]


@dataclass
class Place:
    """A hub with two providers."""

    hub: HubProcess
    providers: list[DialledProvider]
    chain: Chain

    def visit(self, scenario: str, **inputs: Any) -> dict[str, Any]:
        """What somebody at the page saw."""
        return visit(self.hub.url + "/", scenario, script=SCRIPT, apiKey=KEY, **inputs)

    def behave(self, behaviour: Any) -> None:
        """All providers."""
        for provider in self.providers:
            provider.behaviour = behaviour


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    keys = [PrivateKey(bytes([0x61 + number]) * 32) for number in range(2)]
    for key in keys:
        chain.register(key)
    hub = HubProcess(tmp_path_factory.mktemp("hub"), chain).start()
    providers = [DialledProvider(key, chain).dial(hub.workers_url) for key in keys]
    yield Place(hub, providers, chain)
    for provider in providers:
        provider.hang_up()
    hub.stop()
    chain.close()


async def gradually(provider: DialledProvider, assignment: Assignment) -> None:
    """Step by step, with a preview of each."""
    for step in range(1, 6):
        preview = io.BytesIO()
        Image.new("RGB", (64, 64), (40 * step, 90, 120)).save(preview, "JPEG")
        progress = Progress(
            lease_id=assignment.lease_id,
            step=step,
            steps=5,
            fraction=step / 5,
            picture=0,
            preview=base64.b64encode(preview.getvalue()).decode(),
        )
        await provider.say(progress)
        await asyncio.sleep(0.6)
    await serve_honestly(provider, assignment)


async def never(_provider: DialledProvider, _assignment: Assignment) -> None:
    """Takes work and does nothing."""


def test_a_prompt_becomes_pictures_a_receipt_and_a_mint(place: Place) -> None:
    place.behave(gradually)
    seen = place.visit("draw", prompt="a lighthouse\na harbour\na storm\na calm sea")
    assert seen["said"] == []  # No error in the console, such as one of the content-security policy's.
    assert seen["asked"] == [place.hub.url]
    assert seen["models"] == ["any", "aitbc/tiny-sd"]
    assert seen["offered"].startswith("0.4 AIT, done by 2 providers in about ")
    assert any("of 5" in caption for caption in seen["growing"])
    assert 0 < seen["begun"] < 1
    assert seen["widths"] == [256] * 4
    assert sorted(row[0] for row in seen["shares"]) == sorted(each.address for each in place.providers)
    assert [row[1:] for row in seen["shares"]] == [["2", "2", "0.2"]] * 2
    receipt = seen["receipt"]
    assert (receipt["Work"], receipt["Amount"]) == ("4 images", "0.4 AIT")
    assert seen["again"] == receipt
    minted = place.chain.node.receipt(receipt["Receipt"])
    assert minted.transaction_hash == receipt["Transaction"]
    assert receipt["Mint"] == f"in block {minted.height}"
    assert KEY not in seen["address"]


def test_what_cannot_be_is_said_and_a_job_is_taken_back(place: Place) -> None:
    place.behave(never)
    seen = place.visit("trouble")
    words = (
        "does not know this API key",
        "say what to draw",
        "such as 1.5",
        "for so little",
        "Cancelled; 0 of 2 pictures were made.",
    )
    assert all(text.startswith("Failed to load resource") for text in seen["said"])  # The refusals, by the browser.
    told = seen["told"]
    assert [word in text for word, text in zip(words, told, strict=True)] == [True] * len(words), told
    assert (seen["captions"], seen["unmade"]) == ([], "2 pictures were not made.")


def test_a_job_that_is_taken_back_is_never_called_whole(place: Place) -> None:
    place.behave(never)
    place.providers[0].behaviour = serve_honestly
    seen = place.visit("takeBack", prompt="\n".join(f"picture {number}" for number in range(8)))
    assert seen["said"] == []
    made = len(seen["widths"])
    assert 0 < made < 8
    assert set(seen["widths"]) == {256}
    assert "What was made of it is being checked…" in seen["told"], seen["told"]
    assert not any("All pictures" in text for text in seen["told"])
    assert seen["told"][-2] != "Providers are at work…"  # As any event was told that has no words of its own.
    assert seen["told"][-1] == f"Cancelled; {made} of 8 pictures were made."
    assert seen["unmade"] == (f"{8 - made} pictures were not made." if made < 7 else "One picture was not made.")


def test_the_keyboard_alone_sends_a_job(place: Place) -> None:
    place.behave(serve_honestly)
    seen = place.visit("keyboard")
    assert seen["said"] == []
    for part in ('heading "Draw something" [level=1]', 'textbox "What to draw"', "status", "contentinfo"):
        assert part in seen["spoken"]


def test_it_fits_on_any_screen_and_says_what_to_do_without_javascript(place: Place) -> None:
    place.behave(serve_honestly)
    job = place.hub.post_job(prompts=["a", "b", "c", "d", "e"]).json()
    wait_until(lambda: place.hub.job(job["job_id"])["mint"]["state"] == "minted")
    seen = place.visit("looks", jobId=job["job_id"])
    assert seen["tooWide"] == [False] * 6
    assert not seen["isForm"]
    assert "curl" in seen["plain"]


@contextmanager
def only_a_proxy(port: int) -> Iterator[list[str]]:
    """What stands before a hub that is away, such as nginx; the paths that it was asked for."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_said: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Proxy) as server:
        Thread(target=server.serve_forever).start()
        yield asked
        server.shutdown()


def running_job(hub: HubProcess) -> str | None:
    jobs = hub.request("GET", "/v1/jobs").json()["items"]
    return next((job["job_id"] for job in jobs if job["status"] == "running"), None)


def test_a_hub_that_is_away_for_a_while_is_waited_for(place: Place) -> None:
    """The last test here: the providers do not come back."""
    place.behave(never)
    hub = place.hub
    with ThreadPoolExecutor() as pool:
        visit = pool.submit(place.visit, "outlast", prompt="kept")
        job_id = wait_until(lambda: running_job(hub))
        hub.stop()
        with only_a_proxy(int(hub.url.rpartition(":")[2])) as asked:
            wait_until(lambda: len([path for path in asked if path.startswith(f"/v1/jobs/{job_id}")]) >= 2)
        hub.start()
        assert hub.request("POST", f"/v1/jobs/{job_id}/cancel").status_code == 200
        told = visit.result()["told"]
    assert "The connection is lost; trying again…" in told
    assert told[-1] == "Cancelled; 0 of 1 pictures were made."
