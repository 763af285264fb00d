"""What the tests of the HTTP edge share."""

from collections.abc import Callable

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
