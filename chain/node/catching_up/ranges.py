"""The ranges that a node is catching up with: asked for, waiting for their turn, and with the engine."""

from collections import deque
from typing import Final

import msgspec

from chain.consensus.effects import PeerId
from chain.node.ranges import MAX_RANGE_BLOCKS, RANGE_BYTES, RANGE_BYTES_LIMIT, Links, check_follows

_MAX_HEIGHT: Final = 2**63 - 1
_SPEED_WINDOW_MS: Final = 10_000
_SPEED_SAMPLE_MS: Final = 200


class AskedRange(msgspec.Struct, frozen=True):
    """A question that is not answered yet."""

    peer: PeerId
    from_height: int
    to_height: int
    """A guess: the answer may be shorter or longer."""
    due_ms: int


class WaitingRange(msgspec.Struct, frozen=True):
    """An answer that cannot be handed over yet."""

    peer: PeerId
    links: Links
    byte_count: int

    @property
    def from_height(self) -> int:
        """Of the first block."""
        return self.links[0][0].header.height

    @property
    def to_height(self) -> int:
        """Of the last block."""
        return self.links[-1][0].header.height

    @property
    def is_open(self) -> bool:
        """Whether the certificate that makes it final is still to come, from the same peer."""
        return self.links[-1][1] is None

    @property
    def is_endless(self) -> bool:
        """Whether it is too much to hold on a peer's word that a certificate will come."""
        return self.is_open and self.byte_count > RANGE_BYTES_LIMIT

    def continued(self, following: "WaitingRange") -> "WaitingRange":
        """Both as one; raises Rejected where they do not fit."""
        check_follows(following.links[0][0].header, self.links[-1][0].header)
        return WaitingRange(self.peer, self.links + following.links, self.byte_count + following.byte_count)


class HandedRange(msgspec.Struct):
    """What the engine is working on."""

    peer: PeerId
    to_height: int
    moved_ms: int
    """When it was handed over, or the head moved last."""
    has_moved: bool = False


class Stride:
    """How many blocks the next answers will hold, as far as one can tell."""

    def __init__(self) -> None:
        self._block_count: int | None = None

    def learn(self, block_count: int, byte_count: int) -> None:
        """A range may also be short because an epoch or the chain ends there: that says nothing about the next one."""
        if self._block_count is None or block_count == MAX_RANGE_BLOCKS or byte_count > RANGE_BYTES // 2:
            self._block_count = block_count

    def guess_end(self, from_height: int) -> int:
        """Before the first answer, as far as can be: then there is one question."""
        return _MAX_HEIGHT if self._block_count is None else from_height + self._block_count - 1


class Speed:
    """Blocks per second, over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque()

    def add(self, height: int, now_ms: int) -> None:
        """The head has moved."""
        if not self._samples or now_ms - self._samples[-1][0] >= _SPEED_SAMPLE_MS:
            self._samples.append((now_ms, height))
        self._drop_old(now_ms)

    def blocks_per_second(self, height: int, now_ms: int) -> float:
        """0 where nothing has happened lately."""
        self._drop_old(now_ms)
        if not self._samples or now_ms <= self._samples[0][0]:
            return 0.0
        return (height - self._samples[0][1]) * 1000 / (now_ms - self._samples[0][0])

    def _drop_old(self, now_ms: int) -> None:
        while self._samples and self._samples[0][0] < now_ms - _SPEED_WINDOW_MS:
            self._samples.popleft()
