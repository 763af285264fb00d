"""How much may wait, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chain.node.waiting import Entry, Waiting
from chain.primitives.rejection import Rejected, RejectionReason
from chain.rules.admission import Lane

MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Bounds of one lane: what any sender may have waiting there, and all of them together."""

    max_per_sender: int
    max_transactions: int
    max_bytes: int


def _default_lanes() -> Mapping[Lane, LaneLimits]:
    return {
        # Two blocks' worth; a sender's share is what the chain takes from it per block.
        Lane.MEMBER: LaneLimits(500, 10_000, 16 * MEBIBYTE),
        # Whoever fills the members' lane, governance can still act. There are some hundred of them at the most.
        Lane.ROLE: LaneLimits(64, 1_000, 2 * MEBIBYTE),
        # Anybody's. Each carries an attester's signature over a receipt that is unused: nobody makes them up.
        Lane.MINT: LaneLimits(128, 5_000, 8 * MEBIBYTE),
        # Free for anybody: the chain takes 1,000 per period by default, so more need not wait here.
        Lane.REGISTRATION: LaneLimits(2, 1_000, 2 * MEBIBYTE),
        # Each needs a swap or an order that a member has paid for.
        Lane.CLOSING: LaneLimits(16, 5_000, 4 * MEBIBYTE),
    }


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of the mempool."""

    lanes: Mapping[Lane, LaneLimits] = field(default_factory=_default_lanes)
    max_age_ms: int = 3_600_000
    """After this long a transaction is dropped: its sender has seen by then that something is wrong."""
    max_replacements: int = 3
    """How often a waiting transaction may be replaced by another with its nonce."""


def check_room(limits: LaneLimits, waiting: Waiting, entry: Entry, replaced: Entry | None) -> None:
    """Raises Rejected where an entry's lane has no room for it, once what it replaces is gone."""
    freed = replaced if replaced is not None and replaced.lane is entry.lane else None
    freed_count, freed_bytes = (1, freed.size_bytes) if freed is not None else (0, 0)
    if waiting.sender_lane_count[entry.sender, entry.lane] - freed_count >= limits.max_per_sender:
        raise Rejected(
            RejectionReason.MEMPOOL_FULL,
            f"{limits.max_per_sender} transactions of this sender are waiting already in the lane {entry.lane}",
        )
    if (
        waiting.lane_count[entry.lane] - freed_count >= limits.max_transactions
        or waiting.lane_bytes[entry.lane] - freed_bytes + entry.size_bytes > limits.max_bytes
    ):
        raise Rejected(RejectionReason.MEMPOOL_FULL, "the mempool is full; try again later")
