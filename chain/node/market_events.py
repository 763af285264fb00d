"""The market's events as the read model takes them: what was placed, traded and closed, in the order of the logs.

Read by position, as `chain.rules.market` lays them out: decoding thousands by their declarations takes longer than
indexing them.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from chain.primitives.block import Log
from chain.primitives.market import ORDER_CLOSED_EVENT, ORDER_PLACED_EVENT, TRADE_EVENT
from chain.primitives.modules import MARKET
from chain.primitives.types import Address

_WORD: Final = 32
_PLACED: Final = ORDER_PLACED_EVENT.topic
_TRADED: Final = TRADE_EVENT.topic
_CLOSED: Final = ORDER_CLOSED_EVENT.topic


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An order as it was placed; `price` in quote atoms per lot."""

    market: int
    order_id: int
    owner: Address
    side: int
    kind: int
    price: int
    lots: int
    expiry_height: int
    client_id: int


class Traded(msgspec.Struct, frozen=True, gc=False):
    """Two orders met; each fee in atoms of what its side receives."""

    market: int
    maker: Address
    taker: Address
    maker_order_id: int
    taker_order_id: int
    taker_side: int
    price: int
    lots: int
    maker_fee: int
    taker_fee: int


class Closed(msgspec.Struct, frozen=True, gc=False):
    """An order is no longer in the book, or never came to rest; what was left of it has gone back."""

    market: int
    order_id: int
    owner: Address
    reason: int
    lots_left: int


MarketEvent = Placed | Traded | Closed


def market_events(logs: Iterable[Log]) -> Iterator[MarketEvent]:
    """Those among one transaction's logs."""
    for log in logs:
        if log.address != MARKET:
            continue
        topics, kind = log.topics, log.topics[0]
        if kind == _TRADED:
            yield Traded(_number(topics[1]), _address(topics[2]), _address(topics[3]), *_numbers(log.data))
        elif kind == _PLACED:
            yield Placed(_number(topics[1]), _number(topics[2]), _address(topics[3]), *_numbers(log.data))
        elif kind == _CLOSED:
            yield Closed(_number(topics[1]), _number(topics[2]), _address(topics[3]), *_numbers(log.data))


def _number(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _numbers(words: bytes) -> list[int]:
    return [int.from_bytes(words[start : start + _WORD], "big") for start in range(0, len(words), _WORD)]


def _address(topic: bytes) -> Address:
    return Address(topic[12:])
