"""What an honest answer may look like, though hardly ever does: no reason to refuse it, but one to check it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`reason` is a stable word, `detail` a sentence."""

    reason: str
    detail: str
    picture: int | None = None
    """Which one of the answer's; None: all of it."""
