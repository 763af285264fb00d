"""What keys may ask for: a rate, pictures of a day, jobs at once; one key's limit is no other's."""

import pytest

from provider.api_keys import ApiKeys, Caller, KeyLimits
from provider.jobs.allowances import Allowances
from provider.jobs.errors import LimitReached

ALICE, BOB = Caller("alice"), Caller("bob")


def allowances(limits: KeyLimits, ordered: int = 0) -> Allowances:
    keys = ApiKeys({ALICE: "a" * 20, BOB: "b" * 20}, {"alice": limits})
    return Allowances(keys, "3/hour", lambda _name, _since_ms: ordered)


def test_the_default_rate_counts_pictures_per_key() -> None:
    bounded = allowances(KeyLimits())
    bounded.check_rate(ALICE, 3)
    bounded.charge(ALICE, 2)
    with pytest.raises(LimitReached) as caught:
        bounded.check_rate(ALICE, 2)
    assert caught.value.reason == "rate_limited"
    assert 1 <= caught.value.retry_after_s <= 3600
    bounded.check_rate(ALICE, 1)  # What was refused was not counted.
    bounded.check_rate(BOB, 3)


def test_a_key_may_have_a_rate_of_its_own() -> None:
    bounded = allowances(KeyLimits(rate="10/hour"))
    bounded.charge(ALICE, 10)
    for caller, pictures in ((ALICE, 1), (BOB, 4)):
        with pytest.raises(LimitReached):
            bounded.check_rate(caller, pictures)


def test_pictures_of_a_day() -> None:
    bounded = allowances(KeyLimits(pictures_per_day=10), ordered=8)
    bounded.check_day(ALICE, 2)
    with pytest.raises(LimitReached) as caught:
        bounded.check_day(ALICE, 3)
    assert caught.value.reason == "daily_limit_reached"
    bounded.check_day(BOB, 100)


def test_jobs_at_once() -> None:
    bounded = allowances(KeyLimits(concurrent_jobs=2))
    bounded.check_jobs(ALICE, 1)
    with pytest.raises(LimitReached) as caught:
        bounded.check_jobs(ALICE, 2)
    assert caught.value.reason == "too_many_jobs"
    bounded.check_jobs(BOB, 1000)
