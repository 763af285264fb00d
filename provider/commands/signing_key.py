"""The provider's own key, unlocked."""

from pathlib import Path

from chain.primitives.keys import PrivateKey
from provider.errors import ConfigurationError
from wallet.keystore import load_key
from wallet.passwords import read_password


def load_provider_key(keystore: Path | None, password_file: Path | None) -> PrivateKey:
    """The key of a keystore; its password from the file, the environment or a prompt."""
    if keystore is None:
        message = "no key: pass --keystore (make one with `aitbc provider init`, or `aitbc wallet new`)"
        raise ConfigurationError(message, reason="no_keystore")
    return load_key(keystore, read_password(password_file, purpose=str(keystore)))
