"""What must hold of every state with a market, told from its records alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from chain.primitives.market import Side
from chain.primitives.market_records import Asset, Level, LevelPage, Market, Order
from chain.primitives.message_pack import decode_trusted
from chain.primitives.modules import HTLC, MARKET, TOKEN
from chain.primitives.records import Account, Domain, Supply, decode_amount, state_key
from chain.primitives.swap_records import Swap, SwapStatus

BOOK_DOMAINS = (Domain.ORDER, Domain.PRICE_NODE, Domain.LEVEL, Domain.LEVEL_PAGE, Domain.OPEN_ORDERS)
PAGE_ORDERS = 64


def records_in(records: Mapping[bytes, bytes], domain: Domain) -> dict[bytes, bytes]:
    """Raw key → record of one domain."""
    return {key[1:]: record for key, record in records.items() if key[0] == domain}


def orders_in(records: Mapping[bytes, bytes]) -> dict[int, Order]:
    """Every resting order by id, oldest first."""
    found = records_in(records, Domain.ORDER)
    return {int.from_bytes(key, "big"): Order.decode(record) for key, record in sorted(found.items())}


def audit(records: Mapping[bytes, bytes]) -> None:
    """Supplies, escrows, locked swaps, and a book that is exactly its orders."""
    markets = {
        int.from_bytes(key, "big"): Market.decode(record) for key, record in records_in(records, Domain.MARKET).items()
    }
    orders = orders_in(records)
    balances = balances_in(records)
    _audit_supplies(records, balances)
    escrow: Counter[bytes] = Counter()
    for order in orders.values():
        market = markets[order.market]
        assert 0 < order.open_lots <= order.lots
        if order.side == Side.BUY:
            escrow[market.quote] += order.open_lots * order.ticks * market.tick
        else:
            escrow[market.base] += order.open_lots * market.lot
    assert _held_by(MARKET, balances) == escrow
    swaps = [Swap.decode(record) for record in records_in(records, Domain.SWAP).values()]
    locked: Counter[bytes] = Counter()
    for swap in swaps:
        if swap.status is SwapStatus.OPEN:
            locked[swap.asset] += swap.value
    assert _held_by(HTLC, balances) == locked
    audit_book(records, orders)
    _audit_spread(orders)


def audit_book(records: Mapping[bytes, bytes], orders: Mapping[int, Order]) -> None:
    """Levels, pages, prices and owners' lists are exactly what the orders say."""
    _audit_levels(records, orders)
    _audit_prices(records, orders)
    _audit_open_orders(records, orders)


def balances_in(records: Mapping[bytes, bytes]) -> Counter[tuple[bytes, bytes]]:
    """(asset, holder) → atoms, of AIT too; those of nothing are not there."""
    found: Counter[tuple[bytes, bytes]] = Counter()
    for key, record in records_in(records, Domain.ACCOUNT).items():
        if balance := Account.decode(record).balance:
            found[TOKEN, key] = balance
    for key, record in records_in(records, Domain.ASSET_BALANCE).items():
        found[key[:20], key[20:]] = decode_amount(record)
        assert found[key[:20], key[20:]]
    return found


def _held_by(module: bytes, balances: Mapping[tuple[bytes, bytes], int]) -> dict[bytes, int]:
    return {asset: atoms for (asset, holder), atoms in balances.items() if holder == module}


def _audit_supplies(records: Mapping[bytes, bytes], balances: Counter[tuple[bytes, bytes]]) -> None:
    held: Counter[bytes] = Counter()
    for (asset, _), atoms in balances.items():
        held[asset] += atoms
    supply = Supply.decode(records[state_key(Domain.SUPPLY)]).circulating
    assert held.pop(TOKEN, 0) == supply
    for key, record in records_in(records, Domain.ASSET).items():
        assert sum(atoms for asset, atoms in held.items() if asset[16:] == key) == Asset.decode(record).supply


def _audit_levels(records: Mapping[bytes, bytes], orders: Mapping[int, Order]) -> None:
    """Each level holds exactly its orders, oldest first, in pages that know each other."""
    expected: defaultdict[bytes, list[int]] = defaultdict(list)
    for order_id, order in orders.items():
        expected[_level_key(order)].append(order_id)
    pages = {key: LevelPage.decode(record) for key, record in records_in(records, Domain.LEVEL_PAGE).items()}
    levels = {key: Level.decode(record) for key, record in records_in(records, Domain.LEVEL).items()}
    assert levels.keys() == expected.keys()
    for key, level in levels.items():
        found = [(level.page, order_id) for order_id in level.order_ids]
        assert 0 < len(level.order_ids) <= PAGE_ORDERS
        previous, number = level.page, level.next_page
        while number:
            page = pages.pop(key + number.to_bytes(4, "big"))
            assert page.previous_page == previous < number
            assert 0 < len(page.order_ids) <= PAGE_ORDERS
            found += [(number, order_id) for order_id in page.order_ids]
            previous, number = number, page.next_page
        assert previous == level.last_page
        assert [order_id for _, order_id in found] == expected[key]
        assert all(orders[order_id].page == number for number, order_id in found)
        assert level.order_count == len(found)
        assert level.open_lots == sum(orders[order_id].open_lots for _, order_id in found)
    assert not pages


def _audit_prices(records: Mapping[bytes, bytes], orders: Mapping[int, Order]) -> None:
    """The bitmaps name exactly the prices that have orders."""
    expected: defaultdict[bytes, int] = defaultdict(int)
    for order in orders.values():
        key = _level_key(order)
        for depth in range(4):
            expected[key[:5] + bytes((depth,)) + key[5 : 5 + depth]] |= 1 << key[5 + depth]
    found = records_in(records, Domain.PRICE_NODE)
    assert {key: int.from_bytes(decode_trusted(node, bytes), "big") for key, node in found.items()} == expected


def _audit_open_orders(records: Mapping[bytes, bytes], orders: Mapping[int, Order]) -> None:
    expected: defaultdict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for order_id, order in orders.items():
        expected[order.market.to_bytes(4, "big") + order.owner].append((order_id, order.client_id))
    found: dict[bytes, Any] = records_in(records, Domain.OPEN_ORDERS)
    assert {key: decode_trusted(listed, list[tuple[int, int]]) for key, listed in found.items()} == expected
    for listed in expected.values():
        client_ids = [client_id for _, client_id in listed if client_id]
        assert len(client_ids) == len(set(client_ids))
        assert len(listed) <= 200


def _audit_spread(orders: Mapping[int, Order]) -> None:
    """No book is crossed."""
    for market in {order.market for order in orders.values()}:
        bids = [order.ticks for order in orders.values() if (order.market, order.side) == (market, Side.BUY)]
        asks = [order.ticks for order in orders.values() if (order.market, order.side) == (market, Side.SELL)]
        assert not bids or not asks or max(bids) < min(asks)


def _level_key(order: Order) -> bytes:
    return order.market.to_bytes(4, "big") + bytes((order.side,)) + order.ticks.to_bytes(4, "big")
