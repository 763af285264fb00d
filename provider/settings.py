"""A provider's settings: one frozen object, from flags and environment (`AITBC_PROVIDER_…`), built in `cli.py`.

The plan's own names (API_KEY, MODEL_ID, BIND_HOST, BIND_PORT) work too; a flag comes before the environment.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.rejection import Rejected
from provider.errors import ConfigurationError
from provider.generation import EMBEDDED_MODEL

ENVIRONMENT_PREFIX: Final = "AITBC_PROVIDER_"
DEFAULT_PRICE_ATOMS: Final = 10**17
"""A tenth of an AIT per GPU second; every provider sets its own, 0 for free."""

MAX_PRICE_ATOMS: Final = 2**128
"""The registry's bound (`chain.rules.registry`); a thousand million units at this price stay below 2^256 atoms."""

_MODEL_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}")
_RATE: Final = re.compile(r"[1-9][0-9]{0,5}/(second|minute|hour|day)")


def _atoms(value: object) -> int:
    """Decimal digits or an integer, never a float: 0.1 atoms do not exist."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRICE_ATOMS:
        raise ValueError("must be a whole number of atoms, at most 2^128")
    return value


def _address(value: str) -> str:
    try:
        return to_checksum_address(parse_address(value))
    except Rejected as error:
        raise ValueError(error.message) from None


def _rate(value: str) -> str:
    if not _RATE.fullmatch(value):
        raise ValueError("must look like 60/minute")
    return value


def _model_name(value: str) -> str:
    if not _MODEL_NAME.fullmatch(value):
        raise ValueError("must be 1 to 128 printable ASCII characters without spaces")
    return value


def _url(value: str) -> str:
    complaint = "must be an http:// or https:// URL"
    if not re.fullmatch(r"https?://[\x21-\x7e]{1,240}", value):
        raise ValueError(complaint)
    try:
        parts = urlsplit(value)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(complaint)
    return value.rstrip("/")


Atoms = Annotated[int, BeforeValidator(_atoms)]
ChecksumAddress = Annotated[str, AfterValidator(_address)]
Rate = Annotated[str, AfterValidator(_rate)]
ModelName = Annotated[str, AfterValidator(_model_name)]
Url = Annotated[str, AfterValidator(_url)]


def _named(plan_name: str, own_name: str) -> AliasChoices:
    """Our variable, and the plan's as second choice."""
    return AliasChoices(f"{ENVIRONMENT_PREFIX}{own_name}", plan_name)


class ProviderSettings(BaseSettings):
    """Everything that an operator can choose. Secrets are read from files or the environment, never from flags."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", populate_by_name=True, env_ignore_empty=True
    )

    # The pictures
    model: str = Field(
        EMBEDDED_MODEL,
        validation_alias=_named("MODEL_ID", "model"),
        min_length=1,
        max_length=1024,
        description="Folder of a diffusers pipeline, or a model hub's id such as runwayml/stable-diffusion-v1-5; "
        "the default is the 5.7 MB pipeline inside this package.",
    )
    model_name: ModelName | None = Field(
        None, description="Name of the model in receipts and registry; the id, or a folder's own name, by default."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute; auto takes a GPU if any.")
    precision: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Number format of the model; auto is float16 on a GPU and float32 on a CPU."
    )
    cpu_threads: int = Field(
        0, ge=0, le=256, description="Threads on a CPU; 0 is one for the embedded model, else torch's own choice."
    )

    # The service
    bind_host: str = Field(
        "127.0.0.1", validation_alias=_named("BIND_HOST", "bind_host"), description="Address to listen on."
    )
    bind_port: int = Field(
        8000,
        validation_alias=_named("BIND_PORT", "bind_port"),
        ge=0,
        le=65535,
        description="Port to listen on; 0 takes a free one.",
    )
    api_keys_file: Path | None = Field(None, description="TOML file with the tables [clients] and [hubs] of API keys.")
    api_key: SecretStr | None = Field(
        None,
        validation_alias=_named("API_KEY", "api_key"),
        description="A single API key, of the client `default`, for a provider without a file of keys.",
    )
    rate_limit: Rate = Field("120/minute", description="Pictures that one API key may ask for.")
    failed_login_limit: Rate = Field("20/minute", description="Wrong API keys that one network address may try.")
    queue_limit: int = Field(16, ge=1, le=1024, description="Jobs that may wait; further ones are answered with 503.")
    job_timeout_s: float = Field(
        300, gt=0, le=3600, description="Longest time from accepting a job to its picture, in seconds."
    )
    prompt_max_characters: int = Field(1000, ge=1, le=10_000, description="Longest prompt.")
    body_max_bytes: int = Field(64 * 1024, ge=1024, le=2**20, description="Largest request body.")

    # Money and chain
    data_dir: Path = Field(Path("provider-data"), description="Folder of the outbox and of recent pictures.")
    artifact_keep_count: int = Field(
        200, ge=0, le=100_000, description="Recent pictures kept so that a repeated hub job gets the same answer."
    )
    keystore: Path | None = Field(None, description="The provider's key as a Web3 keystore (version 3).")
    password_file: Path | None = Field(None, description="File with the keystore's password.")
    node_url: Url = Field("http://127.0.0.1:8545", description="URL of a chain node.")
    price_per_unit: Atoms = Field(DEFAULT_PRICE_ATOMS, description="Price in atoms per unit; 0 serves for free.")
    unit_type: Literal["gpu_seconds", "images"] = Field("gpu_seconds", description="What the price is per.")

    # The registry
    register_at_start: bool = Field(False, description="Keep the registry entry true, from the start.")
    endpoint: Url | None = Field(None, description="Public URL for the registry; http://HOST:PORT by default.")
    payout: ChecksumAddress | None = Field(
        None, description="Address that minted tokens go to; the provider's own by default. Only it can change itself."
    )

    @property
    def public_model_name(self) -> str:
        """The model's name as receipts and registry state it: never a path of this machine."""
        if self.model_name is not None:
            return self.model_name
        folder = Path(self.model).expanduser()
        if self.model != EMBEDDED_MODEL and folder.is_dir():
            return re.sub(r"[^\x21-\x7e]", "-", folder.resolve().name)[:128] or "local"
        return self.model

    @property
    def public_endpoint(self) -> str:
        """The URL that the registry shows to hubs."""
        if self.endpoint is not None:
            return self.endpoint
        host = f"[{self.bind_host}]" if ":" in self.bind_host else self.bind_host
        return f"http://{host}:{self.bind_port}"

    @classmethod
    def build(cls, **flags: Any) -> Self:
        """Settings from flags that were given (None is not) and the environment; raises ConfigurationError."""
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            raise ConfigurationError(f"{name.lower()}: {first['msg']}", reason="bad_setting") from None
