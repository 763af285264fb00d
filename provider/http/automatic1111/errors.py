"""Errors as Automatic1111 answers them: `{"error", "detail", "body", "errors"}`."""

import json
from typing import Any, Final

from fastapi import Response

from chain.web.problems import PROBLEM_RESPONSES, Problem
from provider.http.translated_route import TranslatedRoute

_STATUS_OF_REASON: Final = {"sampler_not_found": 404, "scheduler_not_found": 404}
_CHALLENGE: Final = "Basic"
"""Their `--api-auth` is HTTP Basic, and browsers and libraries ask for a password when they read this."""


class Automatic1111Route(TranslatedRoute):
    """A route of this API."""

    @staticmethod
    def translate(problem: Problem) -> Response:
        """Their error for a problem; what a client sent is never sent back in it."""
        status = _STATUS_OF_REASON.get(problem.reason, problem.status)
        headers = dict(problem.headers or {})
        if status == 401:
            headers["WWW-Authenticate"] = _CHALLENGE
        fields = {
            "error": "RequestValidationError" if status == 422 else "HTTPException",
            "detail": problem.detail,
            "body": "",
            "errors": problem.reason,
        }
        return Response(json.dumps(fields), status, headers, "application/json")


_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error", "detail", "body", "errors"],
    "properties": {
        "error": {"type": "string"},
        "detail": {"type": "string", "description": "A sentence for people."},
        "body": {"type": "string", "description": "Always empty."},
        "errors": {"type": "string", "description": "A stable name for programs."},
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
