"""Which waiting rows are computed together next, and whether waiting for more of them is worth while. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from provider.engine.queue import Entry, FairQueue
from provider.generation import BatchKey


@dataclass(frozen=True)
class BatchChoice(Generic[Entry]):
    """Rows for one batch, all of one key, the one whose turn it is first."""

    rows: Sequence[Entry]
    is_full: bool
    """Whether no further row could join, however many came."""


def choose_batch(
    queue: FairQueue[Entry], most_rows: Callable[[BatchKey], int], other_free_slots: int
) -> BatchChoice[Entry]:
    """The row whose turn it is, and rows that may share its batch, in fair order; nothing is taken yet.

    The batch has at most `most_rows(key)` rows. Where other slots would stay idle for lack of other work, the rows are
    shared out among them, as two GPUs are quicker with half the rows each. Raises LookupError when nothing waits.
    """
    first = queue.head()
    fitting = queue.in_fair_order(first.key)
    bound = max(1, most_rows(first.key))
    idle_slots = max(0, other_free_slots - (len(queue) - len(fitting)))
    share = -(-len(fitting) // (1 + idle_slots))
    chosen: list[Entry] = []
    for row in fitting:
        bound_with_row = min(bound, row.largest_batch)
        if len(chosen) < min(bound_with_row, share):
            bound = bound_with_row
            chosen.append(row)
    return BatchChoice(chosen, is_full=len(chosen) >= bound)


def seconds_to_wait(choice: BatchChoice[Entry], oldest_submitted_s: float, now_s: float, batch_wait_s: float) -> float:
    """How much longer to wait for company before this batch starts; 0 or less for not at all."""
    return 0.0 if choice.is_full else oldest_submitted_s + batch_wait_s - now_s
