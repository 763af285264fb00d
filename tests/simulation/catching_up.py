"""The real `CatchUp` in a simulated node: told what the driver sees, it says which ranges to ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.consensus.effects import SetTimer
from chain.node.catching_up.catch_up import BlockHead, CatchUp, CatchUpEvent, CatchUpLimits, Tick

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode


def _limits(network_delay_ms: int) -> CatchUpLimits:
    """The real ones are for networks with a delay of a second."""
    return CatchUpLimits(grace_ms=network_delay_ms, answer_ms=4 * network_delay_ms, stalled_ms=10 * network_delay_ms)


class CatchingUp:
    """Of one life of a node."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        head = node.ledger.head
        limits = _limits(node.ledger.settings().network_delay_ms)
        self._catch_up = CatchUp(head=BlockHead(head.height, head.hash), limits=limits)
        self._timer = 0

    def tell(self, event: CatchUpEvent) -> None:
        """An event, and what follows from it."""
        node = self._node
        effects = self._catch_up.handle(event, node.parts.schedule.now_ms)
        for timer in effects.timers:
            self._set_timer(timer)
        for send in effects.sends:
            node.send(send)
        for blame in effects.blames:
            node.blame(int(blame.peer[1:]), blame.reason)
        for chain in effects.chains:
            node.parts.oracles.chain_received(node, chain)
            node.unsynced = dict.fromkeys(block.header.hash for block, _ in chain.links[:-1])
            node.dispatch(chain)

    def _set_timer(self, timer: SetTimer) -> None:
        self._timer += 1
        if timer.delay_ms is not None:
            self._node.later(max(0, timer.delay_ms), self._tick, self._timer)

    def _tick(self, number: int) -> None:
        if self._timer == number:
            self.tell(Tick())
