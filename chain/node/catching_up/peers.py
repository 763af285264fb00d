"""Whom to ask for final blocks: what each peer says it has, and how it has answered so far."""

from collections.abc import Collection, Iterator
from typing import Final

from chain.consensus.effects import PeerId

FIRST_PASS_OVER_MS: Final = 1_000
MAX_PASS_OVER_MS: Final = 60_000
MAX_ANSWER_FACTOR: Final = 4
"""A slow line gets this many times the usual time for an answer: a minute, as long as the transport keeps one."""
_MAX_STRIKES: Final = 10


class PeerRecord:
    """One connected peer."""

    __slots__ = (
        "answer_factor",
        "asked_last",
        "has_helped",
        "height",
        "late",
        "name",
        "nothing_from",
        "passed_over_until_ms",
        "strikes",
    )

    def __init__(self, name: PeerId) -> None:
        self.name = name
        self.height = 0
        """What it says its newest final block is."""
        self.nothing_from: int | None = None
        """It had nothing from this height on, without having said otherwise."""
        self.strikes = 0
        """Answers in a row that were missing, late or empty."""
        self.passed_over_until_ms = 0
        self.answer_factor = 1
        self.late: int | None = None
        """From where it was asked last in vain: the answer may still come."""
        self.asked_last = 0
        self.has_helped = False
        """Its newest answer was of use."""

    def has(self, height: int) -> bool:
        """Whether it says that it has this block."""
        return self.height >= height

    def strike(self, now_ms: int) -> None:
        """It let us wait: others are asked first, and it is not for a while."""
        self.has_helped = False
        self.strikes = min(self.strikes + 1, _MAX_STRIKES)
        pause_ms = min(FIRST_PASS_OVER_MS << (self.strikes - 1), MAX_PASS_OVER_MS)
        self.passed_over_until_ms = max(self.passed_over_until_ms, now_ms + pause_ms)

    def is_late(self, from_height: int, now_ms: int) -> None:
        """It has not answered in time; the next time it gets more, and what still comes is welcome."""
        self.late = from_height
        self.answer_factor = min(2 * self.answer_factor, MAX_ANSWER_FACTOR)
        self.strike(now_ms)

    def has_nothing(self, from_height: int, now_ms: int) -> None:
        """Its answer was empty."""
        if self.has(from_height):
            self.strike(now_ms)
        else:
            self.nothing_from = from_height

    def is_endless(self, now_ms: int) -> None:
        """It sends ever more blocks without the certificate that makes them of use: perhaps there is none."""
        self.strikes = _MAX_STRIKES
        self.strike(now_ms)

    def can_answer(self, height: int, now_ms: int) -> bool:
        """Whether it is worth a question, as far as its answers go."""
        return self.passed_over_until_ms <= now_ms and (self.nothing_from is None or height < self.nothing_from)

    def forgive(self) -> None:
        """Its answer was of use."""
        self.strikes = 0
        self.passed_over_until_ms = 0
        self.late = None
        self.has_helped = True


class PeerTable:
    """The connected peers, in the order in which they came."""

    def __init__(self) -> None:
        self._peers: dict[PeerId, PeerRecord] = {}
        self._questions = 0

    def __iter__(self) -> Iterator[PeerRecord]:
        return iter(self._peers.values())

    def get(self, name: PeerId) -> PeerRecord | None:
        """A connected peer."""
        return self._peers.get(name)

    def join(self, name: PeerId) -> None:
        """It is connected (again), and begins with a clean record."""
        self._peers[name] = PeerRecord(name)

    def leave(self, name: PeerId) -> None:
        """It is gone."""
        self._peers.pop(name, None)

    def claim(self, name: PeerId, height: int) -> None:
        """It says how far it is."""
        peer = self._peers.get(name)
        if peer is None:
            return
        peer.height = height
        if peer.nothing_from is not None and height >= peer.nothing_from:
            peer.nothing_from = None

    def target(self, now_ms: int) -> int:
        """The highest block that a peer says it has which is not passed over; 0 without one."""
        return max((peer.height for peer in self if peer.passed_over_until_ms <= now_ms), default=0)

    def believed(self, now_ms: int, validators: Collection[PeerId]) -> int:
        """How far the chain is: what validators say, and only where none is connected, others that have helped.

        Whoever may be asked for more, a stranger's word alone is no news about the chain.
        """
        members = [peer for peer in self if peer.name in validators]
        witnesses = members or [peer for peer in self if peer.has_helped]
        return max((peer.height for peer in witnesses if peer.passed_over_until_ms <= now_ms), default=0)

    def next_return_ms(self, above_height: int, now_ms: int) -> int | None:
        """When the next one that is ahead stops being passed over."""
        times = [peer.passed_over_until_ms for peer in self if peer.height > above_height]
        return min((time_ms for time_ms in times if time_ms > now_ms), default=None)

    def choose(
        self, height: int, now_ms: int, busy: dict[PeerId, int], *, preferred: PeerId | None, is_anybody_asked: bool
    ) -> PeerRecord | None:
        """Whom to ask for this block and the next ones: the most reliable, then the least busy, then by turns.

        The preferred one, or with `is_anybody_asked` anyone, may be asked without having said that it has the block.
        """
        able = [
            peer
            for peer in self
            if peer.can_answer(height, now_ms) and (peer.has(height) or is_anybody_asked or peer.name == preferred)
        ]
        if not able:
            return None
        chosen = min(
            able,
            key=lambda peer: (
                not peer.has(height) and peer.name != preferred,
                peer.strikes,
                busy.get(peer.name, 0),
                peer.name != preferred,
                peer.asked_last,
            ),
        )
        self._questions += 1
        chosen.asked_last = self._questions
        return chosen
