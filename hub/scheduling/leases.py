"""A shard in somebody's hands: what was decided, and for how long it holds."""

from typing import Final

import msgspec

from chain.primitives.types import Address
from hub.scheduling.runs import Run

SHORTEST_LEASE_S: Final = 30.0
"""A worker that is there answers its heartbeats; a short shard may still meet a pause of a machine that is used."""
EXPECTED_TIMES: Final = 4.0
"""Of the expected time. Fewer than one honest shard in 500 of the simulated fleets takes longer (docs/hub.md)."""


def lease_s(expected_s: float) -> float:
    """How long a worker may have a shard that should take so long; then it goes elsewhere."""
    return max(SHORTEST_LEASE_S, EXPECTED_TIMES * expected_s)


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A worker takes the first `count` pictures of a run; `run.rest(count)` is what is left where those are not all."""

    run: Run
    worker: Address
    count: int
    expected_s: float
    """From sending until the result, loading included."""
    lease_s: float
    is_warm: bool
    previous_turn: int = 0
    """For `Scheduler.undo`."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A shard under way."""

    run: Run
    """Exactly its pictures."""
    worker: Address
    started_s: float
    expected_s: float
    progress: float | None = None
    """From 0 to 1, where the worker reports any."""
    is_reissued: bool = False
    """Whether somebody else has been given it as well."""
