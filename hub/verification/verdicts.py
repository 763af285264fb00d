"""From what others have computed to a verdict. One agrees: passed. One disagrees: two more are asked, and two of the
three decide, whichever way: a checker may be mistaken, slow of mind, or a rival.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from chain.primitives.types import Address
from hub.verification.errors import FaultReason

MAJORITY: Final = 2
"""Of three."""


class Verdict(StrEnum):
    """What came of a check; the words are those of `hub.store.checks.Verdict`."""

    PASSED = "passed"
    FAILED = "failed"
    DISPUTED = "disputed"
    """Somebody disagrees, and there are not enough others to decide."""
    ABANDONED = "abandoned"
    """Nobody could be asked; no fault of the provider's."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What one checker's computation says of the answer."""

    checker: Address
    fault: FaultReason | None
    """None: it holds."""
    detail: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    """Distances and tolerances, as JSON."""

    @property
    def holds(self) -> bool:
        """Whether the answer is what this checker would have given."""
        return self.fault is None


def decide(votes: Sequence[Vote]) -> Verdict | None:
    """PASSED, FAILED, or None while another has to be asked."""
    against = sum(not vote.holds for vote in votes)
    if votes and not against:
        return Verdict.PASSED
    if against >= MAJORITY:
        return Verdict.FAILED
    if len(votes) - against >= MAJORITY:
        return Verdict.PASSED
    return None


def without_more(votes: Sequence[Vote]) -> Verdict:
    """The verdict where nobody else can be asked."""
    return decide(votes) or (Verdict.DISPUTED if votes else Verdict.ABANDONED)


def contradicted(votes: Sequence[Vote], verdict: Verdict) -> tuple[Address, ...]:
    """Checkers whom the majority says to be wrong."""
    if verdict not in (Verdict.PASSED, Verdict.FAILED):
        return ()
    return tuple(vote.checker for vote in votes if vote.holds != (verdict is Verdict.PASSED))
