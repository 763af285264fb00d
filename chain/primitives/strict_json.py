"""Objects of parsed JSON that have exactly the keys that they must have."""

from collections.abc import Collection, Mapping
from typing import Any

from chain.primitives.rejection import Rejected, RejectionReason

_SHOWN_CHARACTERS = 64


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
