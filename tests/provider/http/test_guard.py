"""Who may ask: the plan's key in the body, Bearer tokens, HTTP Basic, and strangers who try too often."""

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

AssertProblem = Callable[..., None]
StartProvider = Callable[..., Any]
GOOD = {"prompt": "a red circle on a blue background", "steps": 5, "guidance": 2.5, "width": 256, "height": 256}


def test_api_keys_in_the_body(running: Any, assert_problem: AssertProblem) -> None:
    assert_problem(running.generate(api_key="x" * 24), 401, "invalid_api_key", "api_key")
    assert_problem(running.generate(api_key=""), 401, "invalid_api_key", "api_key")
    assert_problem(running.generate(api_key="x" * 1000), 401, "invalid_api_key", "api_key")
    assert_problem(running.generate(api_key="\ud800"), 400, "malformed", "body")
    assert_problem(running.post("/v1/generate-image", GOOD), 422, "missing_field", "api_key")
    assert_problem(running.post("/v1/generate-image", {**GOOD, "api_key": 5}), 422, "malformed", "api_key")
    assert_problem(running.post("/v1/generate-image", [running.client_secret]), 422)


def test_a_wrong_key_learns_nothing_about_the_rest(running: Any, assert_problem: AssertProblem) -> None:
    assert_problem(running.generate(api_key="x" * 24, steps="many"), 401, "invalid_api_key")
    assert_problem(running.post("/v1/attestations", {"receipt_hash": 5}), 401, "missing_api_key")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "Bearer wrong-key-wrong-key-wrong", "x"])
def test_bearer_keys(running: Any, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in ("/v1/receipts", "/v1/jobs", "/v1/jobs/x", "/v1/jobs/x/answer", "/v1/jobs/x/steps/0"):
        answer = running.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for method in ("POST", "DELETE"):
        path = "/v1/jobs/x" + ("/cancel" if method == "POST" else "")
        assert httpx.request(method, running.url + path, headers=headers).status_code == 401


def test_the_hash_in_the_file_is_no_key(running: Any) -> None:
    text = running.settings.api_keys_file.read_text()
    hashed = text.split('bob = "')[1].split('"')[0]
    assert hashed.startswith("sha256:")
    assert running.get("/v1/jobs", headers={"Authorization": f"Bearer {hashed}"}).status_code == 401
    assert running.get("/v1/jobs", headers={"Authorization": f"Bearer {running.other_secret}"}).status_code == 200


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def test_basic_takes_a_keys_name_and_secret_together(running: Any) -> None:
    path = "/sdapi/v1/sd-models"
    assert running.get(path, headers=basic("alice", running.client_secret)).status_code == 200
    assert running.mine(path).status_code == 200
    for name, secret in (
        ("bob", running.client_secret),
        ("alice", running.other_secret),
        ("", running.client_secret),
        ("alice", ""),
        ("alice", "x" * 1000),
    ):
        assert running.get(path, headers=basic(name, secret)).status_code == 401
    for header in ("Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff\xfe").decode()):
        assert running.get(path, headers={"Authorization": header}).status_code == 401
    assert "Basic" in running.get(path).headers["www-authenticate"]


def test_an_address_with_too_many_wrong_keys_finds_no_right_one(
    start_provider: StartProvider, assert_problem: AssertProblem
) -> None:
    provider = start_provider(failed_login_limit="3/minute")
    assert provider.generate().status_code == 200
    wrong = [provider.generate(api_key="wrong-key-wrong-key").status_code for _ in range(5)]
    assert wrong == [401, 401, 401, 429, 429]
    refused = provider.get("/v1/jobs", headers={"Authorization": "Bearer wrong-key-wrong-key"})
    assert_problem(refused, 429, "rate_limited", "Authorization")
    assert int(refused.headers["retry-after"]) >= 1
    # A guess that is right is told what all others are told, by every way in.
    assert_problem(provider.generate(api_key=provider.other_secret), 429, "rate_limited", "api_key")
    for header in (f"Bearer {provider.other_secret}", basic("bob", provider.other_secret)["Authorization"]):
        assert provider.get("/sdapi/v1/sd-models", headers={"Authorization": header}).status_code == 429
    # Who came from there before goes on, whichever way he comes now.
    assert provider.generate().status_code == 200
    assert provider.get("/sdapi/v1/sd-models", headers=basic("alice", provider.client_secret)).status_code == 200
    # Behind no trusted proxy, a stranger cannot claim another address.
    claimed = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer wrong-key-wrong-key"}
    assert provider.get("/v1/jobs", headers=claimed).status_code == 429


def test_behind_a_trusted_proxy_each_client_is_counted_alone(start_provider: StartProvider) -> None:
    provider = start_provider(failed_login_limit="1/minute", trusted_proxies=("127.0.0.1",))

    def status(forwarded: str) -> int:
        headers = {"X-Forwarded-For": forwarded, "Authorization": "Bearer wrong-key-wrong-key"}
        return int(provider.get("/v1/jobs", headers=headers).status_code)

    assert [status("203.0.113.9"), status("203.0.113.9"), status("203.0.113.10")] == [401, 429, 401]
    assert status("198.51.100.1, 203.0.113.10") == 429, "the proxy's own entry counts, not what the client wrote"


def test_many_callers_at_once(running: Any) -> None:
    barrier = threading.Barrier(12)

    def ask(number: int) -> int:
        barrier.wait()
        secret = running.client_secret if number % 2 else "wrong-key-wrong-key-wrong"
        return int(running.get("/v1/jobs", headers={"Authorization": f"Bearer {secret}"}).status_code)

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(ask, range(12)))
    assert statuses == [401, 200] * 6
