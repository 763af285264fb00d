"""The state tree's leaves as LevelDB keeps them: sorted by tree key, values only, hashed when they are read."""

from collections.abc import Container, Iterator
from hashlib import sha256
from typing import Any, Final

from chain.primitives.state_proof import LEAF_TAG
from chain.storage.keys import Table

Leaf = tuple[bytes, bytes]
"""A leaf's tree key and its leaf hash, 32 bytes each."""

_PREFIX: Final = Table.STATE.prefix
_FIRST_OF_NEXT_TABLE: Final = Table.STATE.end


class LeafScanner:
    """Reads ranges of leaves from one consistent state of the database; cheapest when ranges ascend.

    For one thread. Ranges are named by a subtree's depth and index: its place among the 2^depth from left to right.
    """

    def __init__(self, raw_iterator: Any) -> None:
        """`raw_iterator` is plyvel's, on a database or a snapshot."""
        self._iterator = raw_iterator

    def leaves(self, depth: int, index: int, without: Container[bytes] = ()) -> list[Leaf]:
        """The leaves of a subtree in order, except those whose tree keys are in `without`."""
        iterator, prefix, hashed = self._iterator, _PREFIX, sha256
        iterator.seek(prefix + subtree_start(depth, index))
        end = subtree_end(depth, index)
        found: list[Leaf] = []
        while iterator.valid():
            key = iterator.key()
            if key >= end:
                break
            path = key[1:]
            if path not in without:
                value_hash = hashed(iterator.value()).digest()
                found.append((path, hashed(LEAF_TAG + path + value_hash).digest()))
            iterator.next()
        return found

    def all_leaves(self) -> Iterator[Leaf]:
        """Every leaf of the state in order, one at a time."""
        iterator, hashed = self._iterator, sha256
        iterator.seek(_PREFIX)
        while iterator.valid():
            key = iterator.key()
            if key >= _FIRST_OF_NEXT_TABLE:
                break
            path = key[1:]
            yield path, hashed(LEAF_TAG + path + hashed(iterator.value()).digest()).digest()
            iterator.next()


def subtree_start(depth: int, index: int) -> bytes:
    """The lowest tree key of a subtree; trailing zero bytes may be missing."""
    octets = (depth + 7) // 8
    return (index << (8 * octets - depth)).to_bytes(octets, "big")


def subtree_end(depth: int, index: int) -> bytes:
    """The database key that follows the last leaf of a subtree."""
    if index + 1 == 1 << depth:
        return _FIRST_OF_NEXT_TABLE
    return _PREFIX + subtree_start(depth, index + 1)
