"""Connections that have not proven anything yet: few at a time, each address with its share, the oldest makes room.

Where attackers hold every place, a newcomer takes that of the oldest connection of the address with the most: an honest
handshake takes three round trips, and an address opens only so many connections a second.
"""

import asyncio
from collections import Counter, OrderedDict
from typing import Final

from chain.node.peers.bans import address_group, is_loopback
from chain.node.peers.quotas import TokenBucket
from chain.node.peers.settings import PeerSettings, Rate

_MAX_REMEMBERED: Final = 1_024
_LOOPBACK_FACTOR: Final = 20


class Pending:
    """One place; `evicted` is set when the connection must end to make room."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.evicted = asyncio.Event()


class Doors:
    """Places for handshakes in progress."""

    def __init__(self, settings: PeerSettings) -> None:
        self._settings = settings
        self._pending: list[Pending] = []  # The oldest first.
        self._attempts: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pending)

    def enter(self, host: str, now_s: float, *, is_banned: bool) -> Pending | None:
        """A place, or None where this address has had its share. A banned address has one place."""
        group = address_group(host)
        if not self._may_attempt(group, now_s):
            return None
        most = 1 if is_banned else self._settings.max_pending_per_address
        counts = Counter(pending.group for pending in self._pending)
        if not is_loopback(group) and counts[group] >= most:
            self._evict_oldest(group)
        elif len(self._pending) >= self._settings.max_pending:
            counts[group] += 1  # Among equals the newcomer's address makes room.
            self._evict_oldest(max(counts, key=lambda each: (counts[each], each == group)))
        place = Pending(group)
        self._pending.append(place)
        return place

    def leave(self, place: Pending) -> None:
        """Frees a place; more than once does no harm."""
        if place in self._pending:
            self._pending.remove(place)

    def _evict_oldest(self, group: str) -> None:
        oldest = next((pending for pending in self._pending if pending.group == group), self._pending[0])
        self._pending.remove(oldest)
        oldest.evicted.set()

    def _may_attempt(self, group: str, now_s: float) -> bool:
        bucket = self._attempts.pop(group, None)
        if bucket is None:
            rate = self._settings.attempts_per_address
            if is_loopback(group):
                rate = Rate(rate.per_second * _LOOPBACK_FACTOR, rate.burst * _LOOPBACK_FACTOR)
            bucket = TokenBucket(rate, now_s)
        self._attempts[group] = bucket
        if len(self._attempts) > _MAX_REMEMBERED:
            self._attempts.popitem(last=False)
        return bucket.try_take(1, now_s)
