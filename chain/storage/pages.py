"""What a set of changes makes of the pages: the subtrees where the part of the tree in memory ends.

A page's leaves are read from the database only when its entry and the changes do not say what it holds: a page that was
empty, or whose only leaf is among the changed ones, needs no reading.

Pages of many leaves exist only when somebody chooses accounts whose tree keys share a long prefix. So that each touched
key does not rescan them all, both sides of every larger subtree are remembered: it is *opened* (see `open_subtree`).
Opened subtrees always hold two or more leaves, and below a subtree that is not opened none is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from chain.storage.leaves import Leaf, LeafScanner
from chain.storage.levels import Level, LevelChanges
from chain.storage.subtree import (
    EMPTY,
    EMPTY_ENTRY,
    LEAF,
    NODE,
    Entry,
    combine,
    node_number,
    open_subtree,
    split_at,
)


@dataclass(frozen=True, slots=True)
class PageChanges:
    """One computation over the pages; it changes nothing but its own `opened`."""

    changes: Mapping[bytes, bytes | None]
    """Tree key → new leaf hash, or None where the leaf goes."""

    present: Collection[bytes]
    """Those of the changed tree keys that are leaves now."""

    scanner: LeafScanner
    """Reads the leaves as they are now."""

    opened_now: Mapping[int, Entry]
    """Sides of opened subtrees as they are now, by node number."""

    opened: dict[int, Entry | None] = field(default_factory=dict)
    """Sides of opened subtrees as they will be; None where a subtree is no longer opened."""

    def new_entries(self, level: Level, depth: int, paths: Sequence[bytes]) -> LevelChanges:
        """New entries of those pages, at `depth`, that the sorted tree keys `paths` lie in."""
        shift = 32 - depth
        pages = [int.from_bytes(path[:4], "big") >> shift for path in paths]
        changes, present, kinds_now = self.changes, self.present, level.kinds
        indexes: list[int] = []
        hashes: list[bytes] = []
        kinds: list[int] = []
        start, count = 0, len(paths)
        while start < count:
            page, path = pages[start], paths[start]
            end = start + 1
            while end < count and pages[end] == page:
                end += 1
            kind = kinds_now[page]
            indexes.append(page)
            if end == start + 1 and (kind == EMPTY or (kind == LEAF and path in present)):
                leaf_hash = changes[path]
                hashes.append(leaf_hash or EMPTY_ENTRY[1])
                kinds.append(LEAF if leaf_hash else EMPTY)
            else:
                new_kind, digest = self._page_entry(kind, depth, page, paths[start:end])
                hashes.append(digest)
                kinds.append(new_kind)
            start = end
        return LevelChanges(indexes, hashes, kinds)

    def _page_entry(self, kind: int, depth: int, page: int, touched: Sequence[bytes]) -> Entry:
        if kind == EMPTY or (kind == LEAF and any(path in self.present for path in touched)):
            return self._closed_entry(depth, page, touched, [])
        return self._subtree_entry(depth, page, touched)

    def _subtree_entry(self, depth: int, index: int, touched: Sequence[bytes]) -> Entry:
        """New entry of a subtree that holds all `touched` paths and maybe more leaves."""
        number = node_number(depth + 1, 2 * index)
        if number not in self.opened_now:
            return self._closed_entry(depth, index, touched, self.scanner.leaves(depth, index, without=self.changes))
        left, right = self.opened_now[number], self.opened_now[number + 1]
        middle = split_at(touched, depth)
        if middle > 0:
            left = self._subtree_entry(depth + 1, 2 * index, touched[:middle])
        if middle < len(touched):
            right = self._subtree_entry(depth + 1, 2 * index + 1, touched[middle:])
        entry = combine(left, right)
        is_opened = entry[0] == NODE
        self.opened[number] = left if is_opened else None
        self.opened[number + 1] = right if is_opened else None
        return entry

    def _closed_entry(self, depth: int, index: int, touched: Sequence[bytes], unchanged: list[Leaf]) -> Entry:
        """New entry of a subtree that is not opened now, from its leaves."""
        leaves = unchanged + [(path, digest) for path in touched if (digest := self.changes[path]) is not None]
        leaves.sort()
        return open_subtree(leaves, depth, index, self.opened)
