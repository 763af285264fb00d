"""The types of EIP-712 and what fits them: exactly one value for each text, or a refusal that names the field."""

import re
from typing import Any, Final

from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address
from chain.primitives.rejection import Rejected, RejectionReason

Types = dict[str, list[dict[str, str]]]
"""A struct's name → its members, each with `name` and `type`, as the document has them."""

_MAX_DEPTH: Final = 32
_MAX_DIMENSIONS: Final = 8
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ARRAY: Final = re.compile(r"(.+)\[((?:[1-9][0-9]{0,8})?)\]")
_INTEGER_TYPE: Final = re.compile(r"u?int([1-9][0-9]{0,2})")
_FIXED_BYTES: Final = re.compile(r"bytes([1-9]|[12][0-9]|3[0-2])")
_INTEGER_TEXT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,77})|0x[0-9a-fA-F]{1,64}")
# With `int` and `uint`, Solidity's other names of int256 and uint256: encoders disagree on them, so they are refused.
_RESERVED: Final = re.compile(r"address|bool|string|bytes[0-9]*|u?int[0-9]*")


def malformed(field: str, what: str) -> Rejected:
    """To be raised; `what` continues the field's name."""
    return Rejected(RejectionReason.MALFORMED, f"typed data: {field} {what}", field=field)


def is_struct(base: str) -> bool:
    """Whether a type (without its brackets) can only be one that the document declares."""
    return _RESERVED.fullmatch(base) is None


def check_types(declared: object) -> Types:
    """The structs that a document declares, each name and type well-formed; raises Rejected."""
    if not isinstance(declared, dict):
        raise malformed("types", "is not a JSON object")
    return {name: _check_members(name, members) for name, members in declared.items()}


def check_struct(value: object, name: str, types: Types, field: str, depth: int = 0) -> dict[str, Any]:
    """The struct's values in the order of their declaration; raises Rejected unless its fields are exactly those."""
    if not isinstance(value, dict):
        raise malformed(field, f"is not a JSON object ({name})")
    if depth > _MAX_DEPTH:
        raise malformed(field, f"is nested deeper than {_MAX_DEPTH} levels")
    members = types[name]
    if surplus := value.keys() - {member["name"] for member in members}:
        raise malformed(f"{field}.{min(surplus)}", f"is not declared in {name}, so it would not be signed")
    for member in members:
        if member["name"] not in value:
            raise malformed(f"{field}.{member['name']}", "is missing")
    return {
        member["name"]: _check_value(
            value[member["name"]], member["type"], types, f"{field}.{member['name']}", depth + 1
        )
        for member in members
    }


def _check_members(name: str, members: object) -> list[dict[str, str]]:
    where = f"types.{name[:128]}"
    if not _IDENTIFIER.fullmatch(name) or not is_struct(name):
        raise malformed(where, "is no name for a struct")
    if not isinstance(members, list):
        raise malformed(where, "is not a list")
    names: set[str] = set()
    for member in members:
        if not isinstance(member, dict) or member.keys() != {"name", "type"}:
            raise malformed(where, "has a member that is not exactly a name and a type")
        if not isinstance(member["name"], str) or not _IDENTIFIER.fullmatch(member["name"]):
            raise malformed(where, "has a member without a proper name")
        if member["name"] in names:
            raise malformed(f"{where}.{member['name']}", "is declared twice")
        names.add(member["name"])
        _check_type(member["type"], f"{where}.{member['name']}")
    return members


def _check_type(type_: object, where: str) -> None:
    if not isinstance(type_, str):
        raise malformed(where, "has a type that is not text")
    base = type_
    for _ in range(_MAX_DIMENSIONS):
        match = _ARRAY.fullmatch(base)
        if match is None:
            break
        base = match[1]
    if not _IDENTIFIER.fullmatch(base) or not (is_struct(base) or _is_atomic(base)):
        raise malformed(where, f"has no type of EIP-712: {type_[:80]}")


def _is_atomic(base: str) -> bool:
    if base in ("address", "bool", "string", "bytes") or _FIXED_BYTES.fullmatch(base):
        return True
    integer = _INTEGER_TYPE.fullmatch(base)
    return integer is not None and int(integer[1]) % 8 == 0 and int(integer[1]) <= 256


def _check_value(value: object, type_: str, types: Types, field: str, depth: int) -> Any:
    if array := _ARRAY.fullmatch(type_):
        return _check_array(value, array[1], array[2], types, field, depth)
    if is_struct(type_):
        return check_struct(value, type_, types, field, depth)
    if type_ == "bool":
        if not isinstance(value, bool):
            raise malformed(field, "is neither true nor false")
        return value
    if type_ == "string":
        return _check_text(value, field)
    if type_ == "address":
        return to_checksum_address(parse_address(value, field))
    if type_.startswith("bytes"):
        return parse_hex(value, length=int(type_[5:]) if type_ != "bytes" else None, field=field)
    return _check_integer(value, type_, field)


def _check_array(value: object, element: str, count: str, types: Types, field: str, depth: int) -> list[Any]:
    if not isinstance(value, list):
        raise malformed(field, "is not a list")
    if depth > _MAX_DEPTH:
        raise malformed(field, f"is nested deeper than {_MAX_DEPTH} levels")
    if count and len(value) != int(count):
        raise malformed(field, f"has {len(value)} elements, its type {count}")
    return [
        _check_value(each, element, types, f"{field}[{position}]", depth + 1) for position, each in enumerate(value)
    ]


def _check_text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise malformed(field, "is not text")
    try:
        value.encode()
    except UnicodeEncodeError:  # Half of a surrogate pair.
        raise malformed(field, "is not Unicode text") from None
    return value


def _check_integer(value: object, type_: str, field: str) -> int:
    """From a JSON number, or from text with decimal or 0x-hex digits, as the libraries of wallets write large ones."""
    if isinstance(value, str) and _INTEGER_TEXT.fullmatch(value):
        value = int(value, 16 if value.startswith("0x") else 10)
    if type(value) is not int:
        raise malformed(field, f"is no integer ({type_})")
    bits = int(type_.removeprefix("u").removeprefix("int"))
    lowest, highest = (0, (1 << bits) - 1) if type_[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
    if not lowest <= value <= highest:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"typed data: {field} does not fit {type_}", field=field)
    return value
