"""Roots and proofs of ordered lists: a binary SHA-256 tree with tagged leaves and nodes, bound to the count.

leaf = H(0‖item), node = H(1‖left‖right), an odd last node moves up unchanged, root = H(2‖count as 8 bytes‖top), and the
top of an empty list is 32 zero bytes. The tags keep a node from passing for a leaf, the count a list from passing for a
shorter one.
"""

from collections.abc import Sequence

from chain.primitives.hashing import sha256
from chain.primitives.types import ZERO_HASH, Hash32


def _leaves(items: Sequence[bytes]) -> list[Hash32]:
    return [sha256(b"\0" + item) for item in items]


def _parents(level: list[Hash32]) -> list[Hash32]:
    parents = [sha256(b"\1" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        parents.append(level[-1])
    return parents


def _root(count: int, top: Hash32) -> Hash32:
    return sha256(b"\2" + count.to_bytes(8, "big") + top)


def list_root(items: Sequence[bytes]) -> Hash32:
    """Root of an ordered list of byte strings."""
    level = _leaves(items)
    while len(level) > 1:
        level = _parents(level)
    return _root(len(items), level[0] if level else ZERO_HASH)


def list_proof(items: Sequence[bytes], index: int) -> tuple[Hash32, ...]:
    """Sibling hashes from the leaf up, that prove `items[index]` against `list_root(items)`."""
    assert 0 <= index < len(items)
    level = _leaves(items)
    siblings: list[Hash32] = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level, index = _parents(level), index // 2
    return tuple(siblings)


def verify_list_proof(root: Hash32, item: bytes, index: int, count: int, siblings: Sequence[Hash32]) -> bool:
    """Whether `item` stands at `index` of the list of `count` items with this root."""
    if not 0 <= index < count < 2**63 or any(len(sibling) != 32 for sibling in siblings):
        return False
    node = sha256(b"\0" + item)
    remaining = iter(siblings)
    width = count
    while width > 1:
        if index ^ 1 < width:
            sibling = next(remaining, None)
            if sibling is None:
                return False
            node = sha256(b"\1" + (sibling + node if index % 2 else node + sibling))
        index, width = index // 2, (width + 1) // 2
    return next(remaining, None) is None and _root(count, node) == root
