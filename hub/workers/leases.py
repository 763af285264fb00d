"""What a session was given and how it stands: on the monotonic clock, and for this connection only."""

import time
from dataclasses import dataclass, field
from typing import Final

from chain.primitives.hub_messages import Assignment
from hub.workers.desk import Grant, LeaseProgress

PROGRESS_INTERVAL_S: Final = 0.25
"""How often at most a lease's progress goes on to those who watch the job."""


@dataclass(slots=True)
class HeldLease:
    """A grant that this session has sent, or was given over from an earlier connection of its provider."""

    grant: Grant
    lapses_at_s: float
    sent_at_s: float = 0.0
    """Unix time; 0 where an earlier connection has sent it."""
    sent_monotonic_s: float = 0.0
    is_accepted: bool = False
    is_here: bool = False
    """Its whole result has come in, and is being kept: it does not lapse any more."""
    has_lapsed: bool = False
    """Its shard may be somebody else's now; a late result is offered all the same."""
    progress_at_s: float = field(default=0.0)
    newest: LeaseProgress | None = None
    """Not handed on yet."""

    @classmethod
    def of(cls, grant: Grant) -> "HeldLease":
        """From now on."""
        return cls(grant, time.monotonic() + grant.deadline_s)

    @property
    def assignment(self) -> Assignment:
        """What the provider was sent."""
        return self.grant.message

    @property
    def pictures(self) -> int:
        """How many it keeps the provider busy with."""
        return self.assignment.run.count

    def mark_sent(self) -> None:
        """The whole message has gone out."""
        self.sent_at_s, self.sent_monotonic_s = time.time(), time.monotonic()

    def wall_s(self) -> float:
        """Since it was sent; 0 where that is not known."""
        return time.monotonic() - self.sent_monotonic_s if self.sent_monotonic_s else 0.0
