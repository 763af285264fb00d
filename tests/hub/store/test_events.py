"""A job's events: 1, 2, 3 … without gaps, also from several processes at once."""

import asyncio
from collections.abc import Callable

from hub.store import events
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.store.conftest import NOW_MS, add_job


def saying(number: int) -> Callable[[Transaction], None]:
    return lambda t: events.append(t, "job-1", "progress", {"number": number}, NOW_MS)


async def test_events_are_numbered_in_the_order_in_which_they_are_seen(open_store: Callable[[], Store]) -> None:
    stores = [open_store(), open_store()]
    add_job(stores[0])
    seen: list[int] = []

    async def watch() -> None:
        async with stores[0].announcements.subscribe(events.topic("job-1")) as changes:
            while len(seen) < 41:
                found = await stores[0].read(lambda c: events.after(c, "job-1", len(seen), limit=7))
                seen.extend(event.sequence for event in found)
                if not found:
                    # On SQLite the other store stands for no process that could announce.
                    await changes.wait(0.2)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(stores[number % 2].write(saying(number)) for number in range(40)))
    await watching

    assert seen == list(range(1, 42))
    said = stores[1].read_now(lambda c: events.after(c, "job-1", 1))
    assert sorted(event.data["number"] for event in said) == list(range(40))


def test_an_event_of_no_job_is_dropped(store: Store) -> None:
    store.write_now(saying(1))

    assert store.read_now(lambda c: events.after(c, "job-1", 0)) == []
