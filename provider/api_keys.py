"""Who may ask this provider for pictures: named API keys, of clients and of hubs.

The file is TOML, and closed to other users (`chmod 600`):

    [clients]
    alice = "a long random string"

    [hubs]
    main-hub = "another long random string"

A client's name stands in its receipts as `client`. Only a hub may pass on jobs of others (the field `job`), because the
receipt then states what the hub says about client, request and job id.
"""

import hashlib
import hmac
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from provider.errors import ConfigurationError

MIN_SECRET_CHARACTERS: Final = 16
MAX_SECRET_CHARACTERS: Final = 256
MAX_KEYS: Final = 10_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_WELL_KNOWN: Final = "CHANGE_ME"
"""The plan's example key starts like this; whoever left it in would serve everybody."""


@dataclass(frozen=True)
class Caller:
    """An API key's owner."""

    name: str
    is_hub: bool


class ApiKeys:
    """Finds the caller of a secret. Holds digests only, so that no dump of this object shows a key."""

    def __init__(self, secrets: Mapping[Caller, str]) -> None:
        """Raises ConfigurationError for a weak, doubtful or repeated key."""
        self._callers: list[tuple[bytes, Caller]] = []
        if len(secrets) > MAX_KEYS:
            raise ConfigurationError(f"more than {MAX_KEYS} API keys", reason="bad_api_keys")
        for caller, secret in secrets.items():
            _check(caller.name, secret)
            self._callers.append((_digest(secret), caller))
        if len({digest for digest, _ in self._callers}) != len(self._callers):
            raise ConfigurationError("two API keys have the same secret", reason="bad_api_keys")
        if len({caller.name for _, caller in self._callers}) != len(self._callers):
            raise ConfigurationError("two API keys have the same name", reason="bad_api_keys")

    def find(self, secret: str) -> Caller | None:
        """The caller, or None; takes as long for a wrong secret as for a right one."""
        presented = _digest(secret)
        found: Caller | None = None
        for digest, caller in self._callers:
            if hmac.compare_digest(digest, presented):
                found = caller
        return found


def load_api_keys(path: Path | None, single_key: str | None) -> ApiKeys:
    """The keys of the file, and the single key from the environment as client `default`; none at all is refused."""
    secrets: dict[Caller, str] = {}
    if path is not None:
        secrets.update(_read(path))
    if single_key is not None:
        secrets[Caller("default", is_hub=False)] = single_key
    if not secrets:
        message = "no API key: pass --api-keys-file, or set AITBC_PROVIDER_API_KEY"
        raise ConfigurationError(message, reason="no_api_keys")
    return ApiKeys(secrets)


def _read(path: Path) -> dict[Caller, str]:
    try:
        if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            message = f"{path} is open to other users of this machine; close it: chmod 600 {path}"
            raise ConfigurationError(message, reason="bad_api_keys")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", reason="bad_api_keys") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", reason="bad_api_keys") from error
    unknown = document.keys() - {"clients", "hubs"}
    if unknown:
        message = f"{path}: unknown entry {min(unknown)!r}; there are the tables [clients] and [hubs]"
        raise ConfigurationError(message, reason="bad_api_keys")
    secrets: dict[Caller, str] = {}
    for table, is_hub in (("clients", False), ("hubs", True)):
        entries = document.get(table, {})
        if not isinstance(entries, dict) or not all(isinstance(secret, str) for secret in entries.values()):
            raise ConfigurationError(f'{path}: [{table}] holds lines of name = "secret"', reason="bad_api_keys")
        secrets.update({Caller(name, is_hub): secret for name, secret in entries.items()})
    return secrets


def _check(name: str, secret: str) -> None:
    if not _NAME.fullmatch(name):
        message = f"API key name {name!r}: use letters, digits and . _ : - (at most 64)"
        raise ConfigurationError(message, reason="bad_api_keys")
    if secret.startswith(_WELL_KNOWN):
        raise ConfigurationError(f"the API key {name!r} is the published example: change it", reason="bad_api_keys")
    if not MIN_SECRET_CHARACTERS <= len(secret) <= MAX_SECRET_CHARACTERS:
        message = f"the API key {name!r} needs {MIN_SECRET_CHARACTERS} to {MAX_SECRET_CHARACTERS} characters"
        raise ConfigurationError(message, reason="bad_api_keys")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", errors="surrogatepass")).digest()
