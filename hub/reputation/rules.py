"""Outcomes to score, score to standing, and when suspicion pauses a provider. Pure; every threshold has its reason."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from hub.store.providers import Standing

DAY_MS: Final = 86_400_000
HALF_LIFE_MS: Final = 7 * DAY_MS
"""A week: a bad evening is half forgotten after one, and nearly gone (1/16) after four."""
PRIOR: Final = 2.0
"""A newcomer counts as two successes: one slip leaves it at 2/3, above the scheduler's doubt (1/2); three do not."""


class Outcome(StrEnum):
    """What came of a piece of work."""

    SERVED = "served"
    """A result that was taken, in the promised time."""
    LATE = "late"
    """Taken, but much later than its own benchmark says."""
    PASSED = "passed"
    """A re-run, challenge or canary agreed with it."""
    DECLINED = "declined"
    """It said no to work that it had declared room for."""
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LIED = "lied"
    """An answer that no honest provider gives."""
    DISPUTED = "disputed"
    """Others computed it again, and it is not what it claims to be."""
    UNOPENED = "unopened"
    """Sampled, and it did not show what it had committed to."""
    DOUBTED = "doubted"
    """One other came to another picture, and nobody was there to decide; or it said so of another's, and two say no."""


_GOOD: Final = {Outcome.SERVED: 1.0, Outcome.LATE: 0.5, Outcome.PASSED: 1.0}
_BAD: Final = {
    Outcome.LATE: 0.5,
    Outcome.DECLINED: 0.25,
    Outcome.FAILED: 1.0,
    Outcome.TIMED_OUT: 1.0,
    Outcome.LIED: 5.0,
    Outcome.DISPUTED: 20.0,
    Outcome.UNOPENED: 5.0,
    Outcome.DOUBTED: 1.0,
}
"""A lie costs as much as five failures. A dispute that was lost must outweigh all that was earned while 19 of 20 pieces
of a proven provider's work went unchecked. Silence when sampled costs five: a cheat with a proven standing that keeps
silent each time (1 of 20) is at 0.79 then, and loses it; at the price of a failure it would be at 0.95, and keep it."""
LATE_FACTOR: Final = 1.5
"""Later than this times its own benchmark's time is late: below it, other load on the machine explains it."""
OFFENCE_REASONS: Final = frozenset({"false_answer", "dispute_lost", "disputes_lost"})
"""What a pause is for where it is for an offence: something that no honest provider does."""
_STUMBLES: Final = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNOPENED)

NORMAL_PASSED: Final = 5
NORMAL_ACCEPTED: Final = 20
NORMAL_SCORE: Final = 0.9
PROVEN_PASSED: Final = 50
PROVEN_ACCEPTED: Final = 500
PROVEN_SCORE: Final = 0.97
PROVEN_DAYS: Final = 14
"""A cheat that begins only once it is trusted must have worked honestly for two weeks; see docs/hub.md."""
KEPT_MARGIN: Final = 0.05
"""A standing that was earned is lost this much below its threshold, so that one slip does not move it to and fro."""

STUMBLES: Final = 5
"""Failures in a row: five by chance are one in 3 million for a provider of whose work one piece in twenty fails."""
_MINUTE_MS: Final = 60_000
STUMBLE_PAUSE_MS: Final = 15 * _MINUTE_MS
LIE_PAUSE_MS: Final = 10 * _MINUTE_MS
DISPUTE_PAUSE_MS: Final = DAY_MS
LONGEST_PAUSE_MS: Final = 30 * DAY_MS
DISPUTES_FOR_GOOD: Final = 3
"""So many lost disputes, each half forgotten after a week: a person has to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered of a provider's outcomes; weights as of `at_ms`, halved with every half-life since."""

    at_ms: int
    good: float = 0.0
    bad: float = 0.0
    lies: float = 0.0
    disputes: float = 0.0
    passed: int = 0
    """Ever."""
    stumbles: int = 0
    """In a row, now."""

    def to_object(self) -> dict[str, Any]:
        """As it stands among a provider's facts."""
        return {
            "at_ms": self.at_ms,
            "good": self.good,
            "bad": self.bad,
            "lies": self.lies,
            "disputes": self.disputes,
            "passed": self.passed,
            "stumbles": self.stumbles,
        }

    @classmethod
    def from_object(cls, fields: dict[str, Any]) -> "Record":
        """From `to_object`'s."""
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a provider is paused; `pause_ms` None where a person has to decide."""

    reason: str
    detail: str
    pause_ms: int | None


def decayed(record: Record, now_ms: int) -> Record:
    """The record as of now; a clock that went back changes nothing."""
    age_ms = max(0, now_ms - record.at_ms)
    left = 0.5 ** (age_ms / HALF_LIFE_MS)
    return replace(
        record,
        at_ms=max(now_ms, record.at_ms),
        good=record.good * left,
        bad=record.bad * left,
        lies=record.lies * left,
        disputes=record.disputes * left,
    )


def noted(record: Record, outcome: Outcome, now_ms: int) -> Record:
    """The record with one outcome more."""
    now = decayed(record, now_ms)
    stumbles = now.stumbles
    if outcome in _STUMBLES:
        stumbles += 1
    elif outcome in (Outcome.SERVED, Outcome.LATE, Outcome.PASSED):
        stumbles = 0
    return replace(
        now,
        good=now.good + _GOOD.get(outcome, 0.0),
        bad=now.bad + _BAD.get(outcome, 0.0),
        lies=now.lies + (outcome == Outcome.LIED),
        disputes=now.disputes + (outcome == Outcome.DISPUTED),
        passed=now.passed + (outcome == Outcome.PASSED),
        stumbles=stumbles,
    )


def score_of(record: Record, now_ms: int) -> float:
    """0 to 1: the share that goes well, the old counting less; 1 for whom nothing is known of."""
    now = decayed(record, now_ms)
    return (now.good + PRIOR) / (now.good + now.bad + PRIOR)


def standing_of(before: Standing, record: Record, *, accepted: int, first_seen_ms: int, now_ms: int) -> Standing:
    """How closely its work is looked at from here on; `accepted` pieces of work, ever. After an offence: anew."""
    now = decayed(record, now_ms)
    score = score_of(record, now_ms)
    if now.disputes + now.lies >= 0.5:
        return Standing.NEW
    margins = {
        Standing.PROVEN: KEPT_MARGIN if before == Standing.PROVEN else 0.0,
        Standing.NORMAL: KEPT_MARGIN if before != Standing.NEW else 0.0,
    }
    days = (now_ms - first_seen_ms) / DAY_MS
    is_proven = now.passed >= PROVEN_PASSED and accepted >= PROVEN_ACCEPTED and days >= PROVEN_DAYS
    if is_proven and score >= PROVEN_SCORE - margins[Standing.PROVEN]:
        return Standing.PROVEN
    is_normal = now.passed >= NORMAL_PASSED and accepted >= NORMAL_ACCEPTED
    if is_normal and score >= NORMAL_SCORE - margins[Standing.NORMAL]:
        return Standing.NORMAL
    return Standing.NEW


def suspicion_of(record: Record, outcome: Outcome) -> Suspicion | None:
    """Whether this outcome, the last one in the record, pauses the provider."""
    if outcome == Outcome.DISPUTED:
        if record.disputes >= DISPUTES_FOR_GOOD - 0.5:
            return Suspicion("disputes_lost", "several results were not what they claimed to be", None)
        pause_ms = _doubled(DISPUTE_PAUSE_MS, record.disputes)
        return Suspicion("dispute_lost", "others computed a result again, and it is not what it claims to be", pause_ms)
    if outcome == Outcome.LIED:
        return Suspicion("false_answer", "an answer that no honest provider gives", _doubled(LIE_PAUSE_MS, record.lies))
    if outcome in _STUMBLES and record.stumbles >= STUMBLES:
        pause_ms = _doubled(STUMBLE_PAUSE_MS, record.stumbles - STUMBLES + 1)
        return Suspicion("unreliable", f"{record.stumbles} pieces of work in a row were not done", pause_ms)
    return None


def _doubled(first_ms: int, times: float) -> int:
    """Doubles with each time after the first, up to the longest."""
    return min(LONGEST_PAUSE_MS, round(first_ms * 2 ** min(40.0, max(0.0, times - 1))))


def is_late(took_s: float, promised_s: float) -> bool:
    """Whether a result came much later than the provider's own benchmark says it takes."""
    return promised_s > 0 and took_s > promised_s * LATE_FACTOR
