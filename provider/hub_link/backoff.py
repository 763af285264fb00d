"""How long to wait before a hub is dialled again."""

import random
from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0
STEADY_S: Final = 30.0
"""A connection that lasted for so long was a good one: what comes after it begins anew."""


class Backoff:
    """Pauses that double up to a minute, each at random in its upper half: who lost a hub together comes back apart."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def pause_s(self, connected_s: float) -> float:
        """The pause after an attempt, or after a connection that lasted for so long."""
        if connected_s > STEADY_S:
            self._next_s = FIRST_S
        longest_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_S)
        return longest_s * random.uniform(0.5, 1.0)
