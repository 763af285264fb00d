"""The reproducibility profile as JSON, and the hash by which a trajectory commits to the profiles of its pictures."""

import re
from collections.abc import Sequence
from typing import Any, Final

import rfc8785

from chain.primitives.hashing import sha256
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys
from chain.primitives.types import Hash32
from provider.generation import ReproducibilityProfile

BYTES_OF_DTYPE: Final = {"float32": 4, "float16": 2, "bfloat16": 2}
_KEYS: Final = (
    "batch_rows",
    "device_class",
    "dtype",
    "latent_shape",
    "scheduler",
    "versions",
    "weights_sha256",
)
_SHA256_DIGITS: Final = re.compile(r"[0-9a-f]{64}")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{1,200}")
_MAX_BATCH_ROWS: Final = 1_024
_MAX_DIMENSION: Final = 2**16
_MAX_DIMENSIONS: Final = 4
_MAX_VERSIONS: Final = 32


def profile_object(profile: ReproducibilityProfile) -> dict[str, Any]:
    """As it stands in answers and job files."""
    return {
        "batch_rows": profile.batch_rows,
        "device_class": profile.device_class,
        "dtype": profile.dtype,
        "latent_shape": list(profile.latent_shape),
        "scheduler": profile.scheduler,
        "versions": dict(profile.versions),
        "weights_sha256": profile.weights_sha256,
    }


def profiles_hash(profiles: Sequence[ReproducibilityProfile]) -> Hash32:
    """SHA-256 over the RFC 8785 form of the list, one profile per picture."""
    return sha256(rfc8785.dumps([profile_object(profile) for profile in profiles]))


def are_of_one_run(profiles: Sequence[ReproducibilityProfile]) -> bool:
    """Whether they differ at most in where and with how many others each picture of a job was computed.

    All pictures of a job are of one request, so whatever else differs is made up: one picture's precision, say, that
    its latents are read in, and another's, that they are judged by.
    """
    return len({(each.weights_sha256, each.scheduler, each.dtype, each.latent_shape) for each in profiles}) <= 1


def parse_profile(fields: object, where: str = "profile") -> ReproducibilityProfile:
    """From parsed JSON, strictly and bounded; raises Rejected that names the field."""
    known = check_keys(fields, _KEYS, where)
    for name, pattern in (
        ("device_class", _PRINTABLE),
        ("scheduler", _PRINTABLE),
        ("weights_sha256", _SHA256_DIGITS),
    ):
        if not isinstance(known[name], str) or not pattern.fullmatch(known[name]):
            raise _malformed(f"{where}.{name}")
    if not isinstance(known["dtype"], str) or known["dtype"] not in BYTES_OF_DTYPE:
        raise _malformed(f"{where}.dtype")
    shape = known["latent_shape"]
    if not isinstance(shape, list) or not 1 <= len(shape) <= _MAX_DIMENSIONS:
        raise _malformed(f"{where}.latent_shape")
    return ReproducibilityProfile(
        weights_sha256=known["weights_sha256"],
        scheduler=known["scheduler"],
        dtype=known["dtype"],
        device_class=known["device_class"],
        batch_rows=_bounded(known["batch_rows"], _MAX_BATCH_ROWS, f"{where}.batch_rows"),
        latent_shape=tuple(_bounded(side, _MAX_DIMENSION, f"{where}.latent_shape") for side in shape),
        versions=_parse_versions(known["versions"], f"{where}.versions"),
    )


def _parse_versions(versions: object, where: str) -> dict[str, str]:
    if not isinstance(versions, dict) or len(versions) > _MAX_VERSIONS:
        raise _malformed(where)
    for text in (*versions, *versions.values()):
        if not isinstance(text, str) or not _PRINTABLE.fullmatch(text):
            raise _malformed(where)
    return versions


def _bounded(number: object, most: int, where: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise _malformed(where)
    return number


def _malformed(field: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} is malformed", field=field)
