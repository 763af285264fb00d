"""The receipt of a served job: its canonical JSON, its hash, what provider and attester sign (DESIGN §5).

A receipt is a JSON object in RFC 8785 canonical form. Inside, units are integers of millionths, so that arithmetic is
exact; in JSON they are a number with at most 6 decimals. Every field has one spelling (addresses as in EIP-55, hex
digits in lower case, no null for what is absent). So receipts of the same meaning have the same bytes, and whoever
puts an accepted receipt into canonical form with another library takes the same hash of it.

A receipt shows by itself that it is not self-contradictory. That its client signed a request, and this one, is shown by
the request beside it (`receipt_request`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from typing import Any, Final, Self

import msgspec
import rfc8785

from chain.primitives.client_request import is_signed_by, salted_hash
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import Signer, recover_address
from chain.primitives.modules import MINTER
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.shards import MAX_SHARDS, Shard, check_shards, split_amount
from chain.primitives.signing import Eip712Domain, eip191_digest, eip191_preimage, eip712_preimage
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import MAX_UINT256, Address, Amount, Hash32
from chain.primitives.units import MAX_MICRO_UNITS, MICRO, compute_amount, number_of_units, parse_units

VERSION: Final = 1
MAX_RECEIPT_BYTES: Final = 24 * 1024  # Room for MAX_SHARDS; without shards, a receipt has at most 2 KiB.
UNIT_TYPES: Final = ("gpu_seconds", "images")
_MAX_TIME: Final = 2**40  # Seconds; far away, but bounded.

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_OPTIONAL_IDENTIFIER: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:\-]{0,63})?")
_SHA256_DIGITS: Final = re.compile(r"[0-9a-f]{64}")
_PROMPT_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]{1,256}")


class Receipt(msgspec.Struct, frozen=True, kw_only=True, dict=True):
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
    """By `client` over `request_hash`, where the client has a key: of the typed data, or EIP-191 of the 32 bytes."""
    started_at: int
    finished_at: int
    artifact_sha256: str
    """See `combined_artifact_sha256`."""
    nonce: str
    hub_id: str
    """Empty for a job that a provider serves directly."""
    chain_id: int
    price_per_unit: Amount
    amount: Amount
    """Atoms that the mint asks for: price × units, rounded down."""
    shards: tuple[Shard, ...] | None = None
    """The parts of a job that several providers served."""
    trajectory_root: Hash32 | None = None
    """What the provider committed to of the run (`chain.primitives.trajectory`)."""

    def to_object(self) -> dict[str, Any]:
        """The JSON object, as it is published."""
        fields: dict[str, Any] = {
            "version": VERSION,
            "job_id": self.job_id,
            "provider": to_checksum_address(self.provider),
            "client": self.client,
            "units": number_of_units(self.micro_units),
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
        if self.shards is not None:
            fields["shards"] = [shard.to_object() for shard in self.shards]
        if self.trajectory_root is not None:
            fields["trajectory_root"] = to_hex(self.trajectory_root)
        return fields

    def canonical_bytes(self) -> bytes:
        """RFC 8785 form: what the hash is taken of."""
        return self._canonical

    @cached_property
    def _canonical(self) -> bytes:
        return rfc8785.dumps(self.to_object())

    @cached_property
    def hash(self) -> Hash32:
        """keccak256 of the canonical bytes."""
        return keccak256(self.canonical_bytes())

    def payouts(self) -> tuple[tuple[Address, Amount], ...]:
        """(provider, atoms) of everybody who worked: they come to the amount exactly (`shards.split_amount`)."""
        if self.shards is None:
            return ((self.provider, self.amount),)
        return tuple(split_amount(self.shards, self.amount))

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
        signature, root, shards = (fields.get(name) for name in ("client_signature", "trajectory_root", "shards"))
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
            shards=None if shards is None else _parse_shards(shards),
            trajectory_root=None if root is None else parse_hash(root, "trajectory_root"),
        ).checked()
        respelled = receipt.to_object()
        _check_spelling(fields, respelled, "")
        for index, shard in enumerate(shards or ()):
            _check_spelling(shard, respelled["shards"][index], f"shards[{index}].")
        return receipt


@lru_cache(maxsize=256)
def kept_receipt(text: str) -> Receipt:
    """`Receipt.from_json`, for text that is read again and again on a job's way: receipts do not change."""
    return Receipt.from_json(text)


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
    "shards": list,
    "trajectory_root": str,
}
_OPTIONAL_FIELDS: Final = frozenset({"client_signature", "shards", "trajectory_root"})
_SPELLED_FIELDS: Final = ("provider", "request_hash", "client_signature", "trajectory_root", "receipt_hash")
"""Held as bytes, so that text in another letter case would be read as the same; `receipt_hash` is a shard's."""


def _check_spelling(fields: Mapping[str, Any], respelled: Mapping[str, Any], where: str) -> None:
    for name in _SPELLED_FIELDS:
        if fields.get(name) != respelled.get(name):
            raise Rejected(
                RejectionReason.NON_CANONICAL,
                f"{where}{name} must be spelled {respelled[name]}",
                field=f"{where}{name}",
            )


def _parse_shards(shards: list[object]) -> tuple[Shard, ...]:
    if len(shards) > MAX_SHARDS:
        raise _invalid("shards", f"must be 1 to {MAX_SHARDS}")
    return tuple(Shard.from_object(shard, f"shards[{index}]") for index, shard in enumerate(shards))


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
    if receipt.trajectory_root is not None:
        assert len(receipt.trajectory_root) == 32
    if receipt.shards is not None:
        check_shards(receipt.shards, provider=receipt.provider, micro_units=receipt.micro_units)
        parts = [bytes.fromhex(shard.artifact_sha256) for shard in receipt.shards]
        if receipt.artifact_sha256 != combined_artifact_sha256(parts):
            raise _invalid("artifact_sha256", "must be that of the shards' in their order")
    if receipt.client_signature is not None:
        _check_client(receipt, receipt.client_signature)


def _check_client(receipt: Receipt, signature: bytes) -> None:
    client = parse_address(receipt.client, "client")
    if receipt.client != to_checksum_address(client):
        raise _invalid("client", "that signs must be an address in EIP-55 form")
    if not is_signed_by(receipt.request_hash, signature, client):
        raise Rejected(RejectionReason.BAD_SIGNATURE, "client_signature is not the client's", field="client_signature")


def combined_artifact_sha256(digests: Sequence[bytes]) -> str:
    """The `artifact_sha256` of a job's pictures from the SHA-256 of each, in their order.

    The picture's own where there is one; else SHA-256 over the 32-byte digests one after the other. The same rule makes
    a split job's from its shards'. (64 bytes or more of digests are no picture, so one cannot stand for several.)
    """
    assert digests
    assert all(len(digest) == 32 for digest in digests)
    return digests[0].hex() if len(digests) == 1 else sha256(b"".join(digests)).hex()


def salted_prompt_hash(salt: bytes, prompt: str) -> str:
    """`sha256:` and the digits of SHA-256(salt ‖ prompt in UTF-8); unsalted, a short prompt could be guessed."""
    return "sha256:" + salted_hash(salt, prompt).hex()


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


def mint_split_preimage(
    chain_id: int, providers: Sequence[Address], amounts: Sequence[int], receipt_hash: Hash32
) -> bytes:
    """What an attester signs the hash of for a split mint: the EIP-712 struct MintSplit under the minter's domain."""
    struct_hash = keccak256(
        _MINT_SPLIT_TYPE_HASH
        + keccak256(b"".join(bytes(12) + provider for provider in providers))
        + keccak256(b"".join(amount.to_bytes(32, "big") for amount in amounts))
        + receipt_hash
    )
    return eip712_preimage(Eip712Domain(chain_id=chain_id, verifying_contract=MINTER).separator(), struct_hash)


def mint_split_digest(
    chain_id: int, providers: Sequence[Address], amounts: Sequence[int], receipt_hash: Hash32
) -> Hash32:
    """What an attester's signature for a split mint is over."""
    return keccak256(mint_split_preimage(chain_id, providers, amounts, receipt_hash))
