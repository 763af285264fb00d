"""The state tree (DESIGN §6): its top in memory, updated once per block for the touched keys, and paths through it.

The lowest level in memory cuts the tree into *pages*, about one leaf each, so the depth of the cut follows the number
of leaves. `pages` says what changes make of a page, `levels` carries that up to the root.

Cutting one level deeper would need all leaves at once. So it goes on in steps, some pages after each block: pages left
of `frontier` have been cut already.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from chain.primitives.state_proof import MAX_DEPTH
from chain.primitives.types import Hash32
from chain.storage.leaves import Leaf, LeafScanner, subtree_start
from chain.storage.levels import HASH_BYTES, Level, LevelChanges
from chain.storage.pages import PageChanges
from chain.storage.subtree import EMPTY, NODE, Entry, bit_at, node_number, open_subtree, split_leaves, subtree_entry


@dataclass(frozen=True, slots=True)
class TreeShape:
    """How the depth of the pages follows the number of leaves. Never matters to a root or a proof."""

    min_depth: int = 8

    max_depth: int = 26
    """2^26 pages take 4.4 GB; with more leaves, pages grow. At most 31: a page's index is in 4 bytes of a key."""

    shrink_factor: int = 8
    """A level is added when there are as many leaves as pages, and given up when this many times fewer."""

    rebuild_factor: int = 4
    """With more leaves per page than this (after a block of millions of changes), the top is rebuilt at once."""

    deepening_steps: int = 64
    min_pages_per_step: int = 4096
    """A level is added over at most so many blocks, and at least so many pages at a time: about 20 ms."""


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What changes make of the tree; it changes nothing until it is adopted.

    `generation` is the tree's whose shape it was computed for; `levels` go from the root down.
    """

    root: Hash32
    leaf_count: int
    generation: int
    levels: list[LevelChanges] = field(repr=False)
    opened: dict[int, Entry | None] = field(repr=False)
    changes: Mapping[bytes, bytes | None] = field(repr=False)

    def entry(self, depth: int, index: int) -> Entry | None:
        """The new entry of one subtree of the top; None where it does not change."""
        changes = self.levels[depth]
        position = bisect_left(changes.indexes, index)
        if position == len(changes.indexes) or changes.indexes[position] != index:
            return None
        return changes.kinds[position], changes.hashes[position]

    def leaves(self, depth: int, index: int) -> list[Leaf]:
        """The changed leaves within one subtree, those that stay."""
        shift = MAX_DEPTH - depth
        return [
            (path, digest)
            for path, digest in self.changes.items()
            if digest is not None and int.from_bytes(path, "big") >> shift == index
        ]


_DEFAULT_SHAPE: Final = TreeShape()


class StateTree:
    """The state tree over leaves that a LeafScanner reads. Not thread-safe: the store locks."""

    def __init__(self, shape: TreeShape = _DEFAULT_SHAPE) -> None:
        """A tree without leaves."""
        self.shape = shape
        self.leaf_count = 0
        self.generation = 0
        """Changes whenever an update that was computed before may no longer fit the tree's shape in memory."""
        self._levels = [Level.empty(depth) for depth in range(shape.min_depth + 1)]
        self._opened: dict[int, Entry] = {}
        self._frontier = 0

    @classmethod
    def build(cls, scanner: LeafScanner, expected_leaves: int, shape: TreeShape = _DEFAULT_SHAPE) -> "StateTree":
        """Reads every leaf once; `expected_leaves` only chooses the depth."""
        tree = cls(shape)
        tree._rebuild(scanner, expected_leaves)
        return tree

    @property
    def root(self) -> Hash32:
        """The state root."""
        return Hash32(self._levels[0].entry(0)[1])

    @property
    def depth(self) -> int:
        """Depth of the pages."""
        return len(self._levels) - 1 - (self._frontier > 0)

    @property
    def memory_bytes(self) -> int:
        """What the levels in memory occupy."""
        return sum(len(level.kinds) for level in self._levels) * (HASH_BYTES + 1)

    def compute(
        self, changes: Mapping[bytes, bytes | None], present: Collection[bytes], scanner: LeafScanner
    ) -> TreeUpdate:
        """What the tree becomes when the leaves in `changes` (tree key → leaf hash, None: no leaf) are so.

        `present` are those of the changed tree keys that are leaves now; `scanner` reads the leaves as they are now.
        """
        paths = sorted(changes)
        depth = self.depth
        split = bisect_left(paths, subtree_start(depth, self._frontier))
        pages = PageChanges(changes, present, scanner, self._opened)
        levels: list[LevelChanges] = []
        changed = LevelChanges([], [], [])
        if self._frontier:
            levels.append(pages.new_entries(self._levels[depth + 1], depth + 1, paths[:split]))
            changed = self._levels[depth + 1].lift(levels[0])
        levels.append(changed + pages.new_entries(self._levels[depth], depth, paths[split:]))
        for level in self._levels[depth:0:-1]:
            levels.append(level.lift(levels[-1]))
        levels.reverse()
        root = Hash32(levels[0].hashes[0]) if paths else self.root
        leaf_count = self.leaf_count - len(present) + sum(1 for digest in changes.values() if digest is not None)
        return TreeUpdate(root, leaf_count, self.generation, levels, pages.opened, changes)

    def adopt(self, update: TreeUpdate) -> None:
        """Makes an update true. It must be of this generation, and its leaves are in the database by now or soon."""
        assert update.generation == self.generation
        for level, changes in zip(self._levels, update.levels, strict=True):
            level.apply(changes)
        for number, entry in update.opened.items():
            if entry is None:
                self._opened.pop(number, None)
            else:
                self._opened[number] = entry
        if update.opened:
            self.generation += 1
        self.leaf_count = update.leaf_count

    def adapt_depth(self, scanner: LeafScanner) -> None:
        """Takes one step towards a depth that suits the number of leaves; `scanner` reads them as the tree has them."""
        shape, depth, pages = self.shape, self.depth, 1 << self.depth
        if self.leaf_count > shape.rebuild_factor * pages and depth < shape.max_depth:
            self._rebuild(scanner, self.leaf_count)
        elif self._frontier or (self.leaf_count > pages and depth < shape.max_depth):
            self._deepen_step(scanner)
        elif self.leaf_count * shape.shrink_factor < pages and depth > shape.min_depth:
            self._levels.pop()
            self._opened.clear()
        else:
            return
        self.generation += 1

    def _deepen_step(self, scanner: LeafScanner) -> None:
        depth, first = self.depth, self._frontier
        if first == 0:
            self._levels.append(Level.empty(depth + 1))
        upper, lower = self._levels[depth], self._levels[depth + 1]
        pages = 1 << depth
        last = min(pages, first + max(self.shape.min_pages_per_step, pages // self.shape.deepening_steps))
        for page in range(first, last):
            if upper.kinds[page] == EMPTY:
                continue
            number = node_number(depth + 1, 2 * page)
            if number in self._opened:
                left, right = self._opened.pop(number), self._opened.pop(number + 1)
            else:
                sides = split_leaves(scanner.leaves(depth, page), depth)
                left, right = subtree_entry(sides[0], depth + 1), subtree_entry(sides[1], depth + 1)
            lower.put(2 * page, left)
            lower.put(2 * page + 1, right)
        self._frontier = last % pages

    def _rebuild(self, scanner: LeafScanner, expected_leaves: int) -> None:
        depth = min(max((expected_leaves - 1).bit_length(), self.shape.min_depth), self.shape.max_depth)
        level, opened, count = Level.empty(depth), dict[int, Entry | None](), 0
        leaves: list[Leaf] = []
        page, shift = 0, 32 - depth
        for leaf in scanner.all_leaves():
            count += 1
            index = int.from_bytes(leaf[0][:4], "big") >> shift
            if index != page:
                level.put(page, open_subtree(leaves, depth, page, opened))
                leaves, page = [], index
            leaves.append(leaf)
        level.put(page, open_subtree(leaves, depth, page, opened))
        levels = [level]
        while len(levels[-1].kinds) > 1:
            levels.append(levels[-1].parent_level())
        levels.reverse()
        self._levels, self._frontier, self.leaf_count = levels, 0, count
        self._opened = {number: entry for number, entry in opened.items() if entry is not None}

    def locate(
        self, path: bytes, scanner: LeafScanner, update: TreeUpdate | None = None
    ) -> tuple[tuple[Hash32, ...], bytes | None]:
        """Siblings along a path from the root down, and the tree key of the leaf where it ends, None if in no leaf.

        With an update of this generation, as the tree would be after it; `scanner` reads the leaves before it.
        """
        assert update is None or update.generation == self.generation
        siblings: list[Hash32] = []
        depth, index, kind = 0, 0, self._entry(0, 0, update)[0]
        while kind == NODE and (sides := self._sides(depth, index, update)) is not None:
            side = bit_at(path, depth)
            siblings.append(Hash32(sides[1 - side][1]))
            depth, index, kind = depth + 1, 2 * index + side, sides[side][0]
        leaves: Sequence[Leaf] = (
            [] if kind == EMPTY else scanner.leaves(depth, index, without=update.changes if update else ())
        )
        if update and kind != EMPTY:
            leaves = sorted([*leaves, *update.leaves(depth, index)])
        while len(leaves) > 1:
            halves = split_leaves(leaves, depth)
            side, depth = bit_at(path, depth), depth + 1
            siblings.append(Hash32(subtree_entry(halves[1 - side], depth)[1]))
            leaves = halves[side]
        return tuple(siblings), leaves[0][0] if leaves else None

    def _entry(self, depth: int, index: int, update: TreeUpdate | None) -> Entry:
        changed = update.entry(depth, index) if update else None
        return changed or self._levels[depth].entry(index)

    def _sides(self, depth: int, index: int, update: TreeUpdate | None) -> tuple[Entry, Entry] | None:
        """Both sides of a node, None where they are neither in the levels nor opened."""
        if depth < self.depth or (depth == self.depth and index < self._frontier):
            return self._entry(depth + 1, 2 * index, update), self._entry(depth + 1, 2 * index + 1, update)
        number = node_number(depth + 1, 2 * index)
        if update and number in update.opened:
            left, right = update.opened[number], update.opened[number + 1]
            return None if left is None or right is None else (left, right)
        if number in self._opened:
            return self._opened[number], self._opened[number + 1]
        return None
