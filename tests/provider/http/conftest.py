"""What the tests of the HTTP edge share."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from chain.web.problems import PROBLEM_MEDIA_TYPE


def _assert_problem(answer: httpx.Response, status: int, reason: str | None = None, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert len(answer.content) < 2_000, "whatever was sent is not sent back"
    body = answer.json()
    assert body["status"] == status
    assert body["detail"]
    if reason is not None:
        assert body["reason"] == reason
    if field is not None:
        assert body["field"] == field


@pytest.fixture(scope="session")
def assert_problem() -> Callable[..., None]:
    """`assert_problem(answer, status, reason, field)`: a problem body that says so, and echoes nothing."""
    return _assert_problem


@pytest.fixture(scope="session")
def hub_job() -> Callable[..., dict[str, Any]]:
    """`hub_job(number, **changes)`: what a hub says about a job."""

    def make(number: int, **changes: Any) -> dict[str, Any]:
        job = {
            "hub_id": "hub-1",
            "job_id": f"job-{number}",
            "client": "alice-of-the-hub",
            "request_hash": "0x" + "ab" * 32,
            "client_signature": None,
            "nonce": f"nonce-{number}",
        }
        return job | changes

    return make
