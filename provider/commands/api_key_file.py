"""The API key of commands that ask a provider: from a file or the environment, never from the command line."""

import os
from pathlib import Path
from typing import Final

from provider.errors import ConfigurationError
from wallet.keystore import read_closed_file

KEY_VARIABLES: Final = ("AITBC_API_KEY", "API_KEY")


def read_api_key(path: Path | None) -> str:
    """From the file, else from the first of KEY_VARIABLES that is set; raises ConfigurationError, OSError."""
    if path is not None:
        try:
            return read_closed_file(path).decode("ascii").strip()
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path} holds no API key", reason="bad_api_key") from None
    for variable in KEY_VARIABLES:
        if os.environ.get(variable):
            return os.environ[variable].strip()
    message = f"no API key: pass --api-key-file, or set {KEY_VARIABLES[0]}"
    raise ConfigurationError(message, reason="no_api_key")
