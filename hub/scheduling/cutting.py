"""How many of a run's pictures a free worker takes as its shard.

Factoring, after Hummel, Schonberg and Flynn (1992): not all that would be its share if every estimate held, but a part
of it, and again a part of the rest when it comes back. So errors of the early shards are made up for by the late ones,
which are small. The share itself comes from laying out the run over everybody who may serve it (`timeline.lay_out`).
"""

import math
from collections.abc import Iterable
from typing import Final

from hub.scheduling.runs import Run
from hub.scheduling.timeline import Share

SHARE_TAKEN: Final = 0.4
"""Measured in docs/hub.md ("Cutting"): with everything at once one slow worker delays the job, with less there are more
shards and hardly anything is gained."""
SHORTEST_SHARD_S: Final = 1.0
"""A shard is not cut shorter than that: a message each way, a signature and a check come with each."""
LONGEST_SHARD_S: Final = 120.0
"""What is lost at most with a worker that disappears."""


def pictures_to_take(run: Run, share: Share, shards_left: int) -> int:
    """From 1 to `run.count`, for a slot whose share of the laid out run is at least one picture."""
    worker = share.worker
    wanted = max(math.ceil(share.pictures * SHARE_TAKEN), math.ceil(SHORTEST_SHARD_S / share.picture_s))
    # Whole batches, because a half-full one takes nearly as long.
    wanted = math.ceil(wanted / worker.batch_rows) * worker.batch_rows
    wanted = min(wanted, share.pictures, worker.most_pictures, max(1, int(LONGEST_SHARD_S / share.picture_s)))
    # The job must not fall into more shards than a receipt can name.
    fewest = math.ceil(run.count / max(1, shards_left))
    return min(run.count, max(wanted, fewest))


class ShardBudget:
    """How many shards each job may still become in this pass, all of its waiting runs together."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._left: dict[str, int] = {}
        for run in runs:
            self._left[run.job_id] = min(run.shards_left, self._left.get(run.job_id, run.shards_left))

    def left(self, run: Run) -> int:
        """For the run's job, at least one: what is waiting must be served in some way."""
        return max(1, self._left[run.job_id])

    def note_cut(self, run: Run) -> None:
        """One shard more."""
        self._left[run.job_id] -= 1
