"""The state tree's hashing rules, and proofs of what the state holds (DESIGN §6).

The tree is a compact sparse Merkle tree over SHA-256, defined without regard to how it is stored:

- a state key (one byte of domain, then the raw key) stands at the path `sha256(state key)`, most significant bit first;
- a leaf hashes to `H(0 ‖ path ‖ H(value))`, a node to `H(1 ‖ left ‖ right)`, an empty subtree is 32 zero bytes;
- a subtree with one leaf is that leaf; one with two or more is always a node, even beside an empty side.

So a path ends either in a leaf or in an empty place. A key is present when its path ends in its own leaf, and absent
when it ends in an empty place or in another key's leaf.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_HASH, Hash32

LEAF_TAG: Final = b"\0"
NODE_TAG: Final = b"\1"
EMPTY_HASH: Final = ZERO_HASH
MAX_DEPTH: Final = 256
"""A path has this many bits, so no proof has more siblings."""


def tree_key(state_key: bytes) -> Hash32:
    """The path of a state key: 256 bits, the most significant first."""
    return sha256(state_key)


def leaf_hash(path: bytes, value_hash: bytes) -> Hash32:
    """Hash of a leaf from its path and the SHA-256 of its value."""
    return sha256(LEAF_TAG + path + value_hash)


def node_hash(left: bytes, right: bytes) -> Hash32:
    """Hash of a node from the hashes of its two sides."""
    return sha256(NODE_TAG + left + right)


@dataclass(frozen=True, slots=True)
class OtherLeaf:
    """A leaf that occupies the place where an absent key's path ends."""

    tree_key: Hash32
    value_hash: Hash32


@dataclass(frozen=True, slots=True)
class StateProof:
    """The siblings along one path from the root downward, and the other leaf at its end where there is one."""

    siblings: tuple[Hash32, ...]
    other_leaf: OtherLeaf | None = None

    def to_object(self) -> dict[str, object]:
        """The JSON form: `siblings` as hex strings and `other_leaf` as an object or null."""
        other = self.other_leaf
        return {
            "siblings": [to_hex(sibling) for sibling in self.siblings],
            "other_leaf": other and {"tree_key": to_hex(other.tree_key), "value_hash": to_hex(other.value_hash)},
        }

    @classmethod
    def from_object(cls, document: object) -> "StateProof":
        """The inverse of `to_object`; raises Rejected for anything else."""
        fields = _object_of(document, {"siblings", "other_leaf"}, "proof")
        siblings = fields["siblings"]
        if not isinstance(siblings, list) or len(siblings) > MAX_DEPTH:
            raise Rejected(RejectionReason.TOO_LARGE, f"siblings must be a list of at most {MAX_DEPTH}")
        other_leaf = None
        if fields["other_leaf"] is not None:
            leaf = _object_of(fields["other_leaf"], {"tree_key", "value_hash"}, "other_leaf")
            other_leaf = OtherLeaf(
                _hash_of(leaf["tree_key"], "other_leaf.tree_key"),
                _hash_of(leaf["value_hash"], "other_leaf.value_hash"),
            )
        return cls(tuple(_hash_of(sibling, "siblings") for sibling in siblings), other_leaf)


def _object_of(document: object, names: set[str], field: str) -> dict[str, object]:
    if not isinstance(document, dict) or set(document) != names:
        raise Rejected(
            RejectionReason.MALFORMED, f"{field} must be an object with exactly {', '.join(sorted(names))}", field=field
        )
    return document


def _hash_of(text: object, field: str) -> Hash32:
    if not isinstance(text, str):
        raise Rejected(RejectionReason.MALFORMED, f"{field} must be a hex string", field=field)
    return parse_hash(text, field)


def verify_state_proof(root: Hash32, state_key: bytes, value: bytes | None, proof: StateProof) -> bool:
    """Whether the state with this root holds exactly `value` under the key; `None` means that the key is absent."""
    path = tree_key(state_key)
    if not _is_well_formed(path, value, proof):
        return False
    if value is not None:
        end = leaf_hash(path, sha256(value))
    elif proof.other_leaf is not None:
        end = leaf_hash(proof.other_leaf.tree_key, proof.other_leaf.value_hash)
    else:
        end = EMPTY_HASH
    return _fold(path, end, proof.siblings) == root


def _is_well_formed(path: Hash32, value: bytes | None, proof: StateProof) -> bool:
    depth = len(proof.siblings)
    if depth > MAX_DEPTH or not _are_hashes(proof.siblings):
        return False
    if depth and proof.siblings[-1] == EMPTY_HASH:
        return False  # Nothing beside nothing is empty, and a leaf beside nothing is that leaf: one level less.
    other = proof.other_leaf
    if other is None:
        return True
    return (
        value is None
        and _are_hashes((other.tree_key, other.value_hash))
        and other.tree_key != path
        and _shared_bits(other.tree_key, path) >= depth
    )


def _are_hashes(hashes: Iterable[object]) -> bool:
    return all(isinstance(item, bytes) and len(item) == 32 for item in hashes)


def _shared_bits(one: bytes, another: bytes) -> int:
    return MAX_DEPTH - (int.from_bytes(one, "big") ^ int.from_bytes(another, "big")).bit_length()


def _fold(path: Hash32, end: Hash32, siblings: tuple[Hash32, ...]) -> Hash32:
    bits = int.from_bytes(path, "big")
    node = end
    for depth in range(len(siblings) - 1, -1, -1):
        is_right = bits >> (MAX_DEPTH - 1 - depth) & 1
        node = node_hash(siblings[depth], node) if is_right else node_hash(node, siblings[depth])
    return node
