"""One run: nodes, network and faults of a seed; then everything faulty stops, and the chain must go on."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import process_time
from typing import Final

from chain.consensus.effects import Settings
from chain.consensus.simplex import SimplexEngine
from chain.primitives.hashing import sha256
from chain.primitives.network import Network
from chain.primitives.types import Address
from tests.simulation.adversary import Adversary
from tests.simulation.byzantine import ByzantineNode
from tests.simulation.flow import Flow
from tests.simulation.ledgers import LightLedger, NodeLedger
from tests.simulation.light_chain import Executed, LightRules, genesis_of
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import SimulatedNode
from tests.simulation.oracles import Oracles
from tests.simulation.parts import NodeParts
from tests.simulation.real_ledger import RealLedger
from tests.simulation.report import Report
from tests.simulation.scenario import Scenario
from tests.simulation.schedule import Schedule
from tests.simulation.signatures import SignatureBook, key_of
from tests.simulation.violation import Violation
from tests.simulation.workload import LightWorkload, RealWorkload, Workload, real_network

GENESIS_HASH: Final = sha256(b"genesis of the simulation")
MESSAGES_PER_OCCASION: Final = 4
"""To every peer: what an honest node sends at most on average at each occasion to speak."""
_MEMORY_FOLDER: Final = next((name for name in ("/dev/shm",) if Path(name).is_dir()), None)
"""Where LevelDB's syncs cost nothing, if there is such a place."""
GROWTH: Final = 4
"""Blocks that every honest node must add once the network is calm."""
SETTLING_DELAYS: Final = 100
"""How many network delays that may take."""


def _light_ledgers(genesis: Executed) -> Callable[[], NodeLedger]:
    rules = LightRules(genesis)
    return lambda: LightLedger(genesis, rules)


class Simulation:
    """Build it from a scenario, `run` it once."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        engine_class: type[SimplexEngine] = SimplexEngine,
        node_class: type[SimulatedNode] = SimulatedNode,
        oracles_class: type[Oracles] = Oracles,
    ) -> None:
        self.scenario = scenario
        self.schedule = Schedule()
        book = SignatureBook(is_real=scenario.is_signed_really)
        total = scenario.validator_count + scenario.spare_count
        self.keys = [key_of(f"validator {index}", book) for index in range(total)]
        validators = tuple(key.address for key in self.keys[: scenario.validator_count])
        settings = Settings(
            epoch=0,
            validators=validators,
            network_delay_ms=scenario.network_delay_ms,
            block_interval_ms=scenario.block_interval_ms,
            heartbeat_ms=scenario.heartbeat_ms,
        )
        self._folder: TemporaryDirectory[str] | None = None
        self.genesis_hash = GENESIS_HASH
        workload: Workload = LightWorkload()
        if scenario.is_real:
            self._folder = TemporaryDirectory(prefix="simulation-", dir=_MEMORY_FOLDER)
            network = real_network(scenario, self.keys, book)
            self.genesis_hash = network.genesis_hash
            workload = real_workload = RealWorkload(book, self.keys, scenario.validator_count)
            make_ledger = self._real_ledgers(Path(self._folder.name), network, real_workload.senders)
        else:
            make_ledger = _light_ledgers(genesis_of(settings, GENESIS_HASH))
        self.network = SimulatedNetwork(
            self.schedule,
            Random(f"network {scenario.seed} {scenario.validator_count}"),
            is_encoded=scenario.is_encoded,
            is_in_order=scenario.is_in_order,
        )
        self.oracles = oracles_class(genesis_hash=self.genesis_hash, validators=validators, book=book)
        self.parts = NodeParts(
            self.schedule,
            self.network,
            self.oracles,
            book,
            Random(f"nodes {scenario.seed} {scenario.validator_count}"),
            genesis_hash=self.genesis_hash,
            engine_class=engine_class,
            sync_ms=scenario.sync_ms,
            work_ms=scenario.work_ms,
            prune_share=scenario.prune_share,
        )
        self.adversary = Adversary(Random(f"adversary {scenario.seed} {scenario.validator_count}"))
        malice = dict(scenario.malice)
        for index, key in enumerate(self.keys):
            if index in malice:
                ByzantineNode(self.parts, make_ledger(), key, adversary=self.adversary, malice=malice[index])
            else:
                node_class(self.parts, make_ledger(), key)
        for _ in range(scenario.follower_count):
            node_class(self.parts, make_ledger(), None)
        self.nodes = self.parts.nodes
        self.honest = [node for node in self.nodes if node.is_honest]
        self.nemesis = Nemesis(scenario, self.schedule, self.network, self.nodes)
        addresses = [key.address for key in self.keys]
        self.flow = Flow(scenario, self.schedule, self.network, self.nodes, workload, addresses)
        self.amplification = 0.0

    def _real_ledgers(self, folder: Path, network: Network, senders: list[Address]) -> Callable[[], NodeLedger]:
        self._real: list[RealLedger] = []

        def make() -> NodeLedger:
            self._real.append(RealLedger(folder / str(len(self._real)), network, senders))
            return self._real[-1]

        return make

    def close(self) -> None:
        """Frees what a run with real ledgers has on the disk."""
        if self._folder is not None:
            for ledger in self._real:
                ledger.close()
            self._folder.cleanup()

    # The run

    def run(self) -> Report:
        """Raises Violation."""
        started = process_time()
        scenario = self.scenario
        for node in self.nodes:
            node.on_start = self.flow.tell_again
            node.start()
        self.nemesis.begin()
        self.flow.begin()
        self.schedule.run(until_ms=scenario.fault_ms, is_done=self._is_far)
        settled_ms = self._settle()
        if scenario.is_idle_at_end:
            self._idle()
        for node in self.honest:
            self.oracles.check_memory(node)
        oracles = self.oracles
        return Report(
            seed=scenario.seed,
            validator_count=scenario.validator_count,
            trace_hash=oracles.trace_hash,
            views=oracles.view_count,
            blocks=len(oracles.chain) - 1,
            commits=sum(node.ledger.head.height for node in self.honest),
            epochs=len(oracles.sets) - 1,
            crashes=self.parts.crash_count,
            faults=self.nemesis.fault_count + self.adversary.mischief_count,
            lost_messages=self.network.lost_count,
            sent_messages=sum(self.network.sent),
            evidence=oracles.evidence_count,
            actions=self.schedule.action_count,
            virtual_ms=self.schedule.now_ms,
            settled_after_delays=round(settled_ms / scenario.network_delay_ms, 1),
            memory=oracles.largest_memory,
            amplification=round(self.amplification, 3),
            cpu_seconds=process_time() - started,
        )

    def _is_far(self) -> bool:
        self._check_storm()
        return self.oracles.view_count >= self.scenario.max_views * len(self.nodes)

    def _check_storm(self) -> None:
        """Every message has a reason: a view entered, a while in which it was not, a peer that has come, a lie."""
        views = self.oracles.view_count + len(self.nodes)
        whiles = self.schedule.now_ms / self.scenario.network_delay_ms * len(self.nodes)
        arrivals = (self.parts.crash_count + self.nemesis.fault_count) * len(self.nodes)
        lies = sum(sent for sent, node in zip(self.network.sent, self.nodes, strict=True) if not node.is_honest)
        most = len(self.nodes) * (MESSAGES_PER_OCCASION * (views + whiles + arrivals) + lies) + 1_000
        sent = sum(self.network.sent)
        self.amplification = sent / most
        if sent > most:
            raise Violation("storm", f"{sent} messages, where {most:.0f} would be much")

    def _settle(self) -> int:
        """Calm: how long until every honest node has grown, in milliseconds."""
        scenario, schedule = self.scenario, self.schedule
        self.nemesis.calm()
        began_ms = schedule.now_ms
        self.flow.keep_flowing()
        goal = len(self.oracles.chain) - 1 + GROWTH
        delays = int(SETTLING_DELAYS * max(1.0, 2 * scenario.calm_factor))
        limit_ms = delays * scenario.network_delay_ms + (GROWTH + 4) * scenario.block_interval_ms
        schedule.run(until_ms=began_ms + limit_ms, is_done=lambda: self._has_grown(goal))
        self._check_storm()
        if not self._has_grown(goal):
            raise Violation(
                "growth",
                f"{delays} delays after all faults have stopped, not everybody has block {goal}: "
                + ", ".join(
                    f"{node.name} height {node.ledger.head.height} epoch {node.engine.epoch} view {node.engine.view}"
                    for node in self.honest
                ),
            )
        return schedule.now_ms - began_ms

    def _has_grown(self, goal: int) -> bool:
        return all(node.ledger.head.height >= goal for node in self.honest)

    def _idle(self) -> None:
        """No transactions: heartbeats and nothing else."""
        scenario, schedule = self.scenario, self.schedule
        self.flow.is_flowing = False
        delay_ms = scenario.network_delay_ms
        block_ms = scenario.block_interval_ms + 10 * delay_ms
        # First, all that waits goes into blocks.
        schedule.run(until_ms=schedule.now_ms + 2 * delay_ms, is_done=lambda: False)
        longest_ms = (len(self.flow.transactions) + 10) * block_ms
        schedule.run(until_ms=schedule.now_ms + longest_ms, is_done=self._is_drained)
        if not self._is_drained():
            raise Violation("idle", "transactions wait for ever")
        schedule.run(until_ms=schedule.now_ms + 2 * block_ms, is_done=lambda: False)
        blocks, views = len(self.oracles.chain), self.oracles.view_count
        beats = 3
        schedule.run(until_ms=schedule.now_ms + beats * scenario.heartbeat_ms, is_done=lambda: False)
        blocks, views = len(self.oracles.chain) - blocks, self.oracles.view_count - views
        # Each heartbeat block may need an empty one on top to become final; liars lead their share of views.
        most = (beats + 1) * 2 + (4 * beats if scenario.malice else 0)
        # Where a hop takes nearly Δ, the finality of a block comes later than the next, empty one is begun.
        if blocks > most and scenario.calm_factor <= 0.5:
            raise Violation("idle", f"{blocks} blocks in {beats} heartbeats without a transaction")
        if blocks < 1:
            raise Violation("idle", f"no block in {beats} heartbeats")
        if not scenario.malice and scenario.calm_factor <= 0.5 and views > 3 * most * len(self.nodes):
            raise Violation("idle", f"{views} views in {beats} heartbeats without a transaction")

    def _is_drained(self) -> bool:
        return not any(node.ledger.is_waiting() for node in self.honest)


def simulate(
    scenario: Scenario,
    *,
    engine_class: type[SimplexEngine] = SimplexEngine,
    node_class: type[SimulatedNode] = SimulatedNode,
) -> Report:
    """Runs one scenario; raises Violation where a property does not hold."""
    simulation = Simulation(scenario, engine_class=engine_class, node_class=node_class)
    try:
        return simulation.run()
    finally:
        simulation.close()
