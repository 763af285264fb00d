"""Errors as OpenAI's SDKs expect them: `{"error": {"message", "type", "param", "code"}}` under the right status.

The SDKs raise an exception class per status, and try again by themselves after 408, 409, 429 and 5xx; where that can
only fail again, or would draw the same picture twice, the header `x-should-retry: false` stops them.
"""

import json
from typing import Any, Final

from fastapi import Response

from chain.web.problems import PROBLEM_RESPONSES, Problem
from provider.http.translated_route import TranslatedRoute

_CODE_OF_REASON: Final = {
    "missing_field": "missing_required_parameter",
    "unknown_field": "unknown_parameter",
    "out_of_range": "invalid_value",
    "malformed": "invalid_value",
    "missing_api_key": "invalid_api_key",
    "unknown_model": "model_not_found",
    "rate_limited": "rate_limit_exceeded",
}
"""OpenAI's own names where it has one; other reasons go out as they are."""

_PARAM_OF_FIELD: Final = {"count": "n"}

_WORTH_RETRYING: Final = frozenset({"job_in_progress", "queue_full", "not_ready", "crowded", "rate_limited"})
_RETRIED_STATUSES: Final = frozenset({408, 409, 429})


class OpenAIRoute(TranslatedRoute):
    """A route of this API."""

    @staticmethod
    def translate(problem: Problem) -> Response:
        """The SDK's error for a problem."""
        return error_response(problem)


def error_response(problem: Problem) -> Response:
    """The response; validation errors are 400 here, as in OpenAI's API."""
    status = 400 if problem.status == 422 else problem.status
    headers = dict(problem.headers or {})
    if (status in _RETRIED_STATUSES or status >= 500) and not is_worth_retrying(problem):
        headers["x-should-retry"] = "false"
    return Response(json.dumps({"error": error_object(problem)}), status, headers, "application/json")


def error_object(problem: Problem) -> dict[str, Any]:
    """What stands under `error`, also in the middle of a stream."""
    return {
        "message": problem.detail,
        "type": _type_of(problem.status),
        "param": _PARAM_OF_FIELD.get(problem.field or "", problem.field),
        "code": _CODE_OF_REASON.get(problem.reason, problem.reason),
    }


def is_worth_retrying(problem: Problem) -> bool:
    """Whether the same request may succeed in a moment: there was no room, and nothing was made."""
    return problem.reason in _WORTH_RETRYING or "Retry-After" in (problem.headers or {})


def _type_of(status: int) -> str:
    if status == 429:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"


_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "A sentence for people."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The input at fault."},
                "code": {"type": ["string", "null"], "description": "A stable name for programs."},
            },
        }
    },
}

ERROR_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": description,
        # What is refused before these routes see it (too large a body, a path of no route) has a problem body.
        "content": {"application/json": {"schema": _ERROR_SCHEMA}, **PROBLEM_RESPONSES["4XX"]["content"]},
    }
    for status, description in (("4XX", "The request is at fault."), ("5XX", "The service is at fault."))
}
"""How the OpenAPI document describes these routes' errors."""
