"""Votes and verdicts."""

import pytest

from chain.primitives.types import Address
from hub.store import checks
from hub.verification.errors import FaultReason
from hub.verification.verdicts import Verdict, Vote, contradicted, decide, without_more


def votes(*holds: bool) -> list[Vote]:
    return [
        Vote(Address(bytes((number + 1,)) * 20), None if good else FaultReason.WRONG_STEP)
        for number, good in enumerate(holds)
    ]


@pytest.mark.parametrize(
    ("holds", "decided", "at_last"),
    [
        ((), None, Verdict.ABANDONED),
        ((True,), Verdict.PASSED, Verdict.PASSED),
        ((False,), None, Verdict.DISPUTED),
        ((False, True), None, Verdict.DISPUTED),
        ((False, False), Verdict.FAILED, Verdict.FAILED),
        ((False, True, True), Verdict.PASSED, Verdict.PASSED),
        ((False, True, False), Verdict.FAILED, Verdict.FAILED),
    ],
)
def test_verdict(holds: tuple[bool, ...], decided: Verdict | None, at_last: Verdict) -> None:
    assert decide(votes(*holds)) is decided
    assert without_more(votes(*holds)) is at_last


def test_whom_the_majority_contradicts() -> None:
    cast = votes(False, True, True)
    assert contradicted(cast, Verdict.PASSED) == (cast[0].checker,)
    cast = votes(False, True, False)
    assert contradicted(cast, Verdict.FAILED) == (cast[1].checker,)
    assert contradicted(votes(False, True), Verdict.DISPUTED) == ()


def test_the_store_knows_every_verdict() -> None:
    assert {verdict.value for verdict in Verdict} == {verdict.value for verdict in checks.Verdict}
