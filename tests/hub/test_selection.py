"""Whose turn it is: round robin by address, with model and price filters."""

from dataclasses import replace

import pytest

from chain.primitives.types import Address, Amount
from hub.selection import Offer, fits_budget, next_in_turn, offers_model


def offer(number: int, price: int = 10, unit_type: str = "gpu_seconds") -> Offer:
    return Offer(Address(bytes((number,)) * 20), f"http://p{number}", ("m",), Amount(price), unit_type, 0)


FLEET = [offer(3), offer(1), offer(2)]


def test_everybody_has_a_turn() -> None:
    last, turns = None, []
    for _ in range(7):
        chosen = next_in_turn(FLEET, last)
        assert chosen is not None
        last = chosen.address
        turns.append(last[0])
    assert turns == [1, 2, 3, 1, 2, 3, 1]


def test_turn_goes_on_when_somebody_joins_or_leaves() -> None:
    assert next_in_turn([*FLEET, offer(4)], FLEET[0].address) == offer(4)
    assert next_in_turn([offer(1), offer(3)], Address(b"\x02" * 20)) == offer(3)


def test_nobody_is_nobodys_turn() -> None:
    assert next_in_turn([], None) is None


def test_model_filter() -> None:
    assert offers_model(offer(1), None)
    assert offers_model(offer(1), "m")
    assert not offers_model(offer(1), "n")
    assert offers_model(replace(offer(1), models=("m", "n")), "n")


@pytest.mark.parametrize("unit_type", ["images", "gpu_seconds"])
def test_price_filter(unit_type: str) -> None:
    assert fits_budget(offer(1, 10, unit_type), 10)
    assert not fits_budget(offer(1, 10, unit_type), 9)
    assert fits_budget(offer(1, 0, unit_type), 0)


def test_who_is_in_disrepute_waits_until_nobody_else_offers() -> None:
    shunned = replace(offer(1), receipts=26, complaints=3)
    assert shunned.is_in_disrepute
    assert not replace(shunned, receipts=27).is_in_disrepute  # A tenth is still borne.
    assert not replace(offer(1), receipts=0, complaints=2).is_in_disrepute
    for last in (None, offer(3).address):
        assert next_in_turn([shunned, offer(2), offer(3)], last) == offer(2)
    assert next_in_turn([shunned], None) == shunned
