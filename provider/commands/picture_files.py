"""Where finished pictures, their job file and their receipt go: whole or not at all, and over nothing that is there."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from chain.primitives.hexadecimal import to_hex
from provider.errors import ConfigurationError
from provider.ordering.job_file import SUFFIX, job_file_object
from provider.ordering.verification import Pictures
from wallet.keystore import replace_file, write_new_file

_FORMAT_OF_SUFFIX: Final = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


@dataclass(frozen=True)
class PictureFiles:
    """The names of all files that an order leaves."""

    pictures: tuple[Path, ...]
    job_file: Path
    receipt_file: Path | None
    replaces: bool

    @classmethod
    def plan(cls, output: Path, count: int, receipt_file: Path | None, *, replaces: bool) -> Self:
        """Before anything is ordered; raises ConfigurationError where a name is taken or means no picture."""
        picture_format(output)
        if count == 1:
            pictures: tuple[Path, ...] = (output,)
        else:
            pictures = tuple(output.with_name(f"{output.stem}-{number + 1}{output.suffix}") for number in range(count))
        files = cls(pictures, output.with_name(output.name + SUFFIX), receipt_file, replaces)
        names = [os.path.realpath(path) for path in files._all()]
        if len(set(names)) < len(names):
            raise ConfigurationError("two files would have the same name", reason="bad_output")
        for path in files._all():
            if path.is_dir():
                raise ConfigurationError(f"{path} is a folder", reason="bad_output")
            if not replaces and os.path.lexists(path):  # A link that leads nowhere counts, too.
                raise ConfigurationError(f"{path} is there already; --force replaces it", reason="file_exists")
        return files

    def write(self, made: Pictures, *, provider_url: str, source: Path | None) -> None:
        """Pictures first, so that a job file never names what is not there; raises OSError."""
        folder = self.job_file.parent
        job = job_file_object(
            made,
            provider_url=provider_url,
            file_names=[path.name for path in self.pictures],
            source_name=None if source is None else os.path.relpath(source, folder),
        )
        for path, picture in zip(self.pictures, made.pictures, strict=True):
            self._put(path, picture)
        if self.receipt_file is not None:
            self._put(self.receipt_file, _json(signed_receipt(made)))
        self._put(self.job_file, _json(job))

    def _all(self) -> list[Path]:
        return [*self.pictures, self.job_file, *([self.receipt_file] if self.receipt_file else [])]

    def _put(self, path: Path, content: bytes) -> None:
        (replace_file if self.replaces else write_new_file)(path, content)


def picture_format(output: Path) -> str:
    """The format that the file's name asks for; raises ConfigurationError."""
    found = _FORMAT_OF_SUFFIX.get(output.suffix.lower())
    if found is None:
        raise ConfigurationError(f"{output.name}: the name must end in .png, .jpg or .webp", reason="bad_output")
    return found


def signed_receipt(made: Pictures) -> dict[str, Any]:
    """The receipt with the provider's signature, without the prompt's salt."""
    return {
        "receipt": made.receipt.to_object(),
        "receipt_hash": to_hex(made.receipt_hash),
        "provider_signature": to_hex(made.provider_signature),
    }


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=2).encode("ascii") + b"\n"
