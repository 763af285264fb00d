"""What a block means to who follows the market: its trades, its orders and the block itself, as server-sent events.

Made once for all streams. A block of which more would have to be told than one answer should hold says so instead.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from chain.answers import Answer, BigInteger, encode_answer
from chain.api.market_reading import TradePlace, trade_view
from chain.api.reading import StoredBlock
from chain.market_answers import (
    CLOSE_REASONS,
    ORDER_KINDS,
    SIDES,
    BlockNews,
    Lots,
    OrderClosedView,
    OrderPlacedView,
    Price,
)
from chain.node.market_events import Closed, MarketEvent, Placed, Traded, market_events
from chain.node.market_index import trade_entry
from chain.primitives.block import Header
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.market import CloseReason, OrderKind, Side
from chain.primitives.types import Address, Hash32

MAX_EVENTS: Final = 10_000
"""Of one block: some megabytes."""


class MarketNews(msgspec.Struct, frozen=True, gc=False):
    """A trade or an order, whom it concerns, and what is sent of it."""

    market: int
    accounts: tuple[Address, ...]
    octets: bytes


class BlockNotice(msgspec.Struct, frozen=True):
    """All that a block has for streams. `is_whole` is False where some of it is left out."""

    height: int
    news: tuple[MarketNews, ...]
    is_whole: bool
    octets: bytes
    """The block's own event, which bears the height as its id: who has it has everything before it."""

    @property
    def size_bytes(self) -> int:
        """Roughly what it takes in memory."""
        return len(self.octets) + sum(len(each.octets) + 200 for each in self.news)


def notice_of(stored: StoredBlock, *, max_events: int) -> BlockNotice:
    """What a block has for streams."""
    header = stored.block.header
    news: list[MarketNews] = []
    is_whole = True
    for each in _news(stored):
        if len(news) == max_events:
            is_whole = False
            break
        news.append(each)
    told = BlockNews(
        height=header.height,
        hash=to_hex(header.hash),
        time_ms=header.time_ms,
        transaction_count=len(stored.block.transactions),
        finalized=True,
    )
    return BlockNotice(header.height, tuple(news), is_whole, event_octets("block", told, event_id=header.height))


def event_octets(name: str, answer: Answer, *, event_id: int | None = None) -> bytes:
    """One server-sent event."""
    start = f"event: {name}\n" if event_id is None else f"id: {event_id}\nevent: {name}\n"
    return start.encode() + b"data: " + encode_answer(answer) + b"\n\n"


def _news(stored: StoredBlock) -> Iterator[MarketNews]:
    header = stored.block.header
    for index, raw in enumerate(stored.block.transactions):
        part, transaction_hash = 0, None
        for event in market_events(stored.results.result(index).logs):
            transaction_hash = transaction_hash or keccak256(raw)
            yield _news_of(event, header, transaction_hash, TradePlace.of(header.height, index, part))
            part += isinstance(event, Traded)


def _news_of(event: MarketEvent, header: Header, transaction_hash: Hash32, place: TradePlace) -> MarketNews:
    match event:
        case Traded():
            trade = trade_view(event.market, place, trade_entry(event, header.time_ms, transaction_hash))
            return MarketNews(event.market, (event.maker, event.taker), event_octets("trade", trade))
        case Placed():
            placed = _placed(event, header, transaction_hash)
            return MarketNews(event.market, (event.owner,), event_octets("order", placed))
        case Closed():
            closed = _closed(event, header, transaction_hash)
            return MarketNews(event.market, (event.owner,), event_octets("order", closed))


def _placed(event: Placed, header: Header, transaction_hash: Hash32) -> OrderPlacedView:
    return OrderPlacedView(
        action="placed",
        market=event.market,
        order_id=event.order_id,
        owner=to_checksum_address(event.owner),
        side=SIDES[Side(event.side)],
        kind=ORDER_KINDS[OrderKind(event.kind)],
        price=Price(event.price),
        lots=Lots(event.lots),
        expiry_height=BigInteger(event.expiry_height),
        client_id=BigInteger(event.client_id),
        height=header.height,
        time_ms=header.time_ms,
        transaction_hash=to_hex(transaction_hash),
        finalized=True,
    )


def _closed(event: Closed, header: Header, transaction_hash: Hash32) -> OrderClosedView:
    return OrderClosedView(
        action="closed",
        market=event.market,
        order_id=event.order_id,
        owner=to_checksum_address(event.owner),
        reason=CLOSE_REASONS[CloseReason(event.reason)],
        lots_left=Lots(event.lots_left),
        height=header.height,
        time_ms=header.time_ms,
        transaction_hash=to_hex(transaction_hash),
        finalized=True,
    )
