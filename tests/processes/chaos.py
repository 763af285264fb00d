"""Random faults on a running cluster, and what must be true during and after them.

At most f validators are away at a time, and the follower may be away beside them; the chain must go on. From time to
time a storm takes more than f: then it may stand still, but nothing that was final may change.
"""

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from chain.client import NodeClient
from chain.primitives.certificate import faulty_bound
from chain.primitives.hexadecimal import to_checksum_address
from tests.processes.cluster import Cluster, NodeProcess
from tests.processes.links import Links
from tests.processes.load import Load
from tests.processes.witness import Witness

SETTLE_S: Final = 90.0
RESTART_BOUND_S: Final = 60.0
"""A restart takes a second or two; a machine that runs other tests beside this one takes its time."""
STALL_BOUND_S: Final = 90.0
_AWAY_S: Final = (1.0, 5.0)
_CALM_S: Final = (0.5, 2.0)
_STORM_EVERY: Final = 6
_DELAY_MS: Final = 300

Progress = Callable[[str], None]


@dataclass
class Report:
    """What a run has seen."""

    seconds: float = 0.0
    blocks: int = 0
    transactions: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    restart_s: list[float] = field(default_factory=list)
    """From the start of a process until it answers."""
    caught_up_s: list[float] = field(default_factory=list)
    """From then on until it has what the others had when it answered."""
    longest_stall_s: float = 0.0
    seconds_to_final: list[float] = field(default_factory=list)
    rss_bytes: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        waits = sorted(self.seconds_to_final) or [0.0]
        restarts, caught_up = self.restart_s or [0.0], self.caught_up_s or [0.0]
        return [
            f"{self.seconds:.0f} s, {self.blocks} blocks, {self.transactions} transactions, all of them final",
            "faults: " + ", ".join(f"{count} × {kind}" for kind, count in sorted(self.faults.items())),
            f"restart until it answers: median {statistics.median(restarts):.1f} s, longest {max(restarts):.1f} s; "
            f"then until it has caught up: longest {max(caught_up):.1f} s",
            f"signed until final, faults included: median {statistics.median(waits):.2f} s, "
            f"p99 {waits[int(len(waits) * 0.99)]:.1f} s, longest {waits[-1]:.1f} s",
            f"longest time without a block while at most f were away: {self.longest_stall_s:.1f} s",
            "memory at the end: " + ", ".join(f"{name} {rss >> 20} MiB" for name, rss in self.rss_bytes.items()),
            *(f"VIOLATION: {violation}" for violation in self.violations),
        ]


class Chaos:
    """Does things to a cluster whose nodes are all up, and undoes them."""

    def __init__(self, cluster: Cluster, links: Links, witness: Witness, rng: random.Random, say: Progress) -> None:
        self._cluster = cluster
        self._links = links
        self._witness = witness
        self._rng = rng
        self._say = say
        self._f = faulty_bound(len(cluster.validators))
        self.report = Report()

    def run(self, seconds: float) -> None:
        """Fault after fault for so long; all is well again afterwards."""
        ends_at = time.monotonic() + seconds
        rounds = 0
        self._witness.judge_stalls(True)
        while time.monotonic() < ends_at:
            rounds += 1
            if rounds % _STORM_EVERY == 0:
                self._storm()
            else:
                self._fault(ends_at)
            time.sleep(self._rng.uniform(*_CALM_S))
        self._witness.judge_stalls(False)

    def _fault(self, ends_at: float) -> None:
        victims = self._rng.sample(self._cluster.validators, self._rng.randint(1, max(1, self._f)))
        if self._rng.random() < 0.25:
            victims += self._cluster.followers
        kinds = (self._kill, self._kill, self._freeze, self._isolate, self._cut_one_way, self._slow_down, self._reset)
        kind = self._rng.choice(kinds)
        away_s = min(self._rng.uniform(*_AWAY_S), max(0.5, ends_at - time.monotonic()))
        name = kind.__name__.strip("_").replace("_", " ")
        self._say(f"{name}: {', '.join(node.name for node in victims)}, {away_s:.1f} s")
        self.report.faults[name] += 1
        kind(victims, away_s)

    def _kill(self, victims: Sequence[NodeProcess], away_s: float) -> None:
        for node in victims:
            node.kill()
        time.sleep(away_s)
        for node in victims:
            self._restart(node)

    def _restart(self, node: NodeProcess) -> None:
        target = self._witness.height
        node.start()
        self.report.restart_s.append(node.wait_ready())
        started = time.monotonic()
        self._cluster.wait_height(target, [node], SETTLE_S)
        self.report.caught_up_s.append(time.monotonic() - started)

    def _freeze(self, victims: Sequence[NodeProcess], away_s: float) -> None:
        for node in victims:
            node.freeze()
        time.sleep(away_s)
        for node in victims:
            node.thaw()

    def _isolate(self, victims: Sequence[NodeProcess], away_s: float) -> None:
        for node in victims:
            self._links.isolate(node.index, self._others(node))
        time.sleep(away_s)
        self._links.heal()

    def _cut_one_way(self, victims: Sequence[NodeProcess], away_s: float) -> None:
        """It hears the others and they do not hear it, or the other way round."""
        is_mute = self._rng.random() < 0.5
        for node in victims:
            for other in self._others(node):
                self._links.cut(*((node.index, other) if is_mute else (other, node.index)))
        time.sleep(away_s)
        self._links.heal()

    def _slow_down(self, victims: Sequence[NodeProcess], away_s: float) -> None:
        for node in victims:
            for other in self._others(node):
                self._links.delay(node.index, other, self._rng.randrange(_DELAY_MS))
                self._links.delay(other, node.index, self._rng.randrange(_DELAY_MS))
        time.sleep(away_s)
        self._links.heal()

    def _reset(self, victims: Sequence[NodeProcess], away_s: float) -> None:
        ends_at = time.monotonic() + away_s
        while time.monotonic() < ends_at:
            for node in victims:
                self._links.reset(node.index, self._rng.choice(self._others(node)))
            time.sleep(0.2)

    def _others(self, node: NodeProcess) -> list[int]:
        return [other.index for other in self._cluster.nodes if other is not node]

    def _storm(self) -> None:
        """More than f at once, or all; or a split down the middle."""
        self._witness.judge_stalls(False)
        if self._rng.random() < 0.3:
            half = self._rng.sample([node.index for node in self._cluster.nodes], len(self._cluster.nodes) // 2)
            self._say(f"split: {half} from the others")
            self.report.faults["split"] += 1
            for index in half:
                self._links.isolate(index, [node.index for node in self._cluster.nodes if node.index not in half])
            time.sleep(self._rng.uniform(*_AWAY_S))
            self._links.heal()
        else:
            count = self._rng.randint(self._f + 1, len(self._cluster.nodes))
            victims = self._rng.sample(self._cluster.nodes, count)
            self._say(f"kill at once: {', '.join(node.name for node in victims)}")
            self.report.faults["kill of more than f"] += 1
            for node in victims:
                node.kill()
            time.sleep(0.5)
            for node in victims:
                node.start()
            self.report.restart_s += [node.wait_ready() for node in victims]
        self._witness.judge_stalls(True)


def run_chaos(cluster: Cluster, links: Links, *, seconds: float, seed: int, say: Progress, per_second: float) -> Report:
    """Starts the cluster, troubles it under load, and returns once everything is settled; fails where it is not."""
    rng = random.Random(seed)
    cluster.start()
    load = Load(cluster.network, [node.url for node in cluster.nodes], rng=random.Random(seed), per_second=per_second)
    with Witness(cluster.nodes) as witness:
        try:
            load.start()
            cluster.wait_until(lambda: load.final >= len(load.senders), "first mints")
            chaos = Chaos(cluster, links, witness, rng, say)
            started = time.monotonic()
            chaos.run(seconds)
            say("calm: everything that was signed must become final")
            load.drain(SETTLE_S)
            settle(cluster, witness)
        finally:
            load.close()
    report = chaos.report
    report.seconds = time.monotonic() - started
    report.blocks = witness.height
    report.transactions = load.final
    report.longest_stall_s = witness.longest_stall_s
    report.seconds_to_final = load.seconds_to_final
    report.rss_bytes = {node.name: node.rss_bytes() for node in cluster.nodes}
    report.violations = [*witness.violations, *load.violations, *find_wrong_balances(cluster, load)]
    return report


def settle(cluster: Cluster, witness: Witness) -> None:
    """Until every node, and whoever watches it, has what any of them has."""
    cluster.wait_height(witness.height, timeout_s=SETTLE_S)
    heights = [node.height for node in cluster.nodes]
    cluster.wait_until(lambda: witness.height >= max(heights), "watching of the last blocks")


def find_wrong_balances(cluster: Cluster, load: Load, *, others_minted_atoms: int = 0) -> list[str]:
    """Every node's accounts against what was signed, the supply against what was minted, and one state root for all."""
    supply_atoms = load.minted_atoms + others_minted_atoms
    wrong: list[str] = []
    common = min(node.height for node in cluster.nodes)
    roots = {node.client.block(common).state_root for node in cluster.nodes}
    if len(roots) != 1:
        wrong.append(f"{len(roots)} state roots at height {common}")
    threads = [
        threading.Thread(target=_compare_accounts, args=(node, load, supply_atoms, wrong)) for node in cluster.nodes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def _compare_accounts(node: NodeProcess, load: Load, supply_atoms: int, wrong: list[str]) -> None:
    with NodeClient(node.url) as client:
        supply = client.supply()
        if not supply.supply == supply.minted == supply_atoms:
            wrong.append(f"{node.name} has a supply of {supply.supply} atoms, but {supply_atoms} were minted")
        for address, atoms in load.expected_balances.items():
            balance = client.account(address).balance
            if balance != atoms:
                wrong.append(f"{node.name}: {to_checksum_address(address)} holds {balance} atoms instead of {atoms}")
        for sender in load.senders:
            nonce = client.account(sender.key.address).nonce
            if nonce != sender.nonce:
                wrong.append(f"{node.name}: nonce {nonce} of a sender who signed for {sender.nonce} transactions")
