"""What all figures share: the reference they are ratios to, tables, and the machine they were measured on."""

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import coincurve
import msgspec

REFERENCE_RECOVERIES: Final = 2_000


class Table(msgspec.Struct, frozen=True):
    """A part of docs/benchmarks.md."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As it stands in the document."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return f"## {self.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Reference:
    """coincurve's own recovery of a public key, with nothing around it."""

    def __init__(self, rng: random.Random) -> None:
        key = coincurve.PrivateKey(rng.randbytes(32))
        digests = [rng.randbytes(32) for _ in range(REFERENCE_RECOVERIES)]
        self._pairs = [(key.sign_recoverable(digest, hasher=None), digest) for digest in digests]

    def seconds_per_recovery(self) -> float:
        """Of one pass over all."""
        recover = coincurve.PublicKey.from_signature_and_message
        started = time.perf_counter()
        for signature, digest in self._pairs:
            recover(signature, digest, hasher=None)
        return (time.perf_counter() - started) / REFERENCE_RECOVERIES


def measure(once: Callable[[], float], reference: Reference, rounds: int) -> tuple[float, float]:
    """Medians over the rounds: seconds of `once`, and seconds of a recovery measured before and after each."""
    seconds, recoveries = [], []
    for _ in range(rounds):
        before = reference.seconds_per_recovery()
        seconds.append(once())
        recoveries.append((before + reference.seconds_per_recovery()) / 2)
    return statistics.median(seconds), statistics.median(recoveries)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(seconds: float) -> str:
    """For a table."""
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e3:.3f} ms"


def machine() -> str:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {os.cpu_count()} hardware threads, {platform.system()}, Python {platform.python_version()}"
