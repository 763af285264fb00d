"""Which answers are checked: as many as their standing says, unforeseeable, and the same for whoever has the key."""

import pytest

from chain.primitives.hashing import sha256
from chain.primitives.types import Hash32
from hub.verification.sampling import RATES, Draws, SamplingKey, check_rates, is_sampled
from hub.verification.suspicion import Suspicion

KEY = SamplingKey(bytes(range(32)))


def receipt_hash(number: int) -> Hash32:
    return sha256(number.to_bytes(4, "big"))


@pytest.mark.parametrize(("standing", "least", "most"), [("new", 4_000, 4_000), ("normal", 900, 1_100),
                                                         ("proven", 150, 250)])  # fmt: skip
def test_share_by_standing(standing: str, least: int, most: int) -> None:
    sampled = sum(is_sampled(KEY.draws(receipt_hash(number)), RATES[standing]) for number in range(4_000))
    assert least <= sampled <= most


def test_whoever_is_odd_is_always_checked() -> None:
    odd = (Suspicion("too_quick", "…"),)
    assert all(is_sampled(KEY.draws(receipt_hash(number)), RATES["proven"], odd) for number in range(100))


def test_another_key_chooses_others() -> None:
    """So whoever does not know the key cannot tell."""
    other = SamplingKey(bytes(32))
    rate = RATES["normal"]
    same = sum(
        is_sampled(KEY.draws(receipt_hash(number)), rate) == is_sampled(other.draws(receipt_hash(number)), rate)
        for number in range(2_000)
    )
    assert 1_150 < same < 1_350  # 0.25² + 0.75² = 0.625 where the two know nothing of one another.


def test_an_auditor_replays_it() -> None:
    """Golden: the key is revealed one day, and every earlier choice must follow from it for ever."""
    draws = KEY.draws(receipt_hash(1))
    assert KEY.commitment == sha256(b"aitbc/hub/sampling-key/1\0" + bytes(range(32)))
    assert draws == SamplingKey(bytes(range(32))).draws(receipt_hash(1))
    assert draws.choose("steps/0", range(100), 5) == draws.choose("steps/0", range(100), 5)


def test_choices_are_fair_and_different() -> None:
    counts = [0] * 7
    for number in range(3_000):
        chosen = KEY.draws(receipt_hash(number)).choose("x", range(7), 3)
        assert len(set(chosen)) == 3
        for item in chosen:
            counts[item] += 1
    assert all(1_150 < count < 1_420 for count in counts)


def test_no_more_than_there_are() -> None:
    draws = KEY.draws(receipt_hash(1))
    assert sorted(draws.choose("x", "abc", 10)) == ["a", "b", "c"]
    assert draws.choose("x", [], 3) == []


def test_purposes_tell_nothing_about_one_another() -> None:
    draws = [KEY.draws(receipt_hash(number)) for number in range(2_000)]
    both = sum(each.fraction("sampled") < 0.5 and each.fraction("canary") < 0.5 for each in draws)
    assert 420 < both < 580


@pytest.mark.parametrize("rates", [{}, {"new": 1.0, "normal": 0.25}, {"new": 1.0, "normal": 0.25, "proven": 0.0},
                                   {"new": 1.0, "normal": -0.1, "proven": 0.1},
                                   {"new": 1.1, "normal": 0.25, "proven": 0.1}])  # fmt: skip
def test_nobody_is_beyond_being_checked(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        check_rates(rates)


def test_default_rates_hold() -> None:
    check_rates(RATES)


def test_keys_are_never_shown() -> None:
    assert "key" not in repr(KEY)
    assert "secret" not in repr(Draws(bytes(32)))
    with pytest.raises(ValueError, match="32 bytes"):
        SamplingKey(b"short")
