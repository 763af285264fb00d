"""Scores, standings and suspicion: what a provider of each kind comes to, and bounds that hold for any history."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.reputation.rules import (
    DAY_MS,
    DISPUTE_PAUSE_MS,
    HALF_LIFE_MS,
    LIE_PAUSE_MS,
    LONGEST_PAUSE_MS,
    STUMBLES,
    Outcome,
    Record,
    decayed,
    is_late,
    noted,
    score_of,
    standing_of,
    suspicion_of,
)
from hub.scheduling.workers import DOUBT
from hub.store.providers import Standing

NOW_MS = 1_790_000_000_000
FRESH = Record(at_ms=NOW_MS)
HISTORY = st.lists(st.tuples(st.sampled_from(list(Outcome)), st.integers(0, 10 * DAY_MS)), max_size=60)


def after(*outcomes: Outcome, record: Record = FRESH, step_ms: int = 60_000) -> Record:
    for number, outcome in enumerate(outcomes, 1):
        record = noted(record, outcome, record.at_ms + step_ms if number else record.at_ms)
    return record


def score(record: Record) -> float:
    return score_of(record, record.at_ms)


def test_a_newcomer_is_trusted_with_a_try() -> None:
    assert score(FRESH) == 1.0
    assert score(after(Outcome.FAILED)) > DOUBT
    assert score(after(*[Outcome.FAILED] * 3)) < DOUBT


def test_what_is_long_ago_counts_less() -> None:
    record = after(*[Outcome.FAILED] * 10)
    later = decayed(record, record.at_ms + HALF_LIFE_MS)
    assert later.bad == pytest.approx(record.bad / 2)
    assert score(record) < score(later) < score_of(record, record.at_ms + 10 * HALF_LIFE_MS)
    assert decayed(record, record.at_ms - DAY_MS) == record  # A clock that went back.


def test_late_work_counts_half() -> None:
    assert score(after(*[Outcome.SERVED] * 20)) > score(after(*[Outcome.LATE] * 20)) > DOUBT
    assert is_late(15.1, 10) and not is_late(14.9, 10) and not is_late(100, 0)


def standing(record: Record, before: Standing = Standing.NEW, *, accepted: int = 10_000, days: int = 100) -> Standing:
    first_seen_ms = record.at_ms - days * DAY_MS
    return standing_of(before, record, accepted=accepted, first_seen_ms=first_seen_ms, now_ms=record.at_ms)


def test_standing_is_earned_by_checked_work_and_time() -> None:
    checked = after(*[Outcome.PASSED] * 50)
    assert standing(checked) == Standing.PROVEN
    assert standing(checked, days=13) == Standing.NORMAL
    assert standing(checked, accepted=499) == Standing.NORMAL
    assert standing(checked, accepted=19) == Standing.NEW
    assert standing(after(*[Outcome.PASSED] * 4)) == Standing.NEW
    assert standing(after(*[Outcome.SERVED] * 500)) == Standing.NEW  # Nobody has looked at any of it.


def test_standing_does_not_flicker() -> None:
    at_threshold = after(*[Outcome.PASSED] * 60, Outcome.FAILED, Outcome.FAILED, Outcome.FAILED)
    assert standing(at_threshold, Standing.NEW) == Standing.NORMAL
    assert standing(at_threshold, Standing.PROVEN) == Standing.PROVEN
    assert standing(after(*[Outcome.FAILED] * 9, record=at_threshold), Standing.PROVEN) != Standing.PROVEN


@pytest.mark.parametrize("offence", [Outcome.LIED, Outcome.DISPUTED])
def test_an_offence_makes_a_newcomer_of_anybody(offence: Outcome) -> None:
    record = after(*[Outcome.PASSED] * 500, offence)
    assert standing(record, Standing.PROVEN) == Standing.NEW
    assert standing(decayed(record, record.at_ms + HALF_LIFE_MS - DAY_MS), Standing.NEW) == Standing.NEW
    assert standing(decayed(record, record.at_ms + 8 * HALF_LIFE_MS), Standing.NEW) != Standing.NEW


@pytest.mark.parametrize(("outcome", "is_kept"), [(Outcome.UNOPENED, False), (Outcome.TIMED_OUT, True)])
def test_silence_whenever_it_is_sampled_costs_a_proven_cheat_its_standing(outcome: Outcome, is_kept: bool) -> None:
    """One of twenty is sampled: at the price of a failure, keeping silent then would cost next to nothing."""
    record = after(*([Outcome.SERVED] * 19 + [outcome]) * 40, record=after(*[Outcome.PASSED] * 500))
    assert (standing(record, Standing.PROVEN) == Standing.PROVEN) is is_kept


def test_one_word_against_another_costs_both_alike_and_pauses_nobody() -> None:
    record = after(*[Outcome.DOUBTED] * 3)
    assert suspicion_of(record, Outcome.DOUBTED) is None
    assert score(record) == pytest.approx(2 / 5, rel=1e-3)


def test_failures_in_a_row_pause_and_a_success_ends_the_row() -> None:
    record = after(*[Outcome.FAILED] * (STUMBLES - 1))
    assert suspicion_of(record, Outcome.FAILED) is None
    record = after(Outcome.TIMED_OUT, record=record)
    found = suspicion_of(record, Outcome.TIMED_OUT)
    assert found is not None and found.reason == "unreliable"
    longer = suspicion_of(after(Outcome.FAILED, record=record), Outcome.FAILED)
    assert longer is not None and longer.pause_ms == 2 * (found.pause_ms or 0)
    assert after(Outcome.SERVED, record=record).stumbles == 0
    assert suspicion_of(after(Outcome.SERVED, record=record), Outcome.SERVED) is None


def test_lies_pause_ever_longer() -> None:
    record, pauses = FRESH, []
    for _ in range(30):
        record = noted(record, Outcome.LIED, record.at_ms + 1)
        found = suspicion_of(record, Outcome.LIED)
        assert found is not None and found.pause_ms is not None
        pauses.append(found.pause_ms)
    assert pauses[0] == LIE_PAUSE_MS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_MS


def test_lost_disputes_end_with_a_person() -> None:
    first = after(Outcome.DISPUTED)
    found = suspicion_of(first, Outcome.DISPUTED)
    assert found is not None and found.pause_ms == DISPUTE_PAUSE_MS
    third = after(Outcome.DISPUTED, Outcome.DISPUTED, record=first)
    last = suspicion_of(third, Outcome.DISPUTED)
    assert last is not None and last.pause_ms is None
    # Each long after the one before: the machine, perhaps, not the person.
    rare = noted(decayed(first, first.at_ms + 8 * HALF_LIFE_MS), Outcome.DISPUTED, first.at_ms + 8 * HALF_LIFE_MS)
    again = suspicion_of(rare, Outcome.DISPUTED)
    assert again is not None and again.pause_ms is not None and again.pause_ms <= 1.01 * DISPUTE_PAUSE_MS


@given(history=HISTORY)
def test_scores_are_shares_and_no_good_deed_lowers_one(history: list[tuple[Outcome, int]]) -> None:
    record = FRESH
    for outcome, gap_ms in history:
        record = noted(record, outcome, record.at_ms + gap_ms)
        assert 0.0 < score(record) <= 1.0
        assert score(noted(record, Outcome.SERVED, record.at_ms)) >= score(record)
        assert score(noted(record, Outcome.LIED, record.at_ms)) < score(record)
        assert Record.from_object(record.to_object()) == record
        assert replace(decayed(record, record.at_ms), at_ms=0) == replace(record, at_ms=0)
