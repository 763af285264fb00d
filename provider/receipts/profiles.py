"""The reproducibility profile, read from JSON; what is made of it stands in `chain.primitives.profiles`."""

import re
from typing import Final

from chain.primitives.latents import BYTES_OF_DTYPE
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys
from provider.generation import ReproducibilityProfile

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
