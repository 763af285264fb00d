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
    """Receipt hash → where and how it was minted or settled."""

    RECEIPT_ORDER = (b"O", True)
    """Height, index, part → receipt hash: all receipts in the order of their use."""

    PROVIDER = (b"P", True)
    """Address → a registered provider."""

    EVENT_BLOCK = (b"L", True)
    """Kind of event, height → a block that holds such a log."""

    EPOCH = (b"E", True)
    """Epoch → the block that set its validators up, and who they are."""

    MARKET_TRADE = (b"T", True)
    """Market, height, index, part → a trade."""

    ACCOUNT_FILL = (b"F", True)
    """Address, market or 0, height, index, part → the market of a trade that an account took part in."""

    ORDER = (b"D", True)
    """Order id → an order and what has become of it, also when it is closed."""

    ACCOUNT_ORDER = (b"Q", True)
    """Address, market or 0, order id → an order that an account has placed."""

    CANDLE = (b"K", True)
    """Market, interval and beginning in seconds → what was traded there and then."""

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


def market_trade_key(market: int, height: int, index: int, part: int) -> bytes:
    """A key behind MARKET_TRADE; `part` counts the trades of one transaction."""
    return market_prefix(market) + location_value(height, index) + part.to_bytes(INDEX_BYTES, "big")


def account_market_prefix(address: bytes, market: int) -> bytes:
    """What the keys behind ACCOUNT_FILL and ACCOUNT_ORDER begin with; market 0 stands for all."""
    return address + market_prefix(market)


def account_fill_key(address: bytes, market: int, height: int, index: int, part: int) -> bytes:
    """A key behind ACCOUNT_FILL; its end is that of the trade's key."""
    return account_market_prefix(address, market) + location_value(height, index) + part.to_bytes(INDEX_BYTES, "big")


def market_prefix(market: int) -> bytes:
    """What all keys of one market begin with, and the value of ACCOUNT_FILL."""
    return market.to_bytes(INDEX_BYTES, "big")


def order_key(order_id: int) -> bytes:
    """A key behind ORDER."""
    return order_id.to_bytes(HEIGHT_BYTES, "big")


def account_order_key(address: bytes, market: int, order_id: int) -> bytes:
    """A key behind ACCOUNT_ORDER."""
    return account_market_prefix(address, market) + order_key(order_id)


def candle_prefix(market: int, interval_s: int) -> bytes:
    """What the keys of all candles of a market and an interval begin with."""
    return market_prefix(market) + interval_s.to_bytes(INDEX_BYTES, "big")


def candle_key(market: int, interval_s: int, start_s: int) -> bytes:
    """A key behind CANDLE."""
    return candle_prefix(market, interval_s) + start_s.to_bytes(HEIGHT_BYTES, "big")
