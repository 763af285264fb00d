"""Turns, and shares by stride."""

from collections import Counter

import pytest

from hub.scheduling.turns import Strides, Turns
from tests.hub.scheduling.workers_of import address


def test_turns_are_numbered_and_can_be_taken_back() -> None:
    turns = Turns()
    assert turns.last(address(1)) == 0
    turns.give(address(1))
    before = turns.give(address(2))
    again = turns.give(address(2))
    assert (before, again) == (0, 2)
    turns.take_back(address(2), again)
    assert turns.last(address(1)) < turns.last(address(2)) == 2


def test_memory_of_turns_is_bounded() -> None:
    turns = Turns()
    for number in range(12_000):
        turns.give(address(number))
    assert turns.last(address(1_999)) == 0
    assert turns.last(address(2_000)) > 0


def serve(strides: Strides[str], weights: dict[str, float], times: int) -> Counter[str]:
    served: Counter[str] = Counter()
    for _ in range(times):
        key = min(weights, key=strides.reached)
        strides.charge(key, 1.0, weights[key])
        served[key] += 1
    return served


def test_work_is_shared_by_weight() -> None:
    served = serve(Strides(), {"a": 0.7, "b": 0.2, "c": 0.1}, 1_000)
    assert served == {"a": pytest.approx(700, abs=2), "b": pytest.approx(200, abs=2), "c": pytest.approx(100, abs=2)}


def test_who_was_away_neither_has_saved_nor_owes() -> None:
    strides: Strides[str] = Strides()
    serve(strides, {"a": 1.0}, 500)
    assert serve(strides, {"a": 1.0, "b": 1.0}, 100)["b"] == pytest.approx(50, abs=2)
    # a alone had what b could not take; that is not held against it either.
    serve(strides, {"b": 1.0}, 500)
    assert serve(strides, {"a": 1.0, "b": 1.0}, 100)["b"] == pytest.approx(50, abs=2)


def test_what_is_given_back_was_not_served() -> None:
    strides: Strides[str] = Strides()
    strides.charge("a", 3.0, 1.0)
    strides.give_back("a", 3.0, 1.0)
    assert strides.reached("a") == 0.0
    strides.give_back("unknown", 3.0, 1.0)
    assert strides.reached("unknown") == 0.0
