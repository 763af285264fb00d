"""The TOML file of API keys: which clients may bring jobs, and what each may use in a day, signers without a key too.

clients.toml
[clients]
alice = "16 to 256 characters"
[quotas]
alice = { jobs = 100, pictures = 1000 }
[signers]
each = { jobs = 100, pictures = 500 }
together = { jobs = 2000, pictures = 10000 }
"""

import hmac
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from chain.primitives.hashing import sha256
from hub.errors import HubConfigurationError
from hub.orders.quotas import read_limits
from hub.orders.signers import SignerLimits
from hub.store.quotas import QuotaLimits
from wallet.credentials import is_closed

_MAX_FILE_BYTES: Final = 1024 * 1024
_KEY: Final = re.compile(r"[\x21-\x7e]{16,256}")
# A name becomes the receipt's `client`: it must be one there, and must never look like the address of a signer.
_CLIENT_NAME: Final = re.compile(r"(?!0[xX])[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")


class ClientKeys:
    """Clients' API keys, held as digests only, and their quotas."""

    def __init__(
        self,
        keys: Mapping[str, str],
        limits: Mapping[str, QuotaLimits] | None = None,
        signers: SignerLimits | None = None,
    ) -> None:
        """From key by client's name; `signers` are those without a key."""
        self._names = list(keys)
        self._digests = [sha256(key.encode()) for key in keys.values()]
        self._limits = dict(limits or {})
        self.signers = signers or SignerLimits()

    def name_of(self, key: str) -> str | None:
        """Whose key this is. Compares with every key in constant time, so timing tells nothing about any."""
        digest = sha256(key.encode("utf-8", "surrogateescape"))
        found = None
        for name, known in zip(self._names, self._digests, strict=True):
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def limits_of(self, name: str) -> QuotaLimits:
        """What a client may use in a day; without an entry, as much as it likes."""
        return self._limits.get(name, QuotaLimits())


def read_client_keys(path: Path) -> ClientKeys:
    """The tables [clients], [quotas] and [signers]; raises HubConfigurationError that names file and entry."""
    content = _read_tables(path)
    keys = content.get("clients")
    quotas, signers = content.get("quotas", {}), content.get("signers", {})
    if not isinstance(keys, dict) or not isinstance(quotas, dict) or not isinstance(signers, dict):
        raise HubConfigurationError(f"{path} must have the table [clients]; [quotas] and [signers] are tables, too")
    if set(content) - {"clients", "quotas", "signers"}:
        raise HubConfigurationError(f"{path} may have the tables [clients], [quotas] and [signers], and nothing else")
    for name, key in keys.items():
        if not _CLIENT_NAME.fullmatch(name):
            raise HubConfigurationError(f"{path}: the client name {name[:64]!r} must match {_CLIENT_NAME.pattern}")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise HubConfigurationError(f"{path}: the key of {name[:64]!r} must be 16 to 256 printable characters")
    if len(set(keys.values())) != len(keys):
        raise HubConfigurationError(f"{path}: two clients have the same key")
    limits = {name: _limits(path, name, table, keys) for name, table in quotas.items()}
    return ClientKeys(keys, limits, _signer_limits(path, signers))


def _signer_limits(path: Path, tables: Mapping[str, Any]) -> SignerLimits:
    names = SignerLimits.__dataclass_fields__
    for name, table in tables.items():
        if name not in names or not isinstance(table, dict):
            raise HubConfigurationError(f"{path}: [signers] has {' and '.join(names)}, a table each")
    return SignerLimits(
        **{name: read_limits(table, f"{path}: [signers] {name}") for name, table in tables.items()},
    )


def _limits(path: Path, name: str, table: Any, keys: Mapping[str, str]) -> QuotaLimits:
    if name not in keys or not isinstance(table, dict):
        raise HubConfigurationError(f"{path}: [quotas] {name[:64]!r} must be a client's, and a table")
    return read_limits(table, f"{path}: [quotas] {name}")


def _read_tables(path: Path) -> dict[str, Any]:
    """The file must be closed to others."""
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
        return tomllib.loads(text.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors.
        raise HubConfigurationError(f"{path} is not TOML: {error}") from None
