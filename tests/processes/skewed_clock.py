"""Runs `aitbc` with a wall clock that a test moves: `python -m tests.processes.skewed_clock FILE node run …`.

FILE holds milliseconds that are added to the real time, and is read at every look at the clock: what libfaketime does,
for Python programs and without a library. Time that only goes forward (`time.monotonic`) stays as it is, as on a
machine whose clock somebody sets.
"""

import sys
import time
from pathlib import Path
from typing import Final

_NS_PER_MS: Final = 1_000_000


def main() -> None:
    """Moves the clock, then becomes `aitbc`."""
    offset_file = Path(sys.argv.pop(1))
    real_time_ns = time.time_ns

    def skewed_time_ns() -> int:
        return real_time_ns() + int(offset_file.read_text()) * _NS_PER_MS

    def skewed_time() -> float:
        return skewed_time_ns() / 1e9

    time.time_ns, time.time = skewed_time_ns, skewed_time
    from genesis.cli import main as aitbc  # After the clock has moved, so that nobody keeps the old one.

    aitbc()


if __name__ == "__main__":
    main()
