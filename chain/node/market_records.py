"""What the node's index holds of the market, as canonical MessagePack. Amounts and prices are minimal bytes."""

from typing import Final, Self

import msgspec

from chain.primitives import message_pack
from chain.primitives.message_pack import amount_from_bytes, amount_to_bytes, decode_trusted
from chain.primitives.records import ArrayRecord
from chain.primitives.types import Address, Amount, BlockHeight, Hash32

CANDLE_INTERVALS_S: Final = (60, 3_600, 86_400)
"""Kept for each market; others are put together of these."""


class TradeEntry(ArrayRecord, frozen=True):
    """One trade of a market."""

    time_ms: int
    transaction_hash: Hash32
    maker: Address
    taker: Address
    maker_order_id: int
    taker_order_id: int
    taker_side: int
    lots: int
    price_bytes: bytes
    maker_fee_bytes: bytes
    taker_fee_bytes: bytes

    @property
    def price(self) -> Amount:
        """Quote atoms per lot."""
        return amount_from_bytes(self.price_bytes)

    @property
    def maker_fee(self) -> Amount:
        """Atoms of what the maker receives."""
        return amount_from_bytes(self.maker_fee_bytes)

    @property
    def taker_fee(self) -> Amount:
        """Atoms of what the taker receives."""
        return amount_from_bytes(self.taker_fee_bytes)


class Closing(ArrayRecord, frozen=True):
    """How an order ended."""

    height: BlockHeight
    time_ms: int
    transaction_hash: Hash32
    reason: int


class OrderEntry(ArrayRecord, frozen=True, kw_only=True):
    """One order from its placement to its end; replaced whenever a part of it trades."""

    market: int
    owner: Address
    side: int
    kind: int
    lots: int
    expiry_height: int
    client_id: int
    price_bytes: bytes
    height: BlockHeight
    time_ms: int
    transaction_hash: Hash32
    filled_lots: int = 0
    filled_value_bytes: bytes = b""
    fee_bytes: bytes = b""
    closing: Closing | None = None

    @property
    def price(self) -> Amount:
        """Quote atoms per lot."""
        return amount_from_bytes(self.price_bytes)

    @property
    def filled_value(self) -> Amount:
        """Quote atoms of all its trades."""
        return amount_from_bytes(self.filled_value_bytes)

    @property
    def fee(self) -> Amount:
        """Atoms of what it receives, of all its trades."""
        return amount_from_bytes(self.fee_bytes)

    def with_fill(self, lots: int, price: int, fee: int) -> "OrderEntry":
        """After a trade."""
        return msgspec.structs.replace(
            self,
            filled_lots=self.filled_lots + lots,
            filled_value_bytes=amount_to_bytes(self.filled_value + lots * price),
            fee_bytes=amount_to_bytes(self.fee + fee),
        )


class Candle(msgspec.Struct, frozen=True):
    """What a market did in an interval in which something was traded; prices in quote atoms per lot."""

    open: int
    high: int
    low: int
    close: int
    lots: int
    value: int
    """Quote atoms."""
    trades: int

    @classmethod
    def of_trade(cls, price: int, lots: int) -> Self:
        """The candle of one trade."""
        return cls(price, price, price, price, lots, price * lots, 1)

    def then(self, later: "Candle") -> "Candle":
        """The candle of this one's time and of a later one's."""
        return Candle(
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            self.lots + later.lots,
            self.value + later.value,
            self.trades + later.trades,
        )

    def encode(self) -> bytes:
        """For the CANDLE table."""
        return message_pack.encode([amount_to_bytes(number) for number in msgspec.structs.astuple(self)])

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        return cls(*(amount_from_bytes(number) for number in decode_trusted(encoded, list[bytes])))
