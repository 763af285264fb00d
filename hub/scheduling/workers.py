"""A worker at one moment: what it offers, how fast it is, what it has under way, what it is held for."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from chain.primitives.types import Address
from hub.scheduling.runs import Need
from hub.scheduling.work import SizeClass

DEFAULT_LOAD_S: Final = 20.0
"""Until a load has been measured: Stable Diffusion 1.5 from a local disk to a GPU takes 5 to 30 seconds."""
NOMINAL_WORK_PER_S: Final = 512 * 512 * 30 * 2 / 5.0
"""Until a picture has been measured: five seconds for 512 by 512 pixels and 30 guided steps, as providers guess too."""
DOUBT: Final = 0.5
"""Whoever fails at more than half of what it is given is the last resort (docs/hub.md)."""


class Standing(StrEnum):
    """How long a worker has done well; it also decides how often it is checked."""

    NEW = "new"
    NORMAL = "normal"
    PROVEN = "proven"


class Offer(msgspec.Struct, frozen=True):
    """What a worker asks for a model."""

    price_per_unit: int
    """Atoms."""
    unit_type: str


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One session's state; replaced when something of it changes."""

    address: Address
    offers: Mapping[str, Offer]
    """By model: those that it declares and has registered."""
    vram_mib: int
    loaded: frozenset[str] = frozenset()
    """Models that it can compute with at once."""
    concurrency: int = 1
    """Shards at one time: its slots."""
    busy_until_s: tuple[float, ...] = ()
    """When each shard under way is expected to end."""
    speeds: Mapping[tuple[str, SizeClass], float] = {}
    """Work per second of one slot while the others work, as measured (`speed.SpeedBook`)."""
    load_s: float = DEFAULT_LOAD_S
    """What it takes to load a model."""
    batch_rows: int = 1
    """Pictures that it computes together."""
    most_pictures: int = 64
    """In one shard."""
    profile: str | None = None
    standing: Standing = Standing.NEW
    reputation: float = 1.0
    """From 0 to 1: which share of its work goes well, lately."""
    is_draining: bool = False
    is_paused: bool = False
    """Banned, or under suspicion."""

    @property
    def free_slots(self) -> int:
        """Shards that it could begin now."""
        return max(0, self.concurrency - len(self.busy_until_s))

    @property
    def is_doubted(self) -> bool:
        """Whether it fails too often to be given what others could do."""
        return self.reputation < DOUBT

    def is_warm(self, need: Need) -> bool:
        """Whether the model is loaded."""
        return need.model in self.loaded

    def load_seconds(self, need: Need) -> float:
        """Until it can begin to compute, once it has the shard."""
        return 0.0 if need.model in self.loaded else self.load_s

    def work_per_s(self, need: Need) -> float:
        """As measured for such pictures; else for the model's nearest size, else for another model, else a guess."""
        wanted = need.size_class
        exact = self.speeds.get((need.model, wanted))
        if exact is not None:
            return exact
        nearest = min(
            self.speeds, key=lambda known: (known[0] != need.model, abs(known[1] - wanted), known), default=None
        )
        return NOMINAL_WORK_PER_S if nearest is None else self.speeds[nearest]

    def picture_seconds(self, need: Need) -> float:
        """How long one slot computes a picture."""
        return need.work / self.work_per_s(need)
