"""What `catch_up.CatchUp` takes and gives."""

import msgspec

from chain.consensus.effects import Blame, ChainReceived, PeerId, Send, SetTimer
from chain.consensus.messages import Range
from chain.primitives.types import Hash32


class BlockHead(msgspec.Struct, frozen=True):
    """The newest committed block."""

    height: int
    block_hash: Hash32


class CatchUpLimits(msgspec.Struct, frozen=True):
    """How much at once, and how patiently."""

    max_ranges: int = 3
    """On their way or waiting; each may have ranges.RANGE_BYTES_LIMIT, and usually has 4 MiB."""
    grace_ms: int = 1_000
    """A single missing block is asked for after this long: it is probably on its way already."""
    answer_ms: int = 15_000
    """How long a peer has to answer; a peer that once was slower gets up to four times as long."""
    stalled_ms: int = 30_000
    """How long the head may stand still while the engine has a range."""


class Progress(msgspec.Struct, frozen=True):
    """For logs and for whoever waits."""

    height: int
    target_height: int
    """What is to be believed of what peers say: `PeerTable.believed`."""
    blocks_per_second: float
    is_catching_up: bool


# Events


class PeerJoined(msgspec.Struct, frozen=True, tag=True):
    """A peer can be asked (again)."""

    peer: PeerId


class PeerLeft(msgspec.Struct, frozen=True, tag=True):
    """A peer is gone, for whatever reason; also after it was blamed."""

    peer: PeerId


class PeerStatus(msgspec.Struct, frozen=True, tag=True):
    """A peer says what its newest final block is."""

    peer: PeerId
    height: int


class RangeReceived(msgspec.Struct, frozen=True, tag=True):
    """A peer sends a range, asked for or not. Empty: it has nothing from there on."""

    peer: PeerId
    range: Range


class HeadMoved(msgspec.Struct, frozen=True, tag=True):
    """A block was committed, however it came here; the engine knows already."""

    height: int
    block_hash: Hash32


class FetchWanted(msgspec.Struct, frozen=True, tag=True):
    """The engine knows of final blocks that are missing, best to be had from this peer."""

    peer: PeerId | None


class Tick(msgspec.Struct, frozen=True, tag=True):
    """The timer has run out."""


CatchUpEvent = PeerJoined | PeerLeft | PeerStatus | RangeReceived | HeadMoved | FetchWanted | Tick


class CatchUpEffects(msgspec.Struct, frozen=True):
    """What one event leads to."""

    sends: tuple[Send, ...] = ()
    chains: tuple[ChainReceived, ...] = ()
    blames: tuple[Blame, ...] = ()
    timers: tuple[SetTimer, ...] = ()
