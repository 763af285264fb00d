"""A model's weight files: their digest for the reproducibility profile, and their size before they are loaded."""

import hashlib
import json
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

COMPONENTS: Final = ("text_encoder", "unet", "vae")
"""The folders of a pipeline whose weights decide about its pictures."""

_WEIGHTS_NAME: Final = re.compile(r"(diffusion_pytorch_model|model)(-\d{5}-of-\d{5})?\.safetensors")
"""What diffusers and transformers load when no variant is asked for, whole or in shards."""

_MAX_HEADER_BYTES: Final = 100_000_000
"""As safetensors itself bounds it."""


def weight_files(folder: Path) -> list[Path]:
    """The weight files that are loaded from a pipeline's folder, in the order of their names."""
    found = [path for part in COMPONENTS for path in (folder / part).glob("*.safetensors") if _is_loaded(path)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _is_loaded(path: Path) -> bool:
    return _WEIGHTS_NAME.fullmatch(path.name) is not None


def weights_sha256(folder: Path) -> str:
    """SHA-256 over each file's name within the folder, a zero byte and the SHA-256 of its bytes; 64 hex digits.

    A file is read once per process for as long as its path, size and time of change stay the same.
    """
    digest = hashlib.sha256()
    for path in weight_files(folder):
        status = path.stat()
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(_file_sha256(path, status.st_size, status.st_mtime_ns))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _file_sha256(path: Path, _size_bytes: int, _changed_ns: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def estimate_bytes(folder: Path, bytes_per_value: int) -> int:
    """What the weights take once loaded in a precision of so many bytes, from the files' headers alone.

    Raises ValueError or OSError for a file that is no safetensors file.
    """
    return sum(_value_count(path) for path in weight_files(folder)) * bytes_per_value


def _value_count(path: Path) -> int:
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 0 < header_bytes <= min(_MAX_HEADER_BYTES, path.stat().st_size):
            raise ValueError(f"{path.parent.name}/{path.name} is not a whole safetensors file")
        header: dict[str, Any] = json.loads(file.read(header_bytes))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
