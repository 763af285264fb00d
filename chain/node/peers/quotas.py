"""What peers may cost: token buckets that may be overdrawn once, and a measure of who overdraws them all the time.

Clocks are passed in: monotonic seconds.
"""

from typing import Final

from chain.consensus.messages import (
    CertificateMessage,
    EvidenceMessage,
    GetBlock,
    GetRange,
    Message,
    Proposal,
    VoteMessage,
)
from chain.node.peers.messages import Control, Urls
from chain.node.peers.settings import Quota, Rate
from chain.primitives.certificate import Certificate

_FRAME_COST_BYTES: Final = 512
_CHUNK_COST_BYTES: Final = 64
"""What reading a frame, or a chunk, costs beside its bytes."""
_BLOCK_COST_RANGES: Final = 0.25
"""A block is read from the disk and sent like a range; most are small, and the engine asks for them one by one."""


class TokenBucket:
    """Fills at a steady rate up to its burst. A cost is always taken; the debt says how long to wait."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._tokens = rate.burst
        self._at_s = now_s

    def delay_s(self, now_s: float) -> float:
        """How long until there is no debt."""
        self._fill(now_s)
        return max(0.0, -self._tokens / self._rate.per_second)

    def take(self, cost: float, now_s: float) -> None:
        """Takes the cost, into debt where it must be."""
        self._fill(now_s)
        self._tokens -= cost

    def try_take(self, cost: float, now_s: float) -> bool:
        """Takes the cost only where it is covered."""
        self._fill(now_s)
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True

    def is_full(self, now_s: float) -> bool:
        """Whether nothing was taken lately."""
        self._fill(now_s)
        return self._tokens >= self._rate.burst

    def _fill(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self._at_s)
        self._at_s = max(now_s, self._at_s)
        self._tokens = min(self._rate.burst, self._tokens + elapsed_s * self._rate.per_second)


class ThrottleMeter:
    """How much longer than half of the time a peer was read slowly."""

    def __init__(self, now_s: float) -> None:
        self._excess_s = 0.0
        self._at_s = now_s

    def add(self, waited_s: float, now_s: float) -> float:
        """Counts a wait that has just ended; gives the excess in seconds."""
        elapsed_s = max(0.0, now_s - self._at_s)
        self._at_s = now_s
        self._excess_s = max(0.0, self._excess_s + waited_s - elapsed_s / 2)
        return self._excess_s


class PeerQuota:
    """The buckets of one peer, and those that it shares with others."""

    def __init__(self, quota: Quota, shared: "PeerQuota | None", now_s: float) -> None:
        self._bytes = TokenBucket(quota.received_bytes, now_s)
        self._signatures = TokenBucket(quota.signatures, now_s)
        self._requests = TokenBucket(quota.requests, now_s)
        self._ranges = TokenBucket(quota.ranges, now_s)
        self._shared = shared

    def take_frame(self, length: int, chunk_count: int, now_s: float) -> None:
        """Counts a frame."""
        self._bytes.take(length + _FRAME_COST_BYTES + _CHUNK_COST_BYTES * chunk_count, now_s)
        if self._shared is not None:
            self._shared.take_frame(length, chunk_count, now_s)

    def take_control(self, control: Control, now_s: float) -> None:
        """Counts small talk, and each URL in it."""
        self._requests.take(1 + len(control.urls) if isinstance(control, Urls) else 1, now_s)
        if self._shared is not None:
            self._shared.take_control(control, now_s)

    def take_message(self, message: Message, now_s: float) -> None:
        """Counts what a message makes this node do."""
        signatures = signature_count(message)
        if signatures:
            self._signatures.take(signatures, now_s)
        elif isinstance(message, GetRange):
            self._ranges.take(1, now_s)
        elif isinstance(message, GetBlock):
            self._ranges.take(_BLOCK_COST_RANGES, now_s)
        else:
            self._requests.take(1, now_s)
        if self._shared is not None:
            self._shared.take_message(message, now_s)

    def delay_s(self, now_s: float) -> float:
        """How long not to read from the peer, whoever has used up what there is."""
        own_s = self.own_delay_s(now_s)
        return own_s if self._shared is None else max(own_s, self._shared.delay_s(now_s))

    def own_delay_s(self, now_s: float) -> float:
        """How long not to read from the peer for what it has done itself."""
        buckets = (self._bytes, self._signatures, self._requests, self._ranges)
        return max(bucket.delay_s(now_s) for bucket in buckets)


def signature_count(message: Message) -> int:
    """How many signatures the engine may check because of a message, those within the block's transactions apart."""
    match message:
        case VoteMessage():
            return 1
        case CertificateMessage():
            return max(1, len(message.certificate.signatures))
        case EvidenceMessage():
            return 2
        case Proposal():
            certificates: list[Certificate] = [*message.nullifications]
            if message.parent_certificate is not None:
                certificates.append(message.parent_certificate)
            return 1 + sum(len(certificate.signatures) for certificate in certificates)
        case _:
            return 0
