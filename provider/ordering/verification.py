"""Whether an answer is what was ordered: a provider is paid by its receipt, so a client looks before it trusts."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from chain.primitives.client_request import ClientClaim, ClientRequest, salted_hash, unsigned_request
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address
from chain.primitives.receipt import Receipt, combined_artifact_sha256, recover_provider
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32
from provider.generation import MAX_SEED, OUTPUT_FORMATS
from provider.ordering.decoding import Count, decode_json
from provider.ordering.errors import UntrustedAnswer
from provider.ordering.order import PictureOrder, PreparedOrder

_SALT_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 65
_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_SIDES: Final = slice(16, 24)
_SIDE_BYTES: Final = 4


@dataclass(frozen=True)
class Expected:
    """What the client knows of the provider beforehand; None for what it takes the provider's word for."""

    provider: Address | None = None
    chain_id: int | None = None


@dataclass(frozen=True)
class Pictures:
    """Finished pictures, with a receipt that was checked against the order."""

    order: PictureOrder
    job_id: str
    pictures: tuple[bytes, ...]
    """Encoded files."""
    seeds: tuple[int, ...]
    scheduler: str
    model: str
    device: str
    gpu: str
    duration_ms: int
    gpu_seconds: float
    receipt: Receipt
    receipt_hash: Hash32
    provider_signature: bytes
    prompt_salt: bytes
    request: ClientRequest
    """What the receipt's request_hash is the digest of; signed or not."""
    claim: ClientClaim | None
    """The client's signature, where it gave one."""
    profiles: tuple[dict[str, Any], ...]
    """Per picture, where the receipt has a trajectory root."""


class _Answer(msgspec.Struct):
    job_id: str
    image_base64: str
    receipt: msgspec.Raw
    receipt_hash: str
    provider_signature: str
    prompt_salt: str
    seeds: list[int]
    scheduler: str
    model: str
    device: str
    gpu: str
    duration_ms: Count
    gpu_seconds: float
    images: list[str] | None = None
    profiles: list[dict[str, Any]] | None = None


def read_pictures(prepared: PreparedOrder, body: bytes, expected: Expected) -> Pictures:
    """The answer's pictures; raises ProviderUnavailable for what is no answer, UntrustedAnswer for a wrong one."""
    answer = decode_json(body, _Answer)
    try:
        return _checked(prepared, answer, expected)
    except Rejected as rejected:
        raise UntrustedAnswer(f"the provider's answer is wrong: {rejected.message}") from None


def _checked(prepared: PreparedOrder, answer: _Answer, expected: Expected) -> Pictures:
    """In this order: whose word it is, what it says of the order, and whether the pictures are those it names."""
    order = prepared.order
    receipt = Receipt.from_json(bytes(answer.receipt))
    receipt_hash = parse_hash(answer.receipt_hash, "receipt_hash")
    signature = parse_hex(answer.provider_signature, length=_SIGNATURE_BYTES, field="provider_signature")
    salt = parse_hex(answer.prompt_salt, length=_SALT_BYTES, field="prompt_salt")
    _check_issuer(receipt, receipt_hash, signature, expected)
    request = prepared.request or _unsigned(order, receipt, salt)
    check_request(receipt, request)
    _check_client(receipt, prepared)
    _require(order.model in (None, receipt.model), "the receipt names another model than was ordered")
    _require(receipt.model == answer.model, "the receipt names another model than the answer")
    pictures = tuple(_decoded(text, order) for text in answer.images or [answer.image_base64])
    _require(len(pictures) == order.count, f"{order.count} pictures were ordered, {len(pictures)} came")
    digests = [hashlib.sha256(picture).digest() for picture in pictures]
    _require(
        combined_artifact_sha256(digests) == receipt.artifact_sha256, "the receipt is for other pictures than came"
    )
    _check_seeds(order, answer.seeds)
    return Pictures(
        order=order,
        job_id=receipt.job_id,
        pictures=pictures,
        seeds=tuple(answer.seeds),
        scheduler=answer.scheduler,
        model=receipt.model,
        device=answer.device,
        gpu=answer.gpu,
        duration_ms=answer.duration_ms,
        gpu_seconds=answer.gpu_seconds,
        receipt=receipt,
        receipt_hash=receipt_hash,
        provider_signature=signature,
        prompt_salt=salt,
        request=request,
        claim=prepared.claim,
        profiles=tuple(answer.profiles or ()),
    )


def _check_issuer(receipt: Receipt, receipt_hash: Hash32, signature: bytes, expected: Expected) -> None:
    _require(receipt.hash == receipt_hash, "the receipt's hash is another one than stated")
    _require(recover_provider(receipt, signature) == receipt.provider, "the receipt is not signed by its provider")
    if expected.provider is not None:
        theirs, named = to_checksum_address(receipt.provider), to_checksum_address(expected.provider)
        _require(theirs == named, f"the receipt is by {theirs}, not by {named}")
    if expected.chain_id is not None:
        _require(receipt.chain_id == expected.chain_id, f"the receipt is for chain {receipt.chain_id}")


def _unsigned(order: PictureOrder, receipt: Receipt, salt: bytes) -> ClientRequest:
    """The request as the provider must have hashed it for a client that has no key."""
    return unsigned_request(
        chain_id=receipt.chain_id,
        audience=to_checksum_address(receipt.provider),
        prompt_hash=salted_hash(salt, order.prompt),
        parameters_hash=order.parameters(salt).hash,
    )


def _check_client(receipt: Receipt, prepared: PreparedOrder) -> None:
    _require(receipt.hub_id == "", "the receipt is that of a hub's job")
    if prepared.claim is None:
        _require(receipt.client_signature is None, "the receipt bears a signature that nobody gave")
        return
    _require(receipt.client_signature == prepared.claim.signature, "the client's signature is not in the receipt")
    _require(receipt.client == to_checksum_address(prepared.claim.client), "the receipt names another client")


def _check_seeds(order: PictureOrder, seeds: list[int]) -> None:
    first = seeds[0] if order.seed is None and seeds else order.seed
    _require(first is not None and 0 <= first <= MAX_SEED, "the answer names no seed")
    due = [((first or 0) + index) % (MAX_SEED + 1) for index in range(order.count)]
    _require(seeds == due, "the answer names other seeds than were ordered")


def _decoded(text: str, order: PictureOrder) -> bytes:
    """The file in a data URL, of the right kind; a PNG's size is in its first bytes and is compared."""
    prefix, _, encoded = text.partition(",")
    _require(prefix == f"data:{OUTPUT_FORMATS[order.output_format]};base64", "a picture came in another format")
    try:
        picture = base64.b64decode(encoded, validate=True)
    except ValueError:  # Also for characters beyond ASCII.
        raise UntrustedAnswer("a picture is not base64") from None
    if order.output_format == "png":
        sides = order.width.to_bytes(_SIDE_BYTES, "big") + order.height.to_bytes(_SIDE_BYTES, "big")
        _require(picture.startswith(_PNG_HEAD) and picture[_PNG_SIDES] == sides, "a picture came in another size")
    return picture


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise UntrustedAnswer(complaint)
