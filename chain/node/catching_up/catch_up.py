"""Catching up: which ranges of final blocks to ask whom for, and in which order the engine gets them.

Pure like the engine: `handle(event, now_ms) -> CatchUpEffects`. Some ranges are on their way or wait at any time, from
different peers where there are several; the engine has one at a time. Nothing that a peer says is believed: its height
is a hint, its answer is checked here as far as that costs little (`ranges.open_range`), and the engine checks the
signatures before it executes anything. A peer that sends what no honest one sends is blamed, and its ranges are asked
for elsewhere.
"""

from collections import Counter
from collections.abc import Collection
from typing import Final

from chain.consensus.effects import Blame, ChainReceived, PeerId, Send, SetTimer
from chain.consensus.messages import GetRange, Range
from chain.node.catching_up.events import (
    BlockHead,
    CatchUpEffects,
    CatchUpEvent,
    CatchUpLimits,
    FetchWanted,
    HeadMoved,
    PeerJoined,
    PeerLeft,
    PeerStatus,
    Progress,
    RangeReceived,
    Tick,
)
from chain.node.catching_up.peers import PeerRecord, PeerTable
from chain.node.catching_up.ranges import AskedRange, HandedRange, Speed, Stride, WaitingRange
from chain.node.ranges import certified, open_range
from chain.primitives.rejection import Rejected

__all__ = [
    "CATCH_UP_TIMER",
    "BlockHead",
    "CatchUp",
    "CatchUpEffects",
    "CatchUpEvent",
    "CatchUpLimits",
    "FetchWanted",
    "HeadMoved",
    "PeerJoined",
    "PeerLeft",
    "PeerStatus",
    "Progress",
    "RangeReceived",
    "Tick",
]

CATCH_UP_TIMER: Final = "catch_up"


class CatchUp:
    """One node's way to the newest final block."""

    def __init__(self, *, head: BlockHead, limits: CatchUpLimits | None = None) -> None:
        """`head` is the newest committed block."""
        self._height, self._hash = head.height, head.block_hash
        self._limits = limits or CatchUpLimits()
        self._peers = PeerTable()
        self._asked: list[AskedRange] = []
        self._waiting: list[WaitingRange] = []
        self._handed: HandedRange | None = None
        self._wanted: FetchWanted | None = None
        self._behind_since_ms: int | None = None
        self._stride = Stride()
        self._timer_at_ms: int | None = None
        self._speed = Speed()

    def handle(self, event: CatchUpEvent, now_ms: int) -> CatchUpEffects:
        """Takes one event; `now_ms` is a clock that never goes back."""
        blames: list[Blame] = []
        match event:
            case PeerJoined(peer):
                self._forget(peer)
                self._peers.join(peer)
            case PeerLeft(peer):
                self._forget(peer)
            case PeerStatus(peer, height):
                self._peers.claim(peer, height)
            case RangeReceived(peer, range_):
                self._take_answer(peer, range_, now_ms, blames)
            case HeadMoved():
                self._move(event, now_ms)
            case FetchWanted():
                self._wanted = event
            case Tick():
                self._timer_at_ms = None
        self._expire(now_ms)
        chains = self._hand_over(now_ms, blames)
        sends = self._ask(now_ms)
        return CatchUpEffects(tuple(sends), tuple(chains), tuple(blames), self._set_timer(now_ms))

    def progress(self, now_ms: int, *, validators: Collection[PeerId]) -> Progress:
        """How far it is, and how fast it goes, as the present validators tell of the chain."""
        handed_height = 0 if self._handed is None else self._handed.to_height
        target = max(self._height, handed_height, self._peers.believed(now_ms, validators))
        speed = self._speed.blocks_per_second(self._height, now_ms)
        return Progress(self._height, target, speed, target > self._height + 1)

    # What has happened

    def _forget(self, peer: PeerId) -> None:
        """Nothing is expected of a peer any more, nor used that only it vouches for."""
        self._peers.leave(peer)
        self._asked = [asked for asked in self._asked if asked.peer != peer]
        self._waiting = [waiting for waiting in self._waiting if waiting.peer != peer]
        # Once the engine has committed a block of a range, it has found all signatures of the range good.
        if self._handed is not None and self._handed.peer == peer and not self._handed.has_moved:
            self._handed = None
        if self._wanted is not None and self._wanted.peer == peer:
            self._wanted = FetchWanted(None)

    def _blame(self, peer: PeerId, reason: str, blames: list[Blame]) -> None:
        self._forget(peer)
        blames.append(Blame(peer, reason))

    def _move(self, head: HeadMoved, now_ms: int) -> None:
        self._height, self._hash = head.height, head.block_hash
        self._wanted = None
        self._behind_since_ms = None
        if self._handed is not None:
            self._handed.moved_ms, self._handed.has_moved = now_ms, True
            if self._handed.to_height <= head.height:
                self._handed = None
        self._speed.add(head.height, now_ms)

    def _take_answer(self, name: PeerId, range_: Range, now_ms: int, blames: list[Blame]) -> None:
        peer = self._peers.get(name)
        if peer is None or not self._is_expected(peer, range_.from_height):
            return
        if not range_.links:
            peer.has_nothing(range_.from_height, now_ms)
            return
        try:
            links = open_range(range_)
            byte_count = sum(len(link.block) for link in range_.links)
            answer = WaitingRange(name, certified(links) or links, byte_count)
            begun = self._open_range()
            if begun is not None and (begun.peer, begun.to_height + 1) == (name, answer.from_height):
                answer = begun.continued(answer)
                self._waiting.remove(begun)
        except Rejected as rejected:
            self._blame(name, f"a range from height {range_.from_height}: {rejected}", blames)
            return
        if answer.is_endless:
            peer.is_endless(now_ms)
            return
        peer.forgive()
        self._stride.learn(len(range_.links), byte_count)
        if len(self._waiting) < self._limits.max_ranges:
            self._waiting.append(answer)

    def _open_range(self) -> WaitingRange | None:
        """The lowest waiting range whose certificate is to come with what follows it."""
        begun = [waiting for waiting in self._waiting if waiting.is_open]
        return min(begun, key=lambda waiting: waiting.from_height, default=None)

    def _is_expected(self, peer: PeerRecord, from_height: int) -> bool:
        """Whether the peer owes this answer, or has owed it; it does no more."""
        for asked in self._asked:
            if asked.peer == peer.name and asked.from_height == from_height:
                self._asked.remove(asked)
                return True
        if peer.late == from_height:
            peer.late = None
            return True
        return False

    def _expire(self, now_ms: int) -> None:
        for asked in [asked for asked in self._asked if asked.due_ms <= now_ms]:
            self._asked.remove(asked)
            peer = self._peers.get(asked.peer)
            assert peer is not None
            peer.is_late(asked.from_height, now_ms)
        if self._handed is not None and now_ms - self._handed.moved_ms >= self._limits.stalled_ms:
            peer = self._peers.get(self._handed.peer)
            if peer is not None:
                peer.strike(now_ms)
            self._handed = None

    # What to do

    def _hand_over(self, now_ms: int, blames: list[Blame]) -> list[ChainReceived]:
        """The range that goes on where the head is, if there is one and the engine has none."""
        self._waiting = [waiting for waiting in self._waiting if waiting.to_height > self._height]
        while self._handed is None:
            waiting = next(
                (each for each in self._waiting if not each.is_open and each.from_height <= self._height + 1), None
            )
            if waiting is None:
                break
            self._waiting.remove(waiting)
            links = waiting.links[self._height + 1 - waiting.from_height :]
            if links[0][0].header.parent_hash != self._hash:
                reason = f"block {links[0][0].header.height} does not follow the final one before it"
                self._blame(waiting.peer, reason, blames)
                continue
            self._handed = HandedRange(waiting.peer, waiting.to_height, now_ms)
            return [ChainReceived(waiting.peer, links)]
        return []

    def _ask(self, now_ms: int) -> list[Send]:
        sends: list[Send] = []
        while (question := self._next_question(now_ms)) is not None:
            peer, from_height = question
            due_ms = now_ms + self._limits.answer_ms * peer.answer_factor
            self._asked.append(AskedRange(peer.name, from_height, self._guess_end(from_height), due_ms))
            sends.append(Send(GetRange(from_height), peer.name))
        return sends

    def _next_question(self, now_ms: int) -> tuple[PeerRecord, int] | None:
        """Whom to ask from which height on; None while there is nothing to ask, nobody to be asked, or no room."""
        # What follows a range that is still open counts only from the same peer, so everything else waits for it.
        while (begun := self._open_range()) is not None:
            peer, from_height = self._peers.get(begun.peer), begun.to_height + 1
            if any((asked.peer, asked.from_height) == (begun.peer, from_height) for asked in self._asked):
                return None
            if peer is not None and peer.can_answer(from_height, now_ms):
                return peer, from_height
            self._waiting.remove(begun)
        height = self._next_height(now_ms)
        if height is None:
            return None
        peer = self._whom(height, now_ms)
        return (peer, height) if peer is not None and self._make_room(height) else None

    def _whom(self, from_height: int, now_ms: int) -> PeerRecord | None:
        wanted = self._wanted if from_height == self._height + 1 else None
        return self._peers.choose(
            from_height,
            now_ms,
            Counter(asked.peer for asked in self._asked),
            preferred=None if wanted is None else wanted.peer,
            is_anybody_asked=wanted is not None and wanted.peer is None,
        )

    def _next_height(self, now_ms: int) -> int | None:
        """The lowest height that nobody was asked for, where it is time to ask."""
        target = self._peers.target(now_ms)
        if self._grace_ends_ms(now_ms) is not None:
            target = self._height
        wanted_height = 0 if self._wanted is None else self._height + 1
        height = self._height + 1
        for start, end in self._covered():
            if start > height:
                break
            height = max(height, end + 1)
        return height if height <= max(target, wanted_height) else None

    def _make_room(self, height: int) -> bool:
        """Gives up the farthest waiting range where nothing that waits can be used before this height is here."""
        if len(self._asked) + len(self._waiting) < self._limits.max_ranges:
            return True
        beyond = [waiting for waiting in self._waiting if waiting.from_height > height]
        if not beyond or any(asked.from_height <= height for asked in self._asked):
            return False
        self._waiting.remove(max(beyond, key=lambda waiting: waiting.from_height))
        return True

    def _covered(self) -> list[tuple[int, int]]:
        """First and last heights of what is asked for, waits, or is with the engine; in order."""
        spans = [(asked.from_height, asked.to_height) for asked in self._asked]
        spans += [(waiting.from_height, waiting.to_height) for waiting in self._waiting]
        if self._handed is not None:
            spans.append((self._height + 1, self._handed.to_height))
        return sorted(spans)

    def _guess_end(self, from_height: int) -> int:
        """Up to where an answer will reach, as far as nothing that is there follows."""
        end = self._stride.guess_end(from_height)
        return min([end, *(start - 1 for start, _ in self._covered() if start > from_height)])

    def _grace_ends_ms(self, now_ms: int) -> int | None:
        """Until when a single missing block is waited for; None where none is."""
        target = self._peers.target(now_ms)
        if target <= self._height:
            self._behind_since_ms = None
        elif self._behind_since_ms is None:
            self._behind_since_ms = now_ms
        if target != self._height + 1 or self._behind_since_ms is None:
            return None
        ends_ms = self._behind_since_ms + self._limits.grace_ms
        return ends_ms if ends_ms > now_ms else None

    def _set_timer(self, now_ms: int) -> tuple[SetTimer, ...]:
        times = [asked.due_ms for asked in self._asked]
        if self._handed is not None:
            times.append(self._handed.moved_ms + self._limits.stalled_ms)
        if (grace_ends_ms := self._grace_ends_ms(now_ms)) is not None:
            times.append(grace_ends_ms)
        if (return_ms := self._peers.next_return_ms(self._height, now_ms)) is not None:
            times.append(return_ms)
        at_ms = min(times, default=None)
        if at_ms == self._timer_at_ms:
            return ()
        self._timer_at_ms = at_ms
        return (SetTimer(CATCH_UP_TIMER, None if at_ms is None else max(at_ms - now_ms, 0)),)
