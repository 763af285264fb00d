"""The order book: resting orders, the levels where they stand by price, and each owner's open orders.

A level keeps its orders' ids oldest first, in pages: its own record holds the first page, each further one is a record.
Orders join at the end and leave from anywhere: each order knows its page, so nothing is ever searched but a page.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.market import Side
from chain.primitives.market_records import Level, LevelPage, Order
from chain.primitives.message_pack import decode_trusted
from chain.primitives.records import Domain, decode_integer, state_key
from chain.primitives.types import Address
from chain.rules.market.prices import BookSide, add_price, best_price, book_side, next_price, remove_price
from chain.rules.state import State

PAGE_ORDERS: Final = 64
MAX_LEVEL_LOTS: Final = 2**63 - 1
"""Of all orders at one price together, so that MessagePack can hold their sum."""

_ORDER_COUNT: Final = state_key(Domain.ORDER_COUNT)

OpenOrders = tuple[tuple[int, int], ...]
"""(order id, client id) of each, oldest first; client id 0: none."""
_NO_ORDERS: Final[OpenOrders] = ()


class PriceLevel(msgspec.Struct, frozen=True):
    """What rests at one price, in ticks."""

    ticks: int
    open_lots: int
    order_count: int


# Reading


def order_count(state: State) -> int:
    """How many ids were ever given out, over all markets; they count from 1."""
    return state.read_record(_ORDER_COUNT, decode_integer, 0)


def set_order_count(state: State, count: int) -> None:
    """Replaces it."""
    state.write_record(_ORDER_COUNT, count, message_pack.encode)


def find_order(state: State, order_id: int) -> Order | None:
    """A resting order; None for one that was closed, or that never rested."""
    return state.read_record(_order_key(order_id), Order.decode, None)


def open_orders(state: State, market: int, owner: Address) -> OpenOrders:
    """An owner's resting orders in one market."""
    return state.read_record(_open_orders_key(market, owner), _decode_open_orders, _NO_ORDERS)


def find_level(state: State, book: BookSide, ticks: int) -> Level | None:
    """What stands at a price, or None."""
    return state.read_record(_level_key(book, ticks), Level.decode, None)


def levels(state: State, market: int, side: int, limit: int) -> list[PriceLevel]:
    """The best prices of one side, best first, at most `limit`, with what rests there."""
    book = book_side(market, side)
    found: list[PriceLevel] = []
    ticks = best_price(state, book)
    while ticks is not None and len(found) < limit:
        level = find_level(state, book, ticks)
        assert level is not None
        found.append(PriceLevel(ticks, level.open_lots, level.order_count))
        ticks = next_price(state, book, ticks)
    return found


def orders_at(state: State, book: BookSide, ticks: int) -> Iterator[int]:
    """Ids of the orders at a price, oldest first."""
    level = find_level(state, book, ticks)
    if level is None:
        return
    yield from level.order_ids
    number = level.next_page
    while number:
        page = _page(state, book, ticks, number)
        yield from page.order_ids
        number = page.next_page


def orders_up_to(state: State, book: BookSide, worst: int) -> Iterator[tuple[int, Order]]:
    """Orders in the sequence in which they are met: the best price first, down to a worst one in ticks, older first."""
    is_bought = book[-1] == Side.BUY
    ticks = best_price(state, book)
    while ticks is not None and (ticks >= worst if is_bought else ticks <= worst):
        for order_id in orders_at(state, book, ticks):
            order = find_order(state, order_id)
            assert order is not None
            yield order_id, order
        ticks = next_price(state, book, ticks)


# Changing


def add_order(state: State, order_id: int, order: Order) -> None:
    """Puts an order at the end of its level. It is newer than every other, and the level has room for its lots."""
    page = _append(state, book_side(order.market, order.side), order.ticks, order_id, order.open_lots)
    if page:
        order = msgspec.structs.replace(order, page=page)
    state.write_record(_order_key(order_id), order, Order.encode)
    listed = open_orders(state, order.market, order.owner)
    _set_open_orders(state, order.market, order.owner, (*listed, (order_id, order.client_id)))


def reduce_order(state: State, order_id: int, order: Order, lots: int) -> None:
    """A part of an order, not all, has traded; it keeps its place."""
    assert 0 < lots < order.open_lots
    state.write_record(_order_key(order_id), order.with_open_lots(order.open_lots - lots), Order.encode)
    book = book_side(order.market, order.side)
    level = find_level(state, book, order.ticks)
    assert level is not None
    _set_level(state, book, order.ticks, msgspec.structs.replace(level, open_lots=level.open_lots - lots))


def remove_order(state: State, order_id: int, order: Order) -> None:
    """Takes an order out, with whatever it leaves empty."""
    state.write_record(_order_key(order_id), None, None)
    _remove_from_level(state, book_side(order.market, order.side), order_id, order)
    listed = open_orders(state, order.market, order.owner)
    place = bisect_left(listed, (order_id,))
    _set_open_orders(state, order.market, order.owner, listed[:place] + listed[place + 1 :])


def _append(state: State, book: BookSide, ticks: int, order_id: int, lots: int) -> int:
    """The number of the page that has taken the order."""
    level = find_level(state, book, ticks)
    if level is None:
        add_price(state, book, ticks)
        _set_level(state, book, ticks, Level(lots, 1, (order_id,)))
        return 0
    order_ids, next_page, last_page = level.order_ids, level.next_page, level.last_page
    if not next_page and len(order_ids) < PAGE_ORDERS:
        order_ids = (*order_ids, order_id)
    else:
        last_page = _append_to_pages(state, book, ticks, level, order_id)
        next_page = next_page or last_page
    grown = Level(level.open_lots + lots, level.order_count + 1, order_ids, level.page, next_page, last_page)
    _set_level(state, book, ticks, grown)
    return last_page


def _append_to_pages(state: State, book: BookSide, ticks: int, level: Level, order_id: int) -> int:
    """Puts the order on the last page, or on a new one behind it; its number."""
    if level.next_page:
        last = _page(state, book, ticks, level.last_page)
        if len(last.order_ids) < PAGE_ORDERS:
            grown = LevelPage((*last.order_ids, order_id), last.previous_page, 0)
            _set_page(state, book, ticks, level.last_page, grown)
            return level.last_page
        linked = LevelPage(last.order_ids, last.previous_page, level.last_page + 1)
        _set_page(state, book, ticks, level.last_page, linked)
    _set_page(state, book, ticks, level.last_page + 1, LevelPage((order_id,), level.last_page, 0))
    return level.last_page + 1


def _remove_from_level(state: State, book: BookSide, order_id: int, order: Order) -> None:
    level = find_level(state, book, order.ticks)
    assert level is not None
    if level.order_count == 1:
        _clear_level(state, book, order.ticks)
        remove_price(state, book, order.ticks)
        return
    level = msgspec.structs.replace(
        level, open_lots=level.open_lots - order.open_lots, order_count=level.order_count - 1
    )
    if order.page == level.page:
        level = _without_own(state, book, order.ticks, level, order_id)
    else:
        level = _without_paged(state, book, order.ticks, level, order_id, order.page)
    _set_level(state, book, order.ticks, level)


def _without_own(state: State, book: BookSide, ticks: int, level: Level, order_id: int) -> Level:
    """The level without an order of its first page; where that was the last one there, the next page moves up."""
    order_ids = _without(level.order_ids, order_id)
    if order_ids:
        return msgspec.structs.replace(level, order_ids=order_ids)
    moved = _page(state, book, ticks, level.next_page)
    _clear_page(state, book, ticks, level.next_page)
    return msgspec.structs.replace(level, order_ids=moved.order_ids, page=level.next_page, next_page=moved.next_page)


def _without_paged(state: State, book: BookSide, ticks: int, level: Level, order_id: int, number: int) -> Level:
    """The level without an order of a further page; a page that this leaves empty goes."""
    page = _page(state, book, ticks, number)
    order_ids = _without(page.order_ids, order_id)
    if order_ids:
        _set_page(state, book, ticks, number, msgspec.structs.replace(page, order_ids=order_ids))
        return level
    _clear_page(state, book, ticks, number)
    if page.next_page:
        following = _page(state, book, ticks, page.next_page)
        _set_page(
            state, book, ticks, page.next_page, msgspec.structs.replace(following, previous_page=page.previous_page)
        )
    else:
        level = msgspec.structs.replace(level, last_page=page.previous_page)
    if page.previous_page == level.page:
        return msgspec.structs.replace(level, next_page=page.next_page)
    previous = _page(state, book, ticks, page.previous_page)
    _set_page(state, book, ticks, page.previous_page, msgspec.structs.replace(previous, next_page=page.next_page))
    return level


def _without(order_ids: tuple[int, ...], order_id: int) -> tuple[int, ...]:
    place = order_ids.index(order_id)
    return order_ids[:place] + order_ids[place + 1 :]


# Records


def _order_key(order_id: int) -> bytes:
    return state_key(Domain.ORDER, order_id.to_bytes(8, "big"))


def _open_orders_key(market: int, owner: Address) -> bytes:
    return state_key(Domain.OPEN_ORDERS, market.to_bytes(4, "big") + owner)


def _set_open_orders(state: State, market: int, owner: Address, listed: OpenOrders) -> None:
    state.write_record(_open_orders_key(market, owner), listed, message_pack.encode if listed else None)


def _level_key(book: BookSide, ticks: int) -> bytes:
    return state_key(Domain.LEVEL, book + ticks.to_bytes(4, "big"))


def _set_level(state: State, book: BookSide, ticks: int, level: Level) -> None:
    state.write_record(_level_key(book, ticks), level, Level.encode)


def _clear_level(state: State, book: BookSide, ticks: int) -> None:
    state.write_record(_level_key(book, ticks), None, None)


def _page_key(book: BookSide, ticks: int, number: int) -> bytes:
    return state_key(Domain.LEVEL_PAGE, book + ticks.to_bytes(4, "big") + number.to_bytes(4, "big"))


def _page(state: State, book: BookSide, ticks: int, number: int) -> LevelPage:
    page = state.read_record(_page_key(book, ticks, number), LevelPage.decode, None)
    assert page is not None
    return page


def _set_page(state: State, book: BookSide, ticks: int, number: int, page: LevelPage) -> None:
    state.write_record(_page_key(book, ticks, number), page, LevelPage.encode)


def _clear_page(state: State, book: BookSide, ticks: int, number: int) -> None:
    state.write_record(_page_key(book, ticks, number), None, None)


def _decode_open_orders(encoded: bytes) -> OpenOrders:
    return decode_trusted(encoded, OpenOrders)
