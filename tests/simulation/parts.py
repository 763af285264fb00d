"""What all nodes of a simulation share."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from chain.consensus.simplex import SimplexEngine
from chain.primitives.types import Hash32
from tests.simulation.network import SimulatedNetwork
from tests.simulation.oracles import Oracles
from tests.simulation.schedule import Schedule
from tests.simulation.signatures import SignatureBook

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode

START_MS: Final = 1_700_000_000_000
"""The wall clock at virtual time 0."""
STATUS_INTERVAL_MS: Final = 500
BLAME_MS: Final = 10_000
"""How long a blamed peer is kept away."""


class Crash(Exception):
    """The process has died at this point."""


class NodeParts:
    """What all nodes of a simulation share."""

    def __init__(
        self,
        schedule: Schedule,
        network: SimulatedNetwork,
        oracles: Oracles,
        book: SignatureBook,
        random: Random,
        *,
        genesis_hash: Hash32,
        engine_class: type[SimplexEngine] = SimplexEngine,
        sync_ms: int = 0,
        work_ms: int = 1,
        prune_share: float = 1.0,
    ) -> None:
        self.schedule = schedule
        self.network = network
        self.oracles = oracles
        self.book = book
        self.random = random
        self.genesis_hash = genesis_hash
        self.engine_class = engine_class
        self.sync_ms = sync_ms
        """How long an fdatasync takes at most."""
        self.work_ms = work_ms
        """How long executing, building or committing a block takes at most."""
        self.prune_share = prune_share
        """Share of the prunes that are worth rewriting the journal."""
        self.nodes: list[SimulatedNode] = []
        self.crash_count = 0
