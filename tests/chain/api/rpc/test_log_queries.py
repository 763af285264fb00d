"""Which filter objects are taken, and what they mean."""

from __future__ import annotations

from typing import Any

import pytest

from chain.api.rpc.block_ids import BlockNumber, BlockTag
from chain.api.rpc.log_queries import MAX_ALTERNATIVES, LogQuery, parse_log_query
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32

ADDRESS, OTHER = "0x" + "ab" * 20, "0x" + "CD" * 20
HASH, SECOND = "0x" + "01" * 32, "0x" + "02" * 32
RAW, RAW_SECOND = Hash32(b"\1" * 32), Hash32(b"\2" * 32)
RAW_ADDRESS, RAW_OTHER = Address(b"\xab" * 20), Address(b"\xcd" * 20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, LogQuery()),
        ({"address": None, "topics": None, "fromBlock": None, "toBlock": None, "blockHash": None}, LogQuery()),
        ({"address": ADDRESS}, LogQuery(addresses=frozenset((RAW_ADDRESS,)))),
        ({"address": [ADDRESS, OTHER]}, LogQuery(addresses=frozenset((RAW_ADDRESS, RAW_OTHER)))),
        ({"address": []}, LogQuery()),
        ({"topics": []}, LogQuery()),
        ({"topics": [None, HASH]}, LogQuery(topics=(None, frozenset((RAW,))))),
        ({"topics": [[HASH, SECOND], None]}, LogQuery(topics=(frozenset((RAW, RAW_SECOND)), None))),
        ({"topics": [[], [HASH, None]]}, LogQuery(topics=(None, None))),
        ({"topics": [HASH] * 4}, LogQuery(topics=(frozenset((RAW,)),) * 4)),
        ({"fromBlock": "earliest", "toBlock": "0x0"}, LogQuery(from_block=BlockTag.EARLIEST, to_block=BlockNumber(0))),
        ({"fromBlock": "0x2", "toBlock": "0x2"}, LogQuery(from_block=BlockNumber(2), to_block=BlockNumber(2))),
        ({"fromBlock": "0xff", "toBlock": "latest"}, LogQuery(from_block=BlockNumber(255), to_block=BlockTag.LATEST)),
        ({"blockHash": HASH}, LogQuery(block_hash=RAW)),
        ({"limit": 5, "toBlock": "safe"}, LogQuery(to_block=BlockTag.SAFE)),
    ],
)
def test_taken(value: dict[str, Any], expected: LogQuery) -> None:
    assert parse_log_query(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "a filter is an object"),
        ("latest", "a filter is an object"),
        ({"address": "0x12"}, "address: an address is 20 bytes"),
        ({"address": 7}, "address: an address is 20 bytes"),
        ({"address": [ADDRESS, None]}, "address: an address is 20 bytes"),
        ({"address": [[ADDRESS]]}, "address: an address is 20 bytes"),
        ({"address": {}}, "address: an address is 20 bytes"),
        ({"address": [ADDRESS] * (MAX_ALTERNATIVES + 1)}, "address: exceed max"),
        ({"topics": HASH}, "topics: topics are a list"),
        ({"topics": [ADDRESS]}, "topics: a hash is 32 bytes"),
        ({"topics": [[[HASH]]]}, "topics: a hash is 32 bytes"),
        ({"topics": [1]}, "topics: a hash is 32 bytes"),
        ({"topics": [None] * 5}, "topics: exceed max topics"),
        ({"topics": [[HASH] * (MAX_ALTERNATIVES + 1)]}, "topics: exceed max"),
        ({"fromBlock": 1}, "fromBlock: a block is"),
        ({"fromBlock": "0x01"}, "fromBlock: a quantity is"),
        ({"fromBlock": "-0x1"}, "fromBlock: a block is"),
        ({"toBlock": "0x8000000000000000"}, "toBlock: the quantity is above"),
        ({"toBlock": HASH}, "toBlock: "),
        ({"fromBlock": "0x3", "toBlock": "0x2"}, "invalid block range params"),
        ({"blockHash": HASH, "toBlock": "latest"}, "cannot specify both"),
        ({"blockHash": HASH, "fromBlock": "0x0"}, "cannot specify both"),
        ({"blockHash": "latest"}, "blockHash: a hash is 32 bytes"),
    ],
)
def test_refused(value: object, message: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_log_query(value)
    assert str(refused.value).startswith(message)
