"""The two clocks of a node: the one on the wall, which may be set, and the one that only ever goes on."""

import time


def now_ms() -> int:
    """The wall clock, Unix milliseconds: for what others are told, such as a block's time."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds since some moment, whatever happens to the wall clock: for how long something has taken."""
    return time.monotonic_ns() // 1_000_000
