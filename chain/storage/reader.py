"""Reading what was committed: blocks, results, certificates, locations and indexes, from one consistent snapshot."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import plyvel

from chain.primitives.rejection import Rejected, RejectionReason
from chain.storage.cursor import IndexCursor
from chain.storage.database import closed_error, translate
from chain.storage.keys import FLOOR_KEY, Table, height_key, height_of_key, parse_location

MAX_PAGE_ITEMS: Final = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of an index, and where the next ones begin: None after the last."""

    items: tuple[tuple[bytes, bytes], ...]
    """Keys without the table's byte, and values."""

    next_cursor: bytes | None


class ChainReader(ABC):
    """What a store and each of its views answer. Any thread; unknown things are None; raises StorageError."""

    _path: Path

    @abstractmethod
    def _snapshot_now(self) -> Any:
        """plyvel's snapshot to read from."""

    def block_at(self, height: int) -> bytes | None:
        """The encoded block at a height."""
        return self._read(height_key(Table.BLOCK, height)) if height >= 0 else None

    def height_of(self, block_hash: bytes) -> int | None:
        """The height of a block."""
        value = self._read(Table.HEIGHT_BY_HASH.prefix + block_hash)
        return None if value is None else int.from_bytes(value, "big")

    def block_by_hash(self, block_hash: bytes) -> bytes | None:
        """The encoded block with this hash."""
        height = self.height_of(block_hash)
        return None if height is None else self.block_at(height)

    def results_at(self, height: int) -> bytes | None:
        """The results that were committed with the block."""
        return self._read(height_key(Table.RESULTS, height)) if height >= 0 else None

    def certificate_at(self, height: int) -> bytes | None:
        """The finality certificate over exactly this block."""
        return self._read(height_key(Table.CERTIFICATE, height)) if height >= 0 else None

    def certificate_covering(self, height: int) -> tuple[int, bytes] | None:
        """The block's own certificate or its nearest descendant's, with the height that it is over."""
        start = height_key(Table.CERTIFICATE, max(height, 0))
        for key, value in self._scan(start, Table.CERTIFICATE.end, is_reversed=False):
            return height_of_key(key), value
        return None

    def transaction_location(self, transaction_hash: bytes) -> tuple[int, int] | None:
        """Height and index in the block of a committed transaction."""
        value = self._read(Table.TRANSACTION.prefix + transaction_hash)
        return None if value is None else parse_location(value)

    def undo_at(self, height: int) -> bytes | None:
        """The undo record of a block, while it is kept."""
        return self._read(height_key(Table.UNDO, height))

    def floor(self) -> bytes | None:
        """The consensus engine's record that was committed last."""
        return self._read(FLOOR_KEY)

    def index_get(self, table: Table, key: bytes) -> bytes | None:
        """One entry of an index."""
        return self._read(table.prefix + key)

    def index_page(
        self, table: Table, prefix: bytes = b"", *, cursor: bytes | None = None, limit: int, newest_first: bool = True
    ) -> Page:
        """At most `limit` entries whose keys start with `prefix`, after `cursor`, the next_cursor of the page before.

        Raises Rejected for a cursor that no page of this list gave.
        """
        assert 1 <= limit <= MAX_PAGE_ITEMS
        if cursor is not None and not cursor.startswith(prefix):
            raise Rejected(RejectionReason.MALFORMED, "cursor does not belong to this list", field="cursor")
        start = table.prefix + prefix
        stop = _after_prefix(start)
        if cursor is not None and newest_first:
            stop = table.prefix + cursor
        elif cursor is not None:
            start = table.prefix + cursor + b"\0"
        items: list[tuple[bytes, bytes]] = []
        for key, value in self._scan(start, stop, is_reversed=newest_first):
            if len(items) == limit:
                return Page(tuple(items), items[-1][0])
            items.append((key[1:], value))
        return Page(tuple(items), None)

    def index_cursor(self, table: Table, prefix: bytes) -> IndexCursor:
        """For leaps through the keys that start with `prefix`; close it."""
        start = table.prefix + prefix
        try:
            iterator = self._snapshot_now().iterator(
                start=start, stop=_after_prefix(start), include_value=False, verify_checksums=True
            )
        except plyvel.Error as error:
            raise translate(error, self._path) from None
        except RuntimeError:
            raise closed_error(self._path) from None
        return IndexCursor(self._path, iterator, start)

    def rows(self, table: Table, *, from_key: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys, without the table's byte, and values of a whole table, or from a key on; in order."""
        for key, value in self._scan(table.prefix + from_key, table.end, is_reversed=False):
            yield key[1:], value

    def _read(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._snapshot_now().get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise translate(error, self._path) from None
        except RuntimeError:
            raise closed_error(self._path) from None
        return value

    def _scan(self, start: bytes, stop: bytes, *, is_reversed: bool) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values from `start` up to, not including, `stop`."""
        try:
            with self._snapshot_now().iterator(
                start=start, stop=stop, reverse=is_reversed, verify_checksums=True
            ) as found:
                yield from found
        except plyvel.Error as error:
            raise translate(error, self._path) from None
        except RuntimeError:
            raise closed_error(self._path) from None


def _after_prefix(prefix: bytes) -> bytes:
    """The first key that is greater than all keys with this prefix. Table bytes are below 0xff."""
    shortened = prefix.rstrip(b"\xff")
    return shortened[:-1] + bytes([shortened[-1] + 1])
