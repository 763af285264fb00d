"""Several ways of doing the same, measured in turns: machines are shared, and what drifts then drifts for all."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any


def seconds_of(work: Callable[[], Any]) -> float:
    """Of one run."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def in_turns(ways: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Seconds of each way, round by round; one more round warms up first, and does not count.

    Every second round goes the other way round, so that no way always comes after the same other.
    """
    measured: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        order = range(len(ways)) if number % 2 else range(len(ways) - 1, -1, -1)
        for place in order:
            seconds = seconds_of(ways[place])
            if number > 0:
                measured[place].append(seconds)
    return measured


def median(seconds: Sequence[float]) -> float:
    """Of all rounds."""
    return statistics.median(seconds)


def ratio(ours: Sequence[float], reference: Sequence[float], factor: float = 1.0) -> str:
    """`factor` times ours over the reference's, round by round: the median, and the least and greatest in brackets."""
    ratios = [factor * mine / other for mine, other in zip(ours, reference, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
