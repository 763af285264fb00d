"""Each policy's order."""

from collections.abc import Sequence

from hub.scheduling.policies import cheapest, fastest, reputation, round_robin
from hub.scheduling.policies.memory import Memory
from hub.scheduling.policies.policy import PLACES, Policy
from hub.scheduling.workers import Worker
from tests.hub.scheduling.workers_of import address, run, worker


def order(place: object, fleet: Sequence[Worker], memory: Memory) -> list[int]:
    ranked = sorted(fleet, key=lambda each: place(each, run(), memory))  # type: ignore[operator]
    return [int.from_bytes(each.address, "big") for each in ranked]


def test_every_policy_has_an_order() -> None:
    assert set(PLACES) == set(Policy)


def test_round_robin_by_the_last_turn() -> None:
    memory = Memory()
    for number in (3, 1, 2, 3):
        memory.turns.give(address(number))
    assert order(round_robin.place, [worker(number) for number in range(1, 5)], memory) == [4, 1, 2, 3]


def test_cheapest_by_what_a_picture_costs_there_then_by_turn() -> None:
    memory = Memory()
    memory.turns.give(address(3))
    fleet = [
        worker(1, price=8, picture_s=2.0, unit_type="gpu_seconds"),
        worker(2, price=12, picture_s=1.0, unit_type="gpu_seconds"),
        worker(3, price=12),
        worker(4, price=20),
    ]
    assert order(cheapest.place, fleet, memory) == [2, 3, 1, 4]


def test_fastest_by_the_end_of_a_picture_loading_included() -> None:
    fleet = [
        worker(1, picture_s=3.0),
        worker(2, picture_s=1.0, loaded=frozenset(), load_s=1.0),
        worker(3, picture_s=5.0),
    ]
    assert order(fastest.place, fleet, Memory()) == [2, 1, 3]


def test_reputation_by_work_over_weight() -> None:
    assert reputation.weight(worker(1, reputation=1.0)) == 1.0
    assert 0.6 < reputation.weight(worker(1, reputation=0.9)) < 0.7
    assert reputation.weight(worker(1, reputation=0.0)) == reputation.LEAST_WEIGHT
    memory = Memory()
    good, worse = worker(1), worker(2, reputation=0.8)
    memory.strides.charge(worse.address, 1.0, reputation.weight(worse))
    memory.strides.charge(good.address, 1.0, reputation.weight(good))
    assert order(reputation.place, [worse, good], memory) == [1, 2]
