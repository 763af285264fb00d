"""When a day's quota is there again."""

from hypothesis import given
from hypothesis import strategies as st

from hub.orders.quotas import day_of, renewed_in_s

DAY_S = 86_400


@given(st.integers(0, 4_000_000_000_000))
def test_a_day_is_renewed_when_the_next_one_begins(now_ms: int) -> None:
    after_s = renewed_in_s(now_ms)
    assert 1 <= after_s <= DAY_S
    assert day_of(now_ms + after_s * 1_000) != day_of(now_ms)
    assert day_of(now_ms + (after_s - 1) * 1_000 - 1) == day_of(now_ms) or after_s == 1


def test_at_22_past_noon() -> None:
    assert renewed_in_s((12 * 60 + 22) * 60_000) == (11 * 60 + 38) * 60
