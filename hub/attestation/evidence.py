"""A receipt with everything that speaks for it, as one hub sends it to another's attester.

The body is four bytes with the head's length (big-endian), the head in JSON, then pictures' bytes in the job's order,
each as long as the head says: of a job of up to `DRAWN` pictures all, of a larger one those that the attester draws,
which it names when it has seen the rest. The head has the SHA-256 of every one. No prompt is in it: prompts are for
client, hub and provider alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from chain.primitives.client_request import ClientRequest
from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash, parse_hex, to_hex
from chain.primitives.receipt import Receipt
from chain.primitives.receipt_request import audience_of
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.shards import MAX_SHARDS
from chain.primitives.strict_json import parse_json
from hub.attestation.forms import NO_FEE, Fee
from hub.store.receipts import Form

VERSION: Final = 1
CONTENT_TYPE: Final = "application/vnd.aitbc.evidence"
MAX_PICTURES: Final = 256
DRAWN: Final = 8
"""So many of a job's pictures are shown at most. Whoever has half of a large job's pictures wrong is found 255 times
in 256, at a quarter 9 times in 10; and the largest pictures are 36 MiB together."""
MAX_HEAD_BYTES: Final = 512 * 1024
"""A whole receipt (24 KiB) and 64 parts of 2 KiB, 256 pictures' digests: less than half of it."""
_LENGTH_BYTES: Final = 4
_MAX_BRACKETS: Final = 2_000
_SIGNATURE_BYTES: Final = 65
_MAX_PICTURE_BYTES: Final = 64 * 1024 * 1024

_Signature = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{130}\Z")]
_Hash = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
_Digits = Annotated[str, Meta(pattern=r"^[0-9]{1,78}\Z")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    receipt: dict[str, Any]
    provider_signature: _Signature
    pictures: Annotated[int, Meta(ge=1, le=MAX_PICTURES)]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompt_hash: _Hash
    max_price: _Digits
    nonce: _Hash
    expiry: Annotated[int, Meta(ge=0, le=2**40)]


class _Picture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size_bytes: Annotated[int, Meta(ge=0, le=_MAX_PICTURE_BYTES)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Fee(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    recipient: Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{40}\Z")]
    amount: _Digits


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    form: Annotated[str, Meta(pattern=r"^(mint|mint_split|settle)\Z")]
    receipt: dict[str, Any]
    provider_signature: _Signature
    parts: Annotated[tuple[_Part, ...], Meta(max_length=MAX_SHARDS)]
    request: _Request
    parameters: dict[str, Any]
    fee: _Fee | None
    pictures: Annotated[tuple[_Picture, ...], Meta(min_length=1, max_length=MAX_PICTURES)]


@dataclass(frozen=True, slots=True)
class Part:
    """What one provider signed for its shard, and how many pictures that are."""

    receipt: Receipt
    provider_signature: bytes
    pictures: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything read and bounded, nothing of it believed yet, but that shown pictures have the stated SHA-256."""

    form: Form
    receipt: Receipt
    provider_signature: bytes
    parts: tuple[Part, ...]
    """In the order of the receipt's shards; none where it has none."""
    request: ClientRequest
    parameters: RequestParameters
    fee: Fee
    digests: tuple[bytes, ...]
    """SHA-256 of each of the job's pictures, in their order."""
    pictures: tuple[bytes, ...]
    """As many; empty where a picture is not shown."""

    def encode(self) -> bytes:
        """The body."""
        head = {
            "version": VERSION,
            "form": self.form.value,
            "receipt": self.receipt.to_object(),
            "provider_signature": to_hex(self.provider_signature),
            "parts": [
                {
                    "receipt": part.receipt.to_object(),
                    "provider_signature": to_hex(part.provider_signature),
                    "pictures": part.pictures,
                }
                for part in self.parts
            ],
            "request": {
                "prompt_hash": to_hex(self.request.prompt_hash),
                "max_price": str(self.request.max_price),
                "nonce": to_hex(self.request.nonce),
                "expiry": self.request.expiry,
            },
            "parameters": self.parameters.to_object(),
            "fee": None if self.fee == NO_FEE else self.fee.to_object(),
            "pictures": [
                {"size_bytes": len(picture), "sha256": digest.hex()}
                for picture, digest in zip(self.pictures, self.digests, strict=True)
            ],
        }
        text = msgspec.json.encode(head)
        return b"".join((len(text).to_bytes(_LENGTH_BYTES, "big"), text, *self.pictures))


def decode_evidence(body: bytes) -> Evidence:
    """From `encode`'s bytes; raises Rejected that names what is wrong."""
    length = int.from_bytes(body[:_LENGTH_BYTES], "big")
    if len(body) < _LENGTH_BYTES + length or length > MAX_HEAD_BYTES:
        raise _malformed("body", f"must begin with the length of its head, at most {MAX_HEAD_BYTES} bytes")
    text = body[_LENGTH_BYTES : _LENGTH_BYTES + length]
    head = _read_head(text)
    request = _request_of(head)
    return Evidence(
        form=Form(head.form),
        receipt=Receipt.from_object(head.receipt),
        provider_signature=_signature(head.provider_signature, "provider_signature"),
        parts=tuple(
            Part(
                _part_receipt(part, index),
                _signature(part.provider_signature, f"parts[{index}].provider_signature"),
                part.pictures,
            )
            for index, part in enumerate(head.parts)
        ),
        request=request,
        parameters=RequestParameters.from_object(head.parameters),
        fee=NO_FEE
        if head.fee is None
        else Fee(parse_address(head.fee.recipient, "fee.recipient"), int(head.fee.amount)),
        digests=tuple(bytes.fromhex(picture.sha256) for picture in head.pictures),
        pictures=_cut(memoryview(body)[_LENGTH_BYTES + length :], head.pictures),
    )


def _read_head(text: bytes) -> _Head:
    if text.count(b"{") + text.count(b"[") > _MAX_BRACKETS:
        raise Rejected(RejectionReason.TOO_LARGE, "more lists and objects than evidence can have", field="head")
    parsed = parse_json(text, MAX_HEAD_BYTES, "the head")
    try:
        return msgspec.convert(parsed, _Head)
    except msgspec.ValidationError as error:
        raise _malformed("head", str(error)) from None


def _request_of(head: _Head) -> ClientRequest:
    """For the audience that the receipt names, with the hash of these parameters."""
    receipt = Receipt.from_object(head.receipt)
    stated = head.request
    return ClientRequest(
        chain_id=receipt.chain_id,
        audience=audience_of(receipt),
        prompt_hash=parse_hash(stated.prompt_hash, "request.prompt_hash"),
        parameters_hash=RequestParameters.from_object(head.parameters).hash,
        max_price=parse_amount(stated.max_price, "request.max_price"),
        nonce=parse_hash(stated.nonce, "request.nonce"),
        expiry=stated.expiry,
    ).checked()


def _part_receipt(part: _Part, index: int) -> Receipt:
    try:
        return Receipt.from_object(part.receipt)
    except Rejected as rejected:
        field = f"parts[{index}].receipt.{rejected.values.get('field')}"
        raise Rejected(rejected.reason, rejected.message, field=field) from None


def _signature(text: str, field: str) -> bytes:
    return parse_hex(text, length=_SIGNATURE_BYTES, field=field)


def _cut(octets: memoryview, stated: Sequence[_Picture]) -> tuple[bytes, ...]:
    if len(octets) != sum(picture.size_bytes for picture in stated):
        raise _malformed("pictures", "must come to as many bytes as the head says, and nothing may follow")
    pictures, start = [], 0
    for index, picture in enumerate(stated):
        encoded = bytes(octets[start : start + picture.size_bytes])
        if picture.size_bytes and sha256(encoded).hex() != picture.sha256:
            raise _malformed(f"pictures[{index}].sha256", "is not that of the picture")
        pictures.append(encoded)
        start += picture.size_bytes
    return tuple(pictures)


def _malformed(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} {requirement}", field=field)
