"""JSON from outside: bounded, no key twice, and objects that have exactly the keys that they must have."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from chain.primitives.rejection import Rejected, RejectionReason

_SHOWN_CHARACTERS = 64
_MAX_CONTAINERS = 1_000
"""In a document."""


def count_containers(text: bytes) -> int:
    """At least as many as a JSON text has arrays and objects, and so as it is deep.

    Whoever reads JSON from outside bounds this first. Python's own limit is no guard: py_ecc, which eth-keyfile and
    eth-account import, lifts it for the whole process, and 100,000 open brackets then end that process.
    """
    return text.count(b"[") + text.count(b"{")


def check_keys(
    fields: object, required: Collection[str], where: str, *, optional: Collection[str] = ()
) -> Mapping[str, Any]:
    """The object itself; Rejected (malformed, unknown_field, missing_field) with `where` and the key as its field."""
    if not isinstance(fields, Mapping):
        raise Rejected(RejectionReason.MALFORMED, f"{where} must be a JSON object", field=where)
    for key in fields:
        if key not in required and key not in optional:
            name = f"{where}.{str(key)[:_SHOWN_CHARACTERS]}"
            raise Rejected(RejectionReason.UNKNOWN_FIELD, f"unknown field {name!r}", field=name)
    for name in required:
        if name not in fields:
            raise Rejected(RejectionReason.MISSING_FIELD, f"{where}.{name} is missing", field=f"{where}.{name}")
    return fields


def parse_json(text: bytes, max_bytes: int, what: str) -> object:
    """What a UTF-8 document says; Rejected (too_large, malformed, duplicate_key) with `what` in the message."""
    if len(text) > max_bytes:
        raise Rejected(RejectionReason.TOO_LARGE, f"{what} has at most {max_bytes} bytes")
    if count_containers(text) > _MAX_CONTAINERS:
        raise Rejected(RejectionReason.TOO_LARGE, f"{what} has at most {_MAX_CONTAINERS} arrays and objects")
    try:
        parsed: object = json.loads(text.decode(), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Rejected(RejectionReason.MALFORMED, f"{what} is not JSON: {error}") from None
    return parsed


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Rejected(RejectionReason.DUPLICATE_KEY, "a key stands twice in one JSON object")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
