"""What the routes work with."""

from collections.abc import Callable
from dataclasses import dataclass

from hub.artifacts import Artifacts
from hub.chain_view import ChainView
from hub.http.guard import Guard
from hub.http.links import Links
from hub.http.streams import Streams
from hub.jobs.accepting import Acceptance
from hub.jobs.live import LiveBoard
from hub.jobs.queueing import Queue
from hub.jobs.roster import Roster
from hub.metrics import HubMetrics
from hub.store.store import Store
from hub.workers.workers import Workers


@dataclass(frozen=True, slots=True)
class HubParts:
    """Of an open hub."""

    hub_id: str
    chain_id: int
    genesis_hash: str
    attester: str
    hub_key: str
    """Address of the key with which this hub asks other hubs' attesters."""
    version: str
    store: Store
    artifacts: Artifacts
    chain: ChainView
    workers: Workers
    roster: Roster
    queue: Queue
    acceptance: Acceptance
    board: LiveBoard
    guard: Guard
    links: Links
    streams: Streams
    metrics: HubMetrics
    on_cancelled: Callable[[str], None]
    """Gets the id of a job that its client has cancelled."""
    is_stopping: Callable[[], bool]
    """Nothing new is taken, while the hub answers on."""
    is_ending: Callable[[], bool]
    """Whoever waits is let go."""
