"""What a transaction does, in words: shown before anything is signed, and in the history."""

import datetime
from typing import Any, Final

import msgspec

from chain.primitives.abi import Function
from chain.primitives.hexadecimal import format_ait, to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES
from chain.primitives.market import is_asset_address
from chain.primitives.modules import MINT_WITH_RECEIPT, MODULES, TOKEN, TOKEN_TRANSFER, functions_of, is_reserved
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from wallet.market_words import describe_argument, describe_asset_amount, trades_assets

_MODULE_NAMES: Final = {address: name for name, address in MODULES.items()}
# Parameters of module calls that are amounts of AIT.
_AMOUNT_PARAMETERS: Final = frozenset({"value", "units", "pricePerUnit", "amounts", "fee", "maxPrice"})
# Parameters that are Unix seconds.
_TIME_PARAMETERS: Final = frozenset({"validAfter", "validBefore", "expiresAt", "deadline", "expiry"})
# Parameters that are called like something else that is shown of every transaction.
_LABELS: Final = {"from": "owner", "nonce": "authorization"}
_LONGEST_TEXT: Final = 200
_LAST_SECOND: Final = 253_402_300_799  # Of the year 9999, where the calendar of Python ends.


class Action(msgspec.Struct, frozen=True):
    """`name` is `transfer`, `mintWithReceipt` or another call; `details` are label and text, ready to show."""

    name: str
    details: tuple[tuple[str, str], ...]


def describe_action(to: Address, value: int, call_data: bytes) -> Action:
    """The meaning of a transaction's recipient, value and data, taken from these very bytes."""
    if not is_reserved(to):
        note = (("note", _printable(call_data)),) if call_data else ()
        return Action("transfer", (("to", to_checksum_address(to)), ("amount", describe_amount(value)), *note))
    call = _describe_call(to, call_data)
    # No block takes value sent to a module, but the signature would be over it.
    return Action(call.name, (*call.details, ("value", describe_amount(value)))) if value else call


def _describe_call(to: Address, call_data: bytes) -> Action:
    function = _find_function(to, call_data)
    arguments = _decode(function, call_data)
    if function is None or arguments is None:
        target = _MODULE_NAMES.get(to, "reserved address")
        return Action("unknown call", (("module", f"{target} {to_checksum_address(to)}"), ("data", _short(call_data))))
    if function is TOKEN_TRANSFER:
        payee, amount = arguments
        sent = (("to", to_checksum_address(payee)), ("amount", describe_asset_amount(to, amount)))
        return Action("transfer", (("asset", to_checksum_address(to)), *sent) if is_asset_address(to) else sent)
    if function is MINT_WITH_RECEIPT:
        return _describe_mint(*arguments)
    named = {parameter.name: argument for parameter, argument in zip(function.inputs, arguments, strict=True)}
    asset = named.get("asset", to) if trades_assets(to) else TOKEN
    details = tuple(
        (_LABELS.get(name, name), _describe_argument(to, asset, name, argument)) for name, argument in named.items()
    )
    where = ("asset", to_checksum_address(to)) if is_asset_address(to) else ("module", _MODULE_NAMES[to])
    return Action(function.name, (where, *details))


def _describe_argument(to: Address, asset: Address, name: str, value: Any) -> str:
    words = describe_argument(name, value, asset) if trades_assets(to) else None
    return _describe_value(name, value) if words is None else words


def describe_amount(atoms: int) -> str:
    """`1.5 AIT (1500000000000000000 atoms)`"""
    return f"{format_ait(atoms)} AIT ({atoms} atoms)"


def describe_time(unix_seconds: int) -> str:
    """`2026-01-31 12:00:00 UTC`; 0 and very large numbers stand for no bound."""
    if not 0 < unix_seconds <= _LAST_SECOND:
        return "any time" if unix_seconds == 0 else "after the year 9999"
    return f"{datetime.datetime.fromtimestamp(unix_seconds, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _find_function(module: Address, call_data: bytes) -> Function | None:
    return next((each for each in functions_of(module) if each.selector == call_data[:4]), None)


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
        return _cut(", ".join(_describe_value(name, element) for element in value), f"{len(value)} in all") or "none"
    if isinstance(value, bytes):
        return to_checksum_address(Address(value)) if len(value) == 20 else _short(value)
    if isinstance(value, str):
        return _printable(value.encode())
    if name in _TIME_PARAMETERS:
        return describe_time(value)
    return describe_amount(value) if name in _AMOUNT_PARAMETERS else str(value)


def _short(octets: bytes) -> str:
    return _cut(to_hex(octets), f"{len(octets)} bytes")


def _printable(octets: bytes) -> str:
    """Text as it is where it cannot confuse a terminal, else hex."""
    text = octets.decode("ascii", errors="replace")
    return _cut(text, f"{len(octets)} bytes") if text.isprintable() and text.isascii() else _short(octets)


def _cut(text: str, whole: str) -> str:
    """The text, or its beginning and how much there is: what is signed and not shown must not go unnoticed."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({whole})"
