"""What a hub keeps to itself: keys of its links, likeness index and samples, and its own among hubs. Drawn once."""

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hub.errors import HubConfigurationError
from wallet.keystore import AlreadyExistsError, write_new_file

_KEY_BYTES: Final = 32
_NAMES: Final = ("links", "likeness", "sampling", "hub_key")


@dataclass(frozen=True, slots=True)
class HubSecrets:
    """Processes that serve one hub share one file of them."""

    links: bytes = field(repr=False)
    likeness: bytes = field(repr=False)
    sampling: bytes = field(repr=False)
    hub_key: bytes = field(repr=False)
    """A private key: signs what this hub asks of other hubs' attesters."""


def load_or_draw(path: Path) -> HubSecrets:
    """The file's; a new file where there is none. Raises HubConfigurationError where it is damaged."""
    try:
        if not path.exists():
            drawn = {name: secrets.token_hex(_KEY_BYTES) for name in _NAMES}
            with suppress(AlreadyExistsError):  # Another process of this hub was quicker.
                write_new_file(path, json.dumps(drawn, indent=2).encode() + b"\n")
        kept = json.loads(path.read_bytes())
        keys = {name: bytes.fromhex(kept[name]) for name in _NAMES}
    except OSError as error:
        raise HubConfigurationError(f"cannot use {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise HubConfigurationError(f"{path} is damaged: restore it from a backup, or remove it") from None
    if any(len(key) != _KEY_BYTES for key in keys.values()):
        raise HubConfigurationError(f"{path} is damaged: restore it from a backup, or remove it")
    return HubSecrets(**keys)
