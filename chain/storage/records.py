"""What the store writes about itself: the head's record, and what a block's changed keys held before it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec

from chain.primitives import message_pack
from chain.primitives.block import Header
from chain.primitives.types import BlockHeight, Hash32

FORMAT_VERSION = 3
"""Counts up whenever keys or values are laid out differently."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest committed block."""

    header: Header

    @property
    def height(self) -> BlockHeight:
        """Number of blocks since genesis."""
        return self.header.height

    @property
    def block_hash(self) -> Hash32:
        """Keccak-256 of the header."""
        return self.header.hash

    @property
    def state_root(self) -> Hash32:
        """Root of the state after the block."""
        return self.header.state_root

    @property
    def time_ms(self) -> int:
        """Unix milliseconds."""
        return self.header.time_ms


class HeadRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The head's header, and how many leaves its state has."""

    header: Header
    leaf_count: Annotated[int, msgspec.Meta(ge=0)]

    def encode(self) -> bytes:
        """Canonical MessagePack."""
        return message_pack.encode(self)


def decode_head(encoded: bytes) -> HeadRecord:
    """Raises Rejected for anything but a head's record."""
    return message_pack.decode(encoded, HeadRecord)


def encode_undo(old_values: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    """An undo record: tree keys and what they held before the block, None where nothing."""
    flat: list[bytes | None] = []
    for pair in old_values:
        flat += pair
    return message_pack.encode(flat)


def decode_undo(encoded: bytes) -> dict[bytes, bytes | None]:
    """The inverse; raises Rejected for anything else."""
    flat = message_pack.decode_trusted(encoded, list[bytes | None])
    return {key: value for key, value in zip(flat[0::2], flat[1::2], strict=True) if key is not None}
