"""Request bodies that mean exactly one thing: JSON in UTF-8 without repeated keys, NaN, or endless numbers."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import count_containers
from chain.web.problems import Problem

MAX_NUMBER_CHARACTERS: Final = 80  # 2^256 has 78 digits; Python converts thousands of digits in quadratic time.
MAX_CONTAINERS: Final = 4_096
"""Arrays and objects in a body."""

MAX_COMMAS: Final = 32_768
"""And so the members of all of them: a body of megabytes, as pictures need, could otherwise be parsed for seconds."""


def parse_json(body: bytes) -> Any:
    """Parses a JSON text from outside; raises Rejected for what is malformed, ambiguous or expensive to convert."""
    if count_containers(body) > MAX_CONTAINERS:
        raise Rejected(
            RejectionReason.TOO_LARGE, f"the body has more than {MAX_CONTAINERS} arrays and objects", field="body"
        )
    if body.count(b",") > MAX_COMMAS:
        raise Rejected(RejectionReason.TOO_LARGE, f"the body has more than {MAX_COMMAS} commas", field="body")
    try:
        parsed = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_int=_parse_int,
            parse_float=_parse_float,
            parse_constant=_refuse_constant,
        )
        if b"\\u" in body:
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # Half a surrogate pair fails here, not later.
    except (ValueError, RecursionError):  # UnicodeError and JSONDecodeError are ValueErrors.
        raise Rejected(RejectionReason.MALFORMED, "the body is not JSON in UTF-8", field="body") from None
    return parsed


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Rejected(RejectionReason.DUPLICATE_KEY, "a key stands twice in one JSON object", field="body")
    return fields


def _parse_int(digits: str) -> int:
    _check_number(digits)
    return int(digits)


def _parse_float(digits: str) -> float:
    _check_number(digits)
    return float(digits)


def _check_number(digits: str) -> None:
    if len(digits) > MAX_NUMBER_CHARACTERS:
        raise Rejected(
            RejectionReason.TOO_LARGE,
            f"a number in the body has more than {MAX_NUMBER_CHARACTERS} characters",
            field="body",
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _StrictJsonRequest(Request):
    parsed_body: Any = None

    async def json(self) -> Any:
        """The parsed body; FastAPI calls this for every JSON body."""
        return self.parsed_body


class StrictJsonRoute(APIRoute):
    """Give it as `route_class` to every APIRouter: its JSON bodies go through `parse_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, on a request that parses its body strictly."""
        handler = super().get_route_handler()

        async def strict_handler(request: Request) -> Response:
            strict_request = _StrictJsonRequest(request.scope, request.receive)
            if self.body_field is not None and (body := await strict_request.body()):
                if "json" not in request.headers.get("content-type", "").lower():
                    raise Problem(415, "unsupported_media_type", "send JSON, as application/json", field="Content-Type")
                # Here, because FastAPI makes a bare 400 of whatever is raised in `json()`.
                strict_request.parsed_body = parse_json(body)
            return await handler(strict_request)

        return strict_handler
