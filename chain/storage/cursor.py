"""Going through the keys of an index in leaps."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import plyvel

from chain.storage.database import closed_error, translate


class IndexCursor:
    """The keys of one index that start with a prefix, in order. One thread; close it, or the snapshot stays in use."""

    def __init__(self, path: Path, iterator: Any, start: bytes) -> None:
        """`iterator` gives keys only, from `start`, the table's byte and the prefix, up to the first key after them."""
        self._path = path
        self._iterator = iterator
        self._start = start

    def seek(self, rest: bytes) -> bytes | None:
        """The first key from the prefix and `rest` on, without the prefix; None after the last. Raises StorageError."""
        try:
            self._iterator.seek(self._start + rest)
            key: bytes | None = next(self._iterator, None)
        except plyvel.Error as error:
            raise translate(error, self._path) from None
        except RuntimeError:
            raise closed_error(self._path) from None
        return None if key is None else key[len(self._start) :]

    def close(self) -> None:
        """Frees the iterator; once is enough."""
        self._iterator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
