"""Quantities and data as Ethereum's JSON-RPC writes them, read as strictly as geth reads them.

A quantity is hex without leading zeros (`0x0`, `0x1f`), data is hex of whole bytes. Addresses are taken in any mixture
of cases: libraries check EIP-55 where a person types, and geth does not.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from chain.api.rpc.methods import Kind
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import MAX_TRANSACTION_BYTES
from chain.primitives.types import MAX_UINT256, Address, Hash32

MAX_UINT64: Final = 2**64 - 1
_QUANTITY: Final = re.compile(r"0[xX](?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA: Final = re.compile(r"0[xX][0-9a-fA-F]*")  # Of any length: to match pairs takes ten times as long.
_SLOT: Final = re.compile(r"0[xX][0-9a-fA-F]{1,64}")
_ADDRESS_CHARACTERS: Final = 42
_HASH_CHARACTERS: Final = 66


def malformed(message: str) -> Rejected:
    """What every reader of a value raises."""
    return Rejected(RejectionReason.MALFORMED, message)


def parse_members(value: Any, parsers: Mapping[str, Callable[[Any], Any]], what: str) -> dict[str, Any]:
    """The members of an object that are there and not null; those without a parser are left alone, as geth does."""
    if not isinstance(value, dict):
        raise malformed(f"{what} is an object")
    present = ((name, parse) for name, parse in parsers.items() if value.get(name) is not None)
    return {name: _parse_member(name, parse, value[name]) for name, parse in present}


def _parse_member(name: str, parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except Rejected as rejected:
        raise Rejected(rejected.reason, f"{name}: {rejected}") from None


def parse_quantity(value: Any, maximum: int = MAX_UINT256) -> int:
    """An integer from 0 up to a bound."""
    if not isinstance(value, str):
        raise malformed("a quantity is a hex string such as 0x1f")
    if _QUANTITY.fullmatch(value) is None:
        raise malformed("a quantity is hex digits after 0x, without leading zeros, below 2^256")
    number = int(value, 16)
    if number > maximum:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"the quantity is above {maximum:#x}")
    return number


def parse_uint64(value: Any) -> int:
    """An integer below 2^64."""
    return parse_quantity(value, MAX_UINT64)


def parse_data(value: Any, max_bytes: int = MAX_TRANSACTION_BYTES) -> bytes:
    """Bytes, up to a bound."""
    if not isinstance(value, str):
        raise malformed("data is a hex string such as 0x0a")
    if len(value) > 2 + 2 * max_bytes:
        raise Rejected(RejectionReason.TOO_LARGE, f"the data have more than {max_bytes} bytes")
    if len(value) % 2 or _DATA.fullmatch(value) is None:
        raise malformed("data are hex digits after 0x, two for each byte")
    return bytes.fromhex(value[2:])


def parse_address(value: Any) -> Address:
    """20 bytes."""
    if not isinstance(value, str) or len(value) != _ADDRESS_CHARACTERS:
        raise malformed("an address is 20 bytes of hex after 0x")
    return Address(parse_data(value))


def parse_hash(value: Any) -> Hash32:
    """32 bytes."""
    if not isinstance(value, str) or len(value) != _HASH_CHARACTERS:
        raise malformed("a hash is 32 bytes of hex after 0x")
    return Hash32(parse_data(value))


def _parse_slot(value: Any) -> int:
    """A storage slot, which clients write as a quantity or as 32 bytes."""
    if not isinstance(value, str) or _SLOT.fullmatch(value) is None:
        raise malformed("a storage slot is at most 32 bytes of hex after 0x")
    return int(value, 16)


def _parse_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise malformed("true or false is expected")
    return value


def _parse_name(value: Any) -> str:
    if not isinstance(value, str):
        raise malformed("a string is expected")
    return value


def quantity(number: int) -> str:
    """An integer as a quantity."""
    return hex(number)


_DATA_PATTERN: Final = "^0x([0-9a-fA-F]{2})*$"
QUANTITY_SCHEMA: Final = {"type": "string", "pattern": "^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})$", "title": "quantity"}
UINT64_SCHEMA: Final = {"type": "string", "pattern": "^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,15})$", "title": "quantity"}
DATA_SCHEMA: Final = {"type": "string", "pattern": _DATA_PATTERN, "title": "data"}
ADDRESS_SCHEMA: Final = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$", "title": "address"}
HASH_SCHEMA: Final = {"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$", "title": "hash"}

QUANTITY: Final = Kind(parse_quantity, QUANTITY_SCHEMA)
UINT64: Final = Kind(parse_uint64, UINT64_SCHEMA)
DATA: Final = Kind(parse_data, {**DATA_SCHEMA, "maxLength": 2 + 2 * MAX_TRANSACTION_BYTES})
ADDRESS: Final = Kind(parse_address, ADDRESS_SCHEMA)
HASH: Final = Kind(parse_hash, HASH_SCHEMA)
SLOT: Final = Kind(_parse_slot, {"type": "string", "pattern": "^0x[0-9a-fA-F]{1,64}$", "title": "storage slot"})
BOOLEAN: Final = Kind(_parse_boolean, {"type": "boolean"})
NAME: Final = Kind(_parse_name, {"type": "string"})
