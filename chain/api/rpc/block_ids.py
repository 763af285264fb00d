"""Which block a call means: a tag, a number, or an object with a hash or a number (EIP-1898).

Every block here is final, so `latest`, `safe` and `finalized` are the same one. `pending` is that one too, but for an
account's nonce, which then counts what waits in the mempool.
"""

from enum import StrEnum
from typing import Any, Final, NewType

from chain.api.rpc.methods import Kind
from chain.api.rpc.values import HASH_SCHEMA, UINT64_SCHEMA, malformed, parse_hash, parse_quantity
from chain.primitives.types import Hash32

BlockNumber = NewType("BlockNumber", int)
_MAX_BLOCK_NUMBER: Final = 2**63 - 1


class BlockTag(StrEnum):
    """The names of blocks."""

    LATEST = "latest"
    SAFE = "safe"
    FINALIZED = "finalized"
    PENDING = "pending"
    EARLIEST = "earliest"


BlockId = BlockTag | BlockNumber | Hash32
_TAGS: Final = {tag.value: tag for tag in BlockTag}


def parse_block_number(value: Any) -> BlockTag | BlockNumber:
    """A tag or a number."""
    if isinstance(value, str) and (tag := _TAGS.get(value)) is not None:
        return tag
    if not isinstance(value, str) or not value.startswith(("0x", "0X")):
        raise malformed(f"a block is a number in hex after 0x, or one of {', '.join(_TAGS)}")
    return BlockNumber(parse_quantity(value, _MAX_BLOCK_NUMBER))


def parse_block_id(value: Any) -> BlockId:
    """A tag, a number, or an object of EIP-1898; a bare hash, which geth takes as well."""
    if isinstance(value, dict):
        return _parse_block_object(value)
    if isinstance(value, str) and len(value) == 66:
        return parse_hash(value)
    return parse_block_number(value)


def _parse_block_object(value: dict[str, Any]) -> BlockId:
    if not value.keys() <= {"blockHash", "blockNumber", "requireCanonical"}:
        raise malformed("a block object has blockHash or blockNumber, and requireCanonical")
    block_hash, number = value.get("blockHash"), value.get("blockNumber")
    if (block_hash is None) == (number is None):
        raise malformed("give either blockHash or blockNumber")
    if not isinstance(value.get("requireCanonical", False), bool):
        raise malformed("requireCanonical is true or false")  # Every block that is here is canonical.
    return parse_hash(block_hash) if number is None else parse_block_number(number)


_NUMBER_SCHEMAS: Final = ({"type": "string", "enum": list(_TAGS)}, UINT64_SCHEMA)
BLOCK_NUMBER: Final = Kind(parse_block_number, {"title": "block number or tag", "anyOf": list(_NUMBER_SCHEMAS)})
BLOCK_ID: Final = Kind(
    parse_block_id,
    {
        "title": "block number, tag or hash",
        "anyOf": [
            *_NUMBER_SCHEMAS,
            HASH_SCHEMA,
            {
                "type": "object",
                "properties": {
                    "blockHash": HASH_SCHEMA,
                    "blockNumber": {"anyOf": list(_NUMBER_SCHEMAS)},
                    "requireCanonical": {"type": "boolean"},
                },
                "additionalProperties": False,
            },
        ],
    },
)
