"""What waits for a worker: consecutive pictures of one job, and what they demand."""

from typing import Final, Self

import msgspec

from chain.primitives.shards import MAX_SHARDS
from chain.primitives.types import Address
from hub.scheduling.work import SizeClass, size_class

PRIORITIES: Final = range(10)
DEFAULT_PRIORITY: Final = 5
"""What a level is worth stands in `fairness`."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a job demands of whoever serves any of its pictures. Equal needs are served alike, so they are compared."""

    model: str
    pixels: int
    """Width times height of a picture."""
    work: float
    """Of a picture, `work.picture_work`."""
    unit_type: str | None = None
    price_per_unit: int | None = None
    """Atoms: the job's one price. Who asks more is not eligible; None where any price will do."""
    min_vram_mib: int = 0
    profile: str | None = None
    """Only workers that declare this determinism profile."""

    @property
    def size_class(self) -> SizeClass:
        """Of a picture."""
        return size_class(self.pixels)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures `first` to `first + count - 1` of a job, which nobody has: as a job came in, or what is left of it."""

    job_id: str
    client: str
    need: Need
    first: int
    count: int
    rank_s: float
    """Place in the queue, smallest first (`fairness.FairClock`): of the first picture."""
    rank_step_s: float
    """By how much each later picture's place is behind the one before."""
    priority: int = DEFAULT_PRIORITY
    """Already in `rank_s`."""
    deadline_s: float | None = None
    """On the clock of the assignment: a run is not assigned from then on."""
    attempt: int = 0
    """How often these pictures have been given away in vain."""
    excluded: frozenset[Address] = frozenset()
    """Who must not have them: it has failed at them, or made what they are compared with."""
    shards_left: int = MAX_SHARDS
    """How many shards the job may still become, all of its waiting runs together."""

    @property
    def is_part(self) -> bool:
        """Whether it is, or may become, one part among several, so that the job ends with the last of them."""
        return self.first > 0 or self.count > 1

    def rest(self, taken: int) -> Self:
        """What is left when a worker has taken the first pictures, at least one and not all."""
        assert 0 < taken < self.count
        return msgspec.structs.replace(
            self,
            first=self.first + taken,
            count=self.count - taken,
            rank_s=self.rank_s + taken * self.rank_step_s,
            shards_left=self.shards_left - 1,
        )
