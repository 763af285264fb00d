"""Header, block, and the results of a block's transactions (DESIGN §6).

A block is canonical MessagePack [header, [raw transactions]]; its hash is the Keccak-256 of the header's encoding.
A block holds no view number and no signature: its finality certificate stands beside it.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.hashing import keccak256
from chain.primitives.merkle import list_root
from chain.primitives.types import Address, BlockHeight, Hash32

PROTOCOL_VERSION: Final = 1
"""The newest rules that this code knows."""

Uint63 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
HashField = Annotated[Hash32, msgspec.Meta(min_length=32, max_length=32)]
AddressField = Annotated[Address, msgspec.Meta(min_length=20, max_length=20)]
HeightField = Annotated[BlockHeight, msgspec.Meta(ge=0, le=2**63 - 1)]


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """Everything that a block's hash vouches for. Times in Unix milliseconds."""

    protocol_version: Uint63
    chain_id: Uint63
    epoch: Uint63
    height: HeightField
    parent_hash: HashField
    time_ms: Uint63
    proposer: AddressField
    transactions_root: HashField
    results_root: HashField
    state_root: HashField
    next_validators_hash: HashField

    @cached_property
    def hash(self) -> Hash32:
        """Keccak-256 of the canonical encoding."""
        return keccak256(message_pack.encode(self))


class Block(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A header and the raw transactions under its transactions_root."""

    header: Header
    transactions: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Canonical MessagePack."""
        return message_pack.encode(self)


def decode_block(encoded: bytes) -> Block:
    """Raises Rejected unless `encoded` is exactly one canonical block. The caller bounds its length."""
    return message_pack.decode(encoded, Block)


class _HeadedBlock(msgspec.Struct, array_like=True):
    """A block of which nothing but the header is decoded: the rest may be megabytes."""

    header: Header
    transactions: msgspec.Raw


def header_of_trusted(encoded_block: bytes) -> Header:
    """The header of a block that was checked before it was stored."""
    return message_pack.decode_trusted(encoded_block, _HeadedBlock).header


class Log(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An event as Ethereum tools see it: the module's address, at most 4 topics, and ABI-encoded values."""

    address: AddressField
    topics: Annotated[tuple[HashField, ...], msgspec.Meta(max_length=4)]
    data: bytes


class TransactionResult(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What a transaction did: status 1 and its logs, or status 0 and none."""

    status: Annotated[int, msgspec.Meta(ge=0, le=1)]
    logs: tuple[Log, ...]


def transactions_root(transaction_hashes: Sequence[Hash32]) -> Hash32:
    """Root over the transactions' hashes in order."""
    return list_root(transaction_hashes)


def results_root(results: Sequence[TransactionResult]) -> Hash32:
    """Root over each transaction's (status, events) in order."""
    return list_root([message_pack.encode(result) for result in results])
