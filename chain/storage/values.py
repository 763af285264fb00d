"""A bounded cache of the head's state values, shared by all threads.

Two generations: what is asked for moves to the young one, and when that is full it becomes the old one, whose former
contents go. Only the view that owns the cache, the head's, may read or fill it: a slow reader of an older view could
otherwise put a value back that a block has replaced, and the next block would be executed on it.
"""

from collections.abc import Iterable
from threading import Lock
from typing import Final

Entry = tuple[bytes, bytes | None]
"""A state key's tree key, and its value at the head."""

GENERATION_SIZE: Final = 65_536
"""Six blocks of 5,000 transfers; both generations take about 40 MB."""


class ValueCache:
    """State key → Entry. Reads of `young` need no lock if `owner` is checked after them."""

    def __init__(self) -> None:
        """Empty and without an owner."""
        self.owner: object = None
        self.young: dict[bytes, Entry] = {}
        self._old: dict[bytes, Entry] = {}
        self._lock = Lock()

    def find_old(self, owner: object, state_key: bytes) -> Entry | None:
        """The entry as `owner` sees it, if it is in the old generation; it becomes young."""
        if state_key not in self._old:
            return None
        with self._lock:
            if self.owner is not owner:
                return None
            entry = self.young.get(state_key) or self._old.get(state_key)
            if entry is not None:
                self._put(state_key, entry)
            return entry

    def add(self, owner: object, state_key: bytes, entry: Entry) -> None:
        """Keeps what `owner` has read, if it is still the owner."""
        with self._lock:
            if self.owner is owner:
                self._put(state_key, entry)

    def hand_over(self, owner: object, changed: Iterable[tuple[bytes, Entry]]) -> None:
        """Makes another view the owner, whose values differ from the former owner's by `changed`."""
        with self._lock:
            self.owner = owner  # First, so that a reader who checks the owner afterwards discards what it read.
            self.young.update(changed)
            self._make_room()

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def _put(self, state_key: bytes, entry: Entry) -> None:
        self.young[state_key] = entry
        self._make_room()

    def _make_room(self) -> None:
        if len(self.young) > 2 * GENERATION_SIZE:  # One block of a great many changes, such as a first state.
            self._old, self.young = {}, {}
        elif len(self.young) > GENERATION_SIZE:
            self._old, self.young = self.young, {}
