"""Waking whoever waits, in this process and in the others."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text

from hub.store.announcements import check_topic
from hub.store.errors import WrongState
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.postgresql import PostgresqlServer
from tests.hub.store.conftest import IDENTITY

LIMIT_S = 90.0
A_WHILE_S = 0.3


async def test_a_subscriber_is_woken_after_the_commit(store: Store) -> None:
    async with store.announcements.subscribe("a") as ours, store.announcements.subscribe("b") as others:
        await store.write(lambda t: t.announce("a"))

        assert await ours.wait(LIMIT_S)
        assert not await others.wait(0)


async def test_changes_between_two_looks_fall_together_and_none_is_lost(store: Store) -> None:
    async with store.announcements.subscribe("a") as changes:
        await asyncio.gather(*(store.write(lambda t: t.announce("a")) for _ in range(50)))
        await asyncio.sleep(A_WHILE_S)

        assert await changes.wait(LIMIT_S)
        assert not await changes.wait(0)

        await store.write(lambda t: t.announce("a"))
        assert await changes.wait(LIMIT_S)


async def test_what_failed_announces_nothing(store: Store) -> None:
    def unit(transaction: Transaction) -> None:
        transaction.announce("a")
        raise WrongState("no")

    async with store.announcements.subscribe("a") as changes:
        with pytest.raises(WrongState):
            await store.write(unit)
        assert not await changes.wait(A_WHILE_S)


async def test_nobody_is_woken_who_has_left(store: Store) -> None:
    async with store.announcements.subscribe("a") as changes:
        pass
    await store.write(lambda t: t.announce("a"))

    assert not await changes.wait(A_WHILE_S)


@pytest.mark.parametrize("topic", ["", "x" * 129, "two\nlines", "ümlaut"])
def test_a_topic_that_would_not_reach_others_is_refused(store: Store, topic: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        check_topic(topic)
    with pytest.raises(ValueError, match="topic"):
        store.write_now(lambda t: t.announce(topic))


@pytest.fixture
def two(postgresql_server: PostgresqlServer) -> list[Callable[[], Store]]:
    """Opens two processes' stores on one database."""
    url = postgresql_server.url()
    return [lambda: Store(url, IDENTITY)] * 2


@pytest.mark.postgresql
async def test_other_processes_are_woken(two: list[Callable[[], Store]]) -> None:
    here, there = (opening() for opening in two)
    topics = [f"job/{number:04}-{'x' * 60}" for number in range(300)]  # More than one notification holds.
    async with there.announcements.subscribe(topics[0]) as first, there.announcements.subscribe(topics[-1]) as last:
        await first.wait(A_WHILE_S)
        await last.wait(A_WHILE_S)

        def announce_all(transaction: Transaction) -> None:
            for topic in topics:
                transaction.announce(topic)

        await here.write(announce_all)

        assert await first.wait(LIMIT_S)
        assert await last.wait(LIMIT_S)
    await here.close()
    await there.close()


@pytest.mark.postgresql
async def test_a_lost_connection_wakes_everybody_and_is_made_again(two: list[Callable[[], Store]]) -> None:
    here, there = (opening() for opening in two)
    async with there.announcements.subscribe("a") as changes:
        await changes.wait(A_WHILE_S)
        end_listeners = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
        await here.write(lambda t: t.execute(end_listeners).all())

        assert await changes.wait(LIMIT_S)  # Something may have been missed.
        woken = False
        while not woken:  # Until it listens again.
            await here.write(lambda t: t.announce("a"))
            woken = await changes.wait(1.0)
    await here.close()
    await there.close()
