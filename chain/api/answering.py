"""Answers of `chain.answers` as responses, and in the OpenAPI document."""

from typing import Any

from fastapi import Response

from chain.answers import Answer, answer_schemas, encode_answer


def respond(answer: Answer, status: int = 200) -> Response:
    """The answer as JSON."""
    return Response(encode_answer(answer), status, media_type="application/json")


def answers(expected: Any, status: int = 200, *, or_else: Any = None) -> dict[str, Any]:
    """Options of a route that answers with this type, for `@router.get(path, **answers(AccountView))`.

    `or_else` is another type that it may answer with.
    """
    schemas, _ = answer_schemas([expected] if or_else is None else [expected, or_else])
    schema = schemas[0] if or_else is None else {"anyOf": list(schemas)}
    return {
        "response_class": Response,
        "status_code": status,
        "responses": {status: {"content": {"application/json": {"schema": schema}}}},
    }


def component_schemas(expected: list[Any]) -> dict[str, Any]:
    """The components that answers refer to, for the OpenAPI document."""
    _, components = answer_schemas(expected)
    return components
