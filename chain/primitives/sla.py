"""A provider's signed statement of its service level: what it promises, to whom it holds, and until when.

An RFC 8785 JSON object, hashed and signed as a receipt is: keccak256 of the canonical bytes, EIP-191 over the 32 bytes
of that. It stays off the chain; the registry's `publishSla` links to it by its hash.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec
import rfc8785

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES, Signer, recover_address
from chain.primitives.receipt import UNIT_TYPES
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip191_digest, eip191_preimage
from chain.primitives.strict_json import check_keys, parse_json
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import Address, Amount, Hash32

VERSION: Final = 1
MAX_STATEMENT_BYTES: Final = 4 * 1024
MAX_BASIS_POINTS: Final = 10_000
MAX_LATENCY_MS: Final = 24 * 3600 * 1000
_MAX_TIME: Final = 2**40  # Seconds; far away, but bounded.
_MAX_PRICE_ATOMS: Final = 2**128  # As in the registry.
_ENDPOINT: Final = re.compile(r"https?://[\x21-\x7e]{1,240}")


class ServiceLevel(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider promises. Build with keywords (checked by `checked`) or read with `from_object`."""

    chain_id: int
    provider: Address
    endpoint: str
    availability_basis_points: int
    """Of the time, in ten-thousandths: 9,950 is 99.5 %."""
    p95_latency_ms: int
    """95 of 100 accepted requests are answered within this."""
    price_per_unit: Amount
    unit_type: str
    valid_from: int
    """Unix seconds."""
    valid_until: int
    """Unix seconds; the promise no longer holds then."""

    def to_object(self) -> dict[str, Any]:
        """The JSON object, as it is published."""
        return {
            "version": VERSION,
            "chain_id": self.chain_id,
            "provider": to_checksum_address(self.provider),
            "endpoint": self.endpoint,
            "availability_basis_points": self.availability_basis_points,
            "p95_latency_ms": self.p95_latency_ms,
            "price_per_unit": str(self.price_per_unit),
            "unit_type": self.unit_type,
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
        }

    @property
    def hash(self) -> Hash32:
        """keccak256 of the RFC 8785 form."""
        return keccak256(rfc8785.dumps(self.to_object()))

    def checked(self) -> Self:
        """The statement itself; raises Rejected that names the field which is out of bounds."""
        _check(self)
        return self

    def holds_at(self, time_s: int) -> bool:
        """Whether the promise holds at this time."""
        return self.valid_from <= time_s < self.valid_until

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From a parsed JSON object; raises Rejected that names the field."""
        members = check_keys(fields, _FIELD_TYPES, "statement")
        for name, expected in _FIELD_TYPES.items():
            if isinstance(members[name], bool) or not isinstance(members[name], expected):
                raise Rejected(RejectionReason.MALFORMED, f"{name} has the wrong JSON type", field=name)
        if members["version"] != VERSION:
            raise _invalid("version", f"must be {VERSION}: this code knows no other statement")
        statement = cls(
            chain_id=members["chain_id"],
            provider=parse_address(members["provider"], "provider"),
            endpoint=members["endpoint"],
            availability_basis_points=members["availability_basis_points"],
            p95_latency_ms=members["p95_latency_ms"],
            price_per_unit=parse_amount(members["price_per_unit"], "price_per_unit"),
            unit_type=members["unit_type"],
            valid_from=members["valid_from"],
            valid_until=members["valid_until"],
        ).checked()
        _check_spelling(members, statement)
        return statement


_FIELD_TYPES: Final[dict[str, type]] = {
    "version": int,
    "chain_id": int,
    "provider": str,
    "endpoint": str,
    "availability_basis_points": int,
    "p95_latency_ms": int,
    "price_per_unit": str,
    "unit_type": str,
    "valid_from": int,
    "valid_until": int,
}


class SignedServiceLevel(msgspec.Struct, frozen=True):
    """A statement and its provider's signature: what the provider hands out."""

    statement: ServiceLevel
    signature: bytes

    def to_object(self) -> dict[str, Any]:
        """{"statement": {…}, "signature": "0x…"}."""
        return {"statement": self.statement.to_object(), "signature": to_hex(self.signature)}

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Reads and verifies; raises Rejected where the document is no statement, or not signed by its provider."""
        members = check_keys(parse_json(text, MAX_STATEMENT_BYTES, "the document"), _DOCUMENT_FIELDS, "document")
        statement = ServiceLevel.from_object(members["statement"])
        signature = parse_hex(members["signature"], length=SIGNATURE_BYTES, field="signature")
        if recover_address(eip191_digest(statement.hash), signature) != statement.provider:
            raise Rejected(
                RejectionReason.BAD_SIGNATURE, "the statement is not signed by its provider", field="signature"
            )
        return cls(statement, signature)


_DOCUMENT_FIELDS: Final = ("statement", "signature")


def sign_service_level(key: Signer, statement: ServiceLevel) -> SignedServiceLevel:
    """With the provider's key: EIP-191 over the 32 bytes of the statement's hash. Raises SignerUnavailable."""
    return SignedServiceLevel(statement, key.sign_keccak(eip191_preimage(statement.hash)))


def _invalid(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_REGISTRATION, f"{field} {requirement}", field=field)


def _check(statement: ServiceLevel) -> None:
    if not 1 <= statement.chain_id <= MAX_CHAIN_ID:
        raise _invalid("chain_id", f"must be from 1 to {MAX_CHAIN_ID}")
    if not _ENDPOINT.fullmatch(statement.endpoint):
        raise _invalid("endpoint", "must be an http(s) URL of at most 248 characters")
    if not 0 < statement.availability_basis_points <= MAX_BASIS_POINTS:
        raise _invalid("availability_basis_points", f"must be from 1 to {MAX_BASIS_POINTS}")
    if not 0 < statement.p95_latency_ms <= MAX_LATENCY_MS:
        raise _invalid("p95_latency_ms", f"must be from 1 to {MAX_LATENCY_MS}")
    if statement.price_per_unit > _MAX_PRICE_ATOMS:
        raise _invalid("price_per_unit", f"must be at most {_MAX_PRICE_ATOMS} atoms")
    if statement.unit_type not in UNIT_TYPES:
        raise _invalid("unit_type", f"must be one of {', '.join(UNIT_TYPES)}")
    if not 0 <= statement.valid_from < statement.valid_until <= _MAX_TIME:
        raise _invalid("valid_until", "must be a time in seconds, after valid_from")


def _check_spelling(fields: Mapping[str, Any], statement: ServiceLevel) -> None:
    respelled = to_checksum_address(statement.provider)
    if fields["provider"] != respelled:
        raise Rejected(RejectionReason.NON_CANONICAL, f"provider must be spelled {respelled}", field="provider")
