"""A validator's key in a remote signer: where that is, kept in the node's folder, and how a key is got at either way.

The file is that of a key without the secret, so the vote journal belongs to it as to any other. Moving a key from its
file into a signer keeps the journal; the file is then set aside for its owner to destroy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from chain.node.folder import NodeFolder
from chain.node.key_file import (
    SetupError,
    read_journal_id,
    read_key_file,
    read_owner,
    read_remote_key_file,
    write_remote_key_file,
)
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import Signer, SignerUnavailable, address_of_public_key, format_public_key
from chain.storage.journal_file import sync_folder

if TYPE_CHECKING:
    from chain.remote_signer import RemoteSigner, SignerSettings

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node")


class _SignerFields(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """As the file has them."""

    url: str
    certificate: str | None = None
    certificate_key: str | None = None
    ca: str | None = None
    timeout_s: float = 1.0


def keep_signer(folder: NodeFolder, settings: "SignerSettings") -> None:
    """Notes which signer holds the folder's key; takes the key itself out of the folder where it is still there.

    Raises SetupError where the folder belongs to another key, Rejected for a bad public key.
    """
    address = address_of_public_key(settings.public_key)
    journal_id = None
    for path in (folder.key_file, folder.remote_key_file):
        if not path.exists():
            continue
        if read_owner(path) != address:
            raise SetupError(
                f"{path} is that of {to_checksum_address(read_owner(path))}, not of the signer's key "
                f"{to_checksum_address(address)}: if that one has taken its place on the chain, move {path} away"
            )
        journal_id = read_journal_id(path) or journal_id
    fields = _SignerFields(
        url=settings.url,
        certificate=_text(settings.certificate),
        certificate_key=_text(settings.certificate_key),
        ca=_text(settings.ca),
        timeout_s=settings.timeout_s,
    )
    public_key = format_public_key(settings.public_key, compressed=True)
    write_remote_key_file(folder.remote_key_file, public_key, msgspec.to_builtins(fields), journal_id)
    if folder.key_file.exists():
        _set_aside(folder)


def read_signer(path: Path) -> "SignerSettings":
    """Which signer holds the key of such a file. Raises SetupError."""
    from chain.remote_signer import SignerSettings

    public_key, written = read_remote_key_file(path)
    try:
        fields = msgspec.convert(written, _SignerFields)
    except msgspec.ValidationError as error:
        raise SetupError(f"{path} is damaged: {error}") from None
    return SignerSettings(
        url=fields.url,
        public_key=public_key,
        certificate=_path(fields.certificate),
        certificate_key=_path(fields.certificate_key),
        ca=_path(fields.ca),
        timeout_s=fields.timeout_s,
    )


def used_key_file(folder: NodeFolder) -> Path | None:
    """The file of the folder's key, with or without the secret; None for a follower. Raises SetupError for both."""
    found = [path for path in (folder.key_file, folder.remote_key_file) if path.exists()]
    if len(found) > 1:
        raise SetupError(
            f"{folder.path} has a key of its own and one in a remote signer: move {folder.key_file} away, or "
            f"{folder.remote_key_file}"
        )
    return found[0] if found else None


def refuse_remote_key(folder: NodeFolder) -> None:
    """Raises SetupError where a signer holds the folder's key: the next one belongs there, not into a file."""
    if used_key_file(folder) == folder.remote_key_file:
        raise SetupError(
            "a remote signer holds this folder's key: make the new one there as well, have it sign its consent (aitbc "
            "node keys consent), and propose the change (aitbc node governance propose rotate)"
        )


@contextmanager
def opened_signer(settings: "SignerSettings") -> "Iterator[RemoteSigner]":
    """A signer, tried once. One that is away may come back; raises SetupError for a mistaken one."""
    from chain.remote_signer import RemoteSigner, SignerMistaken

    signer = RemoteSigner(settings)
    try:
        signer.check()
    except SignerMistaken as mistaken:
        signer.close()
        raise SetupError(str(mistaken)) from None
    except SignerUnavailable as error:
        _log.warning("signer_away", fault=str(error))
    try:
        yield signer
    finally:
        signer.close()


@contextmanager
def opened_key(folder: NodeFolder, key_file: Path | None) -> Iterator[Signer]:
    """The key of a file, or of the folder, wherever it lies: for one command. Raises SetupError."""
    path = key_file or used_key_file(folder) or folder.key_file
    if path != folder.remote_key_file:
        yield read_key_file(path)
        return
    from chain.remote_signer import RemoteSigner

    signer = RemoteSigner(read_signer(path))
    try:
        yield signer
    finally:
        signer.close()


def _set_aside(folder: NodeFolder) -> None:
    address = to_checksum_address(read_owner(folder.key_file))
    try:
        folder.key_file.rename(folder.path / f"validator.key.{address}")
        sync_folder(folder.path)
    except OSError as error:
        raise SetupError(f"cannot move {folder.key_file} away: {error.strerror or error}") from None


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
