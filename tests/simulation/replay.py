"""One seed again, and what every node heard, did and said on the way: for people."""

import sys
from typing import Any

import msgspec

from chain.consensus.effects import Effects, Event, MessageReceived
from chain.primitives.block import Block, Header
from tests.simulation.node import SimulatedNode
from tests.simulation.oracles import Oracles
from tests.simulation.scenario import scenario_of
from tests.simulation.simulation import Simulation
from tests.simulation.violation import Violation


def describe(value: Any) -> str:
    """Short: hashes by their first bytes, blocks by height."""
    if isinstance(value, Block):
        return describe(value.header)
    if isinstance(value, Header):
        return f"block {value.height}:{value.hash.hex()[:6]} on {value.parent_hash.hex()[:6]}"
    if isinstance(value, msgspec.Struct):
        fields = (
            f"{name}={describe(getattr(value, name))}"
            for name in value.__struct_fields__
            if name not in ("signature", "signatures", "encoded") and getattr(value, name) not in (None, ())
        )
        return f"{type(value).__name__}({', '.join(fields)})"
    if isinstance(value, bytes):
        return value.hex()[:6] if any(value) else "0"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(describe, value)) + "]"
    return str(getattr(value, "name", value))


class TracingOracles(Oracles):
    """Prints what passes."""

    def after(self, node: SimulatedNode, event: Event, effects: Effects) -> None:
        """One line per event, one per effect."""
        engine = node.engine
        shown = (
            f"from {event.peer}: {describe(event.message)}" if isinstance(event, MessageReceived) else describe(event)
        )
        print(f"{node.parts.schedule.now_ms:>7} {node.name} e{engine.epoch} v{engine.view} | {shown}")
        for part in (*effects.records, *effects.sends, *effects.timers, *effects.tasks):
            print(f"{'':>12}-> {describe(part)}")
        super().after(node, event, effects)


def replay(seed: int, validator_count: int | None) -> int:
    """Prints the scenario, the trace and how it ended; 1 where it failed."""
    scenario = scenario_of(seed, validator_count)
    print(scenario)
    simulation = Simulation(scenario, oracles_class=TracingOracles)
    try:
        print(simulation.run())
    except Violation as violation:
        print(f"seed {seed} at {simulation.schedule.now_ms} ms: {violation}", file=sys.stderr)
        return 1
    return 0
