"""Documents are bounded in size and depth; objects have the keys that they must have, and no others."""

import py_ecc  # noqa: F401 - it lifts Python's recursion limit, as eth-keyfile's import does in the wallet
import pytest

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys, parse_json


def test_the_object_itself_comes_back() -> None:
    fields = {"a": 1, "c": 2}
    assert check_keys(fields, ("a",), "where", optional=("b", "c")) is fields


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ([], RejectionReason.MALFORMED, "where"),
        (None, RejectionReason.MALFORMED, "where"),
        ("a", RejectionReason.MALFORMED, "where"),
        ({}, RejectionReason.MISSING_FIELD, "where.a"),
        ({"b": 1}, RejectionReason.MISSING_FIELD, "where.a"),
        ({"a": 1, "d": 1}, RejectionReason.UNKNOWN_FIELD, "where.d"),
        ({"a": 1, 5: 1}, RejectionReason.UNKNOWN_FIELD, "where.5"),
        ({"a": 1, "x" * 1_000: 1}, RejectionReason.UNKNOWN_FIELD, "where." + "x" * 64),
    ],
)
def test_what_is_refused(fields: object, reason: RejectionReason, field: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_keys(fields, ("a",), "where", optional=("b",))
    assert (caught.value.reason, caught.value.values["field"]) == (reason, field)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000, RejectionReason.TOO_LARGE),
        (b'{"a":' * 100_000, RejectionReason.TOO_LARGE),
        (b" " * 1_000_001, RejectionReason.TOO_LARGE),
        (b"[" * 1_000, RejectionReason.MALFORMED),
        (b"", RejectionReason.MALFORMED),
        (b"\xff", RejectionReason.MALFORMED),
        (b"NaN", RejectionReason.MALFORMED),
        (b'{"a": 1, "a": 1}', RejectionReason.DUPLICATE_KEY),
    ],
)
def test_what_is_no_document(text: bytes, reason: RejectionReason) -> None:
    with pytest.raises(Rejected) as caught:
        parse_json(text, 1_000_000, "this")
    assert caught.value.reason == reason


def test_a_document() -> None:
    assert parse_json(b'{"a": [1, "\xc3\xa9"]}', 100, "this") == {"a": [1, "é"]}
