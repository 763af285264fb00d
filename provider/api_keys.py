"""Which clients may ask this provider for pictures: named API keys, and what each may ask for.

The file is TOML, and closed to other users (`chmod 600`):

    [clients]
    alice = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

    [limits.alice]
    rate = "60/minute"
    pictures_per_day = 1000
    concurrent_jobs = 4

What stands for a key is its SHA-256: a key that `new_secret` drew has 256 bits of randomness, so that nobody finds it
from its hash, and a slow hash (scrypt) would only slow down every request. A plain secret is taken too, for networks
that live for an hour; `plain_names` says whose.

A client's name stands in its receipts as `client`. Hubs have no keys here: this provider dials them (`hub_link`).
"""

import hashlib
import hmac
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from provider.errors import ConfigurationError
from wallet.credentials import is_closed

MIN_SECRET_CHARACTERS: Final = 16
MAX_SECRET_CHARACTERS: Final = 256
MAX_KEYS: Final = 10_000
MAX_PICTURES_PER_DAY: Final = 10**9
MAX_CONCURRENT_JOBS: Final = 1024
_SECRET_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_HASH_PREFIX: Final = "sha256:"
_HASH_DIGITS: Final = re.compile(r"[0-9a-f]{64}")
_RATE: Final = re.compile(r"[1-9][0-9]{0,5}/(second|minute|hour|day)")
_WELL_KNOWN: Final = "CHANGE_ME"
"""The plan's example key starts like this; whoever left it in would serve everybody."""


@dataclass(frozen=True)
class Caller:
    """Whose jobs they are: an API key's owner, or a hub that this provider has dialled."""

    name: str


@dataclass(frozen=True)
class KeyLimits:
    """What one API key may ask for; None leaves it to the provider's settings, or unlimited."""

    rate: str | None = None
    """Pictures in a stretch of time, such as `60/minute`."""
    pictures_per_day: int | None = None
    concurrent_jobs: int | None = None


NO_LIMITS: Final = KeyLimits()


def new_secret() -> str:
    """A fresh API key: 43 characters that are safe in URLs and files."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_of(secret: str) -> str:
    """What the file of API keys may hold in place of the secret."""
    return _HASH_PREFIX + _digest(secret).hex()


class ApiKeys:
    """Finds the caller of a secret. Holds digests only, so that no dump of this object shows a key."""

    def __init__(self, secrets: Mapping[Caller, str], limits: Mapping[str, KeyLimits] | None = None) -> None:
        """Secrets, or their hashes, and limits by name; raises ConfigurationError for what is weak or doubtful."""
        self._callers: list[tuple[bytes, Caller]] = []
        self._limits = dict(limits or {})
        self.plain_names: tuple[str, ...] = tuple(
            caller.name for caller, secret in secrets.items() if not secret.startswith(_HASH_PREFIX)
        )
        """Whose secrets were given as they are."""
        if len(secrets) > MAX_KEYS:
            raise _bad(f"more than {MAX_KEYS} API keys")
        for caller, secret in secrets.items():
            self._callers.append((_stored_digest(caller.name, secret), caller))
        if len({digest for digest, _ in self._callers}) != len(self._callers):
            raise _bad("two API keys have the same secret")
        names = {caller.name for _, caller in self._callers}
        if len(names) != len(self._callers):
            raise _bad("two API keys have the same name")
        if unknown := self._limits.keys() - names:
            raise _bad(f"[limits] names {min(unknown)!r}, but no API key has that name")

    def find(self, secret: str) -> Caller | None:
        """The caller, or None; takes as long for a wrong secret as for a right one."""
        presented = _digest(secret)
        found: Caller | None = None
        for digest, caller in self._callers:
            if hmac.compare_digest(digest, presented):
                found = caller
        return found

    def find_named(self, name: str, secret: str) -> Caller | None:
        """The caller whose name and secret both are right, as HTTP Basic gives them."""
        found = self.find(secret)
        is_right_name = found is not None and hmac.compare_digest(_digest(found.name), _digest(name))
        return found if is_right_name else None

    def limits_of(self, caller: Caller) -> KeyLimits:
        """What this caller may ask for."""
        return self._limits.get(caller.name, NO_LIMITS)


def load_api_keys(path: Path | None, single_key: str | None, *, is_needed: bool = True) -> ApiKeys:
    """The keys of the file, and the single key from the environment as client `default`; ConfigurationError.

    Whoever serves hubs only needs no keys; else none at all is refused.
    """
    secrets: dict[Caller, str] = {}
    limits: dict[str, KeyLimits] = {}
    if path is not None:
        document = _read(path)
        secrets.update(_secrets_in(path, document))
        limits.update(_limits_in(path, document))
    if single_key is not None:
        if Caller("default") in secrets:
            message = f"{path} names a client `default`, as the key of the environment is called: keep one"
            raise ConfigurationError(message, reason="bad_api_keys")
        secrets[Caller("default")] = single_key
    if is_needed and not secrets:
        message = "no API key: pass --api-keys-file, set AITBC_PROVIDER_API_KEY, or serve hubs only: --hub"
        raise ConfigurationError(message, reason="no_api_keys")
    return ApiKeys(secrets, limits)


def _read(path: Path) -> dict[str, Any]:
    try:
        if os.name == "posix" and not is_closed(path, path.stat().st_mode):
            raise _bad(f"{path} is open to other users of this machine; close it: chmod 600 {path}")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"{path} is not TOML: {error}") from error
    if "hubs" in document:
        raise _bad(f"{path}: take the table [hubs] out; a provider dials its hubs itself (aitbc provider run --hub)")
    unknown = document.keys() - {"clients", "limits"}
    if unknown:
        raise _bad(f"{path}: unknown entry {min(unknown)!r}; there are the tables [clients] and [limits]")
    return document


def _secrets_in(path: Path, document: dict[str, Any]) -> dict[Caller, str]:
    entries = document.get("clients", {})
    if not isinstance(entries, dict) or not all(isinstance(secret, str) for secret in entries.values()):
        raise _bad(f'{path}: [clients] holds lines of name = "secret"')
    return {Caller(name): secret for name, secret in entries.items()}


def _limits_in(path: Path, document: dict[str, Any]) -> dict[str, KeyLimits]:
    tables = document.get("limits", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise _bad(f"{path}: [limits] holds a table per name, such as [limits.alice]")
    return {name: _key_limits(f"{path}: [limits.{name}]", table) for name, table in tables.items()}


def _key_limits(where: str, table: dict[str, Any]) -> KeyLimits:
    unknown = table.keys() - {"rate", "pictures_per_day", "concurrent_jobs"}
    if unknown:
        raise _bad(f"{where}: unknown limit {min(unknown)!r}; there are rate, pictures_per_day and concurrent_jobs")
    rate = table.get("rate")
    if rate is not None and not (isinstance(rate, str) and _RATE.fullmatch(rate)):
        raise _bad(f'{where}: rate must look like "60/minute"')
    for name, most in (("pictures_per_day", MAX_PICTURES_PER_DAY), ("concurrent_jobs", MAX_CONCURRENT_JOBS)):
        value = table.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise _bad(f"{where}: {name} must be a whole number from 1 to {most}")
    return KeyLimits(rate, table.get("pictures_per_day"), table.get("concurrent_jobs"))


def _stored_digest(name: str, secret: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise _bad(f"API key name {name!r}: use letters, digits and . _ : - (at most 64)")
    if secret.startswith(_HASH_PREFIX):
        digits = secret.removeprefix(_HASH_PREFIX)
        if not _HASH_DIGITS.fullmatch(digits):
            raise _bad(f"the API key {name!r}: after sha256: stand 64 hex digits in lower case")
        return bytes.fromhex(digits)
    if secret.startswith(_WELL_KNOWN):
        raise _bad(f"the API key {name!r} is the published example: change it")
    if not MIN_SECRET_CHARACTERS <= len(secret) <= MAX_SECRET_CHARACTERS:
        raise _bad(f"the API key {name!r} needs {MIN_SECRET_CHARACTERS} to {MAX_SECRET_CHARACTERS} characters")
    return _digest(secret)


def _bad(message: str) -> ConfigurationError:
    return ConfigurationError(message, reason="bad_api_keys")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", errors="surrogatepass")).digest()
