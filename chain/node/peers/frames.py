"""Lanes, frames and chunks: what goes over the wire after the handshake.

One WebSocket message is one frame: a MAC of 16 bytes, then a canonical MessagePack array of chunks (lane, how many
bytes of the message follow, bytes). Messages of one lane come one after another; a large one is cut, so that urgent
ones of other lanes go between its chunks. The MAC is keyed for the connection and the direction and covers a counter:
nothing can be added, changed, repeated or left out on the way, also not by somebody who relays the handshake between
two honest nodes.
"""

import hmac
from enum import IntEnum
from typing import Annotated, Final

import msgspec

from chain.consensus.messages import BlockMessage, Message, Proposal, Range
from chain.primitives import message_pack
from chain.primitives.rejection import Rejected, RejectionReason

MAC_BYTES: Final = 16
CHUNK_BYTES: Final = 64 * 1024
"""Of one frame. A vote waits for at most one frame, 5 ms at 100 Mbit/s."""
MAX_FRAME_BYTES: Final = CHUNK_BYTES + 8 * 1024
_MAX_CHUNKS: Final = 1024


class Lane(IntEnum):
    """Kinds of messages, the most urgent first."""

    CONTROL = 0
    VOTES = 1
    """Votes, certificates, evidence, status and requests: all that is small."""
    BLOCKS = 2
    """Proposals, and blocks asked for."""
    RANGES = 3
    TRANSACTIONS = 4


class Chunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A piece of a message."""

    lane: Lane
    remaining: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    """Bytes of the message after this piece; 0 ends it."""
    piece: Annotated[bytes, msgspec.Meta(min_length=1, max_length=CHUNK_BYTES)]


Chunks = Annotated[tuple[Chunk, ...], msgspec.Meta(min_length=1, max_length=_MAX_CHUNKS)]


class FrameSealer:
    """Makes the frames of one direction of one connection."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def seal(self, chunks: list[Chunk]) -> bytes:
        """The next frame."""
        assert 0 < len(chunks) <= _MAX_CHUNKS
        body = message_pack.encode(chunks)
        mac = _mac(self._key, self._counter, body)
        self._counter += 1
        return mac + body


class FrameOpener:
    """Checks and reads the frames of one direction of one connection."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def open(self, frame: bytes) -> tuple[Chunk, ...]:
        """The chunks of the next frame; raises Rejected."""
        if not MAC_BYTES < len(frame) <= MAX_FRAME_BYTES:
            raise Rejected(RejectionReason.TOO_LARGE, f"a frame of {len(frame)} bytes")
        mac, body = frame[:MAC_BYTES], frame[MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(self._key, self._counter, body)):
            raise Rejected(RejectionReason.BAD_SIGNATURE, "the frame's MAC is wrong")
        self._counter += 1
        chunks: tuple[Chunk, ...] = message_pack.decode(body, Chunks)
        return chunks


def lane_of(message: Message) -> Lane:
    """The lane that a message of an engine's must take."""
    match message:
        case Proposal() | BlockMessage():
            return Lane.BLOCKS
        case Range():
            return Lane.RANGES
        case _:
            return Lane.VOTES


def _mac(key: bytes, counter: int, body: bytes) -> bytes:
    return hmac.digest(key, counter.to_bytes(8, "big") + body, "sha256")[:MAC_BYTES]
