"""Newcomers and doubted workers on a share."""

from collections import Counter
from collections.abc import Sequence

import pytest

from hub.scheduling.newcomers import Tier, Tiers, tier_of
from hub.scheduling.workers import Standing, Worker
from tests.hub.scheduling.workers_of import run, worker

REGULAR = worker(1, standing=Standing.PROVEN)
NEW = worker(2, standing=Standing.NEW)
DOUBTED = worker(3, reputation=0.1)


def choose(tiers: Tiers, free: Sequence[Worker], busy: Sequence[Worker] = (), attempt: int = 0) -> list[Worker]:
    return tiers.choose(free, run(attempt=attempt), lambda: [*free, *busy])


def serve(tiers: Tiers, free: Sequence[Worker], times: int) -> Counter[Tier]:
    served: Counter[Tier] = Counter()
    for _ in range(times):
        chosen = choose(tiers, free)[0]
        tiers.charge(chosen, 5.0)
        served[tier_of(chosen)] += 1
    return served


def test_tiers() -> None:
    assert [tier_of(each) for each in (REGULAR, NEW, DOUBTED)] == [Tier.REGULAR, Tier.NEW, Tier.DOUBTED]
    assert tier_of(worker(4, standing=Standing.NEW, reputation=0.1)) is Tier.DOUBTED


def test_shares_where_all_are_free() -> None:
    served = serve(Tiers(0.1), [REGULAR, NEW, DOUBTED], 1_000)
    assert served == {Tier.REGULAR: pytest.approx(880, abs=2), Tier.NEW: pytest.approx(100, abs=2), Tier.DOUBTED: 20}


def test_newcomers_serve_where_only_they_are_free() -> None:
    tiers = Tiers(0.1)
    for _ in range(50):
        assert choose(tiers, [NEW], busy=[REGULAR]) == [NEW]
        tiers.charge(NEW, 5.0)
    assert choose(tiers, [NEW, REGULAR]) == [REGULAR]


def test_doubted_ones_wait_while_anybody_else_could_ever_serve() -> None:
    tiers = Tiers(0.1)
    tiers.charge(DOUBTED, 5.0)
    assert choose(tiers, [DOUBTED], busy=[REGULAR]) == []
    assert choose(tiers, [DOUBTED], busy=[NEW]) == []
    assert choose(tiers, [DOUBTED]) == [DOUBTED]


def test_doubted_ones_have_their_share_in_a_busy_fleet_too() -> None:
    tiers = Tiers(0.1)
    given = 0
    for _ in range(1_000):
        if choose(tiers, [DOUBTED], busy=[REGULAR]):
            tiers.charge(DOUBTED, 5.0)
            given += 1
        else:
            tiers.charge(REGULAR, 5.0)
    assert given == pytest.approx(1_000 * 0.02 / 0.88, abs=2)


def test_what_has_failed_is_not_tried_out_on_anybody() -> None:
    tiers = Tiers(0.1)
    for _ in range(100):
        assert choose(tiers, [REGULAR, NEW, DOUBTED], attempt=1) == [REGULAR]
        tiers.charge(REGULAR, 5.0)
    assert choose(tiers, [NEW], busy=[REGULAR], attempt=1) == [NEW]


def test_given_back_work_does_not_count() -> None:
    tiers = Tiers(0.1)
    tiers.charge(REGULAR, 5.0)
    assert choose(tiers, [REGULAR, NEW]) == [NEW]
    tiers.give_back(REGULAR, 5.0)
    assert choose(tiers, [REGULAR, NEW]) == [REGULAR]
