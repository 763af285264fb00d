"""Which index entries a block leaves for the market: trades, fills, orders and candles.

An order's entry and a candle grow with what comes: what is there is read from the chain as it stands before the block,
which is its parent, since blocks are committed one by one and in order, also while catching up and in a replay. All
goes into the block's own batch, so a cut leaves neither a trade without its candle nor one that was counted twice.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from chain.node.index import Put
from chain.node.market_events import Closed, MarketEvent, Placed, Traded, market_events
from chain.node.market_records import CANDLE_INTERVALS_S, Candle, Closing, OrderEntry, TradeEntry
from chain.primitives.block import Header
from chain.primitives.message_pack import amount_to_bytes
from chain.primitives.types import Hash32
from chain.rules.execution import BlockOutcome
from chain.storage.errors import BadCommit
from chain.storage.keys import (
    Table,
    account_fill_key,
    account_order_key,
    candle_key,
    market_prefix,
    market_trade_key,
    order_key,
)
from chain.storage.reader import ChainReader

ALL_MARKETS: Final = 0
"""In the keys of accounts' lists; no market has this number."""
_MS: Final = 1_000


def index_market(parent: ChainReader, header: Header, outcome: BlockOutcome) -> list[Put]:
    """The entries for a block on the one that `parent` has as its head. Raises StorageError."""
    block = _Block(parent, header)
    for index, (transaction, result) in enumerate(zip(outcome.transactions, outcome.results, strict=True)):
        part = 0
        for event in market_events(result.logs):
            block.add(event, transaction.hash, index, part)
            part += isinstance(event, Traded)
    return [*block.puts, *block.grown()]


def trade_entry(traded: Traded, time_ms: int, transaction_hash: Hash32) -> TradeEntry:
    """What is kept of a trade."""
    return TradeEntry(
        time_ms=time_ms,
        transaction_hash=transaction_hash,
        maker=traded.maker,
        taker=traded.taker,
        maker_order_id=traded.maker_order_id,
        taker_order_id=traded.taker_order_id,
        taker_side=traded.taker_side,
        lots=traded.lots,
        price_bytes=amount_to_bytes(traded.price),
        maker_fee_bytes=amount_to_bytes(traded.maker_fee),
        taker_fee_bytes=amount_to_bytes(traded.taker_fee),
    )


class _Block:
    """What one block adds; `grown` are the entries that may have been there before it."""

    def __init__(self, parent: ChainReader, header: Header) -> None:
        self.puts: list[Put] = []
        self._parent = parent
        self._height = header.height
        self._time_ms = header.time_ms
        self._orders: dict[int, OrderEntry] = {}
        self._candles: dict[int, Candle] = {}

    def add(self, event: MarketEvent, transaction_hash: Hash32, index: int, part: int) -> None:
        """One event; `part` counts the trades of its transaction."""
        match event:
            case Placed():
                self._place(event, transaction_hash)
            case Traded():
                self._trade(event, transaction_hash, index, part)
            case Closed():
                closing = Closing(self._height, self._time_ms, transaction_hash, event.reason)
                order = self._order(event.order_id)
                self._orders[event.order_id] = msgspec.structs.replace(order, closing=closing)

    def _place(self, placed: Placed, transaction_hash: Hash32) -> None:
        self._orders[placed.order_id] = OrderEntry(
            market=placed.market,
            owner=placed.owner,
            side=placed.side,
            kind=placed.kind,
            lots=placed.lots,
            expiry_height=placed.expiry_height,
            client_id=placed.client_id,
            price_bytes=amount_to_bytes(placed.price),
            height=self._height,
            time_ms=self._time_ms,
            transaction_hash=transaction_hash,
        )
        for market in (ALL_MARKETS, placed.market):
            self.puts.append((Table.ACCOUNT_ORDER, account_order_key(placed.owner, market, placed.order_id), b""))

    def _trade(self, traded: Traded, transaction_hash: Hash32, index: int, part: int) -> None:
        entry = trade_entry(traded, self._time_ms, transaction_hash)
        market, place = traded.market, (self._height, index, part)
        self.puts.append((Table.MARKET_TRADE, market_trade_key(market, *place), entry.encode()))
        for account in (traded.maker, traded.taker):
            for listed in (ALL_MARKETS, market):
                self.puts.append((Table.ACCOUNT_FILL, account_fill_key(account, listed, *place), market_prefix(market)))
        for order_id, fee in (
            (traded.maker_order_id, traded.maker_fee),
            (traded.taker_order_id, traded.taker_fee),
        ):
            self._orders[order_id] = self._order(order_id).with_fill(traded.lots, traded.price, fee)
        candle, before = Candle.of_trade(traded.price, traded.lots), self._candles.get(market)
        self._candles[market] = candle if before is None else before.then(candle)

    def _order(self, order_id: int) -> OrderEntry:
        order = self._orders.get(order_id)
        if order is None:
            encoded = self._parent.index_get(Table.ORDER, order_key(order_id))
            if encoded is None:
                raise BadCommit(f"Block {self._height} speaks of order {order_id}, which nobody has placed before.")
            order = OrderEntry.decode(encoded)
        return order

    def grown(self) -> Iterator[Put]:
        """Orders and candles as they are after the block."""
        for order_id, order in self._orders.items():
            yield Table.ORDER, order_key(order_id), order.encode()
        for market, candle in self._candles.items():
            for interval_s in CANDLE_INTERVALS_S:
                start_s = self._time_ms // _MS // interval_s * interval_s
                key = candle_key(market, interval_s, start_s)
                encoded = self._parent.index_get(Table.CANDLE, key)
                merged = candle if encoded is None else Candle.decode(encoded).then(candle)
                yield Table.CANDLE, key, merged.encode()
