"""Everything about a hub that its operator can set: by flag, or as `AITBC_HUB_<NAME>` in the environment."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chain.primitives.client_request import check_hub_id_is_no_address
from chain.primitives.rejection import Rejected
from hub.delivery.addresses import Network, read_networks
from hub.errors import HubConfigurationError
from hub.scheduling.policies.policy import Policy

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
    clients_file: Annotated[Path, Field(description="TOML file of the clients' API keys and quotas.")]
    hub_id: Annotated[str, Field(description="This hub's name; it stands in every receipt.")] = "hub"
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8080
    database_url: Annotated[
        str | None, Field(description="SQLAlchemy URL of another database than the SQLite file in the data folder.")
    ] = None

    secrets_file: Annotated[
        Path | None, Field(description="File of the hub's own secrets; else hub-secrets.json in the data folder.")
    ] = None
    attesters_file: Annotated[
        Path | None, Field(description="TOML file of other hubs' attesters to ask, where the chain wants several.")
    ] = None

    policy: Annotated[Policy, Field(description="Who gets a shard: round-robin, cheapest, fastest or reputation.")] = (
        Policy.ROUND_ROBIN
    )
    newcomer_share: Annotated[float, Field(gt=0, le=0.5, description="Share of the work that newcomers get.")] = 0.1
    max_workers: Annotated[int, Field(ge=1, le=100_000, description="Providers that may be connected.")] = 2_000
    max_waiting_pictures: Annotated[
        int, Field(ge=1, le=10_000_000, description="Pictures that may wait; above it: 503.")
    ] = 10_000
    max_clients: Annotated[int, Field(ge=1, le=100_000, description="Clients' connections at one time.")] = 1_024
    max_attempts: Annotated[int, Field(ge=1, le=100, description="Providers that are tried for one shard.")] = 5
    longest_job_s: Annotated[
        float, Field(gt=0, le=604_800, description="A job's deadline where its client names none.")
    ] = 3_600
    preview_every: Annotated[int, Field(ge=0, le=100, description="Steps between previews; 0: none.")] = 5
    clock_tolerance_s: Annotated[
        float, Field(ge=0, le=3_600, description="How far a provider's clock may differ from the hub's.")
    ] = 5
    metering_slack_s: Annotated[
        float, Field(ge=0, le=10, description="GPU seconds above the measured time that are taken for rounding.")
    ] = 0.25

    check_new: Annotated[float, Field(gt=0, le=1, description="Share of newcomers' results that is checked.")] = 1.0
    check_normal: Annotated[float, Field(gt=0, le=1, description="Of those with a normal standing.")] = 0.25
    check_proven: Annotated[float, Field(gt=0, le=1, description="Of those that have proven themselves.")] = 0.05
    check_timeout_s: Annotated[
        float, Field(gt=0, le=86_400, description="How long a provider may stay away before its check has failed.")
    ] = 120
    challenge_window_s: Annotated[
        float, Field(ge=0, le=604_800, description="How long receipts wait before they are attested.")
    ] = 0

    moderation_words_file: Annotated[
        Path | None, Field(description="File of words and phrases, one a line, whose prompts are not served.")
    ] = None
    moderation_url: Annotated[
        str | None, Field(description="Asked by POST about every job's prompts: answers allowed and reason.")
    ] = None
    webhook_networks: Annotated[
        str, Field(description="Inner networks that webhooks may reach all the same, such as 10.1.0.0/16,…")
    ] = ""

    chain_refresh_s: Annotated[float, Field(gt=0, le=60, description="How often the registry is read.")] = 1
    chain_grace_s: Annotated[
        float, Field(gt=0, le=3_600, description="How long jobs are taken on what the chain said last.")
    ] = 60
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

    @field_validator("webhook_networks")
    @classmethod
    def _networks_are_networks(cls, text: str) -> str:
        read_networks([each.strip() for each in text.split(",") if each.strip()])
        return text

    @property
    def inner_webhook_networks(self) -> tuple[Network, ...]:
        """As networks."""
        return read_networks([each.strip() for each in self.webhook_networks.split(",") if each.strip()])

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
