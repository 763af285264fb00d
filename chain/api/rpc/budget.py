"""How many bytes all clients together may have this node hold: requests in hand, and answers that they have not read.

A few who send or ask for megabytes and then read nothing must not fill the memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_UNSENT_BYTES: Final = 128 * 1024 * 1024
"""Of answers, over HTTP and WebSocket. A block's receipts alone have megabytes."""
MAX_BODIES_BYTES: Final = 128 * 1024 * 1024
"""Of requests over HTTP; decoded, they take twice as much."""


class ByteBudget:
    """What is held of it. On the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    def has_room(self, byte_count: int) -> bool:
        """Whether so many more may be held; of one holder alone, any number."""
        return not self._held_bytes or self._held_bytes + byte_count <= self._max_bytes

    @contextmanager
    def held(self, byte_count: int) -> Iterator[None]:
        """So many, for as long as the block runs."""
        self._held_bytes += byte_count
        try:
            yield
        finally:
            self._held_bytes -= byte_count
