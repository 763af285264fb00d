"""What the state holds of assets, compliance and the order book (keys: `records.Domain`).

Orders and price levels are on the hot path: every field is an integer of at most 64 bits or plain bytes, so that
MessagePack holds them as they are. Prices are kept in ticks.
"""

from typing import Self

import msgspec

from chain.primitives import message_pack
from chain.primitives.message_pack import amount_from_bytes, amount_to_bytes, decode_trusted
from chain.primitives.records import ArrayRecord
from chain.primitives.types import Address, Amount, Hash32


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """An issued asset; `cap` 0 means none."""

    issuer: Address
    name: str
    symbol: str
    decimals: int
    cap: Amount
    flags: int
    reserve_hash: Hash32
    supply: Amount

    def with_supply(self, supply: Amount) -> "Asset":
        """The same with another supply."""
        return msgspec.structs.replace(self, supply=supply)

    def encode(self) -> bytes:
        """Fields in order."""
        values = list(msgspec.structs.astuple(self))
        values[4], values[7] = amount_to_bytes(self.cap), amount_to_bytes(self.supply)
        return message_pack.encode(values)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        issuer, name, symbol, decimals, cap, flags, reserve_hash, supply = decode_trusted(
            encoded, tuple[bytes, str, str, int, bytes, int, bytes, bytes]
        )
        return cls(
            issuer=Address(issuer),
            name=name,
            symbol=symbol,
            decimals=decimals,
            cap=amount_from_bytes(cap),
            flags=flags,
            reserve_hash=Hash32(reserve_hash),
            supply=amount_from_bytes(supply),
        )


class Credential(ArrayRecord, frozen=True):
    """What an authority says about a subject; nothing that names a person."""

    country: int
    """ISO 3166-1 numeric, 1 to 999."""
    level: int
    expires_at: int
    """Unix seconds."""
    evidence_hash: Hash32


class Policy(ArrayRecord, frozen=True):
    """Whom a market lets trade: a credential of an accepted authority, of a level, in or not in these countries."""

    authorities: tuple[Address, ...]
    countries_allowed: bool
    """Whether `countries` are the only ones allowed; otherwise they are the ones denied."""
    countries: tuple[int, ...]
    minimum_level: int


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One market; lot in base atoms, tick in quote atoms per lot, fees in basis points of what is received."""

    base: Address
    quote: Address
    lot: Amount
    tick: Amount
    minimum_lots: int
    maker_fee: int
    taker_fee: int
    policy: int
    status: int

    def encode(self) -> bytes:
        """Fields in order."""
        values = list(msgspec.structs.astuple(self))
        values[2], values[3] = amount_to_bytes(self.lot), amount_to_bytes(self.tick)
        return message_pack.encode(values)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        base, quote, lot, tick, minimum_lots, maker_fee, taker_fee, policy, status = decode_trusted(
            encoded, tuple[bytes, bytes, bytes, bytes, int, int, int, int, int]
        )
        return cls(
            base=Address(base),
            quote=Address(quote),
            lot=amount_from_bytes(lot),
            tick=amount_from_bytes(tick),
            minimum_lots=minimum_lots,
            maker_fee=maker_fee,
            taker_fee=taker_fee,
            policy=policy,
            status=status,
        )


class Order(ArrayRecord, frozen=True, gc=False):
    """A resting order. Its number is its id; lower numbers are older."""

    owner: Address
    market: int
    side: int
    kind: int
    ticks: int
    """The price, in ticks."""
    lots: int
    """As placed."""
    open_lots: int
    expiry_height: int
    """The last height at which it trades; 0: none."""
    client_id: int
    """0: none."""
    page: int = 0
    """The number of the page of its level where it stands."""

    def with_open_lots(self, open_lots: int) -> "Order":
        """After a part of it has traded."""
        return msgspec.structs.replace(self, open_lots=open_lots)


class Level(ArrayRecord, frozen=True, gc=False):
    """All orders of one side at one price, oldest first: the first page in the record itself, others in theirs.

    Pages are numbered upwards, from 0. When the first page is used up, the next one takes its place, with its number.
    """

    open_lots: int
    order_count: int
    order_ids: tuple[int, ...]
    """Of the first page."""
    page: int = 0
    """Number of the first page."""
    next_page: int = 0
    """0: none."""
    last_page: int = 0


class LevelPage(ArrayRecord, frozen=True, gc=False):
    """A further page of a level; together with the level's own they are a doubly linked list."""

    order_ids: tuple[int, ...]
    previous_page: int
    next_page: int
    """0: none."""
