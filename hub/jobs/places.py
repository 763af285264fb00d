"""What the parts of the desk share: what they work with, and who is there."""

from dataclasses import dataclass, field

from chain.primitives.types import Address
from hub.artifacts import Artifacts
from hub.chain_view import ChainView
from hub.jobs.canaries import Wishes
from hub.jobs.checking import Checking
from hub.jobs.judging import Judging
from hub.jobs.keeping import Keeping
from hub.jobs.live import LiveBoard
from hub.jobs.queueing import Queue
from hub.jobs.roster import Roster
from hub.metrics import HubMetrics
from hub.scheduling.assignment import Scheduler
from hub.store.store import Store
from hub.workers.desk import WorkerView


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What the desk works with."""

    store: Store
    artifacts: Artifacts
    chain: ChainView
    roster: Roster
    queue: Queue
    scheduler: Scheduler
    board: LiveBoard
    checking: Checking
    keeping: Keeping
    judging: Judging
    wishes: Wishes
    metrics: HubMetrics
    process: str


@dataclass(slots=True)
class Present:
    """In memory, of this process: who is connected, and which pictures each lease that it knows of is for."""

    views: dict[Address, WorkerView] = field(default_factory=dict)
    pictures_of: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By lease: the job, the first picture, and how many."""
