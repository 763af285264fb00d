"""What is asked for of a job beside its prompt, and the hash of that which a client signs.

The hash is Keccak-256 of the RFC 8785 form of one JSON object with every field, so a client in any language can make
it. Fields stand as the client asked for them: null is what it left open.
"""

import re
from typing import Any, Final, Self

import msgspec
import rfc8785

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_amount
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys
from chain.primitives.types import Hash32

PARAMETERS_VERSION: Final = 1
MAX_SEED: Final = 2**63 - 1
IMAGE_FORMATS: Final = ("png", "jpeg", "webp")
_MAX_SIDE_PIXELS: Final = 2**16
_MAX_STEPS: Final = 1_000
_MAX_COUNT: Final = 1_024
_MAX_GUIDANCE: Final = 1_000.0

_MODEL: Final = re.compile(r"[\x21-\x7e]{1,256}")
_SCHEDULER: Final = re.compile(r"[a-z0-9_]{1,64}")
_SALTED_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SHA256_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


class RequestParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is asked for beside the prompt, as the client asked for it: None is what it left open."""

    width: int
    height: int
    steps: int
    guidance: float
    seed: int | None = None
    model: str | None = None
    scheduler: str = "default"
    count: int = 1
    """Pictures."""
    negative_prompt_hash: str | None = None
    """As a receipt's prompt_hash, with the same salt; None where there is none."""
    source_sha256: str | None = None
    """Of the file that image-to-image starts from, byte for byte as the client sends it; 64 hex digits."""
    strength: float | None = None
    """Of image-to-image."""
    image_format: str = "png"
    quality: int | None = None
    """1 to 100, of jpeg and webp; None for png."""

    def to_object(self) -> dict[str, Any]:
        """The JSON object that the hash is taken of; a seed is text, since JSON's integers end at 2^53."""
        return {
            "version": PARAMETERS_VERSION,
            "count": self.count,
            "guidance": self.guidance,
            "height": self.height,
            "image_format": self.image_format,
            "model": self.model,
            "negative_prompt_hash": self.negative_prompt_hash,
            "quality": self.quality,
            "scheduler": self.scheduler,
            "seed": None if self.seed is None else str(self.seed),
            "source_sha256": self.source_sha256,
            "steps": self.steps,
            "strength": self.strength,
            "width": self.width,
        }

    @property
    def hash(self) -> Hash32:
        """keccak256 of the RFC 8785 form."""
        return keccak256(rfc8785.dumps(self.to_object()))

    def checked(self) -> Self:
        """The parameters themselves; raises Rejected for what no request could mean."""
        for name, number, most in (
            ("width", self.width, _MAX_SIDE_PIXELS),
            ("height", self.height, _MAX_SIDE_PIXELS),
            ("steps", self.steps, _MAX_STEPS),
            ("count", self.count, _MAX_COUNT),
        ):
            if not 1 <= number <= most:
                raise _out_of_range(f"parameters.{name}", f"must be from 1 to {most}")
        if not 0 <= self.guidance <= _MAX_GUIDANCE:  # Also false for NaN.
            raise _out_of_range("parameters.guidance", f"must be from 0 to {_MAX_GUIDANCE:g}")
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise _out_of_range("parameters.seed", "must be from 0 to 2^63 - 1")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise _out_of_range("parameters.strength", "must be from 0 to 1")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise _out_of_range("parameters.quality", "must be from 1 to 100")
        if self.image_format not in IMAGE_FORMATS:
            raise _malformed("parameters.image_format", f"must be one of {', '.join(IMAGE_FORMATS)}")
        for name, text, pattern in (
            ("scheduler", self.scheduler, _SCHEDULER),
            ("model", self.model, _MODEL),
            ("negative_prompt_hash", self.negative_prompt_hash, _SALTED_HASH),
            ("source_sha256", self.source_sha256, _SHA256_DIGITS),
        ):
            if text is not None and not pattern.fullmatch(text):
                raise _malformed(f"parameters.{name}", f"must match {pattern.pattern}")
        return self

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From `to_object`'s parsed JSON, strictly; raises Rejected that names the field."""
        values = dict(check_keys(fields, ("version", *cls.__struct_fields__), "parameters"))
        version = values.pop("version")
        if isinstance(version, bool) or version != PARAMETERS_VERSION:
            raise _malformed("parameters.version", f"must be {PARAMETERS_VERSION}")
        seed = values["seed"]
        if seed is not None:
            values["seed"] = int(parse_amount(seed, "parameters.seed"))
        for name in ("width", "height", "steps", "count", "guidance", "strength", "quality"):
            number = values[name]
            is_whole = name not in ("guidance", "strength")
            if number is None and name in ("strength", "quality"):
                continue
            if isinstance(number, bool) or not isinstance(number, int if is_whole else (int, float)):
                raise _malformed(f"parameters.{name}", "has the wrong JSON type")
            if not is_whole:
                values[name] = _as_float(number, f"parameters.{name}")
        for name in ("model", "scheduler", "negative_prompt_hash", "source_sha256", "image_format"):
            is_optional = name not in ("scheduler", "image_format")
            if not isinstance(values[name], str) and not (is_optional and values[name] is None):
                raise _malformed(f"parameters.{name}", "has the wrong JSON type")
        return cls(**values).checked()


def _as_float(number: int | float, field: str) -> float:
    try:
        return float(number)
    except OverflowError:
        raise _out_of_range(field, "is too large") from None


def _malformed(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} {requirement}", field=field)


def _out_of_range(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.OUT_OF_RANGE, f"{field} {requirement}", field=field)
