"""Keeps this node connected: dials what is due, again after growing pauses, and tries what peers have told."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from chain.node.peers.address_book import AddressBook, Entry
from chain.node.peers.roster import Roster
from chain.node.peers.settings import PeerSettings

_TURN_S: Final = 0.1
_LASTING_S: Final = 10.0
"""A connection that ended sooner counts as a failure, so that two nodes do not connect and part all the time.

What dialling may take at most comes on top."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What came of dialling a URL."""

    is_own: bool = False
    """It leads to this very process."""
    is_settled: bool = False
    """It has answered, and there was no reason to stay."""


class Dialler:
    """Decides when to dial what."""

    def __init__(
        self,
        settings: PeerSettings,
        book: AddressBook,
        roster: Roster,
        visit: Callable[[Entry, bool], Awaitable[Visit]],
    ) -> None:
        """`visit(entry, is_probe)` dials, and lasts as long as the connection."""
        self._settings = settings
        self._book = book
        self._roster = roster
        self._visit = visit
        self._visits: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; then ends all that it has dialled."""
        next_probe_s = time.monotonic() + self._settings.probe_interval_s
        try:
            while True:
                now_s = time.monotonic()
                connected = self._roster.identities
                wanted = self._settings.target_peers - len(self._roster)
                validators = self._roster.validators
                for entry in self._book.due(now_s, connected=connected, validators=validators, wanted=wanted):
                    self._begin(entry, is_probe=False)
                if now_s >= next_probe_s:
                    next_probe_s = now_s + self._settings.probe_interval_s
                    probe = self._book.probe_due(now_s, connected)
                    if probe is not None:
                        self._begin(probe, is_probe=True)
                await asyncio.sleep(_TURN_S)
        finally:
            for task in self._visits:
                task.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)

    def _begin(self, entry: Entry, *, is_probe: bool) -> None:
        entry.is_busy = True
        task = asyncio.create_task(self._follow(entry, is_probe), name=f"dial {entry.url}")
        self._visits.add(task)
        task.add_done_callback(self._visits.discard)

    async def _follow(self, entry: Entry, is_probe: bool) -> None:
        began_s = time.monotonic()
        visit = Visit()
        try:
            visit = await self._visit(entry, is_probe)
        finally:
            now_s = time.monotonic()
            if visit.is_own:
                self._book.found_self(entry)
            has_worked = visit.is_settled or now_s - began_s >= self._settings.handshake_timeout_s + _LASTING_S
            self._book.ended(entry, now_s, has_worked=has_worked, validators=self._roster.validators)
