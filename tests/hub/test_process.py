"""The hub as a process: what it refuses to start with, what survives kill −9, and how it ends."""

import asyncio
import resource
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from chain.primitives.keys import PrivateKey
from chain.primitives.types import Hash32
from hub.errors import HubConfigurationError
from hub.hub import open_hub
from hub.settings import HubSettings
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N, KeystoreError

Eventually = Callable[..., Any]
NOT_LISTENING = "http://127.0.0.1:9"


def respond(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def slowly(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.0)
    respond(handler, answering.body())


class TestRefusesToStart:
    """A clear reason, and nothing begun."""

    @staticmethod
    async def refusal(hub: Any, **settings: Any) -> str:
        built = HubSettings.build(**hub.settings(), **settings)
        with pytest.raises((HubConfigurationError, KeystoreError)) as caught:
            await open_hub(built, "secret", CollectorRegistry(), wait=False)
        assert not (hub.folder / "data" / "hub.sqlite3").exists()
        return str(caught.value)

    @staticmethod
    def give_key(hub: Any, key: PrivateKey, chain_id: int, genesis_hash: str) -> None:
        network = AttesterNetwork(chain_id, Hash32(bytes.fromhex(genesis_hash[2:])))
        path = hub.folder / "attester.json"
        path.unlink()
        save_attester_key(path, key, "secret", network, scrypt_n=LIGHT_SCRYPT_N)

    async def test_attester_that_the_chain_does_not_list(self, make_hub: Any, chain: Any) -> None:
        hub = make_hub()
        self.give_key(hub, PrivateKey.generate(), chain.chain_id, chain.genesis_hash)
        message = await self.refusal(hub)
        assert "is not on the chain's list of attesters" in message
        assert "--wait" in message

    async def test_keystore_of_another_genesis(self, make_hub: Any, chain: Any) -> None:
        hub = make_hub()
        self.give_key(hub, chain.attester, chain.chain_id, "0x" + "99" * 32)
        assert "does not sign for chain" in await self.refusal(hub)

    async def test_silent_node(self, make_hub: Any) -> None:
        assert "--wait" in await self.refusal(make_hub(node=NOT_LISTENING))

    async def test_url_that_is_none(self, make_hub: Any) -> None:
        assert "http://" in await self.refusal(make_hub(node="ftp://x"))

    async def test_missing_clients_file(self, make_hub: Any) -> None:
        assert "cannot read" in await self.refusal(make_hub(clients_file="/nonexistent/clients.toml"))

    async def test_data_of_another_network(self, make_hub: Any, chain: Any) -> None:
        hub = make_hub()
        settings = HubSettings.build(**hub.settings())
        await (await open_hub(settings, "secret", CollectorRegistry(), wait=False)).close()
        other = settings.model_copy(update={"hub_id": "hub-2"})
        with pytest.raises(HubConfigurationError, match="belongs to hub hub-1 on chain"):
            await open_hub(other, "secret", CollectorRegistry(), wait=False)

    async def test_second_hub_on_one_folder(self, make_hub: Any) -> None:
        settings = HubSettings.build(**make_hub().settings())
        first = await open_hub(settings, "secret", CollectorRegistry(), wait=False)
        with pytest.raises(HubConfigurationError, match="another hub is running on"):
            await open_hub(settings, "secret", CollectorRegistry(), wait=False)
        await first.close()
        again = await open_hub(settings, "secret", CollectorRegistry(), wait=False)
        await again.close()

    @pytest.mark.parametrize("is_node_silent", [True, False])
    async def test_waits_when_told_to(self, make_hub: Any, chain: Any, is_node_silent: bool) -> None:
        hub = make_hub(**({"node": NOT_LISTENING} if is_node_silent else {}))
        if not is_node_silent:
            self.give_key(hub, PrivateKey.generate(), chain.chain_id, chain.genesis_hash)
        settings = HubSettings.build(**hub.settings())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(open_hub(settings, "secret", CollectorRegistry(), wait=True), 1)

    def test_command_line_says_why_in_one_line(self, make_hub: Any) -> None:
        hub = make_hub(node=NOT_LISTENING)
        process: subprocess.Popen[str] = hub.spawn()
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, output) == (1, "")
        assert hub.log.splitlines() == [hub.log.rstrip()]
        assert hub.log.startswith("aitbc: ")


def test_what_it_writes_is_closed_to_others(make_hub: Any) -> None:
    hub = make_hub()
    data = hub.folder / "data"
    data.mkdir(mode=0o755)
    hub.start()
    assert {path.name: path.stat().st_mode & 0o077 for path in data.iterdir()} == dict.fromkeys(
        (path.name for path in data.iterdir()), 0
    )


@dataclass
class Aftermath:
    """A hub that was killed at its worst moment and started again, and the jobs that it had."""

    hub: Any
    undelivered: dict[str, Any]
    """Attested; its provider had not taken the attestation."""
    unattested: dict[str, Any]
    """Verified, its picture and receipt kept, but not attested. This is made by hand from a finished job."""
    requests_before: list[dict[str, Any]]


@pytest.fixture(scope="module")
def aftermath(
    tmp_path_factory: pytest.TempPathFactory, hub_process: Any, good: Any, liar: Any, eventually: Eventually
) -> Iterator[Aftermath]:
    """One hub for all tests below: kill −9 with one job in each stage, and a restart."""
    good.reset()
    liar.reset()
    hub = hub_process(
        tmp_path_factory.mktemp("killed"),
        max_concurrent_jobs=1,
        max_waiting_jobs=1,
        AITBC_HUB_DELIVERY_FIRST_RETRY_S="0.2",
    ).start()
    unattested = hub.post_job(model="good/model").json()
    eventually(lambda: good.attestations)
    good.takes_attestations = False
    undelivered = hub.post_job(model="good/model").json()
    eventually(lambda: hub.job(undelivered["job_id"])["delivery"]["attempts"] > 0)
    undelivered = hub.job(undelivered["job_id"])
    good.reset()
    good.takes_attestations = False
    is_killed = threading.Event()

    def answer_too_late(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
        is_killed.wait(30)
        respond(handler, answering.body())

    good.behaviour = answer_too_late
    client = threading.Thread(target=_ask_in_vain, args=(hub,))
    client.start()
    eventually(lambda: good.requests)
    hub.kill()
    is_killed.set()
    client.join()
    with sqlite3.connect(hub.folder / "data" / "hub.sqlite3") as database:
        which = (unattested["job_id"],)
        database.execute("UPDATE jobs SET state = 'verified', ended_at_ms = NULL WHERE job_id = ?", which)
        database.execute(
            "UPDATE receipts SET attestation = NULL, attested_at_ms = NULL, delivered_at_ms = NULL, "
            "next_delivery_ms = NULL, next_mint_check_ms = NULL WHERE job_id = ?",
            which,
        )
    good.takes_attestations = True
    yield Aftermath(hub.start(), undelivered, unattested, list(good.requests))
    if hub.process.poll() is None:
        hub.kill()


class TestKillNine:
    """Whatever stage a job was in, it ends once, with one receipt and one signature."""

    def test_undelivered_attestation_is_delivered(
        self, aftermath: Aftermath, good: Any, eventually: Eventually
    ) -> None:
        before = aftermath.undelivered
        assert before["delivery"]["state"] == "pending"
        assert "busy" in before["delivery"]["error"]
        after = eventually(
            lambda: (now := aftermath.hub.job(before["job_id"]))["delivery"]["state"] == "delivered" and now
        )
        assert after["attestation"] == before["attestation"]
        assert (before["receipt_hash"], before["attestation"]) in good.attestations

    def test_verified_job_is_attested_alike(self, aftermath: Aftermath, good: Any, eventually: Eventually) -> None:
        before = aftermath.unattested
        after = eventually(lambda: (now := aftermath.hub.job(before["job_id"]))["status"] == "done" and now)
        assert after["attestation"] == before["attestation"]
        assert after["receipt"] == before["receipt"]
        eventually(lambda: (before["receipt_hash"], before["attestation"]) in good.attestations)

    def test_job_at_a_provider_goes_on(self, aftermath: Aftermath, good: Any, eventually: Eventually) -> None:
        (first,) = aftermath.requests_before
        job = eventually(lambda: (now := aftermath.hub.job(first["job"]["job_id"]))["status"] == "done" and now)
        again = [request for request in good.requests if request["job"]["job_id"] == job["job_id"]]
        assert again == [first, first], "the same nonce: the provider may answer with the picture that it has"
        assert [attempt["outcome"] for attempt in job["attempts"]] == ["ok"]
        eventually(lambda: (job["receipt_hash"], job["attestation"]) in good.attestations)


def test_liar_is_benched(aftermath: Aftermath, liar: Any, good: Any) -> None:
    hub = aftermath.hub
    liar.reset()
    liar.behaviour = lambda _server, _answering, handler: respond(handler, b"{}")
    assert hub.post_job(model="liar/model").status_code == 502
    second = hub.post_job(model="liar/model")
    assert second.status_code == 503
    assert second.json()["reason"] == "providers_benched"
    assert int(second.headers["Retry-After"]) > 0
    assert len(liar.requests) == 1
    listed = {each["address"]: each for each in hub.request("GET", "/v1/providers").json()["items"]}
    assert listed[liar.address]["benched"] == "malformed_answer"
    assert 0 < listed[liar.address]["benched_for_s"] <= 600
    assert listed[good.address]["benched"] is None


def test_queue_is_bounded(aftermath: Aftermath, good: Any) -> None:
    good.behaviour = slowly
    answers: list[httpx.Response] = []
    clients = [
        threading.Thread(target=lambda: answers.append(aftermath.hub.post_job(model="good/model"))) for _ in range(4)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.json()["reason"] == "queue_full"
    assert int(refused.headers["Retry-After"]) > 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="a full disk is made with prlimit")
def test_full_disk_only_delays_a_job(aftermath: Aftermath, good: Any, eventually: Eventually) -> None:
    hub = aftermath.hub
    good.reset()

    def fill_the_disk(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
        if len(good.requests) == 1:
            resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        respond(handler, answering.body())

    good.behaviour = fill_the_disk
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(hub.post_job(model="good/model")))
    client.start()
    eventually(lambda: len(good.requests) > 1)
    assert hub.job(good.requests[0]["job"]["job_id"])["status"] == "queued"
    resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    client.join()
    assert answers[0].status_code == 200, answers[0].text
    assert good.requests[0] == good.requests[-1], "the same job and nonce: nobody is asked for a second picture"


def test_running_job_ends_before_the_hub_does(aftermath: Aftermath, good: Any, eventually: Eventually) -> None:
    """The last test of this module: it stops the hub."""
    good.reset()
    good.behaviour = slowly
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(aftermath.hub.post_job(model="good/model")))
    client.start()
    eventually(lambda: good.requests)
    assert aftermath.hub.stop() == 0, aftermath.hub.log
    client.join()
    assert answers[0].status_code == 200, answers[0].text


def _ask_in_vain(hub: Any) -> None:
    with pytest.raises(httpx.TransportError):
        hub.post_job(model="good/model")
