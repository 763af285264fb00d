"""A provider's settings: one frozen object, built in `cli.py` and handed down.

A flag comes before the environment (`AITBC_PROVIDER_…`), and that before the file `.env` in the working folder. The
plan's own names (API_KEY, MODEL_ID, BIND_HOST, BIND_PORT) work in both. In a variable, a list is separated by commas.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from provider.errors import ConfigurationError
from provider.generation import EMBEDDED_MODEL, MAX_PICTURES, PipelineOptions
from provider.setting_types import (
    Atoms,
    ChecksumAddress,
    HubUrls,
    ModelEntries,
    ModelName,
    ModelNames,
    Networks,
    Origins,
    PriceEntries,
    Rate,
    RayAddress,
    Sizes,
    Url,
    split_model_entry,
)

ENVIRONMENT_PREFIX: Final = "AITBC_PROVIDER_"
DOTENV_FILE: Final = ".env"
DEFAULT_PRICE_ATOMS: Final = 10**17
"""A tenth of an AIT per GPU second; every provider sets its own, 0 for free."""

OTHER_NAMES: Final[Mapping[str, str]] = {
    "api_key": "API_KEY",
    "model": "MODEL_ID",
    "bind_host": "BIND_HOST",
    "bind_port": "BIND_PORT",
    "telemetry_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
}
"""Second names of some variables: the plan's, and OpenTelemetry's own."""


class ProviderSettings(BaseSettings):
    """Everything that an operator can choose. Secrets are read from files or the environment, never from flags."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    # The models
    model: ModelEntries = Field(
        (EMBEDDED_MODEL,),
        description="What is served: folder of a diffusers pipeline, or a model hub's id such as "
        "runwayml/stable-diffusion-v1-5, or NAME=FOLDER; several make a choice of models, the first is the default. "
        "Without any it is the small pipeline inside this package.",
    )
    model_name: ModelName | None = Field(
        None, description="Name of the first model in receipts and registry; the id, or the folder's name, by default."
    )
    preload: ModelNames = Field((), description="Names of further models to load at the start; the first always is.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute; auto takes all GPUs, if any.")
    precision: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Number format of the models; auto is float16 on a GPU and float32 on a CPU."
    )
    cpu_threads: int = Field(
        0, ge=0, le=256, description="Threads on a CPU; 0 is one for the embedded model, else torch's own choice."
    )
    vram_limit_mib: int = Field(
        0, ge=0, le=2**20, description="What loaded models may take together on one GPU, in MiB; 0 for nine tenths."
    )
    max_batch_rows: int = Field(8, ge=1, le=64, description="Most pictures that are computed together.")
    batch_wait_ms: float = Field(
        5, ge=0, le=1000, description="How long an idle GPU waits for a second picture to join the first, in ms."
    )
    compile: bool = Field(False, description="torch.compile on a GPU; off, since it has not run on one in our tests.")
    cuda_graphs: bool = Field(False, description="CUDA graphs over the warm shapes; off for the same reason.")
    warm_shapes: Sizes = Field(("512x512",), description="Sizes that a GPU is warmed up for.")
    backend: Literal["local", "ray"] = Field("local", description="Where models run: in this process, or on Ray.")
    ray_address: RayAddress | None = Field(None, description="Address of a Ray cluster; one on this machine without.")
    ray_replicas: int = Field(1, ge=1, le=256, description="Replicas on Ray, one per GPU.")

    # The service
    bind_host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Address to listen on.")
    bind_port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_keys_file: Path | None = Field(None, description="TOML file with the API keys of clients.")
    api_key: SecretStr | None = Field(
        None, description="A single API key, of the client `default`, for a provider without a file of keys."
    )
    cors_origins: Origins = Field(
        (), description="Web pages that may call from a browser, such as https://a.org; or *."
    )
    trusted_proxies: Networks = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-For is believed."
    )
    rate_limit: Rate = Field("120/minute", description="Pictures that one API key may ask for.")
    failed_login_limit: Rate = Field("20/minute", description="Wrong API keys that one network address may try.")
    queue_limit: int = Field(64, ge=1, le=1024, description="Pictures that may wait; what is above gets a 503.")
    max_pictures: int = Field(4, ge=1, le=MAX_PICTURES, description="Most pictures in one request.")
    job_timeout_s: float = Field(
        300, gt=0, le=3600, description="Longest time from accepting a job to its pictures, in seconds."
    )
    drain_timeout_s: float = Field(
        330, ge=0, le=86_400, description="How long a stop waits for the jobs that were accepted, in seconds."
    )
    drain_hubs_timeout_s: float = Field(
        300,
        ge=0,
        le=86_400,
        description="How long it then waits for hubs to conclude what they were brought; 0: not at all.",
    )
    prompt_max_characters: int = Field(1000, ge=1, le=10_000, description="Longest prompt.")
    body_max_bytes: int = Field(64 * 1024, ge=1024, le=2**20, description="Largest request body.")
    image_body_max_bytes: int = Field(
        16 * 2**20, ge=2**16, le=2**27, description="Largest body of a request that brings a picture."
    )
    link_ttl_s: int = Field(3600, ge=10, le=604_800, description="How long a picture's signed link works, in seconds.")

    # The hubs
    hub: HubUrls = Field(
        (), description="Hubs to dial and serve, such as wss://hub.example.org; nobody has to reach this provider then."
    )
    hub_check_limit: Rate = Field(
        "240/hour", description="Pictures and steps that one hub may have computed for nothing, to check others."
    )

    # What is kept
    data_dir: Path = Field(Path("provider-data"), description="Folder of the database and of recent pictures.")
    artifacts: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="Where pictures are kept: a folder, or s3://bucket/prefix; DATA_DIR/artifacts by default.",
    )
    artifact_keep_count: int = Field(200, ge=0, le=1_000_000, description="Most pictures kept; 0 keeps none.")
    artifact_keep_mib: int = Field(1024, ge=1, le=2**26, description="Most MiB of pictures kept.")
    artifact_keep_days: int = Field(7, ge=1, le=3650, description="Longest that a picture is kept.")
    job_keep_days: int = Field(30, ge=1, le=3650, description="Days that the log keeps an ended job.")
    receipt_keep_days: int = Field(
        90, ge=1, le=3650, description="Days that a receipt is kept once it is final on the chain; others stay."
    )
    trajectory: bool = Field(True, description="Commit to every step's latents in the receipt, and keep them.")
    trajectory_keep_hours: float = Field(24, gt=0, le=8760, description="Hours that latents are kept for challenges.")
    trajectory_keep_mib: int = Field(4096, ge=0, le=2**24, description="Most MiB of latents kept; 0 for none.")
    retention_interval_s: float = Field(60, ge=1, le=86_400, description="Seconds between two clean-ups.")
    telemetry_endpoint: Url | None = Field(
        None, description="OTLP/HTTP collector for traces; OTEL_EXPORTER_OTLP_ENDPOINT works too. None without."
    )

    # Money and chain
    keystore: Path | None = Field(None, description="The provider's key as a Web3 keystore (version 3).")
    password_file: Path | None = Field(None, description="File with the keystore's password.")
    node_url: Url = Field("http://127.0.0.1:8545", description="URL of a chain node.")
    price_per_unit: Atoms = Field(DEFAULT_PRICE_ATOMS, description="Price in atoms per unit; 0 serves for free.")
    prices: PriceEntries = Field((), description="Prices of single models, NAME=ATOMS; price_per_unit for the rest.")
    unit_type: Literal["gpu_seconds", "images"] = Field("gpu_seconds", description="What the price is per.")
    register_at_start: bool = Field(False, description="Keep the registry entry true, from the start.")
    endpoint: Url | None = Field(None, description="Public URL for the registry; http://HOST:PORT by default.")
    payout: ChecksumAddress | None = Field(
        None, description="Address that minted tokens go to; the provider's own by default. Only it can change itself."
    )

    @property
    def public_models(self) -> dict[str, str]:
        """Source by public name, the default first. No name is a path of this machine."""
        named: dict[str, str] = {}
        for position, entry in enumerate(self.model):
            name, source = split_model_entry(entry)
            if position == 0 and self.model_name is not None:
                name = self.model_name
            named[_public_name(source) if name is None else name] = source
        return named

    @property
    def public_model_name(self) -> str:
        """The default model's name, as receipts and registry state it."""
        return next(iter(self.public_models))

    def price_of(self, model: str) -> int:
        """Atoms per unit for a model's public name."""
        return self._prices_by_name().get(model, self.price_per_unit)

    @property
    def artifacts_location(self) -> str:
        """Where pictures are kept."""
        return str(self.data_dir / "artifacts") if self.artifacts is None else self.artifacts

    @property
    def public_endpoint(self) -> str:
        """The URL that the registry shows to hubs."""
        if self.endpoint is not None:
            return self.endpoint
        host = f"[{self.bind_host}]" if ":" in self.bind_host else self.bind_host
        return f"http://{host}:{self.bind_port}"

    @property
    def local_url(self) -> str:
        """Where this machine itself reaches the provider."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind_host, self.bind_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.bind_port}"

    @property
    def warm_sizes(self) -> tuple[tuple[int, int], ...]:
        """Widths and heights of `warm_shapes`."""
        sides = (size.split("x") for size in self.warm_shapes)
        return tuple((int(width), int(height)) for width, height in sides)

    def pipeline_options(self) -> PipelineOptions:
        """What to load and how."""
        return PipelineOptions(
            models=self.public_models,
            preload=self.preload,
            device=self.device,
            precision=self.precision,
            cpu_threads=self.cpu_threads,
            max_batch_rows=self.max_batch_rows,
            vram_limit_mib=self.vram_limit_mib,
            uses_compile=self.compile,
            uses_cuda_graphs=self.cuda_graphs,
            warm_shapes=self.warm_sizes,
        )

    def _prices_by_name(self) -> dict[str, int]:
        pairs = (entry.partition("=") for entry in self.prices)
        return {name: int(price) for name, _, price in pairs}

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        names = self.public_models
        if len(names) != len(self.model):
            raise _Fault("model", "two models have the same name; give them names: NAME=FOLDER")
        for setting, used in (("preload", self.preload), ("prices", tuple(self._prices_by_name()))):
            unknown = [name for name in used if name not in names]
            if unknown:
                raise _Fault(setting, f"no model is called {unknown[0]}; there is {', '.join(names)}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then our own reading of variables: of several names, one precedence over both places."""
        return init_settings, _Variables(settings_cls)

    @classmethod
    def build(cls, **flags: Any) -> Self:
        """Settings from flags that were given (None and [] are not) and the environment; raises ConfigurationError."""
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None and value != []})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            fault = first.get("ctx", {}).get("error")
            if isinstance(fault, _Fault):
                message = str(fault)
            else:
                message = (
                    f"{first['loc'][0] if first['loc'] else 'settings'}: {first['msg'].removeprefix('Value error, ')}"
                )
            raise ConfigurationError(message, reason="bad_setting") from None


def unknown_variables() -> list[str]:
    """Variables with our prefix that are no setting: most likely misspelt."""
    known = {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in ProviderSettings.model_fields}
    names = {name for source in _sources() for name in source if name.startswith(ENVIRONMENT_PREFIX)}
    return sorted(names - known)


class _Fault(ValueError):
    """Settings that do not go together; the first is named."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")


class _Variables(PydanticBaseSettingsSource):
    """The environment, then `.env`; in each, our own name of a variable before the other one."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The text of a setting's variable, if it is set and not empty."""
        return _text_of(field_name, _sources()), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Every setting that has a variable."""
        sources = _sources()
        found = {name: _text_of(name, sources) for name in self.settings_cls.model_fields}
        return {name: text for name, text in found.items() if text is not None}


def _text_of(field_name: str, sources: tuple[Mapping[str, str | None], ...]) -> str | None:
    names = [f"{ENVIRONMENT_PREFIX}{field_name.upper()}"]
    if field_name in OTHER_NAMES:
        names.append(OTHER_NAMES[field_name])
    texts = (source.get(name) for source in sources for name in names)
    return next((text for text in texts if text), None)


def _sources() -> tuple[Mapping[str, str | None], ...]:
    return os.environ, read_dotenv()


def read_dotenv() -> Mapping[str, str | None]:
    """The variables of `.env` in the working folder; raises ConfigurationError where it cannot be read."""
    from dotenv import dotenv_values

    path = Path(DOTENV_FILE)
    try:
        # A `$` in a secret is a `$`.
        return dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path.absolute()}: {error}", reason="bad_dotenv") from None


def _public_name(source: str) -> str:
    folder = Path(source).expanduser()
    if source == EMBEDDED_MODEL or not folder.is_dir():
        return source
    return re.sub(r"[^\x21-\x7e]|[=,]", "-", folder.resolve().name)[:128] or "local"
