"""The filter object of eth_getLogs, eth_newFilter and eth_subscribe, read as geth reads it."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from chain.api.log_index import LogFilter
from chain.api.rpc.block_ids import BLOCK_NUMBER, BlockNumber, BlockTag, parse_block_number
from chain.api.rpc.errors import SERVER_ERROR, RpcError
from chain.api.rpc.methods import Kind
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import ADDRESS_SCHEMA, HASH_SCHEMA, malformed, parse_address, parse_hash, parse_members
from chain.primitives.types import Address, Hash32
from chain.storage.view import StateView

MAX_ALTERNATIVES: Final = 1_000
"""Addresses, or hashes for one topic: as many as geth takes."""
MAX_HEIGHT: Final = 2**63 - 1
_MAX_TOPICS: Final = 4

Bound = BlockTag | BlockNumber | None
Topics = tuple[frozenset[Hash32] | None, ...]


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which logs somebody asks for. None for a bound that was not given, which means the newest block."""

    addresses: frozenset[Address] = frozenset()
    topics: Topics = ()
    from_block: Bound = None
    to_block: Bound = None
    block_hash: Hash32 | None = None

    def within(self, from_height: int, to_height: int) -> LogFilter:
        """The same logs in blocks of one's choice."""
        return LogFilter(from_height, to_height, self.addresses, self.topics)

    def resolve(self, chain: ServedChain, view: StateView) -> LogFilter:
        """What the bounds mean in a view; raises RpcError where there is no block with that hash."""
        if self.block_hash is not None:
            height = view.height_of(self.block_hash)
            if height is None:
                raise RpcError(SERVER_ERROR, "unknown block")
            return self.within(height, height)
        newest = chain.head(view).height
        last = min(bounding_number(self.to_block, newest), newest)
        return self.within(bounding_number(self.from_block, newest), last)


def bounding_number(bound: Bound, newest: int) -> int:
    """What a bound means: a number, which may be above the newest block, or what stands for the newest."""
    if bound is None or isinstance(bound, BlockTag):
        return 0 if bound is BlockTag.EARLIEST else newest
    return bound


def parse_log_query(value: Any) -> LogQuery:
    """Reads a filter; members that have no meaning here are left alone, as geth does."""
    fields = parse_members(value, _PARSERS, "a filter")
    from_block, to_block = fields.get("fromBlock"), fields.get("toBlock")
    if fields.get("blockHash") is not None and (from_block is not None or to_block is not None):
        raise malformed("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    if isinstance(from_block, int) and isinstance(to_block, int) and from_block > to_block:
        raise malformed("invalid block range params")
    return LogQuery(
        addresses=fields.get("address", frozenset()),
        topics=fields.get("topics", ()),
        from_block=from_block,
        to_block=to_block,
        block_hash=fields.get("blockHash"),
    )


def _parse_addresses(value: Any) -> frozenset[Address]:
    if not isinstance(value, list):
        return frozenset((parse_address(value),))
    _check_count(value)
    return frozenset(parse_address(each) for each in value)


def _parse_topics(value: Any) -> Topics:
    if not isinstance(value, list):
        raise malformed("topics are a list")
    if len(value) > _MAX_TOPICS:
        raise malformed(f"exceed max topics: a log has at most {_MAX_TOPICS}")
    return tuple(_parse_topic(each) for each in value)


def _parse_topic(value: Any) -> frozenset[Hash32] | None:
    """Null, an empty list, and a list with null in it stand for any topic."""
    if value is None:
        return None
    if not isinstance(value, list):
        return frozenset((parse_hash(value),))
    _check_count(value)
    choice = frozenset(parse_hash(each) for each in value if each is not None)
    return None if not value or None in value else choice


def _check_count(alternatives: list[Any]) -> None:
    if len(alternatives) > MAX_ALTERNATIVES:
        raise malformed(f"exceed max addresses or topics: at most {MAX_ALTERNATIVES} in one list")


_PARSERS: Final[dict[str, Callable[[Any], Any]]] = {
    "address": _parse_addresses,
    "topics": _parse_topics,
    "fromBlock": parse_block_number,
    "toBlock": parse_block_number,
    "blockHash": parse_hash,
}
_ADDRESSES_SCHEMA: Final = {"type": "array", "items": ADDRESS_SCHEMA, "maxItems": MAX_ALTERNATIVES}
_HASHES_SCHEMA: Final = {
    "type": "array",
    "items": {"anyOf": [HASH_SCHEMA, {"type": "null"}]},
    "maxItems": MAX_ALTERNATIVES,
}
LOG_QUERY: Final = Kind(
    parse_log_query,
    {
        "title": "filter",
        "type": "object",
        "properties": {
            "address": {"anyOf": [ADDRESS_SCHEMA, _ADDRESSES_SCHEMA]},
            "topics": {
                "type": "array",
                "items": {"anyOf": [{"type": "null"}, HASH_SCHEMA, _HASHES_SCHEMA]},
                "maxItems": _MAX_TOPICS,
            },
            "fromBlock": BLOCK_NUMBER.schema,
            "toBlock": BLOCK_NUMBER.schema,
            "blockHash": HASH_SCHEMA,
        },
    },
)
