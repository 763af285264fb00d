"""Assets, markets, orders and trades of the store as answers. Any thread; everything in the store is final."""

from typing import Final

from chain.answers import Atoms, BigInteger
from chain.market_answers import (
    CLOSE_REASONS,
    MARKET_STATUSES,
    ORDER_KINDS,
    SIDES,
    AssetName,
    AssetView,
    BookView,
    FillView,
    LevelView,
    Lots,
    MarketView,
    OrderView,
    Price,
    TradeView,
)
from chain.node.market_records import OrderEntry, TradeEntry
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.market import AssetFlag, CloseReason, MarketStatus, OrderKind, Side
from chain.primitives.market_records import Asset, Market
from chain.primitives.types import Address, BlockHeight
from chain.rules.assets.views import describe
from chain.rules.market.amounts import wanted_asset
from chain.rules.market.book import levels
from chain.rules.state import State
from chain.storage.keys import HEIGHT_BYTES, INDEX_BYTES
from chain.storage.records import Head

_PLACE_BYTES: Final = HEIGHT_BYTES + 2 * INDEX_BYTES


class TradePlace:
    """Where in the chain a trade stands: the end of its keys in the index."""

    def __init__(self, key: bytes) -> None:
        """`key` of MARKET_TRADE or ACCOUNT_FILL."""
        self.octets = key[-_PLACE_BYTES:]
        self.height = BlockHeight(int.from_bytes(self.octets[:HEIGHT_BYTES], "big"))

    @classmethod
    def of(cls, height: int, index: int, part: int) -> "TradePlace":
        """From its numbers."""
        octets = height.to_bytes(HEIGHT_BYTES, "big") + b"".join(
            each.to_bytes(INDEX_BYTES, "big") for each in (index, part)
        )
        return cls(octets)

    @property
    def id(self) -> str:
        """For people and programs, the same for good."""
        index = int.from_bytes(self.octets[HEIGHT_BYTES:-INDEX_BYTES], "big")
        return f"{self.height}-{index}-{int.from_bytes(self.octets[-INDEX_BYTES:], 'big')}"


def asset_view(chain_id: int, state: State, head: Head, asset: Address) -> AssetView:
    """One asset. Raises Rejected where there is none."""
    record = describe(state, chain_id, asset)
    return AssetView(
        asset=to_checksum_address(asset),
        issuer=to_checksum_address(record.issuer),
        name=record.name,
        symbol=record.symbol,
        decimals=record.decimals,
        cap=Atoms(record.cap),
        authorization_required=bool(record.flags & AssetFlag.AUTHORIZATION_REQUIRED),
        freezable=bool(record.flags & AssetFlag.FREEZABLE),
        clawback=bool(record.flags & AssetFlag.CLAWBACK),
        reserve_hash=to_hex(record.reserve_hash),
        supply=Atoms(record.supply),
        height=head.height,
        finalized=True,
    )


def asset_name(asset: Address, record: Asset) -> AssetName:
    """How amounts of an asset are shown."""
    return AssetName(asset=to_checksum_address(asset), symbol=record.symbol, decimals=record.decimals)


def market_view(chain_id: int, state: State, head: Head, number: int, market: Market) -> MarketView:
    """One market."""
    base, quote = (asset_name(asset, describe(state, chain_id, asset)) for asset in (market.base, market.quote))
    return MarketView(
        market=number,
        base=base,
        quote=quote,
        lot=Atoms(market.lot),
        tick=Price(market.tick),
        minimum_lots=Lots(market.minimum_lots),
        maker_fee=market.maker_fee,
        taker_fee=market.taker_fee,
        policy=market.policy,
        status=MARKET_STATUSES[MarketStatus(market.status)],
        height=head.height,
        finalized=True,
    )


def level_views(state: State, number: int, market: Market, side: Side, depth: int) -> list[LevelView]:
    """One side of a market's book, best first."""
    return [
        LevelView(price=Price(level.ticks * market.tick), lots=Lots(level.open_lots), order_count=level.order_count)
        for level in levels(state, number, side, depth)
    ]


def book_view(state: State, head: Head, number: int, market: Market, depth: int) -> BookView:
    """Both sides of a market's book."""
    return BookView(
        market=number,
        bids=level_views(state, number, market, Side.BUY, depth),
        asks=level_views(state, number, market, Side.SELL, depth),
        height=head.height,
        time_ms=head.time_ms,
        finalized=True,
    )


def trade_view(number: int, place: TradePlace, entry: TradeEntry) -> TradeView:
    """One trade."""
    return TradeView(
        id=place.id,
        market=number,
        price=Price(entry.price),
        lots=Lots(entry.lots),
        value=Atoms(entry.price * entry.lots),
        taker_side=SIDES[Side(entry.taker_side)],
        maker=to_checksum_address(entry.maker),
        taker=to_checksum_address(entry.taker),
        maker_order_id=entry.maker_order_id,
        taker_order_id=entry.taker_order_id,
        maker_fee=Atoms(entry.maker_fee),
        taker_fee=Atoms(entry.taker_fee),
        height=place.height,
        time_ms=entry.time_ms,
        transaction_hash=to_hex(entry.transaction_hash),
        finalized=True,
    )


def fill_view(account: Address, number: int, market: Market, place: TradePlace, entry: TradeEntry) -> FillView:
    """A trade as one of its two accounts sees it."""
    is_taker = account == entry.taker
    side = Side(entry.taker_side if is_taker else 1 - entry.taker_side)
    return FillView(
        id=place.id,
        market=number,
        order_id=entry.taker_order_id if is_taker else entry.maker_order_id,
        side=SIDES[side],
        role="taker" if is_taker else "maker",
        price=Price(entry.price),
        lots=Lots(entry.lots),
        value=Atoms(entry.price * entry.lots),
        fee=Atoms(entry.taker_fee if is_taker else entry.maker_fee),
        fee_asset=to_checksum_address(wanted_asset(market, side)),
        height=place.height,
        time_ms=entry.time_ms,
        transaction_hash=to_hex(entry.transaction_hash),
        finalized=True,
    )


def order_view(order_id: int, entry: OrderEntry) -> OrderView:
    """One order, open or closed."""
    closing = entry.closing
    return OrderView(
        order_id=order_id,
        client_id=BigInteger(entry.client_id),
        market=entry.market,
        owner=to_checksum_address(entry.owner),
        side=SIDES[Side(entry.side)],
        kind=ORDER_KINDS[OrderKind(entry.kind)],
        price=Price(entry.price),
        lots=Lots(entry.lots),
        open_lots=Lots(entry.lots - entry.filled_lots if closing is None else 0),
        filled_lots=Lots(entry.filled_lots),
        filled_value=Atoms(entry.filled_value),
        fee=Atoms(entry.fee),
        expiry_height=BigInteger(entry.expiry_height),
        status="open" if closing is None else "closed",
        close_reason=None if closing is None else CLOSE_REASONS[CloseReason(closing.reason)],
        height=entry.height,
        time_ms=entry.time_ms,
        transaction_hash=to_hex(entry.transaction_hash),
        closed_height=None if closing is None else closing.height,
        closed_time_ms=None if closing is None else closing.time_ms,
        closed_transaction_hash=None if closing is None else to_hex(closing.transaction_hash),
        finalized=True,
    )
