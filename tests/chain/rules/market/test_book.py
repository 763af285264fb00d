"""The book: orders, levels and pages against plain lists, and how few records each change touches."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.market import Side
from chain.primitives.market_records import Level, LevelPage, Order
from chain.primitives.records import Domain
from chain.primitives.types import Address
from chain.rules.market.book import (
    PAGE_ORDERS,
    PriceLevel,
    add_order,
    find_order,
    levels,
    open_orders,
    orders_at,
    orders_up_to,
    reduce_order,
    remove_order,
)
from chain.rules.market.prices import book_side
from chain.rules.state import State
from tests.chain.rules.market.auditing import audit_book, orders_in, records_in
from tests.chain.rules.market.test_prices import Everything, Nothing

OWNERS = [Address(bytes([number]) * 20) for number in range(1, 9)]
BOOK = book_side(1, Side.SELL)


def order_of(owner: int, ticks: int, lots: int, side: Side = Side.SELL) -> Order:
    return Order(OWNERS[owner % len(OWNERS)], 1, side, 0, ticks, lots, lots, 0, 0)


def adopted(before: Everything, state: State) -> Everything:
    """The whole state after the changes, once every level, page and price has been compared with the orders."""
    after = Everything({**before.records, **state.changes()})
    audit_book(after.records, orders_in(after.records))
    return after


def crowded(count: int) -> Everything:
    """A state with so many orders at one price."""
    state = State(Nothing())
    for order_id in range(1, count + 1):
        add_order(state, order_id, order_of(order_id, 5, 10))
    return adopted(Everything({}), state)


def remove(state: State, order_id: int) -> None:
    order = find_order(state, order_id)
    assert order is not None
    remove_order(state, order_id, order)


@settings(max_examples=40)
@given(
    start=st.sampled_from([0, 63, 64, 65, 130, 200]),
    steps=st.lists(st.tuples(st.sampled_from("aaarrdx"), st.integers(0, 10**6)), max_size=120),
)
def test_it_is_a_list_of_orders_at_each_price(start: int, steps: list[tuple[str, int]]) -> None:
    """Orders join at the end and go from anywhere, in runs too, so that pages empty and move up."""
    before, next_id = crowded(start), start + 1
    state = State(before)
    expected: defaultdict[int, list[int]] = defaultdict(list, {5: list(range(1, start + 1))})
    for what, number in steps:
        present = [order_id for listed in expected.values() for order_id in listed]
        if what == "a" or not present:
            ticks = 5 if number % 4 else 6
            add_order(state, next_id, order_of(number, ticks, 10))
            expected[ticks].append(next_id)
            next_id += 1
            continue
        run = 70 if what == "x" else 1
        first = number % len(present)
        for order_id in present[first : first + run]:
            order = find_order(state, order_id)
            assert order is not None
            if what == "d" and order.open_lots > 1:
                reduce_order(state, order_id, order, 1)
            else:
                remove_order(state, order_id, order)
                expected[order.ticks].remove(order_id)
        if number % 5 == 0:
            before = adopted(before, state)
            state = State(before)
    assert [list(orders_at(state, BOOK, ticks)) for ticks in (5, 6)] == [expected[5], expected[6]]
    adopted(before, state)


def test_levels_come_best_first_and_bounded() -> None:
    state = State(Nothing())
    for order_id, (side, ticks, lots) in enumerate(
        [(Side.SELL, 9, 1), (Side.SELL, 7, 2), (Side.SELL, 9, 4), (Side.BUY, 5, 8), (Side.BUY, 6, 16)], 1
    ):
        add_order(state, order_id, order_of(0, ticks, lots, side))
    assert levels(state, 1, Side.SELL, 10) == [PriceLevel(7, 2, 1), PriceLevel(9, 5, 2)]
    assert levels(state, 1, Side.BUY, 10) == [PriceLevel(6, 16, 1), PriceLevel(5, 8, 1)]
    assert levels(state, 1, Side.BUY, 1) == [PriceLevel(6, 16, 1)]
    assert levels(state, 1, Side.BUY, 0) == levels(state, 2, Side.BUY, 9) == []
    assert [order_id for order_id, _ in orders_up_to(state, BOOK, 8)] == [2]
    assert [order_id for order_id, _ in orders_up_to(state, BOOK, 9)] == [2, 1, 3]
    assert [order_id for order_id, _ in orders_up_to(state, book_side(1, Side.BUY), 6)] == [5]


def test_a_page_that_moves_up_rewrites_no_order() -> None:
    before = crowded(PAGE_ORDERS + 3)
    state = State(before)
    for order_id in range(1, PAGE_ORDERS + 1):
        remove(state, order_id)
    changes = state.changes()
    assert [key for key, record in changes.items() if key[0] == Domain.ORDER and record is not None] == []
    (level,) = (Level.decode(record) for record in records_in(adopted(before, state).records, Domain.LEVEL).values())
    assert (level.page, level.next_page, level.last_page) == (1, 0, 1)
    assert level.order_ids == (PAGE_ORDERS + 1, PAGE_ORDERS + 2, PAGE_ORDERS + 3)


@pytest.mark.parametrize("count", [1, PAGE_ORDERS - 1, PAGE_ORDERS, 5 * PAGE_ORDERS, 5 * PAGE_ORDERS + 1])
def test_how_few_records_a_change_touches(count: int) -> None:
    """The order, its level, its owner's list, and at most two pages, or the four nodes of the only price."""
    before = crowded(count)
    state = State(before)
    add_order(state, count + 1, order_of(0, 5, 10))
    assert len(state.changes()) <= 5
    for order_id in {1, count // 2 + 1, count}:
        state = State(before)
        remove(state, order_id)
        assert len(state.changes()) <= (7 if count == 1 else 6)
        adopted(before, state)


def test_an_owners_open_orders_are_listed_oldest_first() -> None:
    state = State(Nothing())
    for order_id in (3, 7, 8):
        order = Order(OWNERS[0], 1, Side.BUY, 0, order_id, 5, 5, 0, client_id=order_id * 2)
        add_order(state, order_id, order)
    assert open_orders(state, 1, OWNERS[0]) == ((3, 6), (7, 14), (8, 16))
    remove(state, 7)
    assert open_orders(state, 1, OWNERS[0]) == ((3, 6), (8, 16))
    assert open_orders(state, 2, OWNERS[0]) == open_orders(state, 1, OWNERS[1]) == ()


@pytest.mark.parametrize("full_pages", [2, 3, 4])
def test_the_number_of_a_last_page_that_went_is_used_again(full_pages: int) -> None:
    before = crowded(full_pages * PAGE_ORDERS)
    state = State(before)
    for order_id in range((full_pages - 1) * PAGE_ORDERS + 1, full_pages * PAGE_ORDERS + 1):
        remove(state, order_id)
    assert len(records_in(adopted(before, state).records, Domain.LEVEL_PAGE)) == full_pages - 2
    add_order(state, 10_000, order_of(0, 5, 1))
    pages = records_in(adopted(before, state).records, Domain.LEVEL_PAGE)
    assert [LevelPage.decode(page).order_ids for page in pages.values()][-1] == (10_000,)


@pytest.mark.parametrize("emptied", [0, 1, 2, 3])
def test_any_page_may_go_first(emptied: int) -> None:
    before = crowded(4 * PAGE_ORDERS)
    state = State(before)
    for order_id in range(emptied * PAGE_ORDERS + 1, (emptied + 1) * PAGE_ORDERS + 1):
        remove(state, order_id)
        adopted(before, state)
    rest = [order_id for order_id in range(1, 4 * PAGE_ORDERS + 1) if (order_id - 1) // PAGE_ORDERS != emptied]
    assert list(orders_at(state, BOOK, 5)) == rest
