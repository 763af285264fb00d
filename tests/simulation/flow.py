"""Transactions of a run: when they come, how they go round, and when one of them ends the epoch."""

from collections.abc import Sequence
from random import Random

from chain.primitives.certificate import faulty_bound
from chain.primitives.types import Address
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import SimulatedNode
from tests.simulation.scenario import Scenario
from tests.simulation.schedule import Schedule
from tests.simulation.workload import Workload

_BETWEEN_CHANGES = 7
"""Transactions from one end of an epoch to the next."""


def planned_sets(scenario: Scenario, random: Random, keys: Sequence[Address]) -> list[tuple[Address, ...]]:
    """Sets of the next epochs: one key more, less or changed, or the same; never more than f liars in one."""
    plan, current = list[tuple[Address, ...]](), list(keys[: scenario.validator_count])
    former = list[Address]()  # A key that has left never returns.
    byzantine = [keys[index] for index, _ in scenario.malice]
    for _ in range(scenario.epoch_changes):
        outside = [key for key in keys if key not in current and key not in former]
        changed = list(current)
        kind = random.choice(("add", "remove", "rotate", "force"))
        if kind == "add" and outside:
            changed.append(random.choice(outside))
        elif kind == "remove" and len(changed) > 1:
            changed.remove(random.choice(changed))
        elif kind == "rotate" and outside:
            changed[random.randrange(len(changed))] = random.choice(outside)
        if sum(address in changed for address in byzantine) <= faulty_bound(len(changed)):
            former += [address for address in current if address not in changed]
            current = changed
        plan.append(tuple(current))
    return plan


class Flow:
    """Every transaction reaches every node, sooner or later; nobody hears of it while it is down or cut off."""

    def __init__(
        self,
        scenario: Scenario,
        schedule: Schedule,
        network: SimulatedNetwork,
        nodes: list[SimulatedNode],
        workload: Workload,
        keys: Sequence[Address],
    ) -> None:
        self.is_flowing = True
        self.is_calm = False
        self.transactions: list[bytes] = []
        self._scenario = scenario
        self._schedule = schedule
        self._network = network
        self._nodes = nodes
        self._workload = workload
        self._random = Random(f"flow {scenario.seed} {scenario.validator_count}")
        self._planned = planned_sets(scenario, self._random, keys)
        self._next_change = 5

    def begin(self) -> None:
        """One after another; now and then there are none for a while."""
        scenario, random = self._scenario, self._random
        if self.is_flowing:
            self._add()
        if not self.is_calm and random.random() < 0.1:
            self.is_flowing = random.random() >= scenario.idle_share
        self._schedule.after(int(random.expovariate(scenario.transaction_rate) * 1_000) + 1, self.begin)

    def keep_flowing(self) -> None:
        """From now on there is something to do for every block, until `is_flowing` is taken back."""
        self.is_calm = self.is_flowing = True
        self._one_per_delay()

    def _one_per_delay(self) -> None:
        if self.is_flowing:
            self._add()
            self._schedule.after(self._scenario.network_delay_ms, self._one_per_delay)

    def _add(self) -> None:
        """The next one; now and then those that end the epoch."""
        number = len(self.transactions)
        if self._planned and number >= self._next_change:
            self._next_change = number + _BETWEEN_CHANGES
            made = self._workload.epoch_end(self._planned.pop(0))
        elif self._scenario.delay_changes and number == 9:
            made = self._workload.delay(self._scenario.network_delay_ms * 2)
        else:
            made = [self._workload.ordinary()]
        for raw in made:
            self.transactions.append(raw)
            for node in self._nodes:
                delay_ms = self._random.randrange(1, self._scenario.network_delay_ms // 2 + 2)
                self._schedule.after(delay_ms, self._reach, node, len(self.transactions) - 1)

    def _reach(self, node: SimulatedNode, number: int) -> None:
        is_alone = len(self._nodes) > 1 and all(
            self._network.is_cut(peer, node.index) for peer in range(len(self._nodes)) if peer != node.index
        )
        if node.is_up and not is_alone:
            node.receive_transaction(number, self.transactions[number])
        else:
            self._schedule.after(self._scenario.network_delay_ms, self._reach, node, number)

    def tell_again(self, node: SimulatedNode) -> None:
        """A node that starts hears of what waits."""
        for number in range(node.ledger.next_number(), len(self.transactions)):
            delay_ms = self._random.randrange(1, self._scenario.network_delay_ms)
            self._schedule.after(delay_ms, self._reach, node, number)
