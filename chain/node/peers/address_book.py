"""Where peers may be found, how often that has worked, and when to try again; within bounds.

Clocks are passed in: monotonic seconds.
"""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from chain.node.peers.messages import MAX_URLS
from chain.node.peers.settings import PeerSettings
from chain.node.peers.urls import Reach, host_of, is_sane_url, normalized, reach_of
from chain.primitives.types import Address

_MAX_UNVERIFIED: Final = 64
_MAX_VERIFIED: Final = 256
_UNVERIFIED_ATTEMPTS: Final = 3
_VERIFIED_ATTEMPTS: Final = 20

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")


@dataclass(slots=True, eq=False)
class Entry:
    """One URL."""

    url: str
    is_pinned: bool = False
    """From the network file or the operator: never forgotten."""
    expected: Address | None = None
    """Whom the network file names here."""
    identity: Address | None = None
    """Who answered last."""
    is_verified: bool = False
    """Somebody of this network has answered."""
    least_reach: Reach = Reach.LOOPBACK
    """How private an address it may lead to."""
    teller: str = ""
    """The address group of the peer that told it."""
    failures: int = 0
    next_attempt_s: float = 0.0
    is_busy: bool = False
    """Being dialled, or connected."""
    is_own: bool = False


class AddressBook:
    """All known URLs."""

    def __init__(self, settings: PeerSettings, *, own_address: Address, is_validator: bool) -> None:
        self._settings = settings
        self._own_address = own_address
        self._is_validator = is_validator
        self._entries: dict[str, Entry] = {}
        self._random = random.Random()
        self.has_changed = False
        """Whether `verified_urls` differ from what was saved; whoever saves resets it."""

    def __len__(self) -> int:
        return len(self._entries)

    def pin(self, url: str, expected: Address | None = None) -> None:
        """Adds a URL of the network file or the operator."""
        written, url = url, normalized(url)
        if not url:
            if written:
                _log.warning("peer_url_unusable", url=written)
            return
        entry = self._entries.setdefault(url, Entry(url))
        entry.is_pinned = True
        entry.expected = expected or entry.expected
        own = normalized(self._settings.listen_url) if self._settings.listen_url else ""
        entry.is_own = url == own or (self._is_validator and expected == self._own_address)

    def remember(self, urls: Iterable[str]) -> None:
        """Adds what an earlier run has verified."""
        for url in urls:
            if is_sane_url(url) and len(self._entries) < _MAX_VERIFIED:
                self._entries.setdefault(url, Entry(url)).is_verified = True

    def tell(self, url: str, *, teller_host: str, teller: str) -> bool:
        """Takes a URL that a peer has told; False where it is not acceptable, known, or there is no room."""
        if url in self._entries or not is_sane_url(url):
            return False
        least_reach = reach_of(teller_host)
        if reach_of(host_of(url)) < least_reach:
            return False
        unverified = [entry for entry in self._entries.values() if not entry.is_verified and not entry.is_pinned]
        if sum(entry.teller == teller for entry in unverified) >= _MAX_UNVERIFIED // 4:
            return False
        if len(unverified) >= _MAX_UNVERIFIED:
            del self._entries[self._random.choice(unverified).url]
        self._entries[url] = Entry(url, least_reach=least_reach, teller=teller)
        return True

    def due(
        self, now_s: float, *, connected: Collection[Address], validators: Collection[Address], wanted: int
    ) -> list[Entry]:
        """What to dial now to stay: pinned URLs and validators', and `wanted` others that have worked before."""
        ready = [entry for entry in self._entries.values() if self._is_ready(entry, now_s, connected)]
        must = [entry for entry in ready if entry.is_pinned or entry.identity in validators]
        may = [entry for entry in ready if entry.is_verified and entry not in must]
        self._random.shuffle(may)
        return must + may[: max(0, wanted)]

    def probe_due(self, now_s: float, connected: Collection[Address]) -> Entry | None:
        """One URL that was told and never tried with success."""
        ready = [
            entry
            for entry in self._entries.values()
            if not entry.is_verified and not entry.is_pinned and self._is_ready(entry, now_s, connected)
        ]
        return self._random.choice(ready) if ready else None

    def answered(self, entry: Entry, identity: Address) -> None:
        """Somebody of this network is there. Where too many URLs have worked, another one is forgotten."""
        if not entry.is_verified:
            self.has_changed = True
            others = [each for each in self._entries.values() if each.is_verified and not each.is_pinned]
            idle = [each for each in others if not each.is_busy]
            if len(others) >= _MAX_VERIFIED and idle:
                del self._entries[self._random.choice(idle).url]
        entry.identity = identity
        entry.is_verified = True

    def ended(self, entry: Entry, now_s: float, *, has_worked: bool, validators: Collection[Address]) -> None:
        """The attempt or the connection is over: says when the next one is due, or forgets the URL."""
        entry.is_busy = False
        entry.failures = 0 if has_worked else entry.failures + 1
        most = _VERIFIED_ATTEMPTS if entry.is_verified else _UNVERIFIED_ATTEMPTS
        if entry.failures >= most and not entry.is_pinned:
            self._entries.pop(entry.url, None)
            self.has_changed = self.has_changed or entry.is_verified
        is_validator = (entry.expected or entry.identity) in validators
        longest_s = self._settings.retry_last_validator_s if is_validator else self._settings.retry_last_s
        pause_s = min(self._settings.retry_first_s * 2.0 ** min(entry.failures, 30), longest_s)
        entry.next_attempt_s = now_s + pause_s * self._random.uniform(0.5, 1.0)

    def found_self(self, entry: Entry) -> None:
        """The URL leads to this very process."""
        entry.is_own = True

    def verified_urls(self) -> list[str]:
        """What has worked, to be saved."""
        return [entry.url for entry in self._entries.values() if entry.is_verified and not entry.is_own]

    def urls_for(self, host: str) -> list[str]:
        """A choice of what has worked, for a peer at this address: nothing more private than it is itself."""
        least_reach = reach_of(host)
        urls = [url for url in self.verified_urls() if is_sane_url(url) and reach_of(host_of(url)) >= least_reach]
        self._random.shuffle(urls)
        return urls[:MAX_URLS]

    def _is_ready(self, entry: Entry, now_s: float, connected: Collection[Address]) -> bool:
        if entry.is_busy or entry.is_own or now_s < entry.next_attempt_s:
            return False
        return entry.expected not in connected and entry.identity not in connected
