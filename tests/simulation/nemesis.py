"""What goes wrong, and when: crashes at any point, cut links, jumping clocks, failing disks, lost journals."""

from random import Random
from typing import Final

from tests.simulation.network import Conditions, SimulatedNetwork
from tests.simulation.node import SimulatedNode
from tests.simulation.scenario import Scenario
from tests.simulation.schedule import Schedule

_CLOCK_JUMPS_MS: Final = (-3_600_000, -20_000, -3_000, -100, 100, 3_000, 20_000, 3_600_000)


class Nemesis:
    """Works until `calm`."""

    def __init__(
        self, scenario: Scenario, schedule: Schedule, network: SimulatedNetwork, nodes: list[SimulatedNode]
    ) -> None:
        self.fault_count = 0
        self.is_calm = False
        self._scenario = scenario
        self._schedule = schedule
        self._network = network
        self._nodes = nodes
        self._random = Random(f"nemesis {scenario.seed} {scenario.validator_count}")
        self._cuts: dict[int, list[tuple[int, int]]] = {}
        self._cut_count = 0

    def begin(self) -> None:
        """Sets the conditions of the network, and every kind of fault on its way."""
        scenario = self._scenario
        self._network.conditions = Conditions(
            lowest_ms=scenario.lowest_ms,
            highest_ms=max(scenario.highest_ms, scenario.lowest_ms),
            loss=scenario.loss,
            doubling=scenario.doubling,
            spikes=scenario.spikes,
            spike_ms=scenario.network_delay_ms * 6,
        )
        for rate, fault in (
            (scenario.crash_rate, self._crash),
            (scenario.partition_rate, self._partition),
            (scenario.clock_rate, self._jump),
            (scenario.disk_rate, self._fail_disk),
            (scenario.lost_journal_rate, self._lose_journal),
        ):
            if rate:
                self._again(rate, fault)
        self._watch_the_dead()

    def _again(self, rate: float, fault: object) -> None:
        delay_ms = int(self._random.expovariate(rate) * 1_000) + 1
        self._schedule.after(delay_ms, self._strike, rate, fault)

    def _strike(self, rate: float, fault: object) -> None:
        if not self.is_calm:
            assert callable(fault)
            fault()
            self.fault_count += 1
            self._again(rate, fault)

    def calm(self) -> None:
        """All faults stop: links whole, clocks right, everybody up, every message within a fraction of Δ."""
        self.is_calm = True
        scenario = self._scenario
        self._network.conditions = Conditions(
            max(1, int(scenario.network_delay_ms * (scenario.calm_factor - 0.25))),
            max(2, int(scenario.network_delay_ms * scenario.calm_factor)),
        )
        for number in list(self._cuts):
            self._mend(number)
        for node in self._nodes:
            node.crash_after = None
            node.is_disk_failing = False
            node.skew_ms = self._random.randrange(-50, 51)
            if not node.is_up:
                node.start()

    # Faults

    def _crash(self) -> None:
        """Within the next steps of some node, or of several."""
        count = self._random.choice((1, 1, 1, 2, len(self._nodes)))
        for node in self._random.sample(self._nodes, min(count, len(self._nodes))):
            node.crash_after = self._random.randrange(1, 40)

    def _fail_disk(self) -> None:
        self._random.choice(self._nodes).is_disk_failing = True

    def _watch_the_dead(self) -> None:
        """Whoever has died comes back after a while."""
        delay_ms = self._scenario.network_delay_ms
        for node in self._nodes:
            if not node.is_up and not self.is_calm and self._random.random() < 0.3:
                node.start()
        if not self.is_calm:
            self._schedule.after(delay_ms, self._watch_the_dead)

    def _jump(self) -> None:
        node = self._random.choice(self._nodes)
        node.skew_ms = self._random.choice((0, node.skew_ms + self._random.choice(_CLOCK_JUMPS_MS)))

    def _lose_journal(self) -> None:
        """Of one validator, where the others can do without it. Its operator says that nobody else holds the key."""
        scenario = self._scenario
        bound = (scenario.validator_count - 1) // 3
        lost = [node for node in self._nodes if node.is_history_lost]
        # What all have lost together, a certificate that they have built upon, nobody could ever get back.
        may_more_lose = len(lost) + len(scenario.malice) < max(bound, 1)
        candidates = self._nodes[: scenario.validator_count] if may_more_lose else lost
        candidates = [node for node in candidates if node.is_honest and node.is_up]
        if candidates and not scenario.epoch_changes:
            node = self._random.choice(candidates)
            node.lose_journal()
            if bound == 0:  # It votes at once: where everybody is needed, its second vote outvotes nobody.
                node.excuse()
            self._schedule.after(self._random.randrange(1, scenario.network_delay_ms), self._revive, node)

    def _revive(self, node: SimulatedNode) -> None:
        if not node.is_up:
            node.start()

    def _partition(self) -> None:
        """Two sides, one node alone, or some links, whole or in one direction; short or long."""
        random, count = self._random, len(self._nodes)
        if count < 2:
            return
        kind = random.randrange(3)
        if kind == 0:
            side = random.sample(range(count), random.randrange(1, count))
        else:
            side = [random.randrange(count)]
        inside = dict.fromkeys(side)
        pairs = [(a, b) for a in side for b in range(count) if b not in inside]
        if kind == 2:
            pairs = [pair for pair in pairs if random.random() < 0.5]
        direction = random.choice(("both", "both", "out", "in"))
        cuts = [pair for pair in pairs if direction != "in"] + [(b, a) for a, b in pairs if direction != "out"]
        for sender, receiver in cuts:
            self._network.cut(sender, receiver)
        self._cut_count += 1
        self._cuts[self._cut_count] = cuts
        duration_ms = self._scenario.network_delay_ms * random.choice((1, 5, 15, 40))
        self._schedule.after(duration_ms, self._mend, self._cut_count)

    def _mend(self, number: int) -> None:
        cuts = self._cuts.pop(number, None)
        if cuts is None:
            return
        for sender, receiver in cuts:
            self._network.mend(sender, receiver)
        for sender, receiver in cuts:
            if not self._network.is_cut(sender, receiver) and not self._network.is_cut(receiver, sender):
                for one, other in ((sender, receiver), (receiver, sender)):
                    node = self._nodes[one]
                    node.later(self._random.randrange(1, 50), node.connected, other)
