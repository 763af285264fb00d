"""The two TOML files of API keys: which clients may bring jobs, and with which key each provider knows this hub.

clients.toml                        providers.toml
[clients]                           [providers]
alice = "16 to 256 characters"      "0xProvider's address" = "16 to 256 characters"
"""

import hmac
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_address
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from hub.errors import HubConfigurationError
from wallet.credentials import is_closed

_MAX_FILE_BYTES: Final = 1024 * 1024
_KEY: Final = re.compile(r"[\x21-\x7e]{16,256}")
# A name becomes the receipt's `client`: it must be one there, and must never look like the address of a signer.
_CLIENT_NAME: Final = re.compile(r"(?!0[xX])[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")


class ClientKeys:
    """Clients' API keys, held as digests only."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """From key by client's name."""
        self._names = list(keys)
        self._digests = [sha256(key.encode()) for key in keys.values()]

    def name_of(self, key: str) -> str | None:
        """Whose key this is. Compares with every key in constant time, so timing tells nothing about any."""
        digest = sha256(key.encode("utf-8", "surrogateescape"))
        found = None
        for name, known in zip(self._names, self._digests, strict=True):
            if hmac.compare_digest(digest, known):
                found = name
        return found


def read_client_keys(path: Path) -> ClientKeys:
    """The table [clients]; raises HubConfigurationError that names file and entry."""
    keys = _read_table(path, "clients")
    for name in keys:
        if not _CLIENT_NAME.fullmatch(name):
            raise HubConfigurationError(f"{path}: the client name {name[:64]!r} must match {_CLIENT_NAME.pattern}")
    if len(set(keys.values())) != len(keys):
        raise HubConfigurationError(f"{path}: two clients have the same key")
    return ClientKeys(keys)


def read_provider_keys(path: Path) -> dict[Address, str]:
    """The table [providers]; raises HubConfigurationError that names file and entry."""
    keys: dict[Address, str] = {}
    for text, key in _read_table(path, "providers").items():
        try:
            address = parse_address(text)
        except Rejected as error:
            raise HubConfigurationError(f"{path}: {text[:64]!r}: {error.message}") from None
        if address in keys:
            raise HubConfigurationError(f"{path}: {text} stands twice")
        keys[address] = key
    return keys


def _read_table(path: Path, table: str) -> dict[str, str]:
    """Names and keys; the file must be closed to others, have this one table and nothing else."""
    try:
        mode = path.stat().st_mode
        if os.name == "posix" and not is_closed(path, mode):
            raise HubConfigurationError(f"{path} is open to other users of this machine; close it: chmod 600 {path}")
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1)
    except HubConfigurationError:
        raise
    except OSError as error:
        raise HubConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    if len(text) > _MAX_FILE_BYTES:
        raise HubConfigurationError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
    try:
        content = tomllib.loads(text.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors.
        raise HubConfigurationError(f"{path} is not TOML: {error}") from None
    entries = content.pop(table, None)
    if content or not isinstance(entries, dict):
        raise HubConfigurationError(f"{path} must have the table [{table}] and nothing else")
    for name, key in entries.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise HubConfigurationError(f"{path}: the key of {name[:64]!r} must be 16 to 256 printable characters")
    return entries
