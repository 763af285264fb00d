"""Which prices of one side of a book have orders: a trie of bitmaps.

A price in ticks has 32 bits. Each of its four bytes, from the most significant, names one of 256 children of a node,
and a node is the bitmap of those children below which there are orders. So four reads find the best price among any
number of them, at most seven the next one, and most changes touch a single node.
"""

from typing import Final

from chain.primitives import message_pack
from chain.primitives.market import Side
from chain.primitives.message_pack import decode_trusted
from chain.primitives.records import Domain, state_key
from chain.rules.state import State

BookSide = bytes
"""One side of one market's book: the market's number as 4 bytes, and the side."""

_PRICE_BYTES: Final = 4
_NODE_BYTES: Final = 32
_DEPTHS: Final = tuple(bytes((depth,)) for depth in range(_PRICE_BYTES))
_ROOT: Final = b""
_NODE_PREFIX: Final = state_key(Domain.PRICE_NODE)  # The keys on the hot path are put together here, at once.


def book_side(market: int, side: int) -> BookSide:
    """Where the orders of one side stand."""
    return market.to_bytes(4, "big") + bytes((side,))


def best_price(state: State, book: BookSide) -> int | None:
    """In ticks: the highest of buyers, the lowest of sellers; None where there are no orders."""
    children = _children(state, book, _ROOT)
    return _best_below(state, book, bytes((_best(book, children),))) if children else None


def next_price(state: State, book: BookSide, ticks: int) -> int | None:
    """The best price that is worse than this one."""
    path = ticks.to_bytes(_PRICE_BYTES, "big")
    for depth in reversed(range(_PRICE_BYTES)):
        worse = _worse(book, _children(state, book, path[:depth]), path[depth])
        if worse:
            return _best_below(state, book, path[:depth] + bytes((_best(book, worse),)))
    return None


def add_price(state: State, book: BookSide, ticks: int) -> None:
    """There are orders at this price now."""
    path = ticks.to_bytes(_PRICE_BYTES, "big")
    for depth in reversed(range(_PRICE_BYTES)):
        children = _children(state, book, path[:depth])
        _set_children(state, book, path[:depth], children | 1 << path[depth])
        if children:  # So the nodes above know of this one.
            return


def remove_price(state: State, book: BookSide, ticks: int) -> None:
    """There are none any more."""
    path = ticks.to_bytes(_PRICE_BYTES, "big")
    for depth in reversed(range(_PRICE_BYTES)):
        children = _children(state, book, path[:depth]) & ~(1 << path[depth])
        _set_children(state, book, path[:depth], children)
        if children:
            return


def _best_below(state: State, book: BookSide, path: bytes) -> int:
    """The best price that begins with these bytes; there is one."""
    while len(path) < _PRICE_BYTES:
        path += bytes((_best(book, _children(state, book, path)),))
    return int.from_bytes(path, "big")


def _best(book: BookSide, children: int) -> int:
    if book[-1] == Side.BUY:
        return children.bit_length() - 1
    return (children & -children).bit_length() - 1


def _worse(book: BookSide, children: int, child: int) -> int:
    """Those of the children that are worse than one."""
    if book[-1] == Side.BUY:
        return children & ((1 << child) - 1)
    return children >> (child + 1) << (child + 1)


# Nodes: bit i of the bitmap is child i


def _node_key(book: BookSide, path: bytes) -> bytes:
    return _NODE_PREFIX + book + _DEPTHS[len(path)] + path


def _children(state: State, book: BookSide, path: bytes) -> int:
    return state.read_record(_node_key(book, path), _decode_node, 0)


def _set_children(state: State, book: BookSide, path: bytes, children: int) -> None:
    state.write_record(_node_key(book, path), children, _encode_node if children else None)


def _encode_node(children: int) -> bytes:
    return message_pack.encode(children.to_bytes(_NODE_BYTES, "big"))


def _decode_node(encoded: bytes) -> int:
    return int.from_bytes(decode_trusted(encoded, bytes), "big")
