"""Why nobody can serve a job: of several models, what is said is true of the one that is the nearest to be had."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.orders.pricing import NobodyServes, Offered, offer_for
from hub.orders.request import JobRequest
from hub.scheduling.policies.policy import Policy
from hub.scheduling.workers import Offer, Worker
from tests.hub.scheduling.workers_of import worker

CEILING = 10**9


def offered(workers: list[Worker], **fields: Any) -> Offered:
    request = JobRequest(**{"prompt": "a cat"} | fields)
    return offer_for(request, workers, [], 0.0, policy=Policy.CHEAPEST, most_atoms=CEILING, rank_s=0.0)


def refusal(workers: list[Worker], **fields: Any) -> NobodyServes | None:
    try:
        offered(workers, **fields)
    except NobodyServes as error:
        return error
    return None


def selling(number: int, model: str, price: int, **fields: Any) -> Worker:
    return worker(number, offers={model: Offer(price, "images")}, speeds={}, **fields)


DEAR, CHEAP = selling(1, "a/dear", 100), selling(2, "b/cheap", 10)


def test_without_a_model_the_least_price_is_that_of_the_cheapest() -> None:
    with pytest.raises(NobodyServes, match=r"max_price_per_unit has to be 10 \("):
        offered([DEAR, CHEAP], max_price_per_unit="9")
    with pytest.raises(NobodyServes, match=r"max_price has to be 20 \("):
        offered([DEAR, CHEAP], n=2, max_price="19")


def test_what_is_in_the_way_is_that_of_the_model_that_could_be_had() -> None:
    with pytest.raises(NobodyServes, match=r"max_price has to be 20 \("):
        offered([DEAR, CHEAP], n=2, max_price="19", max_price_per_unit="50")
    small = selling(3, "a/small", 1, vram_mib=1_000)
    with pytest.raises(NobodyServes, match=r"max_price has to be 10 \("):
        offered([small, CHEAP], max_price="9", min_vram_mib=2_000)


def test_what_nobody_serves_is_no_matter_of_price() -> None:
    with pytest.raises(NobodyServes) as refused:
        offered([DEAR, CHEAP], max_price="0", min_vram_mib=10_000)
    assert (refused.value.reason, refused.value.field) == ("too_little_vram", "min_vram_mib")


@given(
    fleet=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 100), st.sampled_from((1_000, 8_000))), min_size=1),
    pictures=st.integers(1, 9),
    limits=st.fixed_dictionaries(
        {}, optional={"max_price": st.integers(0, 900), "max_price_per_unit": st.integers(0, 100)}
    ),
    vram_mib=st.sampled_from((0, 2_000)),
)
def test_who_does_as_the_refusals_say_is_served(
    fleet: list[tuple[str, int, int]], pictures: int, limits: dict[str, int], vram_mib: int
) -> None:
    workers = [selling(number, *each[:2], vram_mib=each[2]) for number, each in enumerate(fleet, 1)]
    for _ in range(3):
        asked = {"n": pictures, "min_vram_mib": vram_mib} | {name: str(limit) for name, limit in limits.items()}
        refused = refusal(workers, **asked)
        if refused is None:
            return
        if refused.reason == "too_little_vram":
            assert all(each[2] < vram_mib for each in fleet)
            return
        told = re.search(r"(\w+) has to be (\d+) \(", refused.message)
        assert told is not None
        field, least = told[1], int(told[2])
        assert (refused.field, limits[field] < least) == (field, True)
        assert refusal(workers, **asked | {field: str(least - 1)}) is not None
        limits = limits | {field: least}
    raise AssertionError("asked three times, and still refused")
