"""The committed state after one block: what the rules read, and the base of what is prepared next."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import plyvel

from chain.storage.database import closed_error, translate
from chain.storage.keys import Table
from chain.storage.leaves import LeafScanner
from chain.storage.reader import ChainReader
from chain.storage.records import Head
from chain.storage.values import Entry, ValueCache

_STATE: bytes = Table.STATE.prefix


class StateView(ChainReader):
    """Everything as it was when `head` had just been committed; later blocks do not change it. Any thread."""

    def __init__(self, path: Path, snapshot: Any, head: Head | None, values: ValueCache) -> None:
        """`head` is None before the genesis block."""
        self.head = head
        self._path = path
        self._snapshot = snapshot
        self._values = values

    def get(self, state_key: bytes) -> bytes | None:
        """The value under a state key, None where there is none."""
        return self.entry(state_key)[1]

    def entry(self, state_key: bytes) -> Entry:
        """A state key's tree key and value."""
        values = self._values
        cached = values.young.get(state_key)
        if cached is not None and values.owner is self:  # In this order: see ValueCache.hand_over.
            return cached
        cached = values.find_old(self, state_key)
        if cached is not None:
            return cached
        path = sha256(state_key).digest()
        entry = path, self.value_at(path)
        values.add(self, state_key, entry)
        return entry

    def value_at(self, path: bytes) -> bytes | None:
        """The value under a tree key."""
        return self._read(_STATE + path)

    def scanner(self) -> LeafScanner:
        """Reads the leaves of this state in order."""
        try:
            return LeafScanner(self._snapshot.raw_iterator(verify_checksums=True))
        except plyvel.Error as error:
            raise translate(error, self._path) from None
        except RuntimeError:
            raise closed_error(self._path) from None

    def _snapshot_now(self) -> Any:
        return self._snapshot
