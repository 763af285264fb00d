"""Everything about a hub that its operator can set: by flag, or as `AITBC_HUB_<NAME>` in the environment."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chain.primitives.client_request import check_hub_id_is_no_address
from chain.primitives.rejection import Rejected
from hub.errors import HubConfigurationError

ENVIRONMENT_PREFIX = "AITBC_HUB_"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")  # As in a receipt.


class HubSettings(BaseSettings):
    """One frozen configuration per process, made in `cli.py`. Times are in seconds, as the names say."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="ignore")

    data_dir: Annotated[Path, Field(description="Folder of the database, the pictures and the attester's log.")]
    node_url: Annotated[str, Field(description="The chain node to ask, such as http://127.0.0.1:8545.")]
    attester_keystore: Annotated[
        Path | None, Field(description="Keystore of the attester's key; it names its network.")
    ] = None
    attester_password_file: Annotated[
        Path | None, Field(description="File with the keystore's password; else AITBC_PASSWORD or a prompt.")
    ] = None
    attester_signer_url: Annotated[
        str | None, Field(description="Instead of a keystore: the remote signer that holds the attester's key.")
    ] = None
    attester_signer_public_key: Annotated[
        str | None, Field(description="Which of the signer's keys: 0x and 66 or 130 hex digits.")
    ] = None
    attester_signer_genesis_hash: Annotated[
        str | None, Field(description="The one network that this key serves, as a keystore would name it.")
    ] = None
    attester_signer_certificate: Annotated[
        Path | None, Field(description="PEM file of certificate and key, to show to the signer in TLS.")
    ] = None
    attester_signer_ca: Annotated[
        Path | None, Field(description="PEM file of who vouches for the signer's certificate.")
    ] = None
    clients_file: Annotated[Path, Field(description="TOML file of the clients' API keys.")]
    providers_file: Annotated[Path, Field(description="TOML file of the API key that each provider gave this hub.")]
    hub_id: Annotated[str, Field(description="This hub's name; it stands in every receipt.")] = "hub"
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8080
    database_url: Annotated[
        str | None, Field(description="SQLAlchemy URL of another database than the SQLite file in the data folder.")
    ] = None

    max_concurrent_jobs: Annotated[int, Field(ge=1, le=1024, description="Jobs with providers at one time.")] = 8
    max_waiting_jobs: Annotated[int, Field(ge=0, le=100_000, description="Jobs that may wait; above it: 503.")] = 64
    max_attempts: Annotated[int, Field(ge=1, le=100, description="Providers that are tried for one job.")] = 3
    job_timeout_s: Annotated[float, Field(gt=0, le=86_400, description="For one job, from when its turn came.")] = 600
    provider_timeout_s: Annotated[float, Field(gt=0, le=86_400, description="For one provider's whole answer.")] = 180
    connect_timeout_s: Annotated[float, Field(gt=0, le=60, description="For one connection.")] = 5
    clock_tolerance_s: Annotated[
        float, Field(ge=0, le=3_600, description="How far a provider's clock may differ from the hub's.")
    ] = 30
    metering_slack_s: Annotated[
        float, Field(ge=0, le=10, description="GPU seconds above the measured time that are taken for rounding.")
    ] = 0.25
    bench_failure_s: Annotated[
        float, Field(ge=0, le=86_400, description="How long a provider that could not be reached is left alone.")
    ] = 15
    bench_lie_s: Annotated[
        float, Field(ge=0, le=604_800, description="How long a provider whose answer was false is left alone.")
    ] = 600

    chain_refresh_s: Annotated[float, Field(gt=0, le=60, description="How often the registry is read.")] = 1
    chain_grace_s: Annotated[
        float, Field(gt=0, le=3_600, description="How long jobs are taken on what the chain said last.")
    ] = 60
    delivery_first_retry_s: Annotated[
        float, Field(gt=0, le=3_600, description="Pause after the first failed delivery; it doubles each time.")
    ] = 1
    delivery_longest_retry_s: Annotated[float, Field(gt=0, le=86_400, description="The longest such pause.")] = 300
    delivery_give_up_s: Annotated[
        float, Field(gt=0, description="A receipt that its provider did not take for so long is left to its client.")
    ] = 7 * 86_400
    shutdown_grace_s: Annotated[
        float, Field(ge=0, le=3_600, description="How long running jobs may go on after SIGTERM.")
    ] = 20

    @field_validator("hub_id")
    @classmethod
    def _hub_id_fits_receipts(cls, hub_id: str) -> str:
        if not _HUB_ID.fullmatch(hub_id):
            raise ValueError(f"must match {_HUB_ID.pattern}")
        try:
            check_hub_id_is_no_address(hub_id)
        except Rejected as rejected:
            raise ValueError(rejected.message) from None
        return hub_id

    @model_validator(mode="after")
    def _attester_is_in_one_place(self) -> Self:
        signer = (self.attester_signer_url, self.attester_signer_public_key, self.attester_signer_genesis_hash)
        if self.attester_keystore is None and self.attester_signer_url is None:
            raise ValueError("--attester-keystore is missing (or --attester-signer-url, where a remote signer has it)")
        if self.attester_keystore is not None and signer != (None,) * 3:
            raise ValueError("the attester's key is in a keystore or in a remote signer, not in both")
        if self.attester_keystore is None and None in signer:
            raise ValueError(
                "a remote signer needs --attester-signer-public-key and --attester-signer-genesis-hash as well"
            )
        return self

    @classmethod
    def build(cls, **flags: Any) -> Self:
        """From the flags that were given (None is not) and the environment; raises HubConfigurationError."""
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            if not first["loc"]:
                raise HubConfigurationError(first["msg"].removeprefix("Value error, ")) from None
            name = str(first["loc"][0])
            flag = "--" + name.replace("_", "-")
            if first["type"] == "missing":
                raise HubConfigurationError(
                    f"{flag} is missing (or {ENVIRONMENT_PREFIX}{name.upper()} in the environment)"
                ) from None
            raise HubConfigurationError(f"{flag}: {first['msg']}") from None
