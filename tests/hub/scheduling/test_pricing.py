"""The job's one price."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.scheduling.policies.policy import Policy
from hub.scheduling.pricing import METERING_SPREAD, Quote, cost_bounds, least_budget, quote
from hub.scheduling.workers import Worker
from tests.hub.scheduling.machines import need
from tests.hub.scheduling.workers_of import run, worker

CHEAP, DEAR = worker(1, price=10), worker(2, price=30)


def ask(fleet: Sequence[Worker], pictures: int = 10, **fields: Any) -> Quote | None:
    asked: dict[str, Any] = {"most_atoms": None, "policy": Policy.ROUND_ROBIN} | fields
    return quote(fleet, (), asked.pop("need", need()), pictures, 0.0, **asked)


def test_cheapest_takes_the_lowest_price_and_others_the_lowest_that_is_nearly_as_soon() -> None:
    cheapest = ask([CHEAP, DEAR], policy=Policy.CHEAPEST)
    assert cheapest is not None
    assert (cheapest.price_per_unit, cheapest.least_atoms, cheapest.most_atoms) == (10, 100, 100)
    assert cheapest.estimate.ends_s == pytest.approx(10.0)
    soon = ask([CHEAP, DEAR])
    assert soon is not None
    assert (soon.price_per_unit, soon.most_atoms, soon.estimate.ends_s) == pytest.approx((30, 300, 5.0))
    crowd = ask([*(worker(number, price=10) for number in range(3, 10)), DEAR])
    assert crowd is not None
    assert crowd.price_per_unit == 10


def test_budget_is_never_passed() -> None:
    limited = ask([CHEAP, DEAR], most_atoms=299)
    assert limited is not None
    assert limited.price_per_unit == 10
    assert ask([CHEAP, DEAR], most_atoms=99) is None
    assert ask([CHEAP, DEAR], most_atoms=100) is not None
    assert ask([worker(1, price=0)], most_atoms=0) is not None


@given(
    prices=st.lists(
        st.tuples(st.integers(1, 10**6), st.sampled_from(("images", "gpu_seconds")), st.floats(0.1, 50)),
        min_size=1,
        max_size=12,
    ),
    pictures=st.integers(1, 256),
    policy=st.sampled_from(Policy),
)
def test_the_least_budget_does_and_one_atom_less_does_not(
    prices: list[tuple[int, str, float]], pictures: int, policy: Policy
) -> None:
    fleet = [
        worker(number, price=price, unit_type=unit_type, picture_s=picture_s)
        for number, (price, unit_type, picture_s) in enumerate(prices, 1)
    ]
    least = least_budget(fleet, need(), pictures)
    assert ask(fleet, pictures, most_atoms=least, policy=policy) is not None
    assert ask(fleet, pictures, most_atoms=least - 1, policy=policy) is None


def test_nobody_no_quote() -> None:
    assert ask([]) is None
    assert ask([CHEAP], need=need(model="other")) is None


def test_time_is_paid_within_bounds() -> None:
    fleet = [worker(n, picture_s=each, price=7, unit_type="gpu_seconds") for n, each in ((1, 1.0), (2, 2.0))]
    by_time = ask(fleet, pictures=4)
    assert by_time is not None
    assert by_time.unit_type == "gpu_seconds"
    assert by_time.least_atoms == pytest.approx(4 * 7 * 1.0 / METERING_SPREAD, abs=1)
    assert by_time.most_atoms == pytest.approx(4 * 7 * 2.0 * METERING_SPREAD, abs=1)


def test_cheaper_of_two_ways_to_count() -> None:
    by_time = worker(2, picture_s=1.0, price=3, unit_type="gpu_seconds")
    found = ask([CHEAP, by_time], pictures=1, policy=Policy.CHEAPEST)
    assert found is not None
    assert (found.unit_type, found.price_per_unit) == ("gpu_seconds", 3)


def test_a_price_that_is_given_is_kept() -> None:
    found = ask([CHEAP, DEAR], need=need(price_per_unit=20))
    assert found is not None
    assert (found.price_per_unit, found.estimate.workers) == (20, 1)
    assert cost_bounds([CHEAP, DEAR], need(price_per_unit=20, unit_type="images"), 3) == (60, 60)


def test_many_prices_are_sampled_with_both_ends() -> None:
    fleet = [worker(number, price=number) for number in range(1, 301)]
    cheapest, soonest = ask(fleet, policy=Policy.CHEAPEST), ask(fleet, pictures=300)
    assert cheapest is not None
    assert cheapest.price_per_unit == 1
    assert soonest is not None
    assert soonest.price_per_unit > 200


def test_a_queue_for_the_cheap_ones_makes_others_worth_their_price() -> None:
    waiting = [run("before", 100, need=need(price_per_unit=10, unit_type="images"))]
    found = quote([CHEAP, DEAR], waiting, need(), 1, 0.0, most_atoms=None, policy=Policy.ROUND_ROBIN)
    assert found is not None
    assert found.price_per_unit == 30
