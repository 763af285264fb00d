"""The hub over HTTP, with honest providers on real sockets and a real chain."""

import base64
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import msgspec
import pytest

from chain.primitives.client_request import ClientClaim, sign_client_request
from chain.primitives.hexadecimal import parse_hex, to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, salted_prompt_hash
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Amount, Hash32
from hub.request import JobRequest
from wallet.verification import Document, check_document, recover_attesters

BOB = {"api_key": "bob-0123456789abcdef"}


def test_served_job_has_everything_that_proves_it(
    hub: Any, good: Any, chain: Any, eventually: Callable[..., Any]
) -> None:
    answer = hub.post_job(model="good/model", seed=7)

    assert answer.status_code == 200, answer.text
    job = answer.json()
    document = Document.from_json(answer.content)
    assert all(check.passed is not False for check in check_document(document))
    assert document.attestation is not None
    assert recover_attesters(document.receipt, document.attestation) == [chain.attester.address]
    assert job["status"] == "done"
    assert job["seed"] == 7
    assert document.receipt.client == "alice"
    assert document.receipt.provider == good.key.address
    salt = bytes.fromhex(job["prompt_salt"][2:])
    assert document.receipt.prompt_hash == salted_prompt_hash(salt, "a red circle")
    eventually(lambda: good.attestations == [(job["receipt_hash"], job["attestation"])])
    image = hub.request("GET", job["image_url"])
    assert image.headers["Content-Type"] == "image/png"
    assert image.content == base64.b64decode(job["image_base64"].partition(",")[2])


def test_mint_is_seen_on_the_chain(hub: Any, good: Any, chain: Any, eventually: Callable[..., Any]) -> None:
    job = hub.post_job(model="good/model").json()
    assert job["mint"] == {"state": "pending", "transaction_hash": None, "height": None}
    eventually(lambda: good.attestations)

    transaction_hash = chain.mint(good.key, *good.attestations[0], amount=int(job["receipt"]["amount"]))

    minted = eventually(lambda: (now := hub.job(job["job_id"]))["mint"]["state"] == "minted" and now)
    assert minted["mint"]["transaction_hash"] == transaction_hash
    assert minted["mint"]["height"] >= 1
    assert minted["delivery"]["state"] == "delivered"


def test_providers_take_turns(hub: Any, liar: Any, good: Any) -> None:
    served = [hub.post_job().json()["provider"] for _ in range(4)]
    assert served in ([liar.address, good.address] * 2, [good.address, liar.address] * 2)


def test_omitted_seed_is_drawn_sent_and_told(hub: Any, good: Any) -> None:
    job = hub.post_job(model="good/model").json()
    assert good.requests[-1]["seed"] == job["seed"]
    assert job["request"]["seed"] is None


def test_prompt_is_nowhere_but_with_the_provider(hub: Any, good: Any) -> None:
    secret = "my-very-secret-prompt"
    job = hub.post_job(prompt=secret, model="good/model").json()
    assert good.requests[-1]["prompt"] == secret
    assert secret not in json.dumps(job)
    assert secret not in json.dumps(hub.job(job["job_id"]))
    assert secret not in hub.log
    with sqlite3.connect(hub.folder / "data" / "hub.sqlite3") as database:
        assert database.execute("SELECT prompt FROM jobs WHERE prompt IS NOT NULL").fetchall() == []


def test_jobs_are_listed_newest_first_and_paged(hub: Any) -> None:
    made = [hub.post_job(model="good/model").json()["job_id"] for _ in range(3)]
    first = hub.request("GET", "/v1/jobs", params={"limit": 2}).json()
    assert [job["job_id"] for job in first["items"]] == made[:0:-1]
    second = hub.request("GET", "/v1/jobs", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [job["job_id"] for job in second["items"]] == made[:1]


class TestKeys:
    """Who may do what."""

    @pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong-key-0123456789", "Basic YTpi", "Bearer é"])
    def test_nobody_without_a_key(self, hub: Any, authorization: str | None) -> None:
        headers = {} if authorization is None else {"Authorization": authorization.encode()}
        for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/v1/jobs/x")):
            answer = httpx.request(method, hub.url + path, headers=headers, json={"prompt": "a cat"})  # type: ignore[arg-type]
            assert answer.status_code == 401
            assert answer.json()["reason"] == "invalid_api_key"
            assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_jobs_of_others_are_not_there(self, hub: Any) -> None:
        job_id = hub.post_job(model="good/model").json()["job_id"]
        for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/image", "/v1/jobs/" + "x" * 500):
            answer = hub.request("GET", path, **BOB)
            assert answer.status_code == 404
            assert answer.json()["field"] == "job_id"
        assert hub.request("GET", "/v1/jobs", **BOB).json() == {"items": [], "next_cursor": None}


class TestBadInput:
    """A 4xx that names the field; no provider is troubled."""

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"prompt": ""}, "prompt"),
            ({"prompt": None}, "prompt"),
            ({"steps": "30"}, "steps"),
            ({"width": 100}, "width"),
            ({"height": 10**30}, "height"),
            ({"seed": -1}, "seed"),
            ({"guidance": True}, "guidance"),
            ({"max_price": "1.5"}, "max_price"),
            ({"max_price": "1"}, "max_price"),
            ({"model": "nobody/has-it"}, "model"),
            ({"client": "0x" + "11" * 20}, "client"),
            ({"client_request": {"client": "0x" + "11" * 20}}, "client_request.salt"),
            ({"client_request": None, "max_price": ""}, "max_price"),
            ({"more": 1}, "more"),
        ],
    )
    def test_field(self, hub: Any, good: Any, liar: Any, fields: dict[str, Any], field: str) -> None:
        answer = hub.post_job(**fields)
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["field"].endswith(field)
        assert good.requests == liar.requests == []

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 422),
            (b"{", 400),
            (b"[]", 422),
            (b'{"prompt": "a", "prompt": "b"}', 400),
            (b'{"prompt": "\\ud800"}', 400),
            (b'{"prompt": "a", "guidance": NaN}', 400),
            (b'{"prompt": "a", "steps": ' + b"9" * 5000 + b"}", 413),
            (b'{"prompt": "' + b"x" * 70_000 + b'"}', 413),
            (b"[" * 60_000, 413),
        ],
    )
    def test_body(self, hub: Any, body: bytes, status: int) -> None:
        answer = hub.request("POST", "/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text
        assert answer.json()["reason"]

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=-1", "cursor=" + 30 * "9"]
    )
    def test_query(self, hub: Any, query: str) -> None:
        assert hub.request("GET", f"/v1/jobs?{query}").status_code == 422

    def test_huge_cursor(self, hub: Any) -> None:
        assert hub.request("GET", "/v1/jobs?cursor=" + "9" * 20).status_code == 200


class TestIdempotencyKey:
    """The same request twice is one job."""

    def test_same_request_same_answer(self, hub: Any, good: Any) -> None:
        headers = {"Idempotency-Key": "once"}
        first = hub.post_job(model="good/model", headers=headers).json()
        second = hub.post_job(model="good/model", headers=headers).json()
        assert second["job_id"] == first["job_id"]
        assert second["attestation"] == first["attestation"]
        assert len(good.requests) == 1

    def test_at_the_same_time(self, hub: Any, good: Any) -> None:
        answers: list[httpx.Response] = []

        def send() -> None:
            answers.append(hub.post_job(model="good/model", headers={"Idempotency-Key": "at-once"}))

        threads = [threading.Thread(target=send) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        assert len(good.requests) == 1

    def test_other_request(self, hub: Any) -> None:
        headers = {"Idempotency-Key": "other"}
        hub.post_job(model="good/model", headers=headers)
        answer = hub.post_job(model="good/model", steps=6, headers=headers)
        assert answer.status_code == 409
        assert answer.json()["reason"] == "idempotency_key_reused"

    def test_keys_of_two_clients_do_not_meet(self, hub: Any) -> None:
        headers = {"Idempotency-Key": "shared"}
        body = {"prompt": "a cat", "width": 256, "height": 256, "model": "good/model"}
        mine = hub.request("POST", "/v1/jobs", json=body, headers=headers).json()
        theirs = hub.request("POST", "/v1/jobs", json=body, headers=headers, **BOB).json()
        assert mine["job_id"] != theirs["job_id"]

    def test_failed_job_fails_alike(self, hub: Any, liar: Any) -> None:
        liar.behaviour = lambda _server, _answering, handler: handler.send_error(500)
        headers = {"Idempotency-Key": "failing"}
        answers = [hub.post_job(model="liar/model", headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [502, 502]
        assert answers[0].json() == answers[1].json()
        assert len(liar.requests) == 1

    def test_malformed_key(self, hub: Any) -> None:
        assert hub.post_job(headers={"Idempotency-Key": "x" * 129}).status_code == 422


class TestSignedRequests:
    """A client with a key of its own stands in the receipt with its address."""

    @staticmethod
    def signed(hub: Any, key: PrivateKey, *, nonce: bytes | None = None, **fields: Any) -> dict[str, Any]:
        who = hub.request("GET", "/v1/hub").json()
        plain = {"prompt": "a cat", "width": 256, "height": 256, "model": "good/model"} | fields
        request = JobRequest.model_validate(plain)
        claim = ClientClaim(
            client=key.address,
            salt=secrets.token_bytes(32),
            max_price=Amount(10**18),
            nonce=Hash32(nonce or secrets.token_bytes(32)),
            expiry=int(time.time()) + 600,
            signature=b"",
        )
        to_sign = claim.request(
            chain_id=who["chain_id"], audience=who["hub_id"], prompt=request.prompt, parameters=request.parameters()
        )
        claim = msgspec.structs.replace(claim, signature=sign_client_request(key, to_sign))
        return plain | {"client_request": claim.to_object()}

    def test_signature_stands_in_the_receipt(self, hub: Any, client_key: PrivateKey) -> None:
        body = self.signed(hub, client_key)
        job = hub.request("POST", "/v1/jobs", json=body).json()
        assert job["receipt"]["client"] == body["client_request"]["client"]
        assert job["receipt"]["client_signature"] == body["client_request"]["signature"]
        assert job["receipt"]["request_hash"] == job["request_hash"]
        assert job["prompt_salt"] == job["request_salt"] == body["client_request"]["salt"]

    def test_receipt_is_for_the_signed_request(self, hub: Any, client_key: PrivateKey) -> None:
        """What an auditor does who has the job's document and its prompt."""
        job = hub.request("POST", "/v1/jobs", json=self.signed(hub, client_key)).json()
        receipt = Receipt.from_object(job["receipt"])
        request = JobRequest.model_validate({**job["request"], "prompt": "a cat"})
        who = hub.request("GET", "/v1/hub").json()
        salt = parse_hex(job["request_salt"])
        check_request(receipt, request.to_sign(hub_id=who["hub_id"], chain_id=who["chain_id"], salt=salt))
        for hub_id, prompt in (("hub-2", "a cat"), (who["hub_id"], "a dog")):
            other = JobRequest.model_validate({**job["request"], "prompt": prompt})
            with pytest.raises(Rejected) as caught:
                check_request(receipt, other.to_sign(hub_id=hub_id, chain_id=who["chain_id"], salt=salt))
            assert caught.value.reason is RejectionReason.WRONG_REQUEST

    def test_signature_allows_one_job(self, hub: Any, client_key: PrivateKey) -> None:
        body = self.signed(hub, client_key)
        assert hub.request("POST", "/v1/jobs", json=body).status_code == 200
        again = hub.request("POST", "/v1/jobs", json=body, **BOB)
        assert again.status_code == 409
        assert again.json()["reason"] == "request_used"

    def test_nonce_allows_one_job_whatever_it_is_signed_with(
        self, hub: Any, client_key: PrivateKey, provider_key: PrivateKey
    ) -> None:
        nonce = secrets.token_bytes(32)
        first = hub.request("POST", "/v1/jobs", json=self.signed(hub, client_key, nonce=nonce))
        assert first.status_code == 200
        again = hub.request("POST", "/v1/jobs", json=self.signed(hub, client_key, nonce=nonce, prompt="a dog"))
        assert (again.status_code, again.json()["field"]) == (409, "client_request.nonce")
        others = hub.request("POST", "/v1/jobs", json=self.signed(hub, provider_key, nonce=nonce))
        assert others.status_code == 200

    def test_changed_request(self, hub: Any, client_key: PrivateKey, good: Any) -> None:
        answer = hub.request("POST", "/v1/jobs", json=self.signed(hub, client_key) | {"steps": 100})
        assert answer.status_code == 400
        assert answer.json()["reason"] == "bad_signature"
        assert answer.json()["field"] == "client_request.signature"
        assert good.requests == []

    def test_expired_request(self, hub: Any, client_key: PrivateKey, good: Any) -> None:
        body = self.signed(hub, client_key)
        body["client_request"]["expiry"] = int(time.time()) - 60
        answer = hub.request("POST", "/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (400, "request_expired")
        assert good.requests == []


def test_job_ends_when_its_client_goes_away(hub: Any, good: Any, eventually: Callable[..., Any]) -> None:
    def slowly(_server: Any, answering: Any, handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.5)
        body = answering.body()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    good.behaviour = slowly
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{hub.url}/v1/jobs",
            json={"prompt": "a cat", "width": 256, "height": 256, "model": "good/model"},
            headers={"Authorization": "Bearer alice-0123456789abcdef"},
            timeout=0.3,
        )
    latest = hub.request("GET", "/v1/jobs", params={"limit": 1}).json()["items"][0]
    assert latest["status"] == "queued"
    assert latest["receipt"] is None
    assert hub.request("GET", f"/v1/jobs/{latest['job_id']}/image").status_code == 404
    eventually(lambda: hub.job(latest["job_id"])["status"] == "done")
    eventually(lambda: len(good.attestations) == 1)


def test_public_pages(hub: Any, liar: Any, good: Any, chain: Any) -> None:
    assert httpx.get(f"{hub.url}/healthz").json() == {"status": "ok"}
    who = httpx.get(f"{hub.url}/v1/hub").json()
    assert who["hub_id"] == "hub-1"
    assert who["chain_id"] == chain.chain_id
    assert who["genesis_hash"] == chain.genesis_hash
    assert who["attester"] == to_checksum_address(chain.attester.address)
    providers = httpx.get(f"{hub.url}/v1/providers").json()["items"]
    assert {provider["address"] for provider in providers} == {liar.address, good.address}
    assert providers[0]["price_per_unit"] == str(10**17)
    hub.post_job(model="good/model")
    metrics = httpx.get(f"{hub.url}/metrics").text
    assert 'aitbc_hub_attempts_total{outcome="ok"}' in metrics
    assert "aitbc_hub_attestations_total" in metrics
    assert httpx.get(f"{hub.url}/openapi.json").status_code == 200
    assert httpx.get(f"{hub.url}/v1/nothing").status_code == 404
