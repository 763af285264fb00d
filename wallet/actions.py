"""What a transaction does, in words: shown before anything is signed, and in the history."""

from typing import Any, Final

import msgspec

from chain.primitives.abi import Function
from chain.primitives.hexadecimal import format_ait, to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES
from chain.primitives.modules import FUNCTIONS, MINT_WITH_RECEIPT, MODULES, TOKEN_TRANSFER, is_reserved
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address

_MODULE_NAMES: Final = {address: name for name, address in MODULES.items()}
# Parameters of module calls that are amounts of AIT.
_AMOUNT_PARAMETERS: Final = frozenset({"value", "units", "pricePerUnit"})
_LONGEST_TEXT: Final = 200


class Action(msgspec.Struct, frozen=True):
    """`name` is `transfer`, `mintWithReceipt` or another call; `details` are label and text, ready to show."""

    name: str
    details: tuple[tuple[str, str], ...]


def describe_action(to: Address, value: int, call_data: bytes) -> Action:
    """The meaning of a transaction's recipient, value and data, taken from these very bytes."""
    if not is_reserved(to):
        note = (("note", _printable(call_data)),) if call_data else ()
        return Action("transfer", (("to", to_checksum_address(to)), ("amount", describe_amount(value)), *note))
    function = _find_function(to, call_data)
    arguments = _decode(function, call_data)
    if function is None or arguments is None:
        target = _MODULE_NAMES.get(to, "reserved address")
        return Action("unknown call", (("module", f"{target} {to_checksum_address(to)}"), ("data", _short(call_data))))
    if function is TOKEN_TRANSFER:
        payee, amount = arguments
        return Action("transfer", (("to", to_checksum_address(payee)), ("amount", describe_amount(amount))))
    if function is MINT_WITH_RECEIPT:
        return _describe_mint(*arguments)
    named = zip(function.inputs, arguments, strict=True)
    details = tuple((parameter.name, _describe_value(parameter.name, argument)) for parameter, argument in named)
    return Action(function.name, (("module", _MODULE_NAMES[to]), *details))


def describe_amount(atoms: int) -> str:
    """`1.5 AIT (1500000000000000000 atoms)`"""
    return f"{format_ait(atoms)} AIT ({atoms} atoms)"


def _find_function(module: Address, call_data: bytes) -> Function | None:
    return next((each for each in FUNCTIONS.get(module, ()) if each.selector == call_data[:4]), None)


def _decode(function: Function | None, call_data: bytes) -> tuple[Any, ...] | None:
    try:
        return function.decode(call_data) if function else None
    except Rejected:
        return None


def _describe_mint(provider: Address, amount: int, receipt_hash: bytes, attestation: bytes) -> Action:
    return Action(
        MINT_WITH_RECEIPT.name,
        (
            ("for", to_checksum_address(provider)),
            ("amount", describe_amount(amount)),
            ("receipt", to_hex(receipt_hash)),
            ("attestation", f"{len(attestation) // SIGNATURE_BYTES} signature(s)"),
        ),
    )


def _describe_value(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_describe_value(name, element) for element in value)[:_LONGEST_TEXT] or "none"
    if isinstance(value, bytes):
        return to_checksum_address(Address(value)) if len(value) == 20 else _short(value)
    if isinstance(value, str):
        return _printable(value.encode())
    return describe_amount(value) if name in _AMOUNT_PARAMETERS else str(value)


def _short(octets: bytes) -> str:
    text = to_hex(octets)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(octets)} bytes)"


def _printable(octets: bytes) -> str:
    """Text as it is where it cannot confuse a terminal, else hex."""
    text = octets.decode("ascii", errors="replace")
    return text[:_LONGEST_TEXT] if text.isprintable() and text.isascii() else _short(octets)
