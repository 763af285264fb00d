"""The state tree's top in memory: one flat array of hashes and one of kinds per level.

Level d holds the 2^d subtrees at depth d from left to right: 32 bytes of hash and one byte of kind (EMPTY, LEAF, NODE)
each. Level 0 is the root. Nothing here reads a leaf.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from chain.primitives.state_proof import NODE_TAG
from chain.storage.subtree import NODE, Entry

HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class LevelChanges:
    """New entries of one level: ascending indexes, and for each the hash and the kind."""

    indexes: list[int]
    hashes: list[bytes]
    kinds: list[int]

    def __add__(self, right: "LevelChanges") -> "LevelChanges":
        """Both, where every index of `right` is above all of these."""
        return LevelChanges(self.indexes + right.indexes, self.hashes + right.hashes, self.kinds + right.kinds)


class Level:
    """The entries of one depth."""

    __slots__ = ("hashes", "kinds")

    def __init__(self, hashes: bytearray, kinds: bytearray) -> None:
        self.hashes = hashes
        self.kinds = kinds

    @classmethod
    def empty(cls, depth: int) -> "Level":
        """A level without leaves."""
        return cls(bytearray(HASH_BYTES << depth), bytearray(1 << depth))

    def entry(self, index: int) -> Entry:
        """Kind and hash of one subtree."""
        start = index * HASH_BYTES
        return self.kinds[index], bytes(self.hashes[start : start + HASH_BYTES])

    def put(self, index: int, entry: Entry) -> None:
        """Replaces one entry."""
        self.kinds[index] = entry[0]
        self.hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES] = entry[1]

    def apply(self, changes: LevelChanges) -> None:
        """Replaces the changed entries."""
        hashes, kinds = self.hashes, self.kinds
        for index, digest, kind in zip(changes.indexes, changes.hashes, changes.kinds, strict=True):
            hashes[index << 5 : (index << 5) + 32] = digest
            kinds[index] = kind

    def parent_level(self) -> "Level":
        """The whole level above."""
        hashes, hashed = self.hashes, sha256
        digests: list[bytes | bytearray] = []
        kinds = bytearray(len(self.kinds) // 2)
        lefts, rights = self.kinds[0::2], self.kinds[1::2]
        for index, (left, right) in enumerate(zip(lefts, rights, strict=True)):
            start = index << 6
            if left + right >= NODE:
                kinds[index] = NODE
                digests.append(hashed(NODE_TAG + hashes[start : start + 64]).digest())
            elif left:
                kinds[index] = left
                digests.append(hashes[start : start + 32])
            else:
                kinds[index] = right
                digests.append(hashes[start + 32 : start + 64])
        return Level(bytearray().join(digests), kinds)

    def lift(self, changes: LevelChanges) -> LevelChanges:
        """What `changes` of this level, not applied yet, change in the level above."""
        indexes: list[int] = []
        hashes: list[bytes] = []
        kinds: list[int] = []
        own_hashes, own_kinds, hashed = self.hashes, self.kinds, sha256
        left: bytes | bytearray
        right: bytes | bytearray
        remaining = zip(changes.indexes, changes.hashes, changes.kinds, strict=True)
        following = next(remaining, None)
        while following is not None:
            index, digest, kind = following
            following = next(remaining, None)
            if index & 1:  # The left side is unchanged, or it would have been met before and taken this one along.
                start = (index << 5) - 32
                left, right = own_hashes[start : start + 32], digest
                left_kind, right_kind = own_kinds[index - 1], kind
            elif following is not None and following[0] == index + 1:
                left, right = digest, following[1]
                left_kind, right_kind = kind, following[2]
                following = next(remaining, None)
            else:
                start = (index << 5) + 32
                left, right = digest, own_hashes[start : start + 32]
                left_kind, right_kind = kind, own_kinds[index + 1]
            indexes.append(index >> 1)
            if left_kind + right_kind >= NODE:
                hashes.append(hashed(NODE_TAG + left + right).digest())
                kinds.append(NODE)
            elif left_kind:
                hashes.append(bytes(left))
                kinds.append(left_kind)
            else:
                hashes.append(bytes(right))
                kinds.append(right_kind)
        return LevelChanges(indexes, hashes, kinds)
