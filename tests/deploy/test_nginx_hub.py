"""nginx's site in front of a real hub: providers dial in through it, progress comes as it happens."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from tests.deploy.machine import until
from tests.deploy.nginx_server import SERVER_NAME, Nginx
from tests.hub.dialled import DialledProvider
from tests.hub.running import CLIENT_KEYS, Chain, HubProcess

pytestmark = pytest.mark.programs("nginx", "openssl")
KEY = {"Authorization": f"Bearer {CLIENT_KEYS['alice']}"}
ORDER = {"prompt": "a red circle", "width": 256, "height": 256, "steps": 5, "n": 2}


class Gate:
    """Holds a provider's work back until a test lets it go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.opened.set()

    async def __call__(self, provider: DialledProvider, assignment: Assignment) -> None:
        """A `Behaviour`."""
        await asyncio.to_thread(self.opened.wait, 60)
        await provider.deliver(assignment, provider.pictures(assignment))


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Nginx:
    """Prepared, and not started."""
    return Nginx.prepare(tmp_path_factory.mktemp("nginx"))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, nginx: Nginx) -> Iterator[tuple[HubProcess, Gate]]:
    """A hub behind nginx, with a provider that has dialled nginx."""
    chain = Chain(tmp_path_factory.mktemp("chain"))
    key = PrivateKey(b"\x71" * 32)
    chain.register(key)
    hub = HubProcess(tmp_path_factory.mktemp("hub"), chain, AITBC_HUB_WORKER_HOSTS=SERVER_NAME).start()
    nginx.render("hub", "--upstream", hub.url.removeprefix("http://"))
    process = nginx.start()
    gate = Gate()
    way_in = {"ssl": nginx.tls(), "host": "127.0.0.1"}
    provider = DialledProvider(key, chain, behaviour=gate, connecting=way_in)
    provider.dial(f"wss://{SERVER_NAME}:{nginx.https_port}/v1/workers")
    yield hub, gate
    provider.hang_up()
    assert hub.stop() == 0, hub.log
    process.terminate()
    process.wait(30)
    chain.close()


class _ByName(httpx.HTTPTransport):
    """Finds gpu.example on loopback, as a resolver would."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


@pytest.fixture
def web(nginx: Nginx, hub: tuple[HubProcess, Gate]) -> Iterator[httpx.Client]:
    """A client of https://gpu.example."""
    url = f"https://{SERVER_NAME}:{nginx.https_port}"
    with httpx.Client(transport=_ByName(verify=nginx.tls()), base_url=url, timeout=60, headers=KEY) as client:
        yield client


def test_a_job_of_a_provider_that_dialled_through_tls(web: httpx.Client) -> None:
    job = web.post("/v1/jobs", json=ORDER | {"wait_s": 50}).json()
    assert job["status"] == "done", job
    pictures = [web.get(job["pictures"][index % 2]["url"]) for index in range(60)]
    assert {answer.status_code for answer in pictures} == {200}, "who fetches a large job's pictures is no flood"


def test_a_generated_picture_has_a_link_that_leads_back_through_tls(web: httpx.Client, nginx: Nginx) -> None:
    order = {"prompt": "a red circle", "size": "256x256", "steps": 5}
    (picture,) = web.post("/v1/images/generations", json=order).json()["data"]
    assert picture["url"].startswith(f"https://{SERVER_NAME}:{nginx.https_port}/v1/jobs/")
    assert web.get(picture["url"]).status_code == 200


def test_events_arrive_while_the_job_goes_on(web: httpx.Client, hub: tuple[HubProcess, Gate]) -> None:
    _, gate = hub
    gate.opened.clear()
    job_id = web.post("/v1/jobs", json=ORDER).json()["job_id"]
    kinds: list[str] = []
    with web.stream("GET", f"/v1/jobs/{job_id}/events") as events:
        for line in events.iter_lines():
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
            if kinds[-1:] == ["running"]:  # It came though nothing follows it until now.
                gate.opened.set()
    assert kinds[:2] == ["queued", "running"]
    assert kinds[-1] == "done"


def test_a_websocket_tells_the_same(web: httpx.Client, nginx: Nginx, hub: tuple[HubProcess, Gate]) -> None:
    job_id = web.post("/v1/jobs", json=ORDER).json()["job_id"]
    raw = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=60)
    # The page of this very site: the hub compares its origin with the Host that nginx passes on.
    origin: Any = f"https://{SERVER_NAME}:{nginx.https_port}"
    url = f"wss://{SERVER_NAME}:{nginx.https_port}/v1/jobs/{job_id}/live"
    with connect(url, sock=raw, ssl=nginx.tls(), origin=origin) as live:
        live.send(json.dumps({"type": "authenticate", "api_key": CLIENT_KEYS["alice"]}))
        kinds = [json.loads(message)["kind"] for message in live]
    assert (kinds[0], kinds[-1]) == ("queued", "done")


def test_bodies_are_bounded_where_they_are_read(web: httpx.Client) -> None:
    prompts = {"prompts": ["\u1234" * 1_000] * 256}
    assert len(json.dumps(prompts)) > 1024 * 1024
    assert web.post("/v1/estimate", json=prompts).status_code == 200, "the largest order there is"
    too_large = web.post("/v1/jobs", content=b" " * (3 * 1024 * 1024))
    assert (too_large.status_code, too_large.json()["reason"]) == (413, "too_large")
    # Evidence is larger, and read only from hubs that say who they are.
    evidence = web.post("/v1/attestations", content=b"\0" * (3 * 1024 * 1024))
    assert (evidence.status_code, evidence.headers["Content-Type"]) == (401, "application/problem+json")


def test_figures_are_for_operators(web: httpx.Client) -> None:
    assert web.get("/readyz").json() == {"status": "ok"}
    until(lambda: "aitbc_hub_workers 1.0" in web.get("/metrics").text, "the provider among the figures")
