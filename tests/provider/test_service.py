"""The HTTP interface, on a real socket with the real pipeline: what is answered, to whom, and every bad input."""

import base64
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, recover_provider
from chain.primitives.signing import eip191_digest
from chain.primitives.types import Hash32

StartProvider = Callable[..., Any]
PROBLEM = "application/problem+json"
GOOD = {"prompt": "a red circle on a blue background", "steps": 5, "guidance": 2.5, "width": 256, "height": 256}


def hub_job(number: int, **changes: Any) -> dict[str, Any]:
    job = {
        "hub_id": "hub-1",
        "job_id": f"job-{number}",
        "client": "alice-of-the-hub",
        "request_hash": "0x" + "ab" * 32,
        "client_signature": None,
        "nonce": f"nonce-{number}",
    }
    return job | changes


def assert_problem(answer: httpx.Response, status: int, reason: str | None, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body = answer.json()
    assert body["status"] == status
    assert body["detail"]
    if reason is not None:
        assert body["reason"] == reason
    if field is not None:
        assert body["field"] == field


# What is answered


def test_health_in_the_plans_words_and_ours(running: Any, provider_key: PrivateKey) -> None:
    body = running.get("/v1/health").json()
    assert body["status"] == "ok"
    assert body["model"] == "aitbc/tiny-sd"
    assert (body["device"], body["vram_mib"], body["chain_id"]) == ("cpu", 0, 424_242)
    assert bytes.fromhex(body["provider"][2:]) == provider_key.address
    assert running.get("/healthz").json() == {"status": "ok"}
    assert "aitbc_provider_ready 1.0" in running.get("/metrics").text
    assert "/v1/generate-image" in running.get("/openapi.json").json()["paths"]


def test_a_picture_and_its_receipt(running: Any, provider_key: PrivateKey) -> None:
    answer = running.generate(seed=12345)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["status"], body["seed"], body["device"], body["model"]) == ("ok", 12345, "cpu", "aitbc/tiny-sd")
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}-\d{6}", body["job_id"])
    prefix, encoded = body["image_base64"].split(",")
    assert prefix == "data:image/png;base64"
    png = base64.b64decode(encoded)
    assert Image.open(io.BytesIO(png)).size == (256, 256)

    receipt = Receipt.from_object(body["receipt"])
    assert "0x" + receipt.hash.hex() == body["receipt_hash"]
    assert recover_provider(receipt, bytes.fromhex(body["provider_signature"][2:])) == provider_key.address
    assert receipt.artifact_sha256 == hashlib.sha256(png).hexdigest()
    assert (receipt.job_id, receipt.client, receipt.hub_id, receipt.chain_id) == (body["job_id"], "alice", "", 424_242)
    assert receipt.micro_units / 1e6 == body["gpu_seconds"] > 0
    assert body["duration_ms"] >= body["gpu_seconds"] * 1000 - 1
    salt = bytes.fromhex(body["prompt_salt"][2:])
    assert receipt.prompt_hash == "sha256:" + hashlib.sha256(salt + GOOD["prompt"].encode()).hexdigest()  # type: ignore[attr-defined]


def test_same_seed_same_picture_new_job(running: Any) -> None:
    first, second = running.generate(seed=7).json(), running.generate(seed=7).json()
    assert first["image_base64"] == second["image_base64"]
    assert first["job_id"] != second["job_id"]
    assert first["receipt_hash"] != second["receipt_hash"]


def test_an_omitted_seed_is_chosen_used_and_returned(running: Any) -> None:
    first, second = running.generate().json(), running.generate(seed=None).json()
    assert first["seed"] != second["seed"]
    assert max(first["seed"], second["seed"]) < 2**53
    assert running.generate(seed=first["seed"]).json()["image_base64"] == first["image_base64"]


def test_the_largest_seed_works(running: Any) -> None:
    assert running.generate(seed=2**63 - 1).json()["seed"] == 2**63 - 1


# Who may ask


def test_api_keys(running: Any) -> None:
    assert_problem(running.generate(api_key="x" * 24), 401, "invalid_api_key", "api_key")
    assert_problem(running.generate(api_key=""), 401, "invalid_api_key", "api_key")
    assert_problem(running.generate(api_key="\ud800"), 400, "malformed", "body")
    assert_problem(running.post("/v1/generate-image", GOOD), 422, "missing_field", "api_key")
    assert_problem(running.post("/v1/generate-image", {**GOOD, "api_key": 5}), 422, "malformed", "api_key")


def test_a_wrong_key_learns_nothing_about_the_rest(running: Any) -> None:
    assert_problem(running.generate(api_key="x" * 24, steps="many"), 401, "invalid_api_key")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "Bearer wrong-key-wrong-key-wrong"])
def test_bearer_keys(running: Any, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    assert running.get("/v1/receipts", headers=headers).status_code == 401
    answer = running.post("/v1/attestations", {"receipt_hash": "0x" + "00" * 32, "attestation": "0x"}, headers=headers)
    assert answer.status_code == 401


def test_the_rate_is_limited_per_key(start_provider: StartProvider) -> None:
    provider = start_provider(rate_limit="2/minute", failed_login_limit="3/minute")
    assert [provider.generate().status_code for _ in range(2)] == [200, 200]
    answer = provider.generate()
    assert_problem(answer, 429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert provider.generate(api_key=provider.hub_secret).status_code == 200
    wrong = [provider.generate(api_key="wrong-key-wrong-key").status_code for _ in range(5)]
    assert wrong == [401, 401, 401, 429, 429]
    assert provider.generate(api_key=provider.hub_secret).status_code == 200


# What is refused

BAD_FIELDS = [
    ("prompt", ""),
    ("prompt", "   "),
    ("prompt", "a\x00b"),
    ("prompt", "a\x1bb"),
    ("prompt", "x" * 1001),
    ("prompt", "x" * 10_001),
    ("prompt", 5),
    ("prompt", None),
    ("prompt", ["a"]),
    ("steps", 4),
    ("steps", 101),
    ("steps", -1),
    ("steps", 2**70),
    ("steps", "30"),
    ("steps", 30.5),
    ("steps", True),
    ("steps", None),
    ("guidance", -0.1),
    ("guidance", 25.1),
    ("guidance", "7.5"),
    ("guidance", True),
    ("guidance", 1e308),
    ("width", 255),
    ("width", 1032),
    ("width", 257),
    ("width", 260),
    ("height", 1025),
    ("height", 0),
    ("height", "512"),
    ("height", 512.5),
    ("height", False),
    ("seed", -1),
    ("seed", 2**63),
    ("seed", 1.5),
    ("seed", "1"),
    ("seed", True),
    ("job", 5),
    ("job", {}),
    ("surprise", 1),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_bad_fields_are_named(running: Any, field: str, value: Any) -> None:
    answer = running.generate(**{field: value})
    assert_problem(answer, 422, None)
    assert answer.json()["field"].split(".")[0] == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hub_id", ""),
        ("hub_id", "a b"),
        ("hub_id", "x" * 65),
        ("job_id", "../etc/passwd"),
        ("job_id", 7),
        ("client", ""),
        ("client", "a b"),
        ("client", "x" * 257),
        ("request_hash", "0x12"),
        ("request_hash", "ab" * 32),
        ("client_signature", "0x" + "00" * 64),
        ("nonce", "-"),
        ("nonce", None),
        ("extra", 1),
    ],
)
def test_bad_fields_of_a_hubs_job_are_named(running: Any, field: str, value: Any) -> None:
    answer = running.generate(api_key=running.hub_secret, job=hub_job(1, **{field: value}))
    assert_problem(answer, 422, None, f"job.{field}")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b'{"prompt": "\\ud800"}', 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b"\xff\xfe", 400),
        (b'{"steps": NaN}', 400),
        (b'{"guidance": Infinity}', 400),
        (b'{"steps": 1, "steps": 2}', 400),
        (b'{"steps": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 100_000, 413),
        (b"[" * 20_000, 400),
        (b'{"prompt": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_bodies_that_are_no_json_object(running: Any, body: bytes, status: int) -> None:
    answer = httpx.post(running.url + "/v1/generate-image", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (status, 413) if status == 400 else answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM


def test_other_methods_and_paths(running: Any) -> None:
    assert running.get("/v1/generate-image").status_code == 405
    assert running.get("/v1/nothing").status_code == 404


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
# Only what leads to no picture, so that the test is quick: one field at least is wrong.
FIELD_NAMES = st.sampled_from(["prompt", "steps", "guidance", "width", "height", "seed", "job", "other"])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(FIELD_NAMES, JSON_VALUES, min_size=1, max_size=4))
def test_whatever_is_sent_is_no_fault_of_ours(running: Any, changes: dict[str, Any]) -> None:
    body = {"api_key": running.client_secret, **GOOD, "width": 257, **changes}
    if body["width"] != 257:
        body["height"] = 257
    answer = httpx.post(
        running.url + "/v1/generate-image",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == PROBLEM


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON_VALUES)
def test_whatever_is_sent_as_an_attestation_is_no_fault_of_ours(running: Any, body: Any) -> None:
    answer = httpx.post(
        running.url + "/v1/attestations",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {running.client_secret}"},
    )
    assert 400 <= answer.status_code < 500


# Jobs of a hub


def test_a_hubs_word_stands_in_the_receipt(running: Any) -> None:
    body = running.generate(api_key=running.hub_secret, job=hub_job(10)).json()
    receipt = body["receipt"]
    assert body["job_id"] == receipt["job_id"] == "job-10"
    assert (receipt["hub_id"], receipt["client"], receipt["nonce"]) == ("hub-1", "alice-of-the-hub", "nonce-10")
    assert receipt["request_hash"] == "0x" + "ab" * 32


def test_only_a_hub_may_pass_on_jobs(running: Any) -> None:
    assert_problem(running.generate(job=hub_job(11)), 403, "not_a_hub", "job")


def test_the_same_job_again_gets_the_same_answer(running: Any) -> None:
    first = running.generate(api_key=running.hub_secret, job=hub_job(12))
    again = running.generate(api_key=running.hub_secret, job=hub_job(12))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()


def test_another_request_under_the_same_job_is_refused(running: Any) -> None:
    assert running.generate(api_key=running.hub_secret, job=hub_job(13), seed=1).status_code == 200
    other_seed = running.generate(api_key=running.hub_secret, job=hub_job(13), seed=2)
    assert_problem(other_seed, 409, "duplicate_job", "job")
    other_nonce = running.generate(api_key=running.hub_secret, job=hub_job(13, nonce="n"), seed=1)
    assert_problem(other_nonce, 409, "duplicate_job", "job")


def test_a_job_that_is_at_work_is_not_done_twice(running: Any) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(running.generate(api_key=running.hub_secret, job=hub_job(14), steps=60))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert_problem(refused, 409, "job_in_progress", "job")
    assert running.generate(api_key=running.hub_secret, job=hub_job(14), steps=60).status_code == 200


def test_a_clients_signature_is_checked_before_the_work(running: Any) -> None:
    client = PrivateKey(b"\x21" * 32)
    address = to_checksum_address(client.address)
    request_hash = Hash32(b"\xab" * 32)
    good = "0x" + client.sign(eip191_digest(request_hash)).hex()
    bad = "0x" + client.sign(request_hash).hex()
    answer = running.generate(api_key=running.hub_secret, job=hub_job(15, client=address, client_signature=good))
    assert answer.status_code == 200, answer.text
    assert answer.json()["receipt"]["client_signature"] == good
    for changes, field in (
        ({"client": address, "client_signature": bad}, "job.client_signature"),
        ({"client": "alice", "client_signature": good}, "job.client"),
        ({"client": address.lower(), "client_signature": good}, "job.client"),
        ({"client": address, "client_signature": "0x" + "00" * 65}, "job.client_signature"),
    ):
        refused = running.generate(api_key=running.hub_secret, job=hub_job(16, **changes))
        assert_problem(refused, 422, None, field)


# Receipts


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_receipts_are_shown_to_whose_jobs_they_are(running: Any) -> None:
    made = running.generate().json()
    mine = running.get("/v1/receipts?limit=1", headers=bearer(running.client_secret)).json()
    assert [item["receipt_hash"] for item in mine["items"]] == [made["receipt_hash"]]
    assert mine["items"][0]["state"] == "signed"
    assert mine["items"][0]["receipt"] == made["receipt"]
    older = running.get(f"/v1/receipts?cursor={mine['next_cursor']}", headers=bearer(running.client_secret)).json()
    assert made["receipt_hash"] not in [item["receipt_hash"] for item in older["items"]]
    path = f"/v1/receipts/{made['receipt_hash']}"
    assert running.get(path, headers=bearer(running.client_secret)).json()["job_id"] == made["job_id"]
    assert_problem(running.get(path, headers=bearer(running.hub_secret)), 404, "not_found", "receipt_hash")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=x", "cursor=" + "9" * 40])
def test_bad_pages(running: Any, query: str) -> None:
    answer = running.get(f"/v1/receipts?{query}", headers=bearer(running.client_secret))
    assert_problem(answer, 422, None, query.split("=", maxsplit=1)[0])


def test_attestations_of_unknown_receipts_and_bad_shapes(running: Any) -> None:
    def attest(receipt_hash: Any, attestation: Any) -> httpx.Response:
        body = {"receipt_hash": receipt_hash, "attestation": attestation}
        answer: httpx.Response = running.post("/v1/attestations", body, headers=bearer(running.hub_secret))
        return answer

    good = "0x" + "11" * 65
    assert_problem(attest("0x" + "00" * 32, good), 404, "not_found", "receipt_hash")
    assert_problem(attest("0x00", good), 422, None, "receipt_hash")
    for bad in ("", "0x", "0x11", good + "1", "0x" + "11" * 65 * 65, 5, None):
        assert_problem(attest("0x" + "00" * 32, bad), 422, None, "attestation")


def test_without_a_node_an_attestation_waits(running: Any) -> None:
    made = running.generate().json()
    body = {"receipt_hash": made["receipt_hash"], "attestation": "0x" + "11" * 65}
    answer = running.post("/v1/attestations", body, headers=bearer(running.hub_secret))
    assert_problem(answer, 503, "node_unreachable")
    assert answer.headers["retry-after"]


# Load


def test_a_full_queue_says_when_to_come_back(start_provider: StartProvider) -> None:
    provider = start_provider(queue_limit=1)
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(provider.generate(steps=60, width=512, height=512))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 2 <= len(answers) - len(refused) < 6
    for answer in refused:
        assert_problem(answer, 503, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
    assert provider.generate().status_code == 200


def test_a_client_that_hangs_up_leaves_no_trace(start_provider: StartProvider, eventually: Callable[..., None]) -> None:
    provider = start_provider()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            provider.url + "/v1/generate-image",
            json={"api_key": provider.client_secret, **GOOD, "steps": 100, "width": 1024, "height": 1024},
            timeout=0.5,
        )
    eventually(lambda: not provider.get("/v1/health").json()["queue"]["busy"])
    assert provider.get("/v1/receipts", headers=bearer(provider.client_secret)).json()["items"] == []
    assert provider.generate().status_code == 200


def test_a_job_that_takes_too_long_is_a_504(start_provider: StartProvider) -> None:
    provider = start_provider(job_timeout_s=1.5)
    assert_problem(provider.generate(steps=100, width=1024, height=1024), 504, "generation_timed_out")
    assert provider.generate().status_code == 200


def test_neither_logs_nor_files_hold_the_prompt(
    start_provider: StartProvider, capfd: pytest.CaptureFixture[str]
) -> None:
    provider = start_provider()
    secret_word = "swordfish"
    assert provider.generate(prompt=f"a red circle and a {secret_word}").status_code == 200
    assert provider.generate(prompt=f"a {secret_word}\x00").status_code == 422
    captured = capfd.readouterr()
    assert secret_word not in captured.out + captured.err
    for path in provider.settings.data_dir.rglob("*"):
        if path.is_file():
            assert secret_word.encode() not in path.read_bytes()
