"""Which entries blocks leave for the market, and that every node comes to the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import plyvel
import pytest

from chain.node.folder import NodeFolder
from chain.node.market_events import Closed, Placed, Traded, market_events
from chain.node.market_index import ALL_MARKETS, index_market
from chain.node.market_records import CANDLE_INTERVALS_S, Candle, OrderEntry, TradeEntry
from chain.node.verification.replay import Fault, verify_folder
from chain.primitives import message_pack
from chain.primitives.block import decode_block
from chain.primitives.market import (
    CANCEL_ORDER,
    ORDER_CLOSED_EVENT,
    ORDER_PLACED_EVENT,
    TRADE_EVENT,
    CloseReason,
    OrderKind,
    Side,
)
from chain.primitives.modules import MARKET
from chain.primitives.network import network_to_toml
from chain.storage.errors import BadCommit
from chain.storage.keys import (
    Table,
    account_fill_key,
    account_order_key,
    candle_key,
    market_trade_key,
    order_key,
)
from tests.chain.trading import MAKER_FEE, TAKER_FEE, Trading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chain.node.ledger import Candidate
    from chain.primitives.transaction import Transaction
    from tests.chain.conftest import Chain, MakeChain

MARKET_TABLES: Final = (
    Table.MARKET_TRADE,
    Table.ACCOUNT_FILL,
    Table.ORDER,
    Table.ACCOUNT_ORDER,
    Table.CANDLE,
)
MINUTE_MS: Final = 60_000
NOON_MS: Final = 1_700_049_600_000  # 15 November 2023, 12:00 UTC.


def found(chain: Chain) -> Trading:
    """A market on a chain."""
    trading = Trading(chain.people)
    for transactions in trading.founding():
        assert not chain.add_block(*transactions).rejected
    return trading


def add(chain: Chain, *transactions: Transaction, time_ms: int | None = None) -> Candidate:
    """A block in which every transaction succeeds."""
    candidate = chain.propose(*transactions, time_ms=time_ms)
    assert not candidate.rejected
    assert not any(candidate.outcome.failures), candidate.outcome.failures
    chain.commit(candidate)
    return candidate


def order(chain: Chain, order_id: int) -> OrderEntry:
    encoded = chain.ledger.view().index_get(Table.ORDER, order_key(order_id))
    assert encoded is not None
    return OrderEntry.decode(encoded)


def candle(chain: Chain, interval_s: int, time_ms: int) -> Candle | None:
    start_s = time_ms // 1000 // interval_s * interval_s
    encoded = chain.ledger.view().index_get(Table.CANDLE, candle_key(1, interval_s, start_s))
    return None if encoded is None else Candle.decode(encoded)


def market_rows(chain: Chain) -> dict[Table, list[tuple[bytes, bytes]]]:
    return {table: list(chain.ledger.view().rows(table)) for table in MARKET_TABLES}


def test_a_trade_of_two_blocks(chain: Chain) -> None:
    trading, address = found(chain), chain.people.address
    add(chain, trading.place("ann", Side.SELL, 500, 7, client_id=2**64 - 1))
    placed_at = chain.head.height
    candidate = add(chain, trading.place("bob", Side.BUY, 520, 3))
    header = candidate.block.header

    view, place = chain.ledger.view(), (header.height, 0, 0)
    encoded = view.index_get(Table.MARKET_TRADE, market_trade_key(1, *place))
    assert encoded is not None
    trade = TradeEntry.decode(encoded)
    assert (trade.maker, trade.taker) == (address("ann"), address("bob"))
    assert (trade.price, trade.lots, trade.taker_side) == (500, 3, Side.BUY)
    assert (trade.maker_order_id, trade.taker_order_id) == (1, 2)
    assert trade.maker_fee == -(-500 * 3 * MAKER_FEE // 10_000)
    assert trade.taker_fee == -(-3 * 10**16 * TAKER_FEE // 10_000)
    assert (trade.time_ms, trade.transaction_hash) == (header.time_ms, candidate.outcome.transactions[0].hash)

    for name in ("ann", "bob"):
        for listed in (ALL_MARKETS, 1):
            assert (
                view.index_get(Table.ACCOUNT_FILL, account_fill_key(address(name), listed, *place)) == bytes(3) + b"\1"
            )
    assert view.index_get(Table.ACCOUNT_FILL, account_fill_key(address("cat"), 1, *place)) is None
    assert view.index_get(Table.ACCOUNT_ORDER, account_order_key(address("ann"), 1, 1)) == b""
    assert view.index_get(Table.ACCOUNT_ORDER, account_order_key(address("ann"), ALL_MARKETS, 2)) is None

    made, taken = order(chain, 1), order(chain, 2)
    assert (made.filled_lots, made.filled_value, made.fee, made.closing) == (3, 1500, trade.maker_fee, None)
    assert (made.client_id, made.height, made.price) == (2**64 - 1, placed_at, 500)
    assert (taken.filled_lots, taken.filled_value, taken.fee, taken.price) == (3, 1500, trade.taker_fee, 520)
    assert taken.closing is not None
    assert (taken.closing.reason, taken.closing.height) == (CloseReason.FILLED, header.height)


def test_every_way_to_end(chain: Chain) -> None:
    trading = found(chain)
    height = chain.head.height + 1
    add(
        chain,
        trading.place("ann", Side.SELL, 500, 1),
        trading.place("ann", Side.SELL, 510, 1, kind=OrderKind.GOOD_TILL_HEIGHT, expiry_height=height),
        trading.place("bob", Side.SELL, 510, 1),
        trading.place("bob", Side.BUY, 500, 2, kind=OrderKind.IMMEDIATE_OR_CANCEL),
    )
    add(chain, trading.place("bob", Side.BUY, 520, 1), trading.call("bob", MARKET, CANCEL_ORDER, 5))
    reasons = {}
    for order_id in range(1, 6):
        closing = order(chain, order_id).closing
        assert closing is not None
        reasons[order_id] = CloseReason(closing.reason)
    assert reasons == {
        1: CloseReason.FILLED,
        2: CloseReason.EXPIRED,
        3: CloseReason.SELF_TRADE,
        4: CloseReason.REST_CANCELLED,
        5: CloseReason.CANCELLED,
    }
    assert order(chain, 4).filled_lots == 1


def test_candles_grow_from_block_to_block_and_begin_anew(chain: Chain) -> None:
    trading = found(chain)
    add(chain, *trading.trade(500, 2), *trading.trade(530, 1), time_ms=NOON_MS)
    add(chain, *trading.trade(480, 1), time_ms=NOON_MS + 59_999)
    chain.reopen()
    add(chain, *trading.trade(490, 5), time_ms=NOON_MS + 60_000)
    first = Candle(open=500, high=530, low=480, close=480, lots=4, value=2 * 500 + 530 + 480, trades=3)
    second = Candle.of_trade(490, 5)
    minute, hour, day = CANDLE_INTERVALS_S
    assert candle(chain, minute, NOON_MS) == first
    assert candle(chain, minute, NOON_MS + MINUTE_MS) == second
    assert candle(chain, minute, NOON_MS - 1) is None
    assert candle(chain, hour, NOON_MS) == candle(chain, day, NOON_MS) == first.then(second)
    assert first.then(second) == Candle(500, 530, 480, 490, 9, 2010 + 5 * 490, 4)


def test_a_node_that_takes_the_blocks_over_has_the_same_entries(chain: Chain, make_chain: MakeChain) -> None:
    trading = found(chain)
    for minute in range(3):
        transactions = (*trading.trade(500 + 10 * minute, 2), trading.place("cat", Side.BUY, 400, 1 + minute))
        add(chain, *transactions, time_ms=NOON_MS + minute * MINUTE_MS)
    rows = market_rows(chain)
    assert all(rows.values())

    follower = make_chain(people=chain.people)
    view = chain.ledger.view()
    for height in range(1, chain.head.height + 1):
        block, certificate = view.block_at(height), view.certificate_at(height)
        assert block is not None
        assert certificate is not None
        follower.ledger.import_block(block, certificate)
    assert market_rows(follower) == rows

    catching_up = make_chain(people=chain.people)
    on: Candidate | None = None
    candidates = []
    for height in range(1, chain.head.height + 1):  # Executed one on the other before any is committed.
        encoded = view.block_at(height)
        assert encoded is not None
        on = catching_up.ledger.execute(decode_block(encoded), on=on)
        candidates.append(on)
    for candidate in candidates:
        floor = catching_up.ledger.floor_after(candidate, None)
        catching_up.ledger.commit(candidate, None, floor, sync=False)
    assert market_rows(catching_up) == rows


def test_a_parent_that_lacks_the_order_is_refused(chain: Chain) -> None:
    trading = found(chain)
    early = chain.ledger.view()
    add(chain, trading.place("ann", Side.SELL, 500, 1))
    candidate = chain.propose(trading.place("bob", Side.BUY, 500, 1))
    assert index_market(chain.ledger.view(), candidate.block.header, candidate.outcome)
    with pytest.raises(BadCommit, match="order 1"):
        index_market(early, candidate.block.header, candidate.outcome)


def test_events_are_what_their_declarations_say(chain: Chain) -> None:
    trading = found(chain)
    candidate = add(
        chain,
        trading.place("ann", Side.SELL, 500, 2, client_id=9),
        trading.place("bob", Side.BUY, 510, 5, kind=OrderKind.GOOD_TILL_HEIGHT, expiry_height=10**6),
        trading.call("bob", MARKET, CANCEL_ORDER, 2),
    )
    logs = [log for result in candidate.outcome.results for log in result.logs]
    declared = [
        event.decode(log.topics, log.data)
        for log in logs
        for event in (ORDER_PLACED_EVENT, TRADE_EVENT, ORDER_CLOSED_EVENT)
        if log.topics[0] == event.topic
    ]
    events = list(market_events(logs))
    kinds = [Placed, Placed, Traded, Closed, Closed]
    assert [type(event) for event in events] == kinds
    for event, values in zip(events, declared, strict=True):
        assert [getattr(event, name) for name in event.__struct_fields__] == list(values.values())


def test_records_are_small_and_come_back(chain: Chain) -> None:
    greatest = Candle(*(2**200 - 1 for _ in range(7)))
    assert Candle.decode(greatest.encode()) == greatest
    trading = found(chain)
    add(chain, *trading.trade(500, 1))
    for table in (Table.MARKET_TRADE, Table.ORDER):
        for _, value in chain.ledger.view().rows(table):
            assert len(value) < 250
            decoded = (TradeEntry if table is Table.MARKET_TRADE else OrderEntry).decode(value)
            assert message_pack.encode(decoded) == value


def test_verifying_a_folder_counts_every_trade_again(tmp_path: Path, chain_in: Callable[[Path], Chain]) -> None:
    chain = chain_in(tmp_path / "chain")
    (tmp_path / "network.toml").write_text(network_to_toml(chain.people.network))
    trading = found(chain)
    for minute in range(2):
        add(chain, *trading.trade(500, 1), time_ms=NOON_MS + minute * MINUTE_MS)
    height = chain.head.height
    chain.ledger.close()

    def verify() -> int:
        return verify_folder(NodeFolder(tmp_path), report=lambda _height, _target: None).height

    assert verify() == height
    day_s = CANDLE_INTERVALS_S[-1]
    key = Table.CANDLE.prefix + candle_key(1, day_s, NOON_MS // 1000 // day_s * day_s)
    with plyvel.DB(str(tmp_path / "chain")) as database:
        told = Candle.decode(database.get(key))
        database.put(key, told.then(Candle.of_trade(1, 1)).encode())
    with pytest.raises(Fault, match="candle"):
        verify()
