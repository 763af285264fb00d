"""Errors as problem bodies (RFC 9457) with two members more: `reason`, a stable snake_case name, and `field`, the
input at fault or null. Nothing that a client sent is echoed, since it may be huge or secret.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from chain.primitives.rejection import Rejected, RejectionReason

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
_MAX_NAME_CHARACTERS: Final = 64

_STATUS_OF_REASON: Final[dict[RejectionReason, int]] = {
    RejectionReason.TOO_LARGE: 413,
    RejectionReason.DATA_TOO_LARGE: 413,
    # The request is sound, but the chain or this service is in another state than it needs.
    RejectionReason.ALREADY_KNOWN: 409,
    RejectionReason.NONCE_TOO_LOW: 409,
    RejectionReason.RECEIPT_USED: 409,
    RejectionReason.RECEIPT_PENDING: 409,
    RejectionReason.ALREADY_REGISTERED: 409,
    RejectionReason.ALREADY_APPROVED: 409,
    RejectionReason.PROPOSAL_CLOSED: 409,
    RejectionReason.TOO_MANY_REPLACEMENTS: 409,
    RejectionReason.NEWCOMER_CALL: 403,
    RejectionReason.NOT_A_VALIDATOR: 403,
    # Nothing is wrong with the request: there is no room at present.
    RejectionReason.MEMPOOL_FULL: 429,
    RejectionReason.ACCOUNT_QUOTA: 429,
    RejectionReason.BLOCK_FULL: 429,
    RejectionReason.REGISTRATION_QUOTA: 429,
}

# What pydantic calls a fault, and what we call it; everything else is "malformed".
_REASON_OF_VALIDATION: Final[dict[str, RejectionReason]] = {
    "missing": RejectionReason.MISSING_FIELD,
    "extra_forbidden": RejectionReason.UNKNOWN_FIELD,
    "greater_than": RejectionReason.OUT_OF_RANGE,
    "greater_than_equal": RejectionReason.OUT_OF_RANGE,
    "less_than": RejectionReason.OUT_OF_RANGE,
    "less_than_equal": RejectionReason.OUT_OF_RANGE,
    "string_too_long": RejectionReason.TOO_LARGE,
    "bytes_too_long": RejectionReason.TOO_LARGE,
    "too_long": RejectionReason.TOO_LARGE,
}

_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason", "field"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for people."},
        "reason": {"type": "string", "description": "A stable name for programs."},
        "field": {"type": ["string", "null"], "description": "The input at fault."},
    },
}

PROBLEM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}}}
    for status, description in (("4XX", "The request is at fault."), ("5XX", "The service is at fault."))
}
"""How the OpenAPI document describes errors."""


class Problem(Exception):
    """Raise in an endpoint to answer with this problem. `reason` is snake_case; `field` names the input at fault."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.field = field
        self.headers = headers

    def body(self) -> bytes:
        """The JSON text; ASCII only, so that no string in it can fail to encode."""
        members = {
            "type": f"about:blank#{self.reason}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "reason": self.reason,
            "field": self.field,
        }
        return json.dumps(members).encode("ascii")

    def response(self) -> Response:
        """The HTTP response."""
        return Response(self.body(), self.status, dict(self.headers or {}), PROBLEM_MEDIA_TYPE)


def not_found(clause: str, field: str | None = None) -> Problem:
    """A 404; `clause` is such as `no block has this hash`."""
    return Problem(404, "not_found", clause, field=field)


def problem_of_rejection(rejected: Rejected) -> Problem:
    """The problem for a refusal of `chain.primitives` or `chain.rules`: 400, unless the reason has its own status."""
    status = _STATUS_OF_REASON.get(rejected.reason, 400)
    return Problem(
        status,
        rejected.reason.value,
        rejected.message,
        field=_printable(rejected.values.get("field")),
        headers={"Retry-After": "1"} if status == 429 else None,
    )


def problem_of_validation(errors: Sequence[Any]) -> Problem:
    """The problem for pydantic's errors: names the first fault, never its input."""
    first: Any = errors[0] if errors else {"loc": (), "type": "", "msg": "the request is not valid"}
    where, *path = [str(step) for step in first["loc"]] or ["body"]
    field = _printable(".".join(path)) or where
    reason = _REASON_OF_VALIDATION.get(first["type"], RejectionReason.MALFORMED)
    return Problem(422, reason.value, f"{field}: {first['msg']}", field=field)


def problem_of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem for an error that the framework raises by its status alone."""
    known = HTTPStatus(status)
    detail = "there is nothing under this path" if status == 404 else known.description or known.phrase
    name = "".join(c if c.isalpha() else "_" for c in known.phrase.lower().replace("'", ""))
    reason = {400: "malformed", 413: "too_large"}.get(status, name)
    return Problem(status, reason, detail, headers=headers)


def add_problem_handlers(application: FastAPI) -> None:
    """Makes every error of the application's endpoints, and of the framework itself, a problem body."""

    def on_problem(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response()

    def on_rejected(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Rejected)
        return problem_of_rejection(error).response()

    def on_invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_of_validation(error.errors()).response()

    def on_http_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem_of_status(error.status_code, error.headers).response()

    application.add_exception_handler(Problem, on_problem)
    application.add_exception_handler(Rejected, on_rejected)
    application.add_exception_handler(RequestValidationError, on_invalid)
    application.add_exception_handler(HTTPException, on_http_error)


def _printable(name: object) -> str | None:
    """A field's name in a form that is safe to send back, or None."""
    if not isinstance(name, str) or not name:
        return None
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in name[:_MAX_NAME_CHARACTERS])
