"""Simulated providers: what they say they are, and what they really do."""

import math
import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from chain.primitives.types import Address
from hub.scheduling.runs import Need
from hub.scheduling.speed import SpeedBook
from hub.scheduling.work import picture_work
from hub.scheduling.workers import Offer, Standing, Worker

MODEL: Final = "tiny"
REFERENCE_WORK: Final = picture_work(512, 512, 30, is_guided=True)
"""Of the picture in which speeds are given."""
_WEIGHT_OF_LATEST: Final = 0.1
"""Of the simulator's own reputation, a plain moving average of successes."""


def need(**changes: object) -> Need:
    """Of a picture of 512 by 512 pixels, 30 steps and guidance."""
    fields: dict[str, object] = {"model": MODEL, "pixels": 512 * 512, "work": REFERENCE_WORK}
    return Need(**(fields | changes))  # type: ignore[arg-type]


class Outcome(StrEnum):
    """What becomes of a shard at its worker."""

    DONE = "done"
    FAILED = "failed"
    SILENT = "silent"
    """Nothing ever comes back, but the worker goes on to answer heartbeats."""


@dataclass
class Machine:
    """A provider's true nature, and what the hub has measured of it."""

    number: int
    picture_s: float = 2.0
    """For a picture of REFERENCE_WORK, on average."""
    noise: float = 0.15
    """Standard deviation of the logarithm of a shard's time."""
    tail: float = 0.0
    """Probability that a shard takes five times as long."""
    fails: float = 0.0
    silent: float = 0.0
    overhead_s: float = 0.1
    """Of each shard: both ways over the network, a signature, a check."""
    models: tuple[str, ...] = (MODEL,)
    most_loaded: int = 1
    load_s: float = 20.0
    price: int = 10
    unit_type: str = "images"
    vram_mib: int = 8_192
    concurrency: int = 1
    standing: Standing = Standing.NORMAL
    reputation: float = 1.0
    is_measured: bool = True
    """Whether its benchmark has been run before the simulation begins."""
    is_gone: bool = False
    loaded: list[str] = field(default_factory=list)
    busy_until_s: list[float] = field(default_factory=list)
    book: SpeedBook = field(default_factory=SpeedBook)
    loads: int = 0

    def __post_init__(self) -> None:
        self.address = Address(self.number.to_bytes(20, "big"))
        self.loaded = self.loaded or list(self.models[: self.most_loaded])
        if self.is_measured:
            for model in self.models:
                self.book.record(model, 512 * 512, REFERENCE_WORK, self.picture_s)

    def worker(self) -> Worker:
        """As the hub sees it."""
        return Worker(
            address=self.address,
            offers={model: Offer(self.price, self.unit_type) for model in self.models},
            loaded=frozenset(self.loaded),
            vram_mib=self.vram_mib,
            concurrency=self.concurrency,
            busy_until_s=tuple(self.busy_until_s),
            speeds=self.book.speeds(),
            load_s=self.load_s,
            standing=self.standing,
            reputation=self.reputation,
        )

    def begin(self, shard_need: Need, pictures: int, rng: random.Random) -> tuple[Outcome, float, float]:
        """What becomes of a shard, how long loading takes, and how long all the rest."""
        load_s = 0.0
        if shard_need.model in self.loaded:
            self.loaded.remove(shard_need.model)
        else:
            load_s, self.loads = self.load_s, self.loads + 1
        self.loaded = [*self.loaded, shard_need.model][-self.most_loaded :]
        chance = rng.random()
        seconds = pictures * self.picture_s * shard_need.work / REFERENCE_WORK * math.exp(rng.gauss(0, self.noise))
        if rng.random() < self.tail:
            seconds *= 5
        if chance < self.silent:
            return Outcome.SILENT, load_s, math.inf
        if chance < self.silent + self.fails:
            return Outcome.FAILED, load_s, self.overhead_s + seconds * rng.random()
        return Outcome.DONE, load_s, self.overhead_s + seconds

    def learn(self, has_succeeded: bool) -> None:
        """The simulator's stand-in for the reputation that the hub keeps."""
        self.reputation += _WEIGHT_OF_LATEST * (has_succeeded - self.reputation)


def unequal_machines(rng: random.Random, count: int = 8, spread: float = 8.0, **fields: object) -> list[Machine]:
    """The slowest takes `spread` times as long for a picture as the fastest may; evenly by logarithm."""
    return [
        Machine(number + 1, picture_s=math.exp(rng.uniform(0, math.log(spread))), **fields)  # type: ignore[arg-type]
        for number in range(count)
    ]
