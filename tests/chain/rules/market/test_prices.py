"""The trie of prices against a plain sorted set."""

from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.market import MAX_PRICE_TICKS, Side
from chain.primitives.records import Domain, state_key
from chain.rules.market.prices import add_price, best_price, book_side, next_price, remove_price
from chain.rules.state import State


class Nothing:
    """An empty state."""

    def get(self, state_key: bytes) -> bytes | None:
        """No record."""
        return None


class Everything:
    """A state after changes."""

    def __init__(self, changes: dict[bytes, bytes | None]) -> None:
        self.records = {key: record for key, record in changes.items() if record is not None}

    def get(self, state_key: bytes) -> bytes | None:
        """The record."""
        return self.records.get(state_key)


def walk(state: State, book: bytes) -> list[int]:
    """Every price from the best one on."""
    found = []
    ticks = best_price(state, book)
    while ticks is not None:
        found.append(ticks)
        ticks = next_price(state, book, ticks)
    return found


# Neighbours in each of the four bytes, and both ends.
ticks = st.sampled_from(
    [1, 2, 255, 256, 257, 2**16 - 1, 2**16, 2**24 - 1, 2**24, 2**31, MAX_PRICE_TICKS]
) | st.integers(1, MAX_PRICE_TICKS)


@given(side=st.sampled_from(Side), steps=st.lists(st.tuples(st.booleans(), ticks), max_size=60))
def test_it_is_a_sorted_set(side: Side, steps: list[tuple[bool, int]]) -> None:
    state, prices, book = State(Nothing()), set[int](), book_side(7, side)
    for adds, chosen in steps:
        price = chosen
        if adds:
            add_price(state, book, price)
            prices.add(price)
        elif prices:
            price = min(prices, key=lambda other: abs(other - chosen))
            remove_price(state, book, price)
            prices.remove(price)
        best = max if side == Side.BUY else min
        assert best_price(state, book) == (best(prices) if prices else None)
    assert walk(state, book) == sorted(prices, reverse=side == Side.BUY)
    assert walk(State(Everything(state.changes())), book) == walk(state, book)
    for price in [price for _, price in steps]:  # Also from prices that are not in it.
        worse = [p for p in prices if (p < price if side == Side.BUY else p > price)]
        assert next_price(state, book, price) == ((max if side == Side.BUY else min)(worse) if worse else None)
    for price in prices:
        remove_price(state, book, price)
    assert state.changes() == {}


def test_books_are_apart() -> None:
    state = State(Nothing())
    for market in (1, 2, 256):
        for side in Side:
            add_price(state, book_side(market, side), 1_000 * market + side)
    for market in (1, 2, 256):
        for side in Side:
            assert walk(state, book_side(market, side)) == [1_000 * market + side]


def test_the_records_of_one_price() -> None:
    """Four nodes, whose keys and bitmaps every implementation must agree on."""
    state = State(Nothing())
    add_price(state, book_side(1, Side.SELL), 0x01020304)
    book = b"\0\0\0\1\1"
    expected = {
        state_key(Domain.PRICE_NODE, book + path): b"\xc4\x20" + (1 << child).to_bytes(32, "big")
        for path, child in ((b"\0", 1), (b"\1\1", 2), (b"\2\1\2", 3), (b"\3\1\2\3", 4))
    }
    assert state.changes() == expected


def test_another_price_nearby_touches_one_node() -> None:
    state = State(Nothing())
    add_price(state, book_side(1, Side.BUY), 1_000)
    state = State(Everything(state.changes()))
    add_price(state, book_side(1, Side.BUY), 1_001)
    assert len(state.changes()) == 1
