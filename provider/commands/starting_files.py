"""What a new provider's files hold: settings with their explanation, and API keys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DOTENV: Final = """\
# Settings of an AITBC provider; `aitbc provider run` reads this file from its working folder.
# A flag, or a variable in the environment, comes before a line here. All settings: provider/README.md.

AITBC_PROVIDER_DATA_DIR={data_dir}
AITBC_PROVIDER_KEYSTORE={keystore}
{password_line}
AITBC_PROVIDER_API_KEYS_FILE={api_keys_file}

# The chain node to mint at.
AITBC_PROVIDER_NODE_URL={node_url}

# What is served: a folder in diffusers' layout, a model hub's id such as runwayml/stable-diffusion-v1-5, or
# NAME=FOLDER; several with commas. Without this line it is the small model inside the package.
{model_line}

# Atoms per GPU second (10^18 atoms are 1 AIT); 0 serves for free.
AITBC_PROVIDER_PRICE_PER_UNIT={price_per_unit}

# Where to listen. Leave it at 127.0.0.1 behind a reverse proxy (deploy/nginx).
BIND_HOST=127.0.0.1
BIND_PORT={port}

# To serve hubs: enter the registry at the start, and dial each hub; no port of this machine need be open for that.
#AITBC_PROVIDER_REGISTER_AT_START=true
#AITBC_PROVIDER_HUB=wss://hub.example.org

# For clients that come directly: the URL at which they reach this provider; the registry shows it.
#AITBC_PROVIDER_ENDPOINT=https://gpu.example.org

# Pictures in an S3-compatible store instead of DATA_DIR/artifacts (its credentials: AWS_… here or in the environment).
#AITBC_PROVIDER_ARTIFACTS=s3://bucket/prefix
"""

_API_KEYS: Final = """\
# Who may ask for pictures. `aitbc provider keys add NAME` draws a key, shows it once, and writes its hash here.

[clients]
{name} = "{secret_hash}"

# [limits.{name}]
# rate = "60/minute"
# pictures_per_day = 1000
# concurrent_jobs = 4
"""


@dataclass(frozen=True)
class StartingChoices:
    """What `init` was told, and where things are."""

    data_dir: Path
    keystore: Path
    password_file: Path | None
    api_keys_file: Path
    node_url: str
    model: tuple[str, ...]
    price_per_unit: int
    port: int


def dotenv_text(choices: StartingChoices) -> str:
    """The file `.env`."""
    password = "" if choices.password_file is None else _quoted(str(choices.password_file))
    password_line = f"AITBC_PROVIDER_PASSWORD_FILE={password}"
    model_line = f"AITBC_PROVIDER_MODEL={_quoted(','.join(choices.model))}"
    return _DOTENV.format(
        data_dir=_quoted(str(choices.data_dir)),
        keystore=_quoted(str(choices.keystore)),
        password_line=password_line if password else f"#{password_line}/path/to/its/password",
        api_keys_file=_quoted(str(choices.api_keys_file)),
        node_url=choices.node_url,
        model_line=model_line if choices.model else "#AITBC_PROVIDER_MODEL=/path/to/model",
        price_per_unit=choices.price_per_unit,
        port=choices.port,
    )


def api_keys_text(name: str, secret_hash: str) -> str:
    """The file of API keys, with one client's."""
    return _API_KEYS.format(name=f'"{name}"', secret_hash=secret_hash)


def _quoted(text: str) -> str:
    """As `.env` files, and systemd's environment files, read a value with spaces or quotes in it."""
    if text and all(character.isalnum() or character in "/._-=:,@+" for character in text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
