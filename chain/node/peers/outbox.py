"""What waits to be sent to one peer: by urgency, bounded in bytes, cut into frames."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from chain.node.peers.frames import CHUNK_BYTES, Chunk, Lane
from chain.node.peers.settings import MIB

_MAX_CHUNKS_PER_FRAME: Final = 512
_CHUNK_OVERHEAD_BYTES: Final = 16
_SMALLEST_ROOM_BYTES: Final = 2_048
"""A frame with less room goes out as it is, rather than with a crumb of the next message."""
_MAX_WAITING_BYTES: Final = {
    Lane.CONTROL: 256 * 1024,
    Lane.VOTES: 4 * MIB,
    Lane.RANGES: 16 * MIB,
    Lane.TRANSACTIONS: 2 * MIB,
}
_MESSAGE_OVERHEAD_BYTES: Final = 128
"""What a queued message costs beside its bytes, so that tiny ones are bounded too."""


class PeerTooSlow(Exception):
    """The peer does not take what must not be left out."""


@dataclass(slots=True)
class _Waiting:
    encoded: bytes
    since_s: float
    sent_bytes: int = 0


class Outbox:
    """Messages for one peer. Encoded bytes are shared with the outboxes of other peers."""

    def __init__(self, max_block_message_bytes: int) -> None:
        self.max_block_message_bytes = max_block_message_bytes
        self.queued_bytes = 0
        self.dropped = 0
        """Messages that were left out because too much waited."""
        self._lanes: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in Lane}
        self._lane_bytes: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._is_filled = asyncio.Event()

    def put(self, lane: Lane, encoded: bytes, now_s: float) -> None:
        """Queues a message.

        Raises PeerTooSlow where urgent ones pile up. Of blocks and transactions the oldest are left out; of ranges,
        which the peer asks for again, the newest.
        """
        bound = _MAX_WAITING_BYTES.get(lane, 2 * self.max_block_message_bytes)
        while self._lane_bytes[lane] + _cost(encoded) > bound and self._lanes[lane]:
            if lane in (Lane.CONTROL, Lane.VOTES):
                raise PeerTooSlow(f"{self._lane_bytes[lane]} bytes of urgent messages wait")
            self.dropped += 1
            if lane is Lane.RANGES or not self._drop_oldest(lane):
                return
        self._lanes[lane].append(_Waiting(encoded, now_s))
        self._add_bytes(lane, _cost(encoded))
        self._is_filled.set()

    async def next_chunks(self) -> list[Chunk]:
        """Waits for messages and takes a frame's worth, the most urgent first."""
        await self._is_filled.wait()
        chunks: list[Chunk] = []
        room = CHUNK_BYTES
        for lane, waiting in self._lanes.items():
            while waiting and room >= _SMALLEST_ROOM_BYTES and len(chunks) < _MAX_CHUNKS_PER_FRAME:
                chunk = self._take(lane, waiting, room - _CHUNK_OVERHEAD_BYTES)
                room -= len(chunk.piece) + _CHUNK_OVERHEAD_BYTES
                chunks.append(chunk)
        if not any(self._lanes.values()):
            self._is_filled.clear()
        return chunks

    def waits_since(self) -> float | None:
        """When the oldest urgent message came; None where none waits."""
        oldest = [self._lanes[lane][0].since_s for lane in (Lane.CONTROL, Lane.VOTES) if self._lanes[lane]]
        return min(oldest, default=None)

    def _take(self, lane: Lane, waiting: deque[_Waiting], room: int) -> Chunk:
        first = waiting[0]
        piece = first.encoded[first.sent_bytes : first.sent_bytes + room]
        first.sent_bytes += len(piece)
        remaining = len(first.encoded) - first.sent_bytes
        if remaining == 0:
            waiting.popleft()
            self._add_bytes(lane, -_cost(first.encoded))
        return Chunk(lane, remaining, piece)

    def _drop_oldest(self, lane: Lane) -> bool:
        """Not one that is half sent: the peer waits for its rest."""
        waiting = self._lanes[lane]
        index = 1 if waiting[0].sent_bytes else 0
        if index == len(waiting):
            return False
        dropped = waiting[index]
        del waiting[index]
        self._add_bytes(lane, -_cost(dropped.encoded))
        return True

    def _add_bytes(self, lane: Lane, count: int) -> None:
        self._lane_bytes[lane] += count
        self.queued_bytes += count


def _cost(encoded: bytes) -> int:
    return len(encoded) + _MESSAGE_OVERHEAD_BYTES
