"""Every key prefix of the LevelDB store in one table, and how the keys behind the prefixes are built.

A key is the table's byte and then the rest, with integers big-endian, so that LevelDB's order is the order of heights.
Index tables are filled by the node; their values mean nothing here.
"""

from enum import Enum
from typing import Final

HEIGHT_BYTES: Final = 8
INDEX_BYTES: Final = 4
"""Transactions of a block, and parts of one transaction, are counted in 32 bits."""


class Table(Enum):
    """One byte of prefix each; `is_index` marks those that `CommittedBlock.index_puts` may write."""

    METADATA = (b"m", False)
    """Record name → record: the format version, the genesis hash, the head, the floor."""

    BLOCK = (b"b", False)
    """Height → the encoded block."""

    HEIGHT_BY_HASH = (b"h", False)
    """Block hash → height."""

    CERTIFICATE = (b"c", False)
    """Height → the finality certificate over that block. Not every block has its own."""

    RESULTS = (b"r", False)
    """Height → statuses, logs and the reasons of failures; the reasons are no part of consensus."""

    TRANSACTION = (b"t", False)
    """Transaction hash → height and index in the block."""

    STATE = (b"s", False)
    """Tree key, the SHA-256 of a state key → value: the leaves of the state tree, in the tree's order."""

    UNDO = (b"u", False)
    """Height → what the block's changed keys held before it; only for the most recent blocks."""

    EVIDENCE = (b"e", False)
    """Epoch and signer → the two votes by which a validator has contradicted itself; the first such pair stays."""

    ACCOUNT_TRANSACTION = (b"A", True)
    """Address, height, index → a transaction that an account sent or took part in."""

    PROVIDER_MINT = (b"M", True)
    """Address, height, index, part → a mint to a provider; a split mint has several parts."""

    RECEIPT = (b"R", True)
    """Receipt hash → where and how it was minted."""

    RECEIPT_ORDER = (b"O", True)
    """Height, index, part → receipt hash: all receipts in the order of their mints."""

    PROVIDER = (b"P", True)
    """Address → a registered provider."""

    EVENT_BLOCK = (b"L", True)
    """Kind of event, height → a block that holds such a log."""

    EPOCH = (b"E", True)
    """Epoch → the block that set its validators up, and who they are."""

    def __init__(self, prefix: bytes, is_index: bool) -> None:
        self.prefix = prefix
        self.is_index = is_index

    @property
    def end(self) -> bytes:
        """The first key after the table."""
        return bytes([self.prefix[0] + 1])


FORMAT_VERSION_KEY: Final = Table.METADATA.prefix + b"format"
GENESIS_HASH_KEY: Final = Table.METADATA.prefix + b"genesis"
HEAD_KEY: Final = Table.METADATA.prefix + b"head"
FLOOR_KEY: Final = Table.METADATA.prefix + b"floor"


def height_key(table: Table, height: int) -> bytes:
    """The whole key of a table that is ordered by height."""
    return table.prefix + height.to_bytes(HEIGHT_BYTES, "big")


def height_of_key(key: bytes) -> int:
    """The inverse of `height_key`."""
    return int.from_bytes(key[1:], "big")


def location_value(height: int, index: int) -> bytes:
    """The value of the TRANSACTION table."""
    return height.to_bytes(HEIGHT_BYTES, "big") + index.to_bytes(INDEX_BYTES, "big")


def parse_location(value: bytes) -> tuple[int, int]:
    """Height and index in the block; the inverse of `location_value`."""
    return int.from_bytes(value[:HEIGHT_BYTES], "big"), int.from_bytes(value[HEIGHT_BYTES:], "big")


def account_transaction_key(address: bytes, height: int, index: int) -> bytes:
    """A key behind ACCOUNT_TRANSACTION: newest first is its order reversed, within one address."""
    return address + location_value(height, index)


def provider_mint_key(address: bytes, height: int, index: int, part: int = 0) -> bytes:
    """A key behind PROVIDER_MINT; `part` counts the providers of a split mint."""
    return address + location_value(height, index) + part.to_bytes(INDEX_BYTES, "big")


def event_block_key(kind: bytes, height: int) -> bytes:
    """A key behind EVENT_BLOCK."""
    return kind + height.to_bytes(HEIGHT_BYTES, "big")


def evidence_key(epoch: int, signer: int) -> bytes:
    """A key behind EVIDENCE; `signer` is the index among the epoch's validators."""
    return epoch.to_bytes(HEIGHT_BYTES, "big") + bytes((signer,))


def receipt_order_key(height: int, index: int, part: int = 0) -> bytes:
    """A key behind RECEIPT_ORDER."""
    return location_value(height, index) + part.to_bytes(INDEX_BYTES, "big")
