"""kill -9 of the hub at every stage of a job: it ends once, is paid once or not at all, and its client is told."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from hub.store import jobs, receipts
from hub.store.jobs import JobState
from tests.hub.bad_days.invariants import check, every_job, store_of
from tests.hub.dialled import DialledProvider, serve_honestly
from tests.hub.running import Chain, HubProcess, wait_until

pytestmark = pytest.mark.timeout(600)

KILLS = 3
Join = Callable[..., DialledProvider]


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[str, list[str]]]:
    """A client's server, and the ids of the jobs whose end it was told of."""
    heard: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """A webhook."""
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["job_id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Not into the test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/told", heard
        server.shutdown()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, chain: Chain) -> Iterator[HubProcess]:
    """Its receipts wait for a while, so that there is a time in which they are composed and not attested."""
    folder = tmp_path_factory.mktemp("hub")
    flags = {"challenge_window_s": 1.5, "webhook_networks": "127.0.0.0/8", "AITBC_HUB_CANARIES_PER_DAY": 20}
    process = HubProcess(folder, chain, **flags).start()
    yield process
    assert process.stop() == 0, process.log


@pytest.fixture(scope="module")
def sent(hub: HubProcess) -> list[str]:
    """All jobs of this file."""
    return []


@pytest.fixture
def send(hub: HubProcess, sent: list[str], told: tuple[str, list[str]]) -> Callable[..., str]:
    def post(prompt: str, **fields: Any) -> str:
        webhook = {"url": told[0], "secret": "a-secret-of-the-client"}
        answer = hub.post_job(prompt=prompt, wait_s=0, webhook=webhook, **fields)
        assert answer.status_code == 202, answer.text
        sent.append(answer.json()["job_id"])
        return sent[-1]

    return post


async def never(_provider: DialledProvider, _assignment: Assignment) -> None:
    """Takes work and does nothing."""


def restart(hub: HubProcess) -> None:
    hub.kill()
    hub.start()


def test_accepted_and_leased(hub: HubProcess, join: Join, send: Callable[..., str]) -> None:
    provider = join(hub, behaviour=never)
    leased = send("a mill")
    wait_until(lambda: provider.assignments)
    accepted = send("a dam")
    provider.behaviour = serve_honestly
    restart(hub)
    assert [hub.ended(job_id)["status"] for job_id in (leased, accepted)] == ["done", "done"]
    assert provider.assignments[0].lease_id == provider.assignments[1].lease_id


def test_half_delivered(hub: HubProcess, join: Join, send: Callable[..., str]) -> None:
    async def once(provider: DialledProvider, assignment: Assignment) -> None:
        if not provider.taken:
            await serve_honestly(provider, assignment)

    provider = join(hub, behaviour=once)
    job_id = send("a road", n=4)
    wait_until(lambda: provider.taken and len(provider.assignments) == 2)
    provider.behaviour = serve_honestly
    restart(hub)
    job = hub.ended(job_id)
    assert (job["status"], job["pictures_done"]) == ("done", 4)
    assert provider.assignments[2].lease_id == provider.assignments[1].lease_id


@pytest.mark.parametrize("pause_s", [0.0, 0.03])
def test_while_a_result_is_kept(hub: HubProcess, join: Join, send: Callable[..., str], pause_s: float) -> None:
    is_sent = threading.Event()

    async def tell(provider: DialledProvider, assignment: Assignment) -> None:
        await serve_honestly(provider, assignment)
        is_sent.set()

    join(hub, behaviour=tell)
    job_id = send(f"a gate {pause_s}", n=2)
    assert is_sent.wait(60)
    time.sleep(pause_s)
    restart(hub)
    assert hub.ended(job_id)["status"] == "done"


def test_composed_and_not_attested(hub: HubProcess, join: Join, send: Callable[..., str]) -> None:
    join(hub)
    job_id = send("a barn", n=4)
    with store_of(hub) as store:
        found = wait_until(lambda: store.read_now(lambda r: receipts.get(r, job_id)))
        restart(hub)
        assert hub.ended(job_id)["status"] == "done"
        again = store.read_now(lambda r: receipts.get(r, job_id))
    assert again is not None
    assert again.receipt_hash == found.receipt_hash


def test_attested_while_its_provider_was_away(hub: HubProcess, join: Join, send: Callable[..., str]) -> None:
    provider = join(hub)
    job_id = send("a pond")
    wait_until(lambda: provider.taken)
    provider.hang_up()
    with store_of(hub) as store:
        wait_until(lambda: (job := store.read_now(lambda r: jobs.get(r, job_id))) and job.state == JobState.DONE)
    restart(hub)
    assert hub.job(job_id)["mint"]["state"] == "pending"
    join(hub)
    wait_until(lambda: hub.job(job_id)["mint"]["state"] == "minted")


def test_minted(hub: HubProcess, join: Join, chain: Chain, send: Callable[..., str]) -> None:
    provider = join(hub)
    job_id = send("a reef")
    receipt_hash = hub.ended(job_id)["receipt_hash"]
    wait_until(lambda: provider.is_used(receipt_hash))
    restart(hub)
    wait_until(lambda: hub.job(job_id)["mint"]["state"] == "minted")


def test_at_any_moment_while_clients_ask_again(
    hub: HubProcess, join: Join, sent: list[str], told: tuple[str, list[str]]
) -> None:
    draw = random.Random(23)

    async def soon(provider: DialledProvider, assignment: Assignment) -> None:
        await asyncio.sleep(draw.uniform(0, 0.3))
        await serve_honestly(provider, assignment)

    for number in range(2):
        join(hub, number, behaviour=soon)
    accepted: dict[int, str] = {}
    for _ in range(KILLS):
        deadline_s = time.monotonic() + draw.uniform(0.3, 2.0)
        while time.monotonic() < deadline_s:
            for number in range(5):
                answer = hub.post_job(
                    headers={"Idempotency-Key": f"again-{number}"},
                    prompt=f"a field {number}",
                    seed=number,
                    n=3,
                    wait_s=0,
                    webhook={"url": told[0], "secret": "a-secret-of-the-client"},
                )
                if answer.status_code in (200, 202):
                    job_id = answer.json()["job_id"]
                    assert accepted.setdefault(number, job_id) == job_id
        restart(hub)
    assert accepted
    sent.extend(accepted.values())
    assert {hub.ended(job_id)["status"] for job_id in accepted.values()} == {"done"}


def test_all_of_them_ended_once_and_were_paid_once(
    hub: HubProcess, join: Join, chain: Chain, crew: list[PrivateKey], sent: list[str], told: tuple[str, list[str]]
) -> None:
    for number in range(len(crew)):
        join(hub, number)
    assert set(sent) <= set(every_job(hub))
    check(hub, chain, crew)
    own = {job["job_id"] for job in hub.request("GET", "/v1/jobs?limit=200").json()["items"]}
    wait_until(lambda: set(told[1]) == own)
