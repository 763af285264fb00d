"""What an engine takes and gives: `handle(event, now_ms) -> Effects`.

The driver owes an engine: one call at a time; `Started` first; the effects of each call carried out in the order of the
calls, and within one call: all `records` appended and, if any is a vote, synced once, then `sends`, then the rest; the
result of each task as an event. Records without a vote keep their place in the journal, but nothing need wait for them.
`now_ms` is the wall clock in Unix milliseconds and may jump either way; delays are real time. What an engine does
follows from its events alone: same events, same effects. With a key that lies elsewhere, also from when its signer
refuses (SignerUnavailable): from then on the engine casts no vote, until SignerReturned.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from chain.consensus.messages import Message
from chain.primitives.block import Block, HashField, Header, HeightField, Uint63
from chain.primitives.certificate import Certificate, Vote
from chain.primitives.types import Address, Hash32

PeerId = str
"""The driver's name for a connected peer; an engine only compares it."""


class Floor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The newest committed block, and the view that it was finalized in; (e+1, 0) for the block that ended epoch e.

    Committed in one batch with that block.
    """

    epoch: Uint63
    view: Uint63
    height: HeightField
    block_hash: Annotated[Hash32, HashField]


class Settings(msgspec.Struct, frozen=True):
    """What an engine needs of the committed state. Governance may change all of it."""

    epoch: int
    validators: tuple[Address, ...]
    network_delay_ms: int
    """Δ: how long a message or the execution of a block takes at most, while the network is well."""
    block_interval_ms: int
    heartbeat_ms: int


class Verdict(StrEnum):
    """What executing a block has shown."""

    VALID = "valid"
    INVALID = "invalid"
    """It breaks a rule, and its hash binds it to that."""
    UNBOUND = "unbound"
    """Its transactions are not those that its header names: the real body is missing."""


# Events: what has happened


class Started(msgspec.Struct, frozen=True, tag=True):
    """The node is up. Comes first, and once."""


class WaitingChanged(msgspec.Struct, frozen=True, tag=True):
    """Whether a transaction waits that could be executed now. Comes whenever that may have changed."""

    is_waiting: bool


class TimerFired(msgspec.Struct, frozen=True, tag=True):
    """A timer that the engine set has run out."""

    name: str


class PeerConnected(msgspec.Struct, frozen=True, tag=True):
    """A peer can be spoken to (again)."""

    peer: PeerId


class MessageReceived(msgspec.Struct, frozen=True, tag=True):
    """A peer says something. GetBlock, GetRange and Range never come: the driver answers and takes these."""

    peer: PeerId
    message: Message


class ChainReceived(msgspec.Struct, frozen=True, tag=True):
    """Blocks that a peer says are final, oldest first, the first one on the committed head; the last is certified."""

    peer: PeerId
    links: tuple[tuple[Block, Certificate | None], ...]


class BlockBuilt(msgspec.Struct, frozen=True, tag=True):
    """`BuildBlock` is done; the driver keeps the block's execution under its hash."""

    block: Block


class NothingToBuild(msgspec.Struct, frozen=True, tag=True):
    """`BuildBlock` found no transaction that could be in a block, and was not to make an empty one."""

    parent_hash: Hash32
    is_waiting: bool
    """Whether others have come in since."""


class BlockExecuted(msgspec.Struct, frozen=True, tag=True):
    """`ExecuteBlock` is done; where the block is valid, the driver keeps the execution under its hash."""

    block_hash: Hash32
    verdict: Verdict
    reason: str = ""


class SignerReturned(msgspec.Struct, frozen=True, tag=True):
    """The signer that has refused a signature gives them again. Comes some time after each refusal, if ever."""


class BlockCommitted(msgspec.Struct, frozen=True, tag=True):
    """`CommitBlock` is done: block, state, certificate and floor are on the disk."""

    block_hash: Hash32
    is_waiting: bool
    settings: Settings
    """As they are in the state after this block."""


Event = (
    Started
    | WaitingChanged
    | TimerFired
    | PeerConnected
    | MessageReceived
    | ChainReceived
    | BlockBuilt
    | NothingToBuild
    | BlockExecuted
    | BlockCommitted
    | SignerReturned
)


# Effects: what is to be done


class Record(msgspec.Struct, frozen=True):
    """One entry of the vote journal, needed until the floor passes its view."""

    epoch: int
    view: int
    encoded: bytes
    """A JournalEntry."""
    is_vote: bool
    """Must be on the disk before anything is sent."""


class Send(msgspec.Struct, frozen=True, tag=True):
    """A message to one peer, or to all of them. A peer that is gone gets nothing."""

    message: Message
    peer: PeerId | None = None


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A question to one peer: the named one if it is connected, else any, another one each time."""

    message: Message
    peer: PeerId | None = None


class SetTimer(msgspec.Struct, frozen=True, tag=True):
    """Report TimerFired after this long; replaces a timer of the same name. None: cancel it."""

    name: str
    delay_ms: int | None


class BuildBlock(msgspec.Struct, frozen=True, tag=True):
    """Build a block on the named parent, executed or committed, off the event loop."""

    parent_hash: Hash32
    time_ms: int
    may_be_empty: bool
    must_be_empty: bool
    """Too much is unfinalized already to add transactions."""


class ExecuteBlock(msgspec.Struct, frozen=True, tag=True):
    """Execute a block whose parent is executed or committed, off the event loop. The clock is not to be looked at."""

    block: Block


class CommitBlock(msgspec.Struct, frozen=True, tag=True):
    """Write an executed block, whose parent is the committed head, with its certificate, in one synced batch.

    The certificate is missing where only a descendant's makes the block final.
    """

    block_hash: Hash32
    certificate: Certificate | None
    floor: Floor


class ForgetBlocks(msgspec.Struct, frozen=True, tag=True):
    """These blocks can never be final, or are needless for now: drop what was kept of their execution.

    One that is needed after all is executed again, with what stands on it.
    """

    block_hashes: tuple[Hash32, ...]


class PruneJournal(msgspec.Struct, frozen=True, tag=True):
    """Records of this view and those before it, and of epochs before this one, are needed no more."""

    epoch: int
    view: int


class FetchFinal(msgspec.Struct, frozen=True, tag=True):
    """A block is final that is not here, or whose ancestors are not: fetch final blocks, best from this peer."""

    peer: PeerId | None


class KeepEvidence(msgspec.Struct, frozen=True, tag=True):
    """A validator has contradicted itself: store both votes, for people to see."""

    first: Vote
    second: Vote


class Blame(msgspec.Struct, frozen=True, tag=True):
    """A peer has sent what no honest one sends: disconnect it, and keep it away for a while."""

    peer: PeerId
    reason: str


class Halt(msgspec.Struct, frozen=True, tag=True):
    """Nothing sensible can follow: stop the node and tell its operator why."""

    reason: str


Task = BuildBlock | ExecuteBlock | CommitBlock | ForgetBlocks | PruneJournal | FetchFinal | KeepEvidence | Blame | Halt


class Effects(msgspec.Struct, frozen=True):
    """What one event leads to."""

    records: tuple[Record, ...] = ()
    sends: tuple[Send | Ask, ...] = ()
    timers: tuple[SetTimer, ...] = ()
    tasks: tuple[Task, ...] = ()


class Recovered(msgspec.Struct, frozen=True):
    """What a driver finds at a start: the committed chain's end, and what the journal holds."""

    floor: Floor
    head: Header
    """Of the block that the floor names."""
    records: tuple[bytes, ...] = ()
    """`Record.encoded` of all records since the last prune, in order."""
    is_journal_new: bool = False
    """No vote was ever recorded in it: whoever sees a vote of this key knows that another process has cast it."""
    is_vote_history_lost: bool = False
    """The operator vouches that no other process holds the key: vote only two views above a fresh finalization."""
