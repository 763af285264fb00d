"""Cheapest: the least atoms for a picture, at the worker's own price and speed."""

from hub.scheduling.costs import picture_cost
from hub.scheduling.policies.memory import Memory
from hub.scheduling.runs import Run
from hub.scheduling.workers import Worker


def place(worker: Worker, run: Run, memory: Memory) -> tuple[float, ...]:
    """Where time is paid for, a fast worker may be cheaper than one with the lower price."""
    return (picture_cost(worker, run.need), memory.turns.last(worker.address))
