"""Each may ask so often, at once or spread over a minute, and nobody for another."""

import pytest

from hub.orders.pace import Pace, TooFast


def count(pace: Pace, client: str, now_s: float, *, times: int = 1) -> int:
    """How many are answered at this moment."""
    for number in range(1_000):
        try:
            pace.check(client, now_s, times=times)
        except TooFast:
            return number
    raise AssertionError("without an end")


def test_so_many_in_a_minute_for_each() -> None:
    pace = Pace(60)
    assert count(pace, "alice", 5.0) == 60
    assert count(pace, "bob", 5.0) == 60
    assert count(pace, "alice", 15.0) == 10
    assert count(pace, "alice", 15.0) == 0
    assert count(pace, "alice", 1_000.0) == 60


def test_together_they_may_ask_more_often_than_one() -> None:
    assert count(Pace(10), "@signers", 0.0, times=5) == 50


def test_it_says_when_to_come_again() -> None:
    pace = Pace(60)
    count(pace, "alice", 0.0)
    with pytest.raises(TooFast) as refused:
        pace.check("alice", 0.0)
    pace.check("alice", refused.value.after_s)
