"""EIP-712 typed data from outside: read strictly, shown as it will be signed, hashed by eth-account.

    typed = TypedData.from_json(text)           what `eth_signTypedData_v4` takes, from any wallet's library
    typed.lines()                               what a person must see before a signature
    typed.preimage()                            0x1901 ‖ domain separator ‖ struct hash, for a `Signer`

Every value must fit its type exactly, and every field must be declared: a field that no type has would be shown and not
signed. eth-account, which would bend values into their types, gets bytes, integers and text that need no bending.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NoReturn, Self

import msgspec

from chain.primitives.hexadecimal import parse_address, to_hex
from chain.primitives.modules import MODULES, TOKEN
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import count_containers
from chain.primitives.types import Address
from wallet.actions import describe_amount
from wallet.ethereum_libraries import load_library
from wallet.typed_values import Types, check_struct, check_types, is_struct, malformed

MAX_TYPED_DATA_BYTES: Final = 256 * 1024
# An order of a market with hundreds of items has fewer; without a bound on nesting, reading could exhaust the stack.
_MAX_BRACKETS: Final = 4_096
_MAX_DIGITS: Final = 80  # 2^256 has 78; Python converts thousands of digits in quadratic time.
_MODULE_NAMES: Final = {address: name for name, address in MODULES.items()}
_DOMAIN: Final = "EIP712Domain"
_DOMAIN_FIELDS: Final = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
    "salt": "bytes32",
}


class TypedData(msgspec.Struct, frozen=True):
    """A checked document. Its values: bytes, int, bool, text, an address as checksummed text, lists and dicts."""

    primary_type: str
    types: Types
    """Those that the message uses, without the domain's."""
    domain: dict[str, Any]
    message: dict[str, Any]

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Raises Rejected that names the field."""
        document = _parse_json(text)
        if not isinstance(document, dict):
            raise malformed("the document", "is not a JSON object")
        if unknown := document.keys() - {"types", "primaryType", "domain", "message"}:
            raise malformed(min(unknown), "is no part of typed data")
        types = check_types(document.get("types"))
        domain_members = types.pop(_DOMAIN, None)
        primary_type = document.get("primaryType")
        if not isinstance(primary_type, str) or primary_type not in types:
            raise malformed("primaryType", "is none of the types")
        used = _used_types(primary_type, types)
        return cls(
            primary_type=primary_type,
            types=used,
            domain=_check_domain(document.get("domain"), domain_members),
            message=check_struct(document.get("message"), primary_type, used, "message"),
        )

    @property
    def chain_id(self) -> int | None:
        """The one chain on which the signature counts; None where the domain names none."""
        return self.domain.get("chainId")

    @property
    def verifying_contract(self) -> Address | None:
        """The contract, here the module, that will look at the signature."""
        contract = self.domain.get("verifyingContract")
        return None if contract is None else parse_address(contract)

    def preimage(self) -> bytes:
        """The 66 bytes whose Keccak-256 is signed."""
        library = load_library("eth_account.messages")
        try:
            signable = library.encode_typed_data(
                full_message={
                    "types": self.types,
                    "primaryType": self.primary_type,
                    "domain": self.domain,
                    "message": self.message,
                }
            )
        except ValueError as error:  # Of two types that contain each other, eth-account cannot tell which is the first.
            raise malformed("types", f"cannot be encoded: {error}") from None
        preimage: bytes = b"\x19" + signable.version + signable.header + signable.body
        return preimage

    def lines(self) -> list[tuple[str, str]]:
        """Label and text of everything that the signature will say."""
        rows = [("signs", self.primary_type)]
        for name, value in self.domain.items():
            rows.append((f"domain {name}", _describe(value)))
        if self.verifying_contract in _MODULE_NAMES:
            rows.append(("module", _MODULE_NAMES[self.verifying_contract]))
        for label, value in _flatten("message", self.message):
            is_amount = self.verifying_contract == TOKEN and label == "message.value" and isinstance(value, int)
            rows.append((label, describe_amount(value) if is_amount else _describe(value)))
        return rows


def _parse_json(text: bytes) -> Any:
    if len(text) > MAX_TYPED_DATA_BYTES:
        raise Rejected(RejectionReason.TOO_LARGE, f"typed data has at most {MAX_TYPED_DATA_BYTES} bytes")
    if count_containers(text) > _MAX_BRACKETS:
        raise Rejected(RejectionReason.TOO_LARGE, f"typed data has at most {_MAX_BRACKETS} lists and objects")
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=_unique_keys,
            parse_int=_parse_integer,
            parse_float=Decimal,  # It fits no type, and is refused where it stands.
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:  # UnicodeError and JSONDecodeError are ValueErrors.
        raise malformed("the document", f"is not JSON: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return fields


def _parse_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has more than {_MAX_DIGITS} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _used_types(primary_type: str, types: Types) -> Types:
    """The primary type and what it refers to; raises Rejected for a type that is not declared."""
    used: Types = {}
    waiting = [primary_type]
    while waiting:
        name = waiting.pop()
        if name in used:
            continue
        used[name] = types[name]
        for member in types[name]:
            base = member["type"].partition("[")[0]
            if base == _DOMAIN:
                raise malformed(f"types.{name}", f"{_DOMAIN} is not for messages")
            if is_struct(base):
                if base not in types:
                    raise malformed(f"types.{name}", f"{base} is not declared")
                waiting.append(base)
    return used


def _check_domain(domain: object, declared: list[dict[str, str]] | None) -> dict[str, Any]:
    """Its fields are those of the standard, in the standard's order where the document declares them."""
    if not isinstance(domain, dict):
        raise malformed("domain", "is not a JSON object")
    if unknown := domain.keys() - _DOMAIN_FIELDS.keys():
        raise malformed(f"domain.{min(unknown)}", "is no field of a domain")
    members = [{"name": name, "type": type_} for name, type_ in _DOMAIN_FIELDS.items() if name in domain]
    if declared is not None and declared != members:
        raise malformed(f"types.{_DOMAIN}", "does not declare exactly the domain's fields, in the order of EIP-712")
    return check_struct(domain, _DOMAIN, {_DOMAIN: members}, "domain")


def _flatten(label: str, value: Any) -> Iterator[tuple[str, Any]]:
    """One label and value each; those of a list are numbered, an empty one says so."""
    if isinstance(value, dict):
        for name, element in value.items():
            yield from _flatten(f"{label}.{name}", element)
    elif isinstance(value, list):
        for position, element in enumerate(value):
            yield from _flatten(f"{label}[{position}]", element)
        if not value:
            yield label, "(empty list)"
    else:
        yield label, value


def _describe(value: object) -> str:
    if isinstance(value, bytes):
        return to_hex(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
