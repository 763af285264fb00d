"""Newcomers and doubted workers: a share of the work, so that they can show what they are worth, and no more of it.

Three classes share the work by stride scheduling: regular workers, newcomers with the share that is set, and doubted
ones (`Worker.is_doubted`) with a small one in which a reputation can recover. The shares decide wherever more than one
class has somebody free. Where only newcomers are free, they serve: a waiting client is worth more than a bound, and
every one of their results is checked. Doubted ones get no more than their share while anybody else could ever serve.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

from hub.scheduling.runs import Run
from hub.scheduling.turns import Strides
from hub.scheduling.workers import Standing, Worker

DEFAULT_NEWCOMER_SHARE: Final = 0.1
DOUBTED_SHARE: Final = 0.02
"""One shard in fifty is likely to be done twice, which costs 2 % at most."""


class Tier(StrEnum):
    """The classes, in the order in which equals are served."""

    REGULAR = "regular"
    NEW = "new"
    DOUBTED = "doubted"


def tier_of(worker: Worker) -> Tier:
    """A newcomer that fails is doubted."""
    if worker.is_doubted:
        return Tier.DOUBTED
    return Tier.NEW if worker.standing is Standing.NEW else Tier.REGULAR


class Tiers:
    """How much each class has been given."""

    def __init__(self, newcomer_share: float) -> None:
        assert 0 < newcomer_share <= 0.5
        self._weights = {
            Tier.REGULAR: 1 - newcomer_share - DOUBTED_SHARE,
            Tier.NEW: newcomer_share,
            Tier.DOUBTED: DOUBTED_SHARE,
        }
        self._strides: Strides[Tier] = Strides()

    def choose(self, free: Sequence[Worker], run: Run, all_eligible: Callable[[], Iterable[Worker]]) -> list[Worker]:
        """Those of the free workers among whom the policy decides; empty where the run had better wait.

        `all_eligible` are the busy ones too; it is only called where a doubted worker is free.
        """
        members: dict[Tier, list[Worker]] = {}
        for worker in free:
            members.setdefault(tier_of(worker), []).append(worker)
        if run.attempt > 0 and Tier.REGULAR in members:
            # What has failed once is not tried out on anybody.
            return members[Tier.REGULAR]
        rivals = set(members)
        if Tier.DOUBTED in members:
            rivals.update(tier_of(worker) for worker in all_eligible())
            if min(rivals, key=self._place) is not Tier.DOUBTED:
                del members[Tier.DOUBTED]
        return members[min(members, key=self._place)] if members else []

    def charge(self, worker: Worker, work: float) -> None:
        """A worker has been given so much."""
        tier = tier_of(worker)
        self._strides.charge(tier, work, self._weights[tier])

    def give_back(self, worker: Worker, work: float) -> None:
        """It did not come to anything."""
        tier = tier_of(worker)
        self._strides.give_back(tier, work, self._weights[tier])

    def _place(self, tier: Tier) -> tuple[float, int]:
        return self._strides.reached(tier), list(Tier).index(tier)
