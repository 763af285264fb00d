"""What can be checked about a receipt: by arithmetic and signatures alone, and against what a node says of its chain.

A document is a receipt's JSON, or the answer of a hub or provider that has it as `receipt` beside `receipt_hash`,
`provider_signature`, `attestation` and `image_base64`.
"""

import base64
import binascii
import hashlib
import itertools
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, Self

import msgspec

from chain.primitives.hexadecimal import format_ait, parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES, recover_address
from chain.primitives.receipt import Receipt, attestation_digest, mint_split_digest, recover_provider
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.shards import Shard, split_amount
from chain.primitives.strict_json import count_containers
from chain.primitives.types import Address, Amount, Hash32

MAX_DOCUMENT_BYTES: Final = 64 * 1024 * 1024  # An answer carries its image.
_MAX_ATTESTERS: Final = 16  # PARAMETER_BOUNDS["attester_threshold"]
# Far more than an honest answer has; without a bound on nesting, reading could exhaust the stack.
_MAX_BRACKETS: Final = 1_000
_DATA_URL_MARK: Final = ";base64,"


class Check(msgspec.Struct, frozen=True):
    """One question, about a receipt or a wallet. `passed` is None where nothing was there to check it with."""

    name: str
    passed: bool | None
    detail: str

    def to_object(self) -> dict[str, object]:
        """As `--json` shows it."""
        return {"name": self.name, "passed": self.passed, "detail": self.detail}


def rows_of(checks: Iterable[Check]) -> list[list[str]]:
    """As people see them: mark, name, detail."""
    marks = {True: "ok", False: "WRONG", None: "-"}
    return [[marks[check.passed], check.name, check.detail] for check in checks]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt and what came with it."""

    receipt: Receipt
    claimed_hash: Hash32 | None = None
    provider_signature: bytes | None = None
    attestation: bytes | None = None
    image: bytes | None = None
    is_settlement: bool = False
    """The attestation is for a client's deposit to pay, and for nothing else."""

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Reads a bare receipt or an answer that has one; raises Rejected that names what is wrong."""
        if len(text) > MAX_DOCUMENT_BYTES:
            raise Rejected(RejectionReason.TOO_LARGE, f"larger than {MAX_DOCUMENT_BYTES} bytes")
        if count_containers(text) > _MAX_BRACKETS:
            raise Rejected(RejectionReason.TOO_LARGE, "more lists and objects than a receipt's document can have")
        try:
            fields = json.loads(text, parse_float=Decimal, object_pairs_hook=_unique_keys)
        except (ValueError, ArithmeticError, RecursionError) as error:
            # Decimal raises InvalidOperation, an ArithmeticError, for exponents beyond its own range.
            raise Rejected(RejectionReason.MALFORMED, f"not JSON: {error}") from None
        if not isinstance(fields, dict) or "receipt" not in fields:
            return cls(receipt=Receipt.from_object(fields))
        claimed_hash = fields.get("receipt_hash")
        image, mint = fields.get("image_base64"), fields.get("mint")
        return cls(
            receipt=Receipt.from_object(fields["receipt"]),
            claimed_hash=None if claimed_hash is None else parse_hash(claimed_hash, "receipt_hash"),
            provider_signature=_optional_hex(fields, "provider_signature"),
            attestation=_optional_hex(fields, "attestation"),
            image=None if image is None else _decode_image(image),
            is_settlement=isinstance(mint, dict) and mint.get("form") == "settle",
        )


def parse_attestation(text: str) -> bytes:
    """One or more concatenated signatures from 0x-hex; raises Rejected."""
    attestation = parse_hex(text, field="attestation")
    count, remainder = divmod(len(attestation), SIGNATURE_BYTES)
    if remainder or not 1 <= count <= _MAX_ATTESTERS:
        raise Rejected(
            RejectionReason.SIGNATURE_COUNT,
            f"an attestation is 1 to {_MAX_ATTESTERS} signatures of {SIGNATURE_BYTES} bytes",
            field="attestation",
        )
    return attestation


def recover_attesters(receipt: Receipt, attestation: bytes) -> list[Address]:
    """Who attested this receipt for a mint; raises Rejected unless the addresses are strictly ascending, as the chain
    demands. Who attested a settlement, only the chain tells: it is over the client's request as well."""
    providers, amounts = [provider for provider, _ in receipt.payouts()], [atoms for _, atoms in receipt.payouts()]
    if len(providers) == 1:
        digest = attestation_digest(receipt.provider, receipt.amount, receipt.hash)
    else:
        digest = mint_split_digest(receipt.chain_id, providers, amounts, receipt.hash)
    starts = range(0, len(attestation), SIGNATURE_BYTES)
    attesters = [recover_address(digest, attestation[start : start + SIGNATURE_BYTES]) for start in starts]
    if any(before >= after for before, after in itertools.pairwise(attesters)):
        raise Rejected(RejectionReason.SIGNATURE_ORDER, "attester signatures must be strictly ascending by address")
    return attesters


def check_document(document: Document) -> list[Check]:
    """Everything that needs no chain."""
    receipt = document.receipt
    checks = [Check("receipt", True, f"well-formed; {format_ait(receipt.amount)} AIT = price × units, rounded down")]
    if document.claimed_hash is not None:
        fits = document.claimed_hash == receipt.hash
        checks.append(Check("receipt_hash", fits, "as stated" if fits else f"stated {to_hex(document.claimed_hash)}"))
    checks.append(_check_provider(document))
    if receipt.client_signature is not None:
        # That these 32 bytes are the hash of a request, only the request itself can show (`receipt_request`).
        detail = f"{receipt.client} signed {to_hex(receipt.request_hash)}; as which request, the request itself tells"
        checks.append(Check("client_signature", True, detail))
    if receipt.shards is not None:
        checks.append(Check("shards", True, _describe_shards(receipt.shards, receipt.amount)))
    if receipt.trajectory_root is not None:
        detail = f"{to_hex(receipt.trajectory_root)}; the provider opens steps (aitbc provider verify)"
        checks.append(Check("trajectory_root", None, detail))
    if document.image is not None:
        fits = hashlib.sha256(document.image).hexdigest() == receipt.artifact_sha256
        checks.append(Check("artifact", fits, "the image is the receipt's" if fits else "this is another image"))
    checks.append(_check_attestation(document))
    return checks


def check_attesters(attesters: Iterable[Address], listed: Iterable[str], threshold: int, *, was_minted: bool) -> Check:
    """Whether these are the attesters that the chain asks for; `listed` are checksummed addresses."""
    names = [to_checksum_address(attester) for attester in attesters]
    strangers = sorted(set(names) - set(listed))
    if was_minted:
        since = f"; no longer listed: {', '.join(strangers)}" if strangers else ""
        return Check("attesters", True, f"the chain accepted {', '.join(names)}{since}")
    if strangers:
        return Check("attesters", False, f"not on the chain's list: {', '.join(strangers)}")
    if len(names) != threshold:
        return Check("attesters", False, f"{len(names)} signature(s), but the chain demands exactly {threshold}")
    return Check("attesters", True, f"on the chain's list: {', '.join(names)}")


def _check_provider(document: Document) -> Check:
    if document.provider_signature is None:
        return Check("provider_signature", None, "none given")
    try:
        signer = recover_provider(document.receipt, document.provider_signature)
    except Rejected as refusal:
        return Check("provider_signature", False, refusal.message)
    if signer != document.receipt.provider:
        return Check("provider_signature", False, f"made by {to_checksum_address(signer)}, or over another receipt")
    return Check("provider_signature", True, f"by {to_checksum_address(signer)}")


def _check_attestation(document: Document) -> Check:
    if document.attestation is None:
        return Check("attestation", None, "none given")
    if document.is_settlement:
        return Check("attestation", None, "for a settlement of the client's request: the chain tells who signed it")
    try:
        attesters = recover_attesters(document.receipt, document.attestation)
    except Rejected as refusal:
        return Check("attestation", False, refusal.message)
    names = ", ".join(to_checksum_address(attester) for attester in attesters)
    # Any well-formed signature recovers to somebody: it says nothing until that somebody is on a chain's list.
    return Check(
        "attestation", None, f"recovers to {names}; whether that counts, only a chain's list tells (--node-url)"
    )


def _describe_shards(shards: tuple[Shard, ...], amount: Amount) -> str:
    shares = split_amount(shards, amount)
    earned = ", ".join(f"{to_checksum_address(provider)} {format_ait(share)} AIT" for provider, share in shares)
    return f"{len(shards)} parts that add up; {earned}"


def _optional_hex(fields: dict[str, Any], name: str) -> bytes | None:
    text = fields.get(name)
    if text is None:
        return None
    return parse_attestation(text) if name == "attestation" else parse_hex(text, length=SIGNATURE_BYTES, field=name)


def _decode_image(text: object) -> bytes:
    """From base64, with or without `data:image/png;base64,` before it."""
    try:
        if not isinstance(text, str):
            raise ValueError
        return base64.b64decode(text.partition(_DATA_URL_MARK)[2] or text, validate=True)
    except (ValueError, binascii.Error):
        raise Rejected(RejectionReason.MALFORMED, "image_base64 is not base64", field="image_base64") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Rejected(RejectionReason.DUPLICATE_KEY, "a key stands twice in one JSON object")
    return fields
