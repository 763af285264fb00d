"""The receipt of a served job: its canonical JSON, its hash, what provider and attester sign (DESIGN §5).

A receipt is a JSON object in RFC 8785 canonical form. Inside, units are integers of millionths, so that arithmetic is
exact; in JSON they are a number with at most 6 decimals. Every field has one spelling (addresses as in EIP-55, hex
digits in lower case, no null for what is absent). So receipts of the same meaning have the same bytes, and whoever
puts an accepted receipt into canonical form with another library takes the same hash of it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self

import msgspec
import rfc8785

from chain.primitives.hashing import keccak256, sha256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import Signer, recover_address
from chain.primitives.modules import MINTER
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import Eip712Domain, eip191_digest, eip191_preimage, eip712_digest
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import MAX_UINT256, Address, Amount, Hash32

VERSION: Final = 1
MAX_RECEIPT_BYTES: Final = 8 * 1024
MICRO: Final = 10**6
_MICRO_UNIT: Final = Decimal(1) / MICRO
MAX_MICRO_UNITS: Final = 10**15  # A thousand million units: below 2^53, so every JSON reader holds it exactly.
UNIT_TYPES: Final = ("gpu_seconds", "images")
_MAX_TIME: Final = 2**40  # Seconds; far away, but bounded.

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_OPTIONAL_IDENTIFIER: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:\-]{0,63})?")
_SHA256_DIGITS: Final = re.compile(r"[0-9a-f]{64}")
_PROMPT_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]{1,256}")


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One served job. Build with keywords (checked by `checked`) or read with `from_json` and `from_object`."""

    job_id: str
    provider: Address
    client: str
    """Public id of the client: an API key's name, or its address when it signed the request."""
    micro_units: int
    unit_type: str
    model: str
    prompt_hash: str
    """`sha256:` and the digits of SHA-256(salt ‖ prompt); client and provider keep the salt."""
    request_hash: Hash32
    client_signature: bytes | None = None
    """EIP-191 signature by `client` over the 32 bytes of `request_hash`, where the client has a key."""
    started_at: int
    finished_at: int
    artifact_sha256: str
    nonce: str
    hub_id: str
    chain_id: int
    price_per_unit: Amount
    amount: Amount
    """Atoms that the mint asks for: price × units, rounded down."""

    def to_object(self) -> dict[str, Any]:
        """The JSON object, as it is published."""
        units = self.micro_units // MICRO if self.micro_units % MICRO == 0 else self.micro_units / MICRO
        fields = {
            "version": VERSION,
            "job_id": self.job_id,
            "provider": to_checksum_address(self.provider),
            "client": self.client,
            "units": units,
            "unit_type": self.unit_type,
            "model": self.model,
            "prompt_hash": self.prompt_hash,
            "request_hash": to_hex(self.request_hash),
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "artifact_sha256": self.artifact_sha256,
            "nonce": self.nonce,
            "hub_id": self.hub_id,
            "chain_id": self.chain_id,
            "price_per_unit": str(self.price_per_unit),
            "amount": str(self.amount),
        }
        if self.client_signature is not None:
            fields["client_signature"] = to_hex(self.client_signature)
        return fields

    def canonical_bytes(self) -> bytes:
        """RFC 8785 form: what the hash is taken of."""
        return rfc8785.dumps(self.to_object())

    @property
    def hash(self) -> Hash32:
        """keccak256 of the canonical bytes."""
        return keccak256(self.canonical_bytes())

    def checked(self) -> Self:
        """The receipt itself, after the same checks that reading one makes; raises Rejected."""
        _check(self)
        return self

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Reads UTF-8 JSON in any layout; raises Rejected for duplicate and unknown keys and fields out of bounds."""
        if len(text) > MAX_RECEIPT_BYTES:
            raise Rejected(RejectionReason.TOO_LARGE, f"a receipt has at most {MAX_RECEIPT_BYTES} bytes")
        try:
            fields = json.loads(
                text if isinstance(text, str) else text.decode(),  # json itself would also take UTF-16 and UTF-32.
                parse_float=Decimal,
                parse_constant=_refuse_constant,
                object_pairs_hook=_unique_keys,
            )
        except (ValueError, InvalidOperation, RecursionError) as error:
            # Decimal signals InvalidOperation, no ValueError, for an exponent beyond its own range.
            raise Rejected(RejectionReason.MALFORMED, f"not JSON: {error}") from None
        return cls.from_object(fields)

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From a parsed JSON object; raises Rejected that names the field."""
        if not isinstance(fields, Mapping):
            raise Rejected(RejectionReason.MALFORMED, "a receipt is a JSON object")
        for key in fields:
            if key not in _FIELD_TYPES:
                raise Rejected(RejectionReason.UNKNOWN_FIELD, f"unknown field {str(key)[:64]!r}", field=str(key)[:64])
        for name, expected in _FIELD_TYPES.items():
            if name not in fields:
                if name in _OPTIONAL_FIELDS:
                    continue
                raise Rejected(RejectionReason.MISSING_FIELD, f"{name} is missing", field=name)
            if isinstance(fields[name], bool) or not isinstance(fields[name], expected):
                raise Rejected(RejectionReason.MALFORMED, f"{name} has the wrong JSON type", field=name)
        if fields["version"] != VERSION:
            raise _invalid("version", f"must be {VERSION}: this code knows no other receipt")
        signature = fields.get("client_signature")
        receipt = cls(
            job_id=fields["job_id"],
            provider=parse_address(fields["provider"], "provider"),
            client=fields["client"],
            micro_units=parse_units(fields["units"]),
            unit_type=fields["unit_type"],
            model=fields["model"],
            prompt_hash=fields["prompt_hash"],
            request_hash=parse_hash(fields["request_hash"], "request_hash"),
            client_signature=None if signature is None else parse_hex(signature, length=65, field="client_signature"),
            started_at=fields["started_at"],
            finished_at=fields["finished_at"],
            artifact_sha256=fields["artifact_sha256"],
            nonce=fields["nonce"],
            hub_id=fields["hub_id"],
            chain_id=fields["chain_id"],
            price_per_unit=parse_amount(fields["price_per_unit"], "price_per_unit"),
            amount=parse_amount(fields["amount"], "amount"),
        ).checked()
        respelled = receipt.to_object()
        for name in _SPELLED_FIELDS:
            if fields.get(name) != respelled.get(name):
                raise Rejected(RejectionReason.NON_CANONICAL, f"{name} must be spelled {respelled[name]}", field=name)
        return receipt


_NUMBER = (int, float, Decimal)
_FIELD_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "version": int,
    "job_id": str,
    "provider": str,
    "client": str,
    "units": _NUMBER,
    "unit_type": str,
    "model": str,
    "prompt_hash": str,
    "request_hash": str,
    "started_at": int,
    "finished_at": int,
    "artifact_sha256": str,
    "nonce": str,
    "hub_id": str,
    "chain_id": int,
    "price_per_unit": str,
    "amount": str,
    "client_signature": str,
}
_OPTIONAL_FIELDS: Final = frozenset({"client_signature"})
_SPELLED_FIELDS: Final = ("provider", "request_hash", "client_signature")
"""Held as bytes, so that text in another letter case would be read as the same."""


def _invalid(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_RECEIPT, f"{field} {requirement}", field=field)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Rejected(RejectionReason.DUPLICATE_KEY, "a key stands twice in one JSON object")
    return fields


def _check(receipt: Receipt) -> None:
    assert len(receipt.provider) == 20
    assert len(receipt.request_hash) == 32
    for name, pattern in (
        ("job_id", _IDENTIFIER),
        ("client", _PRINTABLE),
        ("model", _PRINTABLE),
        ("prompt_hash", _PROMPT_HASH),
        ("artifact_sha256", _SHA256_DIGITS),
        ("nonce", _IDENTIFIER),
        ("hub_id", _OPTIONAL_IDENTIFIER),
    ):
        if not pattern.fullmatch(getattr(receipt, name)):
            raise _invalid(name, f"must match {pattern.pattern}")
    if receipt.unit_type not in UNIT_TYPES:
        raise _invalid("unit_type", f"must be one of {', '.join(UNIT_TYPES)}")
    if not 0 <= receipt.micro_units <= MAX_MICRO_UNITS:
        raise _invalid("units", f"must be from 0 to {MAX_MICRO_UNITS // MICRO}")
    if not 0 <= receipt.started_at <= receipt.finished_at <= _MAX_TIME:
        raise _invalid("finished_at", "must be a time in seconds, not before started_at")
    if not 1 <= receipt.chain_id <= MAX_CHAIN_ID:
        raise _invalid("chain_id", f"must be from 1 to {MAX_CHAIN_ID}")
    if not 0 <= receipt.price_per_unit <= MAX_UINT256:
        raise _invalid("price_per_unit", "must be from 0 to 2^256 - 1")
    if receipt.amount != compute_amount(receipt.micro_units, receipt.price_per_unit):
        raise _invalid("amount", "must be price_per_unit × units, rounded down to whole atoms")
    if receipt.client_signature is not None:
        client = parse_address(receipt.client, "client")
        if receipt.client != to_checksum_address(client):
            raise _invalid("client", "that signs must be an address in EIP-55 form")
        if recover_address(eip191_digest(receipt.request_hash), receipt.client_signature) != client:
            raise Rejected(
                RejectionReason.BAD_SIGNATURE, "client_signature is not the client's", field="client_signature"
            )


def parse_units(units: object) -> int:
    """Millionths from a JSON number (int, float or Decimal) with at most 6 decimals; raises Rejected."""
    if isinstance(units, bool) or not isinstance(units, (int, float, Decimal)):
        raise Rejected(RejectionReason.MALFORMED, "units must be a number", field="units")
    number = Decimal(repr(units)) if isinstance(units, float) else Decimal(units)
    if not number.is_finite() or not 0 <= number <= MAX_MICRO_UNITS // MICRO:
        raise _invalid("units", f"must be from 0 to {MAX_MICRO_UNITS // MICRO}")
    if 0 < number < _MICRO_UNIT:  # Before the exponent, which may be astronomical, becomes a denominator.
        raise _invalid("units", "must have at most 6 decimals")
    numerator, denominator = number.as_integer_ratio()
    micro_units, remainder = divmod(numerator * MICRO, denominator)
    if remainder:
        raise _invalid("units", "must have at most 6 decimals")
    return micro_units


def compute_amount(micro_units: int, price_per_unit: int) -> Amount:
    """Atoms for this many millionths of a unit at a price in atoms per unit, rounded down; Rejected above 2^256."""
    amount = micro_units * price_per_unit // MICRO
    if amount > MAX_UINT256:
        raise _invalid("amount", "must be below 2^256")
    return Amount(amount)


def salted_prompt_hash(salt: bytes, prompt: str) -> str:
    """`sha256:` and the digits of SHA-256(salt ‖ prompt in UTF-8); unsalted, a short prompt could be guessed."""
    return "sha256:" + sha256(salt + prompt.encode()).hex()


def sign_receipt(key: Signer, receipt: Receipt) -> bytes:
    """The provider's signature: EIP-191 over the 32 raw bytes of the receipt's hash. Raises SignerUnavailable."""
    return key.sign_keccak(eip191_preimage(receipt.hash))


def recover_provider(receipt: Receipt, signature: bytes) -> Address:
    """Who signed the receipt; raises Rejected for a malformed signature. Compare with `receipt.provider`."""
    return recover_address(eip191_digest(receipt.hash), signature)


def attestation_preimage(provider: Address, amount: int, receipt_hash: Hash32) -> bytes:
    """What an attester signs the hash of: EIP-191 over keccak256(abi.encode(provider, units, receiptHash)).

    As the plan's AITokenMinter verifies it; `units` there is the minted amount in atoms.
    """
    assert len(provider) == 20
    assert len(receipt_hash) == 32
    return eip191_preimage(keccak256(bytes(12) + provider + amount.to_bytes(32, "big") + receipt_hash))


def attestation_digest(provider: Address, amount: int, receipt_hash: Hash32) -> Hash32:
    """What an attester's signature is over."""
    return keccak256(attestation_preimage(provider, amount, receipt_hash))


_MINT_SPLIT_TYPE_HASH = keccak256(b"MintSplit(address[] providers,uint256[] units,bytes32 receiptHash)")


def mint_split_digest(
    chain_id: int, providers: Sequence[Address], amounts: Sequence[int], receipt_hash: Hash32
) -> Hash32:
    """What an attester signs for a split mint: the EIP-712 struct MintSplit under the minter's domain."""
    struct_hash = keccak256(
        _MINT_SPLIT_TYPE_HASH
        + keccak256(b"".join(bytes(12) + provider for provider in providers))
        + keccak256(b"".join(amount.to_bytes(32, "big") for amount in amounts))
        + receipt_hash
    )
    return eip712_digest(Eip712Domain(chain_id=chain_id, verifying_contract=MINTER), struct_hash)
