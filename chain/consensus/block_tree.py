"""The blocks above the committed head: which are here, which have been executed, how they hang together."""

from collections.abc import Iterator
from enum import Enum, auto

from chain.consensus.effects import PeerId
from chain.primitives.block import Block, Header
from chain.primitives.types import Hash32


class BlockState(Enum):
    """How far a block is."""

    KNOWN = auto()
    EXECUTING = auto()
    VALID = auto()
    INVALID = auto()


class TreeBlock:
    """One uncommitted block."""

    __slots__ = ("block", "is_recorded", "source", "state", "view")

    def __init__(self, block: Block, *, source: PeerId | None, view: int, state: BlockState) -> None:
        self.block = block
        self.source = source
        self.view = view
        """The newest view that it was wanted in."""
        self.state = state
        self.is_recorded = False
        """Whether the journal holds it."""

    @property
    def hash(self) -> Hash32:
        """The block's hash."""
        return self.block.header.hash

    @property
    def parent_hash(self) -> Hash32:
        """The parent block's hash."""
        return self.block.header.parent_hash


class BlockTree:
    """Uncommitted blocks by hash, and the committed head that they stand on."""

    def __init__(self, committed: Header) -> None:
        self.committed = committed
        self._blocks: dict[Hash32, TreeBlock] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def get(self, block_hash: Hash32) -> TreeBlock | None:
        """An uncommitted block."""
        return self._blocks.get(block_hash)

    def header(self, block_hash: Hash32) -> Header | None:
        """Header of an uncommitted block or of the committed head."""
        if block_hash == self.committed.hash:
            return self.committed
        known = self._blocks.get(block_hash)
        return known.block.header if known is not None else None

    def is_executed(self, block_hash: Hash32) -> bool:
        """Whether a block can be built or executed on it."""
        known = self._blocks.get(block_hash)
        return block_hash == self.committed.hash or (known is not None and known.state is BlockState.VALID)

    def add(
        self, block: Block, *, source: PeerId | None, view: int, state: BlockState = BlockState.KNOWN
    ) -> TreeBlock | None:
        """Takes a block in, or finds it here; None where it can no more descend from the committed head."""
        block_hash = block.header.hash
        known = self._blocks.get(block_hash)
        if known is None:
            if block.header.height <= self.committed.height:
                return None
            known = self._blocks[block_hash] = TreeBlock(block, source=source, view=view, state=state)
        known.view = max(known.view, view)
        return known

    def remove(self, block_hash: Hash32) -> None:
        """Forgets a block whose body was wrong."""
        self._blocks.pop(block_hash, None)

    def path_to(self, block_hash: Hash32) -> tuple[list[TreeBlock], Hash32 | None]:
        """The blocks from the committed head (without it) up to this one, and the ancestor that is missing, if any.

        A block that descends from another block of the committed height or below has no path: its path is empty and
        what is missing is nothing that could help.
        """
        path: list[TreeBlock] = []
        while block_hash != self.committed.hash:
            known = self._blocks.get(block_hash)
            if known is None:
                if path and path[-1].block.header.height <= self.committed.height + 1:
                    return [], None  # It hangs on a sibling of the committed head, or on an ancestor.
                path.reverse()
                return path, block_hash
            path.append(known)
            block_hash = known.parent_hash
        path.reverse()
        return path, None

    def commit(self, block_hash: Hash32) -> list[Hash32]:
        """Moves the head to a child of it; returns the blocks that can never be final any more."""
        committed = self._blocks.pop(block_hash)
        assert committed.parent_hash == self.committed.hash
        self.committed = committed.block.header
        dead = [each.hash for each in self._blocks.values() if self._is_orphaned(each)]
        for each in dead:
            del self._blocks[each]
        return dead

    def _is_orphaned(self, block: TreeBlock) -> bool:
        """Whether its line leads past the head. Where the line is broken, nobody knows yet."""
        while (parent := self._blocks.get(block.parent_hash)) is not None:
            block = parent
        return block.block.header.height <= self.committed.height + 1 and block.parent_hash != self.committed.hash

    def ancestry(self, block_hash: Hash32) -> Iterator[TreeBlock]:
        """An uncommitted block and its ancestors, downward, as far as they are here."""
        while (known := self._blocks.get(block_hash)) is not None:
            yield known
            block_hash = known.parent_hash

    def clear(self) -> list[Hash32]:
        """Forgets all uncommitted blocks."""
        dead, self._blocks = list(self._blocks), {}
        return dead

    def forget_before(self, view: int, kept: set[Hash32]) -> list[Hash32]:
        """Drops blocks last wanted before a view that are not to be kept, nor voted for, nor below what was voted for.

        An executed block keeps the execution of its ancestors useful: executed anew, they would not be its parents.
        """
        recorded = (each.hash for each in self._blocks.values() if each.is_recorded)
        kept = kept | {ancestor.hash for each in recorded for ancestor in self.ancestry(each)}
        dead = [each.hash for each in self._blocks.values() if each.view < view and each.hash not in kept]
        for forgotten in dead:
            del self._blocks[forgotten]
        # Nobody can finish executing what has lost its parent; it begins anew if it is ever wanted again.
        for each in self._blocks.values():
            if each.state is BlockState.EXECUTING and not self._has_parent(each):
                each.state = BlockState.KNOWN
        return dead

    def _has_parent(self, block: TreeBlock) -> bool:
        return block.parent_hash == self.committed.hash or block.parent_hash in self._blocks
