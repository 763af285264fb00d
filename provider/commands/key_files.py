"""Changing the file of API keys: a line more or less, everything else as the operator wrote it.

The file is parsed before and after; what would come out with any other key added, changed or lost is not written.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from provider.api_keys import ApiKeys, Caller, load_api_keys
from provider.errors import ConfigurationError
from wallet.keystore import read_closed_file, replace_file, write_new_file

_TABLE = "clients"


def read_callers(path: Path) -> list[tuple[Caller, bool]]:
    """Every key's owner, and whether its secret stands there in plain text; raises ConfigurationError."""
    document = tomllib.loads(_read(path))
    if not document.get(_TABLE):
        return []
    plain = set(load_api_keys(path, None).plain_names)
    return [(Caller(name), name in plain) for name in document[_TABLE]]


def add_key(path: Path, caller: Caller, secret_hash: str) -> None:
    """Adds a line for the caller; makes the file where there is none. Raises ConfigurationError and KeystoreError."""
    ApiKeys({caller: secret_hash})  # Refuses a name that no key may have.
    line = f'"{caller.name}" = "{secret_hash}"'
    if not path.exists():
        write_new_file(path, f"[{_TABLE}]\n{line}\n".encode())
        return
    before = _read(path)
    known = tomllib.loads(before)
    if caller.name in known.get(_TABLE, {}):
        raise ConfigurationError(f"{path} has a key called {caller.name} already", reason="key_exists")
    header = re.search(rf"^[ \t]*\[[ \t]*{_TABLE}[ \t]*\][ \t]*(#.*)?$", before, re.MULTILINE)
    if header is None:
        after = f"{before.rstrip()}\n\n[{_TABLE}]\n{line}\n".lstrip()
    else:
        after = f"{before[: header.end()]}\n{line}{before[header.end() :]}"
    wanted = {**known, _TABLE: {**known.get(_TABLE, {}), caller.name: secret_hash}}
    _write(path, after, wanted)


def remove_key(path: Path, name: str) -> None:
    """Removes the line of a key; raises ConfigurationError where there is none, and KeystoreError."""
    before = _read(path)
    known = tomllib.loads(before)
    if name not in known.get(_TABLE, {}):
        raise ConfigurationError(f"{path} has no key called {name}", reason="no_such_key")
    key = rf'("{re.escape(name)}"|\'{re.escape(name)}\'|{re.escape(name)})'
    section = re.search(rf"^[ \t]*\[[ \t]*{_TABLE}[ \t]*\][^\n]*\n((?![ \t]*\[)[^\n]*(\n|$))*", before, re.MULTILINE)
    start, end = (0, 0) if section is None else section.span()
    shorter = re.sub(rf"^[ \t]*{key}[ \t]*=[^\n]*(\n|$)", "", before[start:end], count=1, flags=re.MULTILINE)
    wanted = {**known, _TABLE: {other: value for other, value in known[_TABLE].items() if other != name}}
    if name in known.get("limits", {}):
        message = f"{path} has [limits.{name}]: take that table out first"
        raise ConfigurationError(message, reason="key_has_limits")
    _write(path, before[:start] + shorter + before[end:], wanted)


def _read(path: Path) -> str:
    text = read_closed_file(path).decode("utf-8", errors="strict") if path.exists() else None
    if text is None:
        raise ConfigurationError(f"there is no file of API keys {path}", reason="no_api_keys")
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", reason="bad_api_keys") from None
    return text


def _write(path: Path, text: str, wanted: dict[str, Any]) -> None:
    try:
        is_as_wanted = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        is_as_wanted = False
    if not is_as_wanted:
        message = f"{path} is laid out in a way that this command does not follow; change it with an editor"
        raise ConfigurationError(message, reason="unusual_layout")
    replace_file(path, text.encode())
