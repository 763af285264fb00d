"""Hashes of subtrees that are given as sorted leaves, by the rules of `chain.primitives.state_proof`."""

from bisect import bisect_left
from collections.abc import MutableMapping, Sequence
from hashlib import sha256
from typing import Final

from chain.primitives.state_proof import EMPTY_HASH, MAX_DEPTH, NODE_TAG
from chain.storage.leaves import Leaf

EMPTY: Final = 0
LEAF: Final = 1
NODE: Final = 2
"""A subtree's kind: no leaf, exactly one, or more. Two sides make a node exactly when their kinds sum to 2 or more."""

Entry = tuple[int, bytes]
"""A subtree's kind and hash."""

EMPTY_ENTRY: Final[Entry] = (EMPTY, EMPTY_HASH)

_NODE_TAG_AND_EMPTY: Final = NODE_TAG + EMPTY_HASH

MAX_CLOSED_LEAVES: Final = 16
"""A subtree with more leaves has its two sides remembered, so that nobody can make blocks slow by choosing accounts
whose tree keys share a long prefix: without it, each touched key would rescan all of them."""


def bit_at(path: bytes, depth: int) -> int:
    """Which side of a node at `depth` a tree key belongs to: 0 left, 1 right."""
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


def split_at(paths: Sequence[bytes], depth: int) -> int:
    """Where the right side begins among sorted tree keys that share their first `depth` bits."""
    return bisect_left(paths, 1, key=lambda path: bit_at(path, depth))


def split_leaves(leaves: Sequence[Leaf], depth: int) -> tuple[Sequence[Leaf], Sequence[Leaf]]:
    """Both sides of a node at `depth`, from its sorted leaves."""
    middle = bisect_left(leaves, 1, key=lambda leaf: bit_at(leaf[0], depth))
    return leaves[:middle], leaves[middle:]


def combine(left: Entry, right: Entry) -> Entry:
    """The entry above two sides."""
    kinds = left[0] + right[0]
    if kinds >= NODE:
        return NODE, sha256(NODE_TAG + left[1] + right[1]).digest()
    return left if left[0] else right


def subtree_entry(leaves: Sequence[Leaf], depth: int) -> Entry:
    """Kind and hash of a subtree at `depth` from all its leaves, sorted."""
    if not leaves:
        return EMPTY_ENTRY
    if len(leaves) == 1:
        return LEAF, leaves[0][1]
    return NODE, _node_hash(leaves, depth)


def _node_hash(leaves: Sequence[Leaf], depth: int) -> bytes:
    """Hash of a subtree at `depth` with two or more leaves. Nearly always two, so this is the case to be fast in."""
    first = int.from_bytes(leaves[0][0], "big")
    fork = MAX_DEPTH - (first ^ int.from_bytes(leaves[-1][0], "big")).bit_length()
    if len(leaves) == 2:
        digest = sha256(NODE_TAG + leaves[0][1] + leaves[1][1]).digest()
    else:
        left, right = split_leaves(leaves, fork)
        digest = combine(subtree_entry(left, fork + 1), subtree_entry(right, fork + 1))[1]
    for above in range(fork - 1, depth - 1, -1):
        if first >> (MAX_DEPTH - 1 - above) & 1:
            digest = sha256(_NODE_TAG_AND_EMPTY + digest).digest()
        else:
            digest = sha256(NODE_TAG + digest + EMPTY_HASH).digest()
    return digest


def open_subtree(leaves: Sequence[Leaf], depth: int, index: int, opened: MutableMapping[int, Entry | None]) -> Entry:
    """As `subtree_entry`, and remembers in `opened` both sides of every subtree with more than MAX_CLOSED_LEAVES.

    Keys of `opened` are node numbers: the root is 1, the sides of n are 2n and 2n + 1.
    """
    if len(leaves) <= MAX_CLOSED_LEAVES:
        return subtree_entry(leaves, depth)
    left_leaves, right_leaves = split_leaves(leaves, depth)
    left = open_subtree(left_leaves, depth + 1, 2 * index, opened)
    right = open_subtree(right_leaves, depth + 1, 2 * index + 1, opened)
    number = node_number(depth + 1, 2 * index)
    opened[number], opened[number + 1] = left, right
    return combine(left, right)


def node_number(depth: int, index: int) -> int:
    """One integer for a subtree's place; see `open_subtree`."""
    return 1 << depth | index
