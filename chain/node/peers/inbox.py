"""Chunks put together again, within bounds: what a peer can make this node hold."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from chain.node.peers.frames import Chunk, Lane
from chain.node.peers.messages import MAX_BATCH_BYTES
from chain.node.peers.settings import MIB
from chain.primitives.rejection import Rejected, RejectionReason

MAX_UNASKED_BYTES: Final = 256 * 1024
"""A larger message is only kept where it was asked for, or where it may be a validator's proposal."""
_BLOCK_OVERHEAD_BYTES: Final = MIB
"""Header, lengths of 100,000 transactions, and the certificates of a proposal: 33 of 60 validators take 130 KiB."""
_RANGE_BYTES: Final = 5 * MIB
_MAX_BYTES: Final = {
    Lane.CONTROL: 16 * 1024,
    Lane.VOTES: 16 * 1024,  # A certificate of 60 validators has 4 KiB.
    Lane.TRANSACTIONS: MAX_BATCH_BYTES + 64 * 1024,
}
_SLOWEST_BYTES_PER_S: Final = 128 * 1024
_GRACE_S: Final = 30.0
_MAX_EXPECTED_ANSWERS: Final = 16
_EXPECTED_FOR_S: Final = 60.0


def max_block_message_bytes(max_block_bytes: int) -> int:
    """Of a proposal or a block."""
    return max_block_bytes + _BLOCK_OVERHEAD_BYTES


@dataclass(slots=True)
class _Partial:
    deadline_s: float
    remaining: int
    is_kept: bool
    content: bytearray = field(
        default_factory=bytearray
    )  # A list of pieces of one byte would take forty times as much.


class Inbox:
    """The unfinished messages of one peer: at most one in each lane."""

    def __init__(self, max_block_bytes: int) -> None:
        self.max_block_bytes = max_block_bytes
        self.is_validator = False
        self.discarded = 0
        """Large messages that nobody had asked for: read past, never kept."""
        self._partial: dict[Lane, _Partial] = {}
        self._expected: deque[float] = deque(maxlen=_MAX_EXPECTED_ANSWERS)

    def expect_answer(self, now_s: float) -> None:
        """This node has asked the peer for a block or a range: one may come within a minute."""
        self._expected.append(now_s + _EXPECTED_FOR_S)

    def expects_answer(self, now_s: float) -> bool:
        """Whether a block or a range may come."""
        while self._expected and self._expected[0] < now_s:
            self._expected.popleft()
        return bool(self._expected)

    def take_answer(self, now_s: float) -> bool:
        """Whether the answer that has come was asked for; uses the question up."""
        is_expected = self.expects_answer(now_s)
        if is_expected:
            self._expected.popleft()
        return is_expected

    def add(self, chunk: Chunk, now_s: float) -> bytes | None:
        """The whole message, once it is there and was to be kept; raises Rejected."""
        partial = self._partial.get(chunk.lane)
        if partial is None:
            if chunk.remaining == 0 and len(chunk.piece) <= self._max_bytes(chunk.lane):
                return chunk.piece
            partial = self._partial[chunk.lane] = self._begin(chunk, now_s)
        if chunk.remaining != partial.remaining - len(chunk.piece):
            raise Rejected(RejectionReason.MALFORMED, "chunks that do not fit together")
        if partial.is_kept:
            partial.content += chunk.piece
        partial.remaining = chunk.remaining
        if chunk.remaining > 0:
            return None
        del self._partial[chunk.lane]
        return bytes(partial.content) if partial.is_kept else None

    def is_overdue(self, now_s: float) -> bool:
        """Whether a message has been on its way for longer than the slowest useful peer would take."""
        return any(partial.deadline_s < now_s for partial in self._partial.values())

    def held_bytes(self) -> int:
        """Of unfinished messages."""
        return sum(len(partial.content) for partial in self._partial.values())

    def _begin(self, chunk: Chunk, now_s: float) -> _Partial:
        total = len(chunk.piece) + chunk.remaining
        if total > self._max_bytes(chunk.lane):
            raise Rejected(RejectionReason.TOO_LARGE, f"a message of {total} bytes on the lane {chunk.lane.name}")
        is_kept = total <= MAX_UNASKED_BYTES or self._may_be_large(chunk.lane, now_s)
        if not is_kept:
            self.discarded += 1
        return _Partial(now_s + _GRACE_S + total / _SLOWEST_BYTES_PER_S, total, is_kept)

    def _may_be_large(self, lane: Lane, now_s: float) -> bool:
        if lane is Lane.TRANSACTIONS:
            return True
        return (lane is Lane.BLOCKS and self.is_validator) or self.expects_answer(now_s)

    def _max_bytes(self, lane: Lane) -> int:
        whole_block = max_block_message_bytes(self.max_block_bytes)
        return _MAX_BYTES.get(lane, whole_block + (_RANGE_BYTES if lane is Lane.RANGES else 0))
