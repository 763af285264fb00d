"""Round robin: whoever had its last turn longest ago. The default policy of the plan."""

from hub.scheduling.policies.memory import Memory
from hub.scheduling.runs import Run
from hub.scheduling.workers import Worker


def place(worker: Worker, run: Run, memory: Memory) -> tuple[float, ...]:
    """A turn is a shard, however large. Who joins has its first turn at once, who was busy meanwhile loses none."""
    return (memory.turns.last(worker.address),)
