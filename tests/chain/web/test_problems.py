"""Errors as problem bodies: what is said, and what is kept back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Query
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from chain.primitives.rejection import Rejected, RejectionReason
from chain.web.application import create_application, create_router
from chain.web.problems import PROBLEM_MEDIA_TYPE, Problem, not_found, problem_of_rejection

SECRET = "correct horse battery staple"


class Order(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    count: int = Field(ge=1, le=10)
    name: str = Field(max_length=20)
    api_key: str = "none"


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    """A client of an application whose endpoints fail in every way."""
    faults: list[str] = []
    application = create_application(
        title="test",
        version="1",
        description="test",
        registry=CollectorRegistry(),
        max_body_bytes=2_000,
        response_timeout_s=0.2,
        health=lambda: faults[0] if faults else None,
    )
    router = create_router(tag="test")

    @router.post("/order")
    def order(order: Order) -> dict[str, int]:
        return {"count": order.count}

    @router.get("/limit")
    def limit(limit: Annotated[int, Query(ge=1, le=10)]) -> int:
        return limit

    @router.get("/rejected/{reason}")
    def rejected(reason: RejectionReason) -> None:
        raise Rejected(reason, "no", field="gate")

    @router.get("/bug")
    def bug() -> None:
        raise KeyError(SECRET)

    @router.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418)

    @router.get("/missing")
    def missing() -> None:
        raise not_found("no such thing", field="thing")

    @router.get("/slow")
    async def slow() -> None:
        import asyncio

        await asyncio.sleep(5)

    @router.get("/sick")
    def sick() -> None:
        faults.append("the disk is full")

    application.include_router(router)
    with TestClient(application, raise_server_exceptions=False) as client:
        yield client


def problem_of(answer: Any, status: int) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert SECRET not in answer.text
    problem: dict[str, object] = answer.json()
    assert problem["status"] == status
    assert problem["type"] == f"about:blank#{problem['reason']}"
    return problem


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"count": 1}, "name", "missing_field"),
        ({"count": "1", "name": "x"}, "count", "malformed"),
        ({"count": True, "name": "x"}, "count", "malformed"),
        ({"count": 1.0, "name": "x"}, "count", "malformed"),
        ({"count": 0, "name": "x"}, "count", "out_of_range"),
        ({"count": 11, "name": "x"}, "count", "out_of_range"),
        ({"count": 1, "name": "x" * 21}, "name", "too_large"),
        ({"count": 1, "name": "x", "more": SECRET}, "more", "unknown_field"),
        ({"count": 1, "name": "x", "api_key": [SECRET]}, "api_key", "malformed"),
        ({"count": 1, "name": "x", "\u202e" * 90: 1}, "?" * 64, "unknown_field"),
    ],
)
def test_wrong_fields_are_named_and_never_echoed(
    http: TestClient, body: dict[str, object], field: str, reason: str
) -> None:
    problem = problem_of(http.post("/order", json=body), 422)
    assert (problem["field"], problem["reason"]) == (field, reason)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"{", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b'{"count": 1, "count": 2, "name": "x"}', 400, "duplicate_key"),
        (b'{"count": 1, "name": "\\ud83d"}', 400, "malformed"),
        (b'{"count": NaN, "name": "x"}', 400, "malformed"),
        (b'{"count": ' + b"1" * 81 + b', "name": "x"}', 413, "too_large"),
        (b"[" * 1_999, 400, "malformed"),
        (b" " * 2_001, 413, "too_large"),
    ],
)
def test_bodies_mean_one_thing_or_nothing(http: TestClient, content: bytes, status: int, reason: str) -> None:
    for content_type in ("application/json", "Application/JSON; charset=utf-8", "application/problem+json"):
        answer = http.post("/order", content=content, headers={"Content-Type": content_type})
        problem = problem_of(answer, status)
        assert (problem["reason"], problem["field"]) == (reason, "body")


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "\xff"])
def test_body_that_is_not_declared_as_json(http: TestClient, content_type: str | None) -> None:
    headers = [] if content_type is None else [(b"Content-Type", content_type.encode("latin-1"))]
    answer = http.post("/order", content=b'{"count": 1, "name": "x"}', headers=headers)
    assert problem_of(answer, 415)["field"] == "Content-Type"


def test_body_at_its_bound_and_whole_surrogate_pairs_are_taken(http: TestClient) -> None:
    content = b'{"count": 1, "name": "\\ud83d\\ude00"}'
    answer = http.post("/order", content=content.ljust(2_000), headers={"Content-Type": "application/json"})
    assert answer.json() == {"count": 1}


def test_query_parameters_are_named(http: TestClient) -> None:
    assert problem_of(http.get("/limit?limit=0"), 422)["field"] == "limit"
    assert problem_of(http.get("/limit"), 422)["reason"] == "missing_field"


def test_every_rejection_reason_has_a_status_of_the_clients(http: TestClient) -> None:
    for reason in RejectionReason:
        answer = http.get(f"/rejected/{reason.value}")
        assert 400 <= answer.status_code < 500
        problem = problem_of(answer, answer.status_code)
        assert (problem["reason"], problem["detail"], problem["field"]) == (reason.value, "no", "gate")
        assert ("retry-after" in answer.headers) == (answer.status_code == 429)


def test_a_bug_of_ours_tells_the_client_only_where_the_log_has_it(http: TestClient) -> None:
    problem = problem_of(http.get("/bug"), 500)
    assert problem["reason"] == "internal_error"
    assert "KeyError" not in json.dumps(problem)


def test_what_the_framework_refuses_is_a_problem_too(http: TestClient) -> None:
    assert problem_of(http.get("/nowhere"), 404)["reason"] == "not_found"
    assert problem_of(http.get("/missing"), 404)["field"] == "thing"
    assert problem_of(http.put("/limit"), 405)["reason"] == "method_not_allowed"
    assert problem_of(http.get("/teapot"), 418)["reason"] == "im_a_teapot"


def test_endpoint_that_takes_too_long(http: TestClient) -> None:
    answer = http.get("/slow")
    assert problem_of(answer, 503)["reason"] == "timeout"
    assert answer.headers["retry-after"] == "1"


def test_metrics_count_requests_by_route_not_by_path(http: TestClient) -> None:
    for path in ("/rejected/malformed", "/a", "/b", "/c"):
        http.get(path)
    metrics = http.get("/metrics").text
    assert 'route="/rejected/{reason}",status="400"' in metrics
    assert "/rejected/malformed" not in metrics
    assert 'route="unknown",status="404"' in metrics


def test_health_says_what_is_wrong(http: TestClient) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    http.get("/sick")
    assert problem_of(http.get("/healthz"), 503)["detail"] == "the disk is full"


def test_openapi_document_describes_problems(http: TestClient) -> None:
    responses = http.get("/openapi.json").json()["paths"]["/order"]["post"]["responses"]
    assert PROBLEM_MEDIA_TYPE in responses["4XX"]["content"]
    assert "422" not in responses


def test_unprintable_fields_do_not_travel() -> None:
    rejection = Rejected(RejectionReason.MALFORMED, "no", field="a\nb\u202e" + "c" * 100)
    problem = problem_of_rejection(rejection)
    assert problem.field is not None
    assert problem.field.startswith("a?b?c")
    assert len(problem.field) == 64
    assert json.loads(Problem(400, "x", "\ud800").body())["detail"] == "\ud800"
