"""What waits in the database, as the scheduler sees it: `Run`s with the demands of their jobs."""

import time
from collections.abc import Collection
from typing import Final

from chain.primitives.hexadecimal import parse_address
from chain.primitives.shards import MAX_SHARDS
from hub.scheduling.runs import Need, Run
from hub.scheduling.work import picture_work
from hub.store import waiting
from hub.store.jobs import Job
from hub.store.shards import Shard
from hub.store.store import Store, now_ms
from hub.store.waiting import WaitingShard

_REFRESH_S: Final = 0.5
_LOOKED_AT: Final = 1_024
"""Waiting runs that estimates are made from: what is behind them waits longer anyway."""


class Queue:
    """A picture of what waits, half a second old at most, for estimates; and what is to be assigned, read each time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._needs: dict[tuple[object, ...], Need] = {}
        self._runs: list[Run] = []
        self._pictures = 0
        self._read_at_s = float("-inf")

    async def look(self) -> list[Run]:
        """For estimates."""
        if time.monotonic() >= self._read_at_s + _REFRESH_S:
            self._read_at_s = time.monotonic()
            found = await self._store.read(lambda r: (waiting.look(r, limit=_LOOKED_AT), waiting.counts(r)))
            self._runs = [self.run_of(item) for item in found[0]]
            self._pictures = found[1][1]
        return self._runs

    @property
    def pictures(self) -> int:
        """That waited when it was looked at last."""
        return self._pictures

    async def page(self, number: int, size: int, models: Collection[str]) -> list[WaitingShard]:
        """A page of what these models could serve, in its order."""
        return await self._store.read(lambda r: waiting.look(r, limit=size, offset=number * size, models=models))

    def run_of(self, item: WaitingShard) -> Run:
        """With deadlines on the monotonic clock."""
        return run_of(item.shard, item.job, self.need_of(item.job))

    def need_of(self, job: Job) -> Need:
        """Equal ones are the same object: they are compared often."""
        request = job.request
        key = (
            job.model,
            request["width"],
            request["height"],
            request["steps"],
            request["guidance"],
            job.facts.get("unit_type"),
            job.price_per_unit,
            job.min_vram_mib,
        )
        need = self._needs.get(key)
        if need is None:
            if len(self._needs) > 10_000:
                self._needs.clear()
            need = self._needs[key] = need_of_job(job)
        return need


def need_of_job(job: Job) -> Need:
    """What a job demands of whoever serves it."""
    request = job.request
    width, height = request["width"], request["height"]
    return Need(
        model=job.model or "",
        pixels=width * height,
        work=picture_work(width, height, request["steps"], is_guided=request["guidance"] > 1),
        unit_type=job.facts.get("unit_type"),
        price_per_unit=job.price_per_unit,
        min_vram_mib=job.min_vram_mib,
    )


def run_of(shard: Shard, job: Job, need: Need) -> Run:
    """A shard that waits or is under way."""
    deadline_s = None if job.deadline_ms is None else time.monotonic() + (job.deadline_ms - now_ms()) / 1000
    return Run(
        job_id=job.job_id,
        client=job.owner,
        need=need,
        first=shard.first_picture,
        count=shard.pictures,
        rank_s=shard.rank_s,
        rank_step_s=shard.rank_step_s,
        priority=job.priority,
        deadline_s=deadline_s,
        attempt=shard.attempts,
        excluded=frozenset(parse_address(text) for text in shard.excluded),
        shards_left=max(1, MAX_SHARDS - job.shard_count),
    )
