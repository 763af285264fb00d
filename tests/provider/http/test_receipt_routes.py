"""Receipts are shown to whose jobs they are; attestations are looked at before anything is kept."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

AssertProblem = Callable[..., None]


def test_receipts_are_shown_to_whose_jobs_they_are(running: Any, assert_problem: AssertProblem) -> None:
    made = running.generate().json()
    mine = running.mine("/v1/receipts?limit=1").json()
    assert [item["receipt_hash"] for item in mine["items"]] == [made["receipt_hash"]]
    assert mine["items"][0]["state"] == "signed"
    assert mine["items"][0]["receipt"] == made["receipt"]
    older = running.mine(f"/v1/receipts?cursor={mine['next_cursor']}").json()
    assert made["receipt_hash"] not in [item["receipt_hash"] for item in older["items"]]
    path = f"/v1/receipts/{made['receipt_hash']}"
    assert running.mine(path).json()["job_id"] == made["job_id"]
    as_other = {"Authorization": f"Bearer {running.other_secret}"}
    assert_problem(running.get(path, headers=as_other), 404, "not_found", "receipt_hash")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=x", "cursor=" + "9" * 40])
def test_bad_pages(running: Any, assert_problem: AssertProblem, query: str) -> None:
    assert_problem(running.mine(f"/v1/receipts?{query}"), 422, None, query.split("=", maxsplit=1)[0])


def attest(running: Any, receipt_hash: Any, attestation: Any) -> httpx.Response:
    body = {"receipt_hash": receipt_hash, "attestation": attestation}
    headers = {"Authorization": f"Bearer {running.other_secret}"}
    answer: httpx.Response = running.post("/v1/attestations", body, headers=headers)
    return answer


def test_attestations_of_unknown_receipts_and_bad_shapes(running: Any, assert_problem: AssertProblem) -> None:
    good = "0x" + "11" * 65
    assert_problem(attest(running, "0x" + "00" * 32, good), 404, "not_found", "receipt_hash")
    assert_problem(attest(running, "0x00", good), 422, None, "receipt_hash")
    for bad in ("", "0x", "0x11", good + "1", "0x" + "11" * 65 * 65, 5, None):
        assert_problem(attest(running, "0x" + "00" * 32, bad), 422, None, "attestation")


def test_without_a_node_an_attestation_waits(running: Any, assert_problem: AssertProblem) -> None:
    made = running.generate().json()
    answer = attest(running, made["receipt_hash"], "0x" + "11" * 65)
    assert_problem(answer, 503, "node_unreachable")
    assert answer.headers["retry-after"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON_VALUES)
def test_whatever_is_sent_as_an_attestation_is_no_fault_of_ours(running: Any, body: Any) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {running.client_secret}"}
    answer = httpx.post(running.url + "/v1/attestations", content=json.dumps(body).encode(), headers=headers)
    assert 400 <= answer.status_code < 500
