"""A module call for people, such as `setParameter("account_quota", 5)`."""

import json
from typing import Any

from chain.primitives.abi import AbiType
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import functions_of
from chain.primitives.types import Address


def describe_call(target: Address, call_data: bytes) -> str:
    """In printable ASCII, since it ends up on terminals; the hex where the module has no such function.

    Raises Rejected for loosely encoded arguments.
    """
    for function in functions_of(target):
        if function.selector == call_data[:4]:
            values = zip(function.input_types, function.decode(call_data), strict=True)
            return f"{function.name}({', '.join(_text_of(abi_type, value) for abi_type, value in values)})"
    return to_hex(call_data)


def _text_of(abi_type: AbiType, value: Any) -> str:
    if abi_type.element is not None:
        return f"[{', '.join(_text_of(abi_type.element, item) for item in value)}]"
    if abi_type.base == "address":
        return to_checksum_address(value)
    return to_hex(value) if isinstance(value, bytes) else json.dumps(value)
