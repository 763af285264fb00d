"""Everything about a hub that its operator can set: by flag, or as `AITBC_HUB_<NAME>` in the environment."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chain.primitives.client_request import check_hub_id_is_no_address
from chain.primitives.hexadecimal import parse_address
from chain.primitives.rejection import Rejected
from chain.primitives.worker_hello import LOOPBACK_HOSTS
from hub.delivery.addresses import Network, read_networks
from hub.errors import HubConfigurationError
from hub.orders.signers import SignedOrders
from hub.scheduling.policies.policy import Policy

ENVIRONMENT_PREFIX = "AITBC_HUB_"
_DAY_S = 86_400.0
UNATTESTED_S = 2 * _DAY_S
"""How long an attestation is waited for, before its job has failed."""
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")  # As in a receipt.
_HOST = re.compile(r"([a-z0-9._\-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[1-9][0-9]{0,4})?")


def _items(text: str) -> tuple[str, ...]:
    """Of a list in one variable."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def check_hub_id(hub_id: str) -> None:
    """Raises ValueError for what cannot stand in a receipt, or looks like an address."""
    if not _HUB_ID.fullmatch(hub_id):
        raise ValueError(f"must match {_HUB_ID.pattern}")
    try:
        check_hub_id_is_no_address(hub_id)
    except Rejected as rejected:
        raise ValueError(rejected.message) from None


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
    signed_orders: Annotated[
        SignedOrders,
        Field(description="What is taken of clients without a key, who sign: none, paid (from a deposit), or all."),
    ] = SignedOrders.PAID
    hub_id: Annotated[str, Field(description="This hub's name; it stands in every receipt.")] = "hub"
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8080
    database_url: Annotated[
        str | None, Field(description="SQLAlchemy URL of another database than the SQLite file in the data folder.")
    ] = None

    artifacts: Annotated[
        str | None,
        Field(description="Folder or s3://bucket/prefix of the pictures; else artifacts in the data folder."),
    ] = None
    keep_pictures_days: Annotated[
        float, Field(gt=0, le=36_500, description="How long pictures are kept. Receipts and their hashes stay.")
    ] = 30
    secrets_file: Annotated[
        Path | None, Field(description="File of the hub's own secrets; else hub-secrets.json in the data folder.")
    ] = None
    attestation_log: Annotated[
        Path | None, Field(description="What the attester has signed; else attestations.sqlite3 in the data folder.")
    ] = None
    attesters_file: Annotated[
        Path | None, Field(description="TOML file of other hubs' attesters to ask, where the chain wants several.")
    ] = None

    policy: Annotated[Policy, Field(description="Who gets a shard: round-robin, cheapest, fastest or reputation.")] = (
        Policy.ROUND_ROBIN
    )
    newcomer_share: Annotated[float, Field(gt=0, le=0.5, description="Share of the work that newcomers get.")] = 0.1
    max_workers: Annotated[int, Field(ge=1, le=100_000, description="Providers that may be connected.")] = 2_000
    worker_hosts: Annotated[
        str,
        Field(
            description="Names that providers dial this hub by, such as hub.example.org,10.1.0.7:8080; "
            "else host, and loopback. Under any other name it is refused, so that no other hub can pass logins on."
        ),
    ] = ""
    max_waiting_pictures: Annotated[
        int, Field(ge=1, le=10_000_000, description="Pictures that may wait; above it: 503.")
    ] = 10_000
    max_clients: Annotated[int, Field(ge=1, le=100_000, description="Clients' connections at one time.")] = 1_024
    max_streams_per_client: Annotated[
        int, Field(ge=1, le=100_000, description="Jobs that one client may follow at one time; above it: 429.")
    ] = 64
    estimates_per_minute: Annotated[
        int, Field(ge=1, le=1_000_000, description="Estimates that one client may ask for; above it: 429.")
    ] = 120
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
    canaries_per_day: Annotated[
        int, Field(ge=0, le=100_000, description="Jobs of the hub's own a day, to test providers; 0: none.")
    ] = 24
    canary_new: Annotated[
        float, Field(ge=0, le=1, description="Share of newcomers' results that a job of the hub's own follows.")
    ] = 0.05
    canary_normal: Annotated[float, Field(ge=0, le=1, description="Of those with a normal standing.")] = 0.02
    canary_proven: Annotated[float, Field(ge=0, le=1, description="Of those that have proven themselves.")] = 0.01
    canary_prompts_file: Annotated[
        Path | None, Field(description="What these jobs ask for, a prompt a line; else made of words of the hub's own.")
    ] = None
    challenge_window_s: Annotated[
        float, Field(ge=0, le=604_800, description="How long receipts wait before they are attested.")
    ] = 0
    endorse_window_s: Annotated[
        int, Field(ge=0, le=604_800, description="How long other hubs' receipts wait before this attester signs.")
    ] = 0
    endorse_unsigned: Annotated[
        bool, Field(description="Sign other hubs' receipts of jobs that no client has signed for, too.")
    ] = True
    endorse_max_price: Annotated[
        int | None, Field(ge=1, description="Atoms: the highest price per unit in other hubs' receipts.")
    ] = None
    fee_recipient: Annotated[
        str | None, Field(description="Address that gets the hub's share of paid jobs; needs fee_basis_points.")
    ] = None
    fee_basis_points: Annotated[
        int,
        Field(ge=0, le=5_000, description="The hub's share beside the providers', in hundredths of a percent."),
    ] = 0
    record_outcomes: Annotated[
        bool, Field(description="Write providers' failures and lost disputes on the chain; needs a keystore.")
    ] = False

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
        check_hub_id(hub_id)
        return hub_id

    @field_validator("worker_hosts")
    @classmethod
    def _worker_hosts_are_hosts(cls, text: str) -> str:
        for each in _items(text):
            if not _HOST.fullmatch(each):
                raise ValueError(f"{each!r} is not host or host:port, without a scheme and in lower case")
        return text

    @property
    def hosts_for_workers(self) -> tuple[str, ...]:
        """`host`, or `host:port`."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return _items(self.worker_hosts) or (*LOOPBACK_HOSTS, own)

    @field_validator("webhook_networks")
    @classmethod
    def _networks_are_networks(cls, text: str) -> str:
        read_networks(_items(text))
        return text

    @field_validator("fee_recipient")
    @classmethod
    def _recipient_is_an_address(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                parse_address(text)
            except Rejected as rejected:
                raise ValueError(rejected.message) from None
        return text

    @property
    def inner_webhook_networks(self) -> tuple[Network, ...]:
        """As networks."""
        return read_networks(_items(self.webhook_networks))

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

    @model_validator(mode="after")
    def _what_processes_share_is_named(self) -> Self:
        url = self.database_url or ""
        if url.startswith("postgresql") and (self.artifacts is None or self.secrets_file is None):
            raise ValueError(
                "several processes may serve from one PostgreSQL database: name the --artifacts (a folder that all of "
                "them see, or s3://bucket/prefix) and the --secrets-file that they share"
            )
        return self

    @model_validator(mode="after")
    def _pictures_outlast_their_jobs(self) -> Self:
        if self.keep_pictures_days * _DAY_S < self.longest_job_s + self.challenge_window_s + UNATTESTED_S:
            raise ValueError("--keep-pictures-days must outlast the longest job, its window, and two days")
        return self

    @model_validator(mode="after")
    def _fee_has_a_recipient(self) -> Self:
        if (self.fee_recipient is None) != (self.fee_basis_points == 0):
            raise ValueError("--fee-recipient and --fee-basis-points go together")
        if self.record_outcomes and self.attester_keystore is None:
            raise ValueError("--record-outcomes needs --attester-keystore: a remote signer signs attestations alone")
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
