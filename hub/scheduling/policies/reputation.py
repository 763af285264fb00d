"""Reputation-weighted: work in proportion to reputation, by stride scheduling."""

from typing import Final

from hub.scheduling.policies.memory import Memory
from hub.scheduling.runs import Run
from hub.scheduling.workers import Worker

EXPONENT: Final = 4
"""A reputation of 0.9 weighs two thirds of a perfect one, 0.8 two fifths: the square of a square, because shares in
proportion to the bare figure would hardly tell a provider that fails at every tenth shard from one that never does."""
LEAST_WEIGHT: Final = 0.01
"""Nobody's weight is 0: a reputation that is never tried could not recover."""


def weight(worker: Worker) -> float:
    """Its part in the work, beside the others'."""
    return max(LEAST_WEIGHT, worker.reputation**EXPONENT)


def place(worker: Worker, run: Run, memory: Memory) -> tuple[float, ...]:
    """Who has been given least for its weight."""
    return (memory.strides.reached(worker.address), memory.turns.last(worker.address))
