"""A validator's key in a file that only its owner can read, with the id of the journal that its votes are in.

The id is absent until the key first votes. It travels with the key, so that a key without its journal is noticed. Where
a remote signer holds the key, the file has no secret, and says where the signer is (`chain.node.remote_key`).
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, Final, NamedTuple

from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey, address_of_public_key
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.storage.journal import ID_BYTES
from chain.storage.journal_file import sync_folder

KEY_FILE_VERSION: Final = 1
_MAX_KEY_FILE_BYTES: Final = 4096
_OWNER_ONLY: Final = 0o600


class SetupError(Exception):
    """Something about the folder or its files has to be put right by the operator; `str(error)` says what and how."""


def write_key_file(path: Path, key: PrivateKey) -> None:
    """A new file that only its owner can read. Raises SetupError, also where the file exists: keys are not replaced."""
    fields = {
        "version": KEY_FILE_VERSION,
        "address": to_checksum_address(key.address),
        "public_key": to_hex(key.public_key),
        "private_key": to_hex(key.secret),
    }
    try:
        _write_new(path, fields)
    except FileExistsError:
        raise SetupError(f"{path} exists already, and a key is never overwritten: move it away first") from None
    except OSError as error:
        raise SetupError(f"cannot write the key file {path}: {error.strerror or error}") from None


def write_remote_key_file(path: Path, public_key: bytes, signer: dict[str, Any], journal_id: bytes | None) -> None:
    """A file for a key that a signer holds, or a new one in its place; `signer` says where that is.

    Raises SetupError.
    """
    fields = {
        "version": KEY_FILE_VERSION,
        "address": to_checksum_address(address_of_public_key(public_key)),
        "public_key": to_hex(public_key),
        "signer": signer,
    }
    if journal_id is not None:
        fields["journal_id"] = to_hex(journal_id)
    _replace(path, fields)


def read_key_file(path: Path) -> PrivateKey:
    """A validator's key. Raises SetupError, also where others than the file's owner could read it."""
    key = _read(path).key
    if key is None:
        raise SetupError(f"{path} holds no key: a remote signer has it")
    return key


def read_owner(path: Path) -> Address:
    """Whose key it is, wherever the key itself lies. Raises SetupError."""
    return _read(path).owner


def read_remote_key_file(path: Path) -> tuple[bytes, Any]:
    """The public key, and what was written of the signer. Raises SetupError where the file itself holds the key."""
    content = _read(path)
    if content.key is not None:
        raise SetupError(f"{path} holds a key, and names no signer that does")
    return parse_hex(content.fields["public_key"]), content.fields["signer"]


def read_journal_id(path: Path) -> bytes | None:
    """The id of the journal that the key's votes are in; None for a key that has not voted. Raises SetupError."""
    return _read(path).journal_id


def write_journal_id(path: Path, journal_id: bytes) -> None:
    """Adds the journal's id to a key file, or replaces it. A crash leaves the file as it was, or whole.

    Raises SetupError.
    """
    _replace(path, {**_read(path).fields, "journal_id": to_hex(journal_id)})


def _replace(path: Path, fields: dict[str, Any]) -> None:
    path = Path(os.path.realpath(path))  # A rename must replace the file, not a link to it.
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        owner = path.stat() if path.exists() else None
        try:
            _write_new(beside, fields)
            if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(beside, owner.st_uid, owner.st_gid)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise SetupError(
            f"cannot write the key file {path}: {error.strerror or error}. The id of the vote journal is kept in it, "
            "so the node must be able to replace it."
        ) from None


def _write_new(path: Path, fields: dict[str, Any]) -> None:
    """Raises FileExistsError and other OSErrors."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(fields, indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


class _Content(NamedTuple):
    owner: Address
    key: PrivateKey | None
    """None where a signer holds it."""
    journal_id: bytes | None
    fields: dict[str, Any]
    """As they are in the file."""


def _read(path: Path) -> _Content:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise SetupError(f"cannot read the key file {path}: {error.strerror or error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SetupError(f"{path} can be read by other users (mode {mode:04o}): run `chmod 600 {path}` first")
    try:
        fields: dict[str, Any] = json.loads(content)
        if fields["version"] != KEY_FILE_VERSION:
            raise SetupError(f"{path} has version {fields['version']!r}, this aitbc reads version {KEY_FILE_VERSION}")
        if "signer" in fields:
            key, owner = None, address_of_public_key(parse_hex(fields["public_key"], length=33, field="public_key"))
        else:
            key = PrivateKey(parse_hex(fields["private_key"], length=32, field="private_key"))
            owner = key.address
        if fields["address"] != to_checksum_address(owner):
            raise SetupError(f"{path} is damaged: its address does not belong to its key")
        has_id = "journal_id" in fields
        journal_id = parse_hex(fields["journal_id"], length=ID_BYTES, field="journal_id") if has_id else None
        return _Content(owner, key, journal_id, fields)
    except (ValueError, KeyError, TypeError, Rejected):
        raise SetupError(f"{path} is not a validator's key file") from None
