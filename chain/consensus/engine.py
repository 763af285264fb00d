"""What every consensus engine takes and gives: `handle(event, now_ms) -> Effects`.

The driver owes an engine: one call at a time; effects carried out in this order: append all `records` and sync them
once, then `sends`, `timers` and `tasks`; the result of each task as an event. `now_ms` is the wall clock in Unix
milliseconds and may jump either way. What an engine does follows from its events alone: same events, same effects.
"""

from typing import Annotated, Protocol

import msgspec

from chain.primitives.block import HashField, HeightField, Uint63
from chain.primitives.certificate import Certificate
from chain.primitives.types import BlockHeight, Hash32


class BlockName(msgspec.Struct, frozen=True):
    """What an engine knows of a block."""

    height: BlockHeight
    block_hash: Hash32
    time_ms: int


class Floor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The newest final block and the view that it was finalized in. Committed in one batch with that block."""

    epoch: Uint63
    view: Uint63
    height: HeightField
    block_hash: Annotated[Hash32, HashField]


# Events: what has happened


class Started(msgspec.Struct, frozen=True, tag=True):
    """The node is up. Comes first, and once."""


class WaitingChanged(msgspec.Struct, frozen=True, tag=True):
    """Whether a transaction waits that could be executed now. Comes whenever that may have changed."""

    is_waiting: bool


class TimerFired(msgspec.Struct, frozen=True, tag=True):
    """A timer that the engine set has run out."""

    name: str


class BlockBuilt(msgspec.Struct, frozen=True, tag=True):
    """`BuildBlock` is done: the driver keeps the block under its hash."""

    block: BlockName


class NothingToBuild(msgspec.Struct, frozen=True, tag=True):
    """`BuildBlock` found no transaction that could be in a block, and was not to make an empty one."""

    is_waiting: bool
    """Whether others have come in since."""


class BlockCommitted(msgspec.Struct, frozen=True, tag=True):
    """`CommitBlock` is done: block, state, certificate and floor are on the disk."""

    block: BlockName
    is_waiting: bool
    heartbeat_ms: int
    """As governance has it after this block."""


Event = Started | WaitingChanged | TimerFired | BlockBuilt | NothingToBuild | BlockCommitted


# Effects: what is to be done


class SetTimer(msgspec.Struct, frozen=True, tag=True):
    """Report TimerFired after this long; replaces a timer of the same name."""

    name: str
    delay_ms: int


class BuildBlock(msgspec.Struct, frozen=True, tag=True):
    """Build a block on the named parent, off the event loop."""

    parent_hash: Hash32
    time_ms: int
    may_be_empty: bool


class CommitBlock(msgspec.Struct, frozen=True, tag=True):
    """Write the built block with its certificate and the floor in one synced batch, off the event loop."""

    block_hash: Hash32
    certificate: Certificate
    floor: Floor


Task = BuildBlock | CommitBlock


class Record(msgspec.Struct, frozen=True):
    """One entry of the vote journal."""

    encoded: bytes


class Send(msgspec.Struct, frozen=True):
    """One message to peers; None means all of them."""

    peer: str | None
    encoded: bytes


class Effects(msgspec.Struct, frozen=True):
    """What one event leads to."""

    records: tuple[Record, ...] = ()
    sends: tuple[Send, ...] = ()
    timers: tuple[SetTimer, ...] = ()
    tasks: tuple[Task, ...] = ()


class Engine(Protocol):
    """A consensus engine."""

    def handle(self, event: Event, now_ms: int) -> Effects:
        """Takes one event; `now_ms` is Unix time in milliseconds."""
