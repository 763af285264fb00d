"""A process that takes what waits, as a hub's does: `python -m tests.hub.store.claimer URL NAME`.

It prints every lease that it was given, once that is committed, and waits to be woken when nothing is left.
"""

import asyncio
import itertools
import sys
from collections.abc import Sequence
from functools import partial

from hub.store import shards, waiting
from hub.store.leases import NewLease
from hub.store.store import Store, now_ms
from tests.hub.store.conftest import ANNA


async def claim(url: str, name: str) -> None:
    """Until it is killed."""
    store = Store(url, None)
    numbers = itertools.count()

    def choose(waits: Sequence[waiting.WaitingShard]) -> list[NewLease]:
        return [
            NewLease(
                lease_id=f"{name}-{next(numbers)}",
                job_id=item.job.job_id,
                first_picture=item.shard.first_picture,
                pictures=1,  # Cuts what is larger.
                provider=ANNA,
                session=name,
                deadline_ms=now_ms() + 3_600_000,
            )
            for item in waits
        ]

    async with store.announcements.subscribe(shards.WAITING_TOPIC) as changes:
        print("ready", flush=True)
        while True:
            wanted = choose(await store.read(lambda r: waiting.look(r, limit=3)))
            for item in await store.write(partial(waiting.take, wanted=wanted, process=name, now_ms=now_ms())):
                if item is not None:
                    print(item.lease.lease_id, item.lease.job_id, item.lease.first_picture, flush=True)
            if not wanted:
                await changes.wait()


if __name__ == "__main__":
    asyncio.run(claim(*sys.argv[1:]))
