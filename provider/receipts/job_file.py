"""What a client has in its hands of a job: the job file that `aitbc provider generate` leaves, or a bare receipt.

It comes from a provider by way of a disk, so it is read like anything from outside: bounded and strictly. What is asked
of it later may be missing; then that question stays open.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from chain.primitives.client_request import SALT_BYTES, ClientClaim
from chain.primitives.hexadecimal import parse_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import MAX_SEED, RequestParameters
from chain.primitives.strict_json import check_keys, count_containers
from provider.generation import (
    MAX_PICTURES,
    SCHEDULERS,
    SIZE_STEP_PIXELS,
    Encoding,
    ImageRequest,
    ReproducibilityProfile,
    SourceImage,
)
from provider.receipts.profiles import parse_profile
from wallet.verification import MAX_DOCUMENT_BYTES, Document

VERSION: Final = 1
_MAX_BRACKETS: Final = 2_000
"""Lists and objects of an honest file are fewer than a hundred."""
_MAX_PROMPT_CHARACTERS: Final = 100_000
_FILE_NAME: Final = re.compile(r"[^/\\\x00-\x1f]{1,255}")
_REQUIRED: Final = (
    "version",
    "provider_url",
    "receipt",
    "receipt_hash",
    "provider_signature",
    "prompt_salt",
    "request",
    "parameters",
    "profiles",
    "client_request",
    "pictures",
)


@dataclass(frozen=True)
class AskedFor:
    """Prompt and parameters of a job, with what the provider filled in."""

    prompt: str
    negative_prompt: str
    salt: bytes
    parameters: RequestParameters
    """As the client asked: what the request hash is made of."""
    seed: int
    """Of the first picture, as used."""
    claim: ClientClaim | None
    """The client's signature, where it gave one."""

    def image_request(self, model: str, source_png: bytes | None = None) -> ImageRequest:
        """What the pipeline was given; raises Rejected where it would not have been."""
        asked = self.parameters
        if asked.scheduler not in SCHEDULERS:
            raise _malformed("parameters.scheduler", "is none that is known here")
        if asked.width % SIZE_STEP_PIXELS or asked.height % SIZE_STEP_PIXELS or asked.count > MAX_PICTURES:
            raise _malformed("parameters", "are none that a provider would take")
        source = None if source_png is None else SourceImage(source_png, asked.strength or 0.0)
        return ImageRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            steps=asked.steps,
            guidance=asked.guidance,
            width=asked.width,
            height=asked.height,
            seed=self.seed,
            count=asked.count,
            scheduler=asked.scheduler,
            model=model,
            source=source,
            encoding=Encoding(asked.image_format, asked.quality or Encoding.quality),
        )


@dataclass(frozen=True)
class JobFile:
    """The receipt and what came with it; None or empty for what is not there."""

    document: Document
    asked_for: AskedFor | None = None
    profiles: tuple[ReproducibilityProfile, ...] = ()
    """As the provider declared them in its answer, one per picture."""
    picture_names: tuple[str, ...] = ()
    """File names beside the job file."""


def read_job_file(text: bytes) -> JobFile:
    """A job file, an answer that holds a receipt, or a receipt; raises Rejected that names what is wrong."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise Rejected(RejectionReason.TOO_LARGE, f"larger than {MAX_DOCUMENT_BYTES} bytes")
    fields = _parse(text)
    if not isinstance(fields, dict) or "parameters" not in fields:
        return JobFile(Document.from_json(text))
    known = check_keys(fields, _REQUIRED, "job file", optional=("source",))
    if isinstance(known["version"], bool) or known["version"] != VERSION:
        raise _malformed("version", f"must be {VERSION}")
    return JobFile(
        document=Document.from_json(text),
        asked_for=_asked_for(known),
        profiles=_profiles(known["profiles"]),
        picture_names=_picture_names(known["pictures"]),
    )


def _asked_for(known: Mapping[str, Any]) -> AskedFor:
    request = known["request"]
    if not isinstance(request, dict):
        raise _malformed("request", "must be a JSON object")
    seed = request.get("seed")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise _malformed("request.seed", "must be from 0 to 2^63 - 1")
    claim = known["client_request"]
    return AskedFor(
        prompt=_text(request.get("prompt"), "request.prompt"),
        negative_prompt=_text(request.get("negative_prompt", ""), "request.negative_prompt"),
        salt=parse_hex(known["prompt_salt"], length=SALT_BYTES, field="prompt_salt"),
        parameters=RequestParameters.from_object(_with_floats(known["parameters"])),
        seed=seed,
        claim=None if claim is None else ClientClaim.from_object(claim),
    )


def _profiles(profiles: object) -> tuple[ReproducibilityProfile, ...]:
    if profiles is None:
        return ()
    if not isinstance(profiles, list) or len(profiles) > MAX_PICTURES:
        raise _malformed("profiles", f"must be a list of at most {MAX_PICTURES}")
    return tuple(parse_profile(profile, f"profiles[{index}]") for index, profile in enumerate(profiles))


def _picture_names(pictures: object) -> tuple[str, ...]:
    if not isinstance(pictures, list) or len(pictures) > MAX_PICTURES:
        raise _malformed("pictures", f"must be a list of at most {MAX_PICTURES}")
    names = []
    for picture in pictures:
        name = picture.get("file") if isinstance(picture, dict) else None
        # A name only: a job file from elsewhere must not choose what is read on this machine.
        if not isinstance(name, str) or not _FILE_NAME.fullmatch(name) or name in (".", ".."):
            raise _malformed("pictures", "must each have the name of a file beside the job file")
        names.append(name)
    return tuple(names)


def _text(text: object, field: str) -> str:
    if not isinstance(text, str) or len(text) > _MAX_PROMPT_CHARACTERS:
        raise _malformed(field, f"must be text of at most {_MAX_PROMPT_CHARACTERS} characters")
    return text


def _with_floats(fields: object) -> object:
    """Numbers with decimals as a double, as every other JSON reader has them."""
    if not isinstance(fields, dict):
        return fields
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in fields.items()}


def _parse(text: bytes) -> object:
    if count_containers(text) > _MAX_BRACKETS:
        raise Rejected(RejectionReason.TOO_LARGE, "more lists and objects than a job file can have")
    try:
        return json.loads(text, parse_float=Decimal, object_pairs_hook=_unique_keys)
    except (ValueError, ArithmeticError, RecursionError) as error:
        # Decimal raises InvalidOperation, an ArithmeticError, for exponents beyond its own range.
        raise Rejected(RejectionReason.MALFORMED, f"not JSON: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Rejected(RejectionReason.DUPLICATE_KEY, "a key stands twice in one JSON object")
    return fields


def _malformed(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} {requirement}", field=field)
