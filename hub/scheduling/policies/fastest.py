"""Fastest: who would be done first with a picture, by measured speed, loading included."""

from hub.scheduling.policies.memory import Memory
from hub.scheduling.runs import Run
from hub.scheduling.workers import Worker


def place(worker: Worker, run: Run, memory: Memory) -> tuple[float, ...]:
    """Slow workers are used only while the fast ones are busy."""
    return (worker.load_seconds(run.need) + worker.picture_seconds(run.need), memory.turns.last(worker.address))
