"""Schemathesis makes up requests, good and bad, for every operation of the OpenAPI document, and checks the answers."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# Imported here and not by `from_url`: Python 3.11 cannot parse in two threads, and others may be at it by then.
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.hub.dialled import DialledProvider
from tests.hub.running import CLIENT_KEYS, HubProcess

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 15

pytestmark = pytest.mark.timeout(600)


@schemathesis.serializer("application/vnd.aitbc.evidence")
def evidence_bytes(_context: Any, value: Any) -> bytes:
    """Other hubs' evidence is framed bytes, of which any text is a bad one."""
    return str(value).encode("utf-8", "replace")


def test_every_operation_keeps_to_the_document_and_none_fails(
    make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
) -> None:
    hub = make_hub(max_waiting_pictures=1_000_000)
    dial(hub, slots=8, max_pictures=64)
    made = hub.post_job().json()
    schema = schemathesis.openapi.from_url(f"{hub.url}/openapi.json")
    assert isinstance(schema, OpenApiSchema)
    paths: set[str] = set()

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        paths.add(operation.path)

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        def conforms(case: schemathesis.Case[Any]) -> None:
            _make_it_reach_something(case, made["job_id"])
            case.call_and_validate(base_url=hub.url, checks=CHECKS, timeout=120)

        conforms()
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/images/generations", "/v1/providers", "/v1/estimate"} <= paths
    assert hub.request("GET", "/healthz").json()["status"] == "ok"
    assert hub.post_job(prompt="after all that").json()["status"] == "done"
    assert "Traceback" not in hub.log


def _make_it_reach_something(case: schemathesis.Case[Any], job_id: str) -> None:
    """Gives made-up requests a key and a job, and orders small pictures without waiting, so that they end soon."""
    case.headers["Authorization"] = f"Bearer {CLIENT_KEYS['alice']}"
    if case.path_parameters and "job_id" in case.path_parameters and len(str(case.path_parameters["job_id"])) % 2:
        case.path_parameters["job_id"] = job_id
    if case.query and "wait_s" in case.query:
        case.query["wait_s"] = 0
    body: Any = case.body
    if not isinstance(body, dict):
        return
    if isinstance(body.get("wait_s"), int | float):
        body["wait_s"] = 0
    for name in ("width", "height"):
        if isinstance(body.get(name), int) and body[name] % 8 == 0:
            body[name] = 256
    if isinstance(body.get("n"), int) and body["n"] > 3:
        body["n"] = 3
