"""Objects have the keys that they must have, and no others."""

import pytest

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys


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
