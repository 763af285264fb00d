"""Schemathesis makes up requests, good and bad, for every operation of the OpenAPI document, and checks the answers."""

from collections.abc import Callable
from typing import Any

import httpx
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

# Imported here and not by `from_url`: Python 3.11 cannot parse in two threads, and a provider's may be at it by then.
from schemathesis.specs.openapi.schemas import OpenApiSchema

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
"""Per operation: some of them are pictures."""

pytestmark = pytest.mark.timeout(600)


def test_every_operation_keeps_to_the_document_and_none_fails(start_provider: Callable[..., Any]) -> None:
    # One picture of few pixels per job, and a bound on each, so that made-up orders are drawn in a second.
    provider = start_provider(rate_limit="100000/minute", failed_login_limit="100000/minute", max_pictures=2)
    made = provider.generate().json()
    schema = schemathesis.openapi.from_url(f"{provider.url}/openapi.json")
    assert isinstance(schema, OpenApiSchema)
    paths: set[str] = set()

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        paths.add(operation.path)

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        def conforms(case: schemathesis.Case[Any]) -> None:
            _make_it_reach_something(case, provider, made)
            case.call_and_validate(base_url=provider.url, checks=CHECKS, timeout=120)

        conforms()
    assert {"/v1/generate-image", "/v1/jobs/{job_id}", "/v1/images/generations", "/sdapi/v1/txt2img"} <= paths
    assert provider.get("/v1/health").json()["status"] == "ok"
    assert provider.generate().status_code == 200


def _make_it_reach_something(case: schemathesis.Case[Any], provider: Any, made: dict[str, Any]) -> None:
    """Gives made-up requests a key, and orders the smallest size, so that they get past the guard and end soon."""
    case.headers["Authorization"] = f"Bearer {provider.client_secret}"
    if case.path_parameters and "job_id" in case.path_parameters and len(str(case.path_parameters["job_id"])) % 2:
        case.path_parameters["job_id"] = made["job_id"]
    body: Any = case.body
    if not isinstance(body, dict):
        return
    if "api_key" in body:
        body["api_key"] = provider.client_secret
    for name in ("width", "height"):
        if isinstance(body.get(name), int) and not isinstance(body[name], bool) and 256 <= body[name] <= 1024:
            body[name] = 256
    if isinstance(body.get("steps"), int) and not isinstance(body["steps"], bool) and 5 <= body["steps"] <= 150:
        body["steps"] = 5
    if body.get("size") is not None:
        body["size"] = "256x256"


def test_the_document_is_valid_openapi(running: Any) -> None:
    from openapi_spec_validator import validate

    document = httpx.get(running.url + "/openapi.json").json()
    validate(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), f"{method} {path} says nothing of itself"
            assert any(status.startswith("2") for status in operation["responses"]), f"{method} {path}"
