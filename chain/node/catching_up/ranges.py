"""The ranges that a node is catching up with: asked for, waiting for their turn, and with the engine."""

from collections import deque
from typing import Final

import msgspec

from chain.consensus.effects import PeerId
from chain.node.ranges import RANGE_BYTES_LIMIT, Links, check_follows
from chain.primitives.rejection import Rejected, RejectionReason

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

    def continued(self, following: "WaitingRange") -> "WaitingRange":
        """Both as one; raises Rejected where they do not fit, or are too much to hold on a peer's word."""
        check_follows(following.links[0][0].header, self.links[-1][0].header)
        whole = WaitingRange(self.peer, self.links + following.links, self.byte_count + following.byte_count)
        if whole.is_open and whole.byte_count > RANGE_BYTES_LIMIT:
            raise Rejected(RejectionReason.TOO_LARGE, f"no certificate in {whole.byte_count} bytes")
        return whole


class HandedRange(msgspec.Struct):
    """What the engine is working on."""

    peer: PeerId
    to_height: int
    moved_ms: int
    """When it was handed over, or the head moved last."""
    has_moved: bool = False


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
