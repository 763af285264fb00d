"""Jobs from the request to the mint: real processes, real sockets, providers that dial in."""

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import openai
import pytest
from websockets.sync.client import connect

from chain.primitives.hexadecimal import to_hex
from chain.primitives.hub_messages import Assignment
from chain.primitives.receipt import Receipt
from hub.client import HubClient, HubClientError
from hub.client_checks import check_job
from hub.orders.request import JobRequest
from tests.hub.dialled import DialledProvider, draw, serve_honestly
from tests.hub.running import CLIENT_KEYS, PRICE, Chain, HubProcess, wait_until

Shared = tuple[HubProcess, DialledProvider, DialledProvider]

pytestmark = pytest.mark.timeout(300)


def minted(hub: HubProcess, job_id: str) -> Any:
    return wait_until(lambda: job if (job := hub.job(job_id))["mint"]["state"] == "minted" else None)


async def never(_provider: DialledProvider, _assignment: Assignment) -> None:
    """Takes work and does nothing."""


async def blank(provider: DialledProvider, assignment: Assignment) -> None:
    """A picture of the right size that shows nothing."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (assignment.run.width, assignment.run.height), (9, 9, 9)).save(buffer, "PNG")
    await provider.deliver(assignment, [buffer.getvalue()] * assignment.run.count)


async def slowly(provider: DialledProvider, assignment: Assignment) -> None:
    await asyncio.sleep(0.5)
    await serve_honestly(provider, assignment)


class TestTheLoop:
    def test_one_picture_is_made_checked_attested_and_minted(self, shared: Shared, chain: Chain) -> None:
        hub, *_ = shared
        answer = hub.post_job(prompt="a blue square", seed=5)
        assert answer.status_code == 200, (answer.text, hub.log)
        job = answer.json()
        assert (job["status"], job["pictures_done"], len(job["pictures"])) == ("done", 1, 1)
        receipt = Receipt.from_object(job["receipt"])
        assert to_hex(receipt.hash) == job["receipt_hash"]
        assert receipt.amount == PRICE
        mint = minted(hub, job["job_id"])["mint"]
        assert mint["form"] == "mint"
        assert chain.node.receipt(job["receipt_hash"]).transaction_hash == mint["transaction_hash"]
        picture = hub.request("GET", f"/v1/jobs/{job['job_id']}/pictures/0")
        assert picture.content == draw("a blue square", 5, 256, 256)

    def test_several_pictures_are_split_and_paid_in_proportion(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider], chain: Chain
    ) -> None:
        hub = make_hub()
        both = [dial(hub, number) for number in (0, 1)]
        before = [chain.balance(each.key) for each in both]
        job = hub.post_job(prompt="many circles", n=4, seed=100).json()
        assert job["status"] == "done", job
        assert [picture["seed"] for picture in job["pictures"]] == [100, 101, 102, 103]
        assert [payout["amount"] for payout in job["payouts"]] == [str(2 * PRICE)] * 2
        receipt = Receipt.from_object(job["receipt"])
        assert receipt.shards is not None
        assert sum(shard.micro_units for shard in receipt.shards) == receipt.micro_units == 4 * 10**6
        assert minted(hub, job["job_id"])["mint"]["form"] == "mint_split"
        wait_until(lambda: [chain.balance(each.key) for each in both] == [each + 2 * PRICE for each in before])

    def test_a_list_of_prompts_is_a_picture_each(self, shared: Shared) -> None:
        hub, *_ = shared
        prompts = ["a house", "a tree", "a boat"]
        job = hub.post_job(prompts=prompts, seed=7).json()
        assert job["status"] == "done", job
        found = [hub.request("GET", picture["url"]).content for picture in job["pictures"]]
        assert found == [draw(prompt, 7 + index, 256, 256) for index, prompt in enumerate(prompts)]

    def test_a_provider_that_does_nothing_or_lies_is_replaced(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
    ) -> None:
        hub = make_hub()
        liar = dial(hub, 0, behaviour=blank)
        job_id = hub.post_job(prompt="a cat", wait_s=0).json()["job_id"]
        wait_until(lambda: liar.refusals)
        good = dial(hub, 1)
        job = hub.ended(job_id)
        if job["status"] == "failed":  # Everybody who was there had failed, before the other one came.
            assert job["reason"] == "providers_failed"
            job = hub.post_job(prompt="a cat").json()
        assert (job["status"], job["provider"]) == ("done", good.address)
        assert liar.refusals[0].reason == "blank_picture"

    def test_pictures_of_one_who_hangs_up_go_elsewhere(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
    ) -> None:
        hub = make_hub()
        gone = dial(hub, 0, behaviour=never)
        job_id = hub.post_job(prompt="a dog", wait_s=0).json()["job_id"]
        wait_until(lambda: gone.assignments)
        gone.hang_up()
        good = dial(hub, 1)
        job = hub.ended(job_id)
        assert (job["status"], job["provider"]) == ("done", good.address)


class TestRequests:
    def test_the_same_key_and_body_are_the_same_job(self, shared: Shared) -> None:
        hub, *_ = shared
        headers = {"Idempotency-Key": "once-and-only"}
        first = hub.post_job(headers=headers, prompt="a hat", seed=1).json()
        again = hub.post_job(headers=headers, prompt="a hat", seed=1, wait_s=0).json()
        assert again["job_id"] == first["job_id"]
        other = hub.post_job(headers=headers, prompt="a coat", seed=1)
        assert (other.status_code, other.json()["reason"]) == (409, "idempotency_key_reused")

    def test_a_dry_run_costs_nothing_and_is_no_job(self, shared: Shared) -> None:
        hub, *_ = shared
        before = hub.request("GET", "/v1/jobs?limit=1").json()["items"]
        answer = hub.post_job(n=3, dry_run=True)
        assert answer.status_code == 200
        assert (answer.json()["least_amount"], answer.json()["most_amount"]) == (str(3 * PRICE),) * 2
        assert hub.request("GET", "/v1/jobs?limit=1").json()["items"] == before

    @pytest.mark.parametrize(
        ("fields", "status", "reason"),
        [
            ({"model": "nobody/has-it"}, 422, "unknown_model"),
            ({"max_price": "1"}, 422, "price_too_low"),
            ({"min_vram_mib": 80_000}, 422, "too_little_vram"),
            ({"deadline_s": 0.000001}, 422, "deadline_unreachable"),
            ({"n": 257}, 422, "out_of_range"),
            ({"prompt": " "}, 400, "malformed"),
            ({"prompt": "a\x00b"}, 400, "malformed"),
            ({"prompts": ["a"], "prompt": "b"}, 400, "malformed"),
            ({"payment": "escrow"}, 400, "malformed"),
            ({"webhook": {"url": "ftp://x.example", "secret": "s" * 16}}, 422, "malformed"),
        ],
    )
    def test_bad_requests_are_told_what_is_wrong(
        self, shared: Shared, fields: dict[str, Any], status: int, reason: str
    ) -> None:
        answer = shared[0].post_job(**fields)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text

    @pytest.mark.parametrize(("field", "least"), [("max_price", 3 * PRICE), ("max_price_per_unit", PRICE)])
    def test_a_price_that_is_too_low_is_told_the_least_that_does(self, shared: Shared, field: str, least: int) -> None:
        hub, *_ = shared
        for fields in ({}, {"model": "aitbc/tiny-sd"}):
            asked: dict[str, Any] = {"n": 3, "dry_run": True, **fields}
            told = hub.post_job(**asked | {field: str(least - 1)}).json()
            assert (told["reason"], told["field"]) == ("price_too_low", field)
            assert f"{field} has to be {least} (" in told["detail"]
            assert "AIT) or more" in told["detail"]
            assert hub.post_job(**asked | {field: str(least)}).status_code == 200

    def test_quotas_end_a_keys_day(self, shared: Shared) -> None:
        hub, *_ = shared
        body = {"prompt": "bob's", "n": 3, "width": 256, "height": 256, "steps": 5, "wait_s": 30}
        first = hub.request("POST", "/v1/jobs", json=body, api_key=CLIENT_KEYS["bob"])
        assert first.status_code == 200, first.text
        second = hub.request("POST", "/v1/jobs", json=body, api_key=CLIENT_KEYS["bob"])
        assert (second.status_code, second.json()["reason"]) == (429, "quota_exceeded")
        assert "0 of 3 pictures left, and this takes 3; it is renewed" in second.json()["detail"]
        # Once that is over, the next day in UTC has begun, and little of it has passed.
        assert (time.time() + int(second.headers["retry-after"])) % 86_400 < 600
        whatever_day = hub.request("POST", "/v1/jobs", json=body | {"n": 4}, api_key=CLIENT_KEYS["bob"])
        assert (whatever_day.status_code, whatever_day.json()["reason"]) == (429, "quota_exceeded")
        assert "no day has enough" in whatever_day.json()["detail"]
        assert "retry-after" not in whatever_day.headers
        theirs = hub.request("GET", f"/v1/jobs/{first.json()['job_id']}")
        assert theirs.status_code == 404

    def test_links_are_good_for_pictures_and_nothing_else(self, shared: Shared) -> None:
        hub, *_ = shared
        job = hub.post_job(prompt="a link", n=2).json()
        url = job["pictures"][0]["url"]
        assert httpx.get(hub.url + url).status_code == 200
        assert httpx.get(hub.url + url.replace("/pictures/0", "/pictures/1")).status_code == 403
        assert httpx.get(hub.url + url.partition("?")[0]).status_code == 401


class TestEnds:
    def test_cancelled_jobs_keep_and_pay_what_was_delivered(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider], chain: Chain
    ) -> None:
        hub = make_hub()
        served: list[str] = []

        async def only_once(provider: DialledProvider, assignment: Assignment) -> None:
            if not served:
                served.append(assignment.lease_id)
                await serve_honestly(provider, assignment)

        provider = dial(hub, 0, behaviour=only_once)
        job_id = hub.post_job(prompt="half of it", n=4, wait_s=0).json()["job_id"]
        wait_until(lambda: len(provider.assignments) == 2)
        for _ in range(2):
            assert hub.request("POST", f"/v1/jobs/{job_id}/cancel").status_code == 200
        job = hub.ended(job_id)
        assert (job["status"], job["pictures_done"], job["reason"]) == ("cancelled", 2, "cancelled")
        assert job["receipt"]["amount"] == str(2 * PRICE)
        wait_until(lambda: provider.cancelled)
        assert minted(hub, job_id)["mint"]["state"] == "minted"
        assert hub.request("DELETE", f"/v1/jobs/{job_id}").json()["status"] == "cancelled"

    def test_a_list_of_prompts_cut_short_is_attested_for_what_came(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider], chain: Chain
    ) -> None:
        """Its one part is for some of the prompts, its receipt for all: the provider signs that as well."""
        hub = make_hub()
        served: list[str] = []

        async def only_once(provider: DialledProvider, assignment: Assignment) -> None:
            if not served:
                served.append(assignment.lease_id)
                await serve_honestly(provider, assignment)

        provider = dial(hub, 0, behaviour=only_once)
        asked = JobRequest(prompts=["one", "two", "three", "four"], width=256, height=256, steps=5)
        with HubClient(hub.url, CLIENT_KEYS["alice"], timeout_s=60) as client:
            job, sent = client.submit(asked)
            wait_until(lambda: len(provider.assignments) == 2)
            client.cancel(job["job_id"])
            job = client.wait_for_end(job["job_id"], 60)
            assert (job["status"], job["pictures_done"]) == ("cancelled", 2), job
            pictures = [client.picture(job["job_id"], each["number"]) for each in job["pictures"]]
            check_job(job, pictures, sent)
            with pytest.raises(HubClientError, match="another prompt"):
                check_job(job, pictures, sent.model_copy(update={"prompts": ["one", "two", "three", "five"]}))
            with pytest.raises(HubClientError, match="pictures"):
                check_job(job, pictures[::-1], sent)
        (shard,) = Receipt.from_object(job["receipt"]).shards or ()
        assert shard.provider == provider.key.address
        assert minted(hub, job["job_id"])["mint"]["form"] == "mint"

    def test_nobody_is_paid_for_a_job_that_is_cancelled_before_it_began(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
    ) -> None:
        hub = make_hub()
        dial(hub, 0, behaviour=never)
        job_id = hub.post_job(wait_s=0).json()["job_id"]
        hub.request("DELETE", f"/v1/jobs/{job_id}")
        job = hub.ended(job_id)
        assert (job["status"], job["receipt"], job["pictures_done"]) == ("cancelled", None, 0)

    def test_what_is_not_there_by_the_deadline_fails(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
    ) -> None:
        hub = make_hub()
        dial(hub, 0, behaviour=never)
        job_id = hub.post_job(deadline_s=2, wait_s=0).json()["job_id"]
        assert hub.ended(job_id)["reason"] == "deadline_passed"

    @pytest.mark.parametrize("stage", ["assigned", "delivered", "attested"])
    def test_kill_9_loses_no_job_and_pays_once(
        self, make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider], chain: Chain, stage: str
    ) -> None:
        hub = make_hub()
        provider = dial(hub, 0, behaviour=slowly)
        before = chain.balance(provider.key)
        job_id = hub.post_job(prompt=f"killed when {stage}", n=2, wait_s=0).json()["job_id"]
        if stage == "assigned":
            wait_until(lambda: provider.assignments)
        elif stage == "delivered":
            wait_until(lambda: hub.job(job_id)["pictures_done"] > 0)
        else:
            hub.ended(job_id)
        hub.kill()
        hub.start()
        job = hub.ended(job_id)
        assert (job["status"], job["pictures_done"]) == ("done", 2), hub.log
        minted(hub, job_id)
        wait_until(lambda: chain.balance(provider.key) == before + 2 * PRICE)
        told = [event["kind"] for event in events(hub, job_id)]
        assert told.count("done") == 1
        assert [told.count(kind) for kind in ("queued", "running", "verifying", "attested")] == [1, 1, 1, 1]


def events(hub: HubProcess, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """All that a stream tells."""
    headers = {"Authorization": f"Bearer {CLIENT_KEYS['alice']}", "Last-Event-ID": str(after)}
    with httpx.stream("GET", f"{hub.url}/v1/jobs/{job_id}/events", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


class TestProgress:
    def test_a_stream_that_is_taken_up_again_misses_nothing(self, shared: Shared) -> None:
        hub, *_ = shared
        job = hub.post_job(prompt="watched", n=2).json()
        told = [event for event in events(hub, job["job_id"]) if "sequence" in event]
        assert [event["sequence"] for event in told] == list(range(1, len(told) + 1))
        assert [told[0]["kind"], told[-1]["kind"]] == ["queued", "done"]
        assert [event["sequence"] for event in events(hub, job["job_id"], after=2)] == list(range(3, len(told) + 1))

    def test_a_websocket_tells_the_same(self, shared: Shared) -> None:
        hub, *_ = shared
        job = hub.post_job(prompt="watched as well").json()
        url = hub.url.replace("http", "ws") + f"/v1/jobs/{job['job_id']}/live"
        with connect(url) as socket:
            socket.send(json.dumps({"type": "authenticate", "api_key": CLIENT_KEYS["alice"]}))
            told = [json.loads(message) for message in socket]
        assert [told[0]["kind"], told[-1]["kind"]] == ["queued", "done"]
        with connect(url) as socket:
            socket.send(json.dumps({"type": "authenticate", "api_key": CLIENT_KEYS["bob"]}))
            assert json.loads(socket.recv())["reason"] == "not_found"


class TestOpenai:
    def test_its_sdk_lists_models_and_makes_pictures(self, shared: Shared) -> None:
        hub, *_ = shared
        client = openai.OpenAI(base_url=hub.url + "/v1", api_key=CLIENT_KEYS["alice"], max_retries=0)
        assert [model.id for model in client.models.list().data] == ["aitbc/tiny-sd"]
        answer = client.images.generate(prompt="by sdk", n=2, size="256x256", response_format="b64_json")
        assert answer.data is not None
        assert len({each.b64_json for each in answer.data}) == 2
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            client.images.generate(prompt="by sdk", model="nobody/has-it")
        assert refused.value.code == "unknown_model"

    @pytest.mark.parametrize(
        ("client", "asked", "status", "code", "param"),
        [
            ("alice", {"n": 11}, 422, "out_of_range", "n"),
            ("alice", {"response_format": "svg"}, 422, "malformed", "response_format"),
            ("alice", {"size": "1x1"}, 422, "malformed", "size"),
            ("alice", {"size": "100x100"}, 422, "out_of_range", "size"),
            ("alice", {"prompt": " "}, 400, "malformed", "prompt"),
            ("alice", {"stream": True}, 400, "unsupported_parameter", "stream"),
            ("alice", {"extra_headers": {"Idempotency-Key": "a b"}}, 422, "malformed", "Idempotency-Key"),
            ("bob", {"n": 4}, 429, "quota_exceeded", None),
            (None, {}, 401, "invalid_api_key", "Authorization"),
        ],
    )
    def test_its_sdk_says_what_is_wrong(
        self, shared: Shared, client: str | None, asked: dict[str, Any], status: int, code: str, param: str | None
    ) -> None:
        key = CLIENT_KEYS[client] if client is not None else "nobody-0123456789abcdef"
        sdk = openai.OpenAI(base_url=shared[0].url + "/v1", api_key=key)
        with pytest.raises(openai.APIStatusError) as refused:
            sdk.images.generate(**{"prompt": "by sdk", "size": "256x256"} | asked)
        error = refused.value
        assert (error.status_code, error.code) == (status, code), error
        assert (error.param or "").lower() == (param or "").lower()
        assert error.type == "invalid_request_error"
        assert error.body is not None
        assert str(error) != f"Error code: {status}"
        assert error.response.headers.get("x-should-retry") == ("false" if status == 429 else None)

    def test_its_other_route_has_errors_of_the_same_form(self, shared: Shared) -> None:
        with pytest.raises(openai.AuthenticationError) as refused:
            openai.OpenAI(base_url=shared[0].url + "/v1", api_key="nobody-0123456789abcdef").models.list()
        assert "does not know the key" in str(refused.value)

    def test_links_are_as_the_client_came(self, shared: Shared) -> None:
        hub, *_ = shared
        body = {"prompt": "linked", "size": "256x256", "steps": 5}
        for proto, scheme in (("https", "https"), ("ftp", "http")):
            headers = {"X-Forwarded-Proto": proto, "Host": "hub.example:8443"}
            (picture,) = hub.request("POST", "/v1/images/generations", json=body, headers=headers).json()["data"]
            assert picture["url"].startswith(f"{scheme}://hub.example:8443/v1/jobs/")
        odd = hub.request("POST", "/v1/images/generations", json=body, headers={"Host": "[/<script>"})
        assert (odd.status_code, odd.json()["error"]["param"]) == (400, "Host")


@pytest.fixture
def listener() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A client's server, which fails at the first call."""
    calls: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(500 if len(calls) == 1 else 200)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/told", calls
    server.shutdown()
    server.server_close()


class TestWebhooks:
    def test_calls_are_signed_and_made_again_until_they_succeed(
        self, shared: Shared, listener: tuple[str, list[tuple[dict[str, str], bytes]]]
    ) -> None:
        hub, *_ = shared
        url, calls = listener
        secret = "a secret of sixteen".replace(" ", "-")
        job = hub.post_job(prompt="told", webhook={"url": url, "secret": secret}).json()
        wait_until(lambda: len(calls) == 2)
        (headers, body), (again, same) = calls
        assert body == same
        assert headers["webhook-id"] == again["webhook-id"]
        signed = f"{again['webhook-timestamp']}.".encode() + body
        assert again["webhook-signature"] == "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        assert abs(int(again["webhook-timestamp"]) - time.time()) < 60
        told = json.loads(body)
        assert (told["event"], told["job_id"]) == ("job.done", job["job_id"])
        assert secret not in json.dumps(hub.job(job["job_id"]))

    def test_webhooks_into_inner_networks_are_refused(
        self,
        make_hub: Callable[..., HubProcess],
        dial: Callable[..., DialledProvider],
        listener: tuple[str, list[tuple[dict[str, str], bytes]]],
    ) -> None:
        hub = make_hub()
        dial(hub)
        url, calls = listener
        for inner in (url, url.replace("127.0.0.1", "localhost"), "http://[::1]/", "http://169.254.169.254/latest"):
            answer = hub.post_job(webhook={"url": inner, "secret": "s" * 16})
            problem = answer.json()
            told = (answer.status_code, problem["reason"], problem["field"])
            assert told == (422, "webhook_refused", "webhook.url"), inner
        assert hub.request("GET", "/v1/jobs").json()["items"] == []
        assert calls == []


def test_the_page_is_there_with_a_strict_policy(shared: Shared) -> None:
    hub, *_ = shared
    page = httpx.get(hub.url + "/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "hub-1" in page.text
    for name in ("hub.js", "hub.css", "icon.svg"):
        assert httpx.get(f"{hub.url}/static/{name}").status_code == 200


def test_providers_and_hub_are_public(shared: Shared) -> None:
    hub, first, second = shared
    listed = {each["address"]: each for each in httpx.get(hub.url + "/v1/providers").json()["items"]}
    assert {first.address, second.address} <= {name for name, each in listed.items() if each["is_connected"]}
    assert httpx.get(f"{hub.url}/v1/providers/{first.address}").json()["address"] == first.address
    assert httpx.get(hub.url + "/v1/hub").json()["hub_id"] == "hub-1"
