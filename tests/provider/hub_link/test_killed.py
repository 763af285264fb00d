"""kill -9 of a provider that has a lease: the work is done once, and what was kept is brought."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.workers.desk import Delivery
from provider.storage.database import Database
from provider.storage.outbox import Outbox
from tests.hub.workers.rig import KeepingDesk, grant_to, run_of, serving, until


class DeafDesk(KeepingDesk):
    """Its database is away until `hears`: it is brought results, and keeps none."""

    def __init__(self) -> None:
        super().__init__()
        self.hears = False
        self.brought: list[Delivery] = []

    async def delivered(self, delivery: Delivery) -> None:
        self.brought.append(delivery)
        if not self.hears:
            raise RuntimeError("the database is away")
        await super().delivered(delivery)


@contextmanager
def killable(folder: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A provider that ends with SIGKILL."""
    words = [sys.executable, "-m", "tests.provider.hub_link.killable", str(folder), url]
    with (folder.parent / "log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_killed_at_work_it_works_again_and_killed_when_done_it_brings_what_it_kept(tmp_path: Path) -> None:
    folder, desk = tmp_path / "provider", DeafDesk()
    async with serving(tmp_path, desk=desk) as hub:
        desk.waiting.append(grant_to(1, run=run_of(2, steps=30)))
        with killable(folder, hub.url):
            await until(lambda: desk.progresses)
        await until(lambda: hub.workers.count == 0)
        assert not desk.brought
        with killable(folder, hub.url):
            await until(lambda: desk.brought)
        await until(lambda: hub.workers.count == 0)
        first = desk.brought[0]
        desk.brought.clear()
        desk.progresses.clear()
        desk.hears = True
        await asyncio.sleep(1.1)  # A receipt of new work would have another time.
        with killable(folder, hub.url):
            await until(lambda: desk.deliveries)
        again = desk.deliveries["lease-1"]
        assert (again.receipt, again.provider_signature) == (first.receipt, first.provider_signature)
        assert not desk.progresses
    with Database(folder) as database:
        assert len(Outbox(database).of_job("main-hub", "job-1")) == 1
