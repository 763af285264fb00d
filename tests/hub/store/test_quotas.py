"""A day's quota: never passed, however many ask at once."""

import asyncio
from collections.abc import Callable

import pytest

from hub.store import quotas
from hub.store.errors import QuotaExceeded
from hub.store.quotas import QuotaLimits, Spent
from hub.store.store import Store

DAY = "2026-11-23"


def spend(store: Store, limits: QuotaLimits, day: str = DAY, **more: int) -> Spent:
    return store.write_now(lambda t: quotas.spend(t, "alice", day, limits, Spent(**more)))


def spent(store: Store) -> Spent:
    return spend(store, QuotaLimits())


def test_a_quota_is_spent_up_to_its_limit(store: Store) -> None:
    limits = QuotaLimits(jobs=3, pictures=10)
    assert spent(store) == Spent()

    assert spend(store, limits, jobs=1, pictures=4) == Spent(jobs=1, pictures=4)
    assert spend(store, limits, jobs=1, pictures=6, micro_units=2**60) == Spent(jobs=2, pictures=10, micro_units=2**60)
    with pytest.raises(QuotaExceeded) as refused:
        spend(store, limits, jobs=1, pictures=1)

    assert (refused.value.limit, refused.value.left) == ("pictures", 0)
    assert spent(store).jobs == 2
    assert spend(store, limits, "2026-11-24", jobs=3).jobs == 3
    assert spend(store, limits, pictures=-2).pictures == 8


def test_amounts_are_exact(store: Store) -> None:
    limits = QuotaLimits(amount=2**200)

    spend(store, limits, amount=2**200 - 1)
    with pytest.raises(QuotaExceeded) as refused:
        spend(store, limits, amount=2)
    assert refused.value.left == 1
    assert spend(store, limits, amount=1).amount == 2**200
    assert spend(store, limits, jobs=1) == Spent(jobs=1, amount=2**200)


async def test_many_at_once_never_pass_the_limit(open_store: Callable[[], Store]) -> None:
    stores = [open_store(), open_store()]
    limits = QuotaLimits(jobs=25)

    outcomes = await asyncio.gather(
        *(
            stores[number % 2].write(lambda t: quotas.spend(t, "alice", DAY, limits, Spent(jobs=1)))
            for number in range(60)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, Spent) for outcome in outcomes) == 25
    assert sum(isinstance(outcome, QuotaExceeded) for outcome in outcomes) == 35
    assert spent(stores[0]).jobs == 25
