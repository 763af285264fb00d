"""The JSON that the hub answers with. Amounts are decimal strings of atoms, bytes 0x-hex, times Unix milliseconds."""

from typing import Any

from pydantic import BaseModel, Field


class MintAnswer(BaseModel):
    """Whether the job's receipt has been used on the chain: minted, or settled from the client's deposit."""

    form: str | None = Field(description="`mint`, `mint_split` or `settle`.")
    state: str = Field(description="`none` before the attestation, `pending`, or `minted` (final; settled ones too).")
    transaction_hash: str | None
    height: int | None


class DeliveryAnswer(BaseModel):
    """Whether the provider has the attestation."""

    state: str = Field(description="`none` before the attestation, `pending`, `delivered`, or `given_up`.")
    attempts: int
    error: str | None


class PictureAnswer(BaseModel):
    """A picture that is there."""

    number: int = Field(description="From 0.")
    seed: int
    sha256: str
    media_type: str
    width: int
    height: int
    bytes: int
    url: str = Field(description="Good for an hour, without a key.")
    image_base64: str | None = Field(description="A data URL, where the pictures were asked for inline.")


class ShardAnswer(BaseModel):
    """Some pictures of the job, and who makes them."""

    number: int
    first_picture: int
    pictures: int
    state: str
    attempts: int
    provider: str | None
    receipt_hash: str | None
    units: str | None
    amount: str | None


class AttemptAnswer(BaseModel):
    """One provider's turn."""

    shard: int
    provider: str
    state: str
    outcome: str | None = Field(description="`ok`, why it failed, or null while it is under way.")
    detail: str | None
    started_at_ms: int
    ended_at_ms: int | None


class PayoutAnswer(BaseModel):
    """What a provider gets of the receipt's amount."""

    provider: str
    amount: str


class JobAnswer(BaseModel):
    """A job: what became of it, and everything that proves it."""

    job_id: str
    status: str = Field(
        description="`queued`, `running`, `verifying`, `attested`, or its end: `done`, `failed` or `cancelled`."
    )
    reason: str | None = Field(description="Why it failed.")
    detail: str | None
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    deadline_ms: int | None
    client: str
    model: str | None
    request: dict[str, Any] = Field(description="The request without its prompts.")
    request_hash: str
    request_salt: str
    seed: int = Field(description="Of the first picture.")
    pictures_asked: int
    pictures_done: int
    unit_type: str | None
    price_per_unit: str | None
    pictures: list[PictureAnswer]
    shards: list[ShardAnswer]
    attempts: list[AttemptAnswer]
    provider: str | None = Field(description="Who signed the receipt.")
    payouts: list[PayoutAnswer]
    receipt: dict[str, Any] | None
    receipt_hash: str | None
    provider_signature: str | None
    prompt_salt: str | None = Field(description="With it and the prompts, the receipt's prompt_hash can be checked.")
    attestation: str | None
    mint: MintAnswer
    delivery: DeliveryAnswer
    last_event: int = Field(description="Number of its newest event.")
    job_token: str | None = Field(
        None, description="Only in the answer to an order without an API key: opens this job in the place of one."
    )


class JobSummary(BaseModel):
    """A job in a list."""

    job_id: str
    status: str
    reason: str | None
    created_at_ms: int
    ended_at_ms: int | None
    model: str | None
    pictures_asked: int
    pictures_done: int


class JobPage(BaseModel):
    """A part of the list of jobs, newest first."""

    items: list[JobSummary]
    next_cursor: str | None


class EstimateAnswer(BaseModel):
    """What a job would cost and when it would be done, as things stand."""

    model: str
    unit_type: str
    price_per_unit: str
    least_amount: str
    most_amount: str
    starts_in_s: float
    ends_in_s: float
    ends_late_in_s: float = Field(description="Nine of ten such jobs are done by then.")
    providers: int = Field(description="How many would share it.")


class ProviderAnswer(BaseModel):
    """A provider that is known here."""

    address: str
    is_connected: bool
    models: dict[str, Any]
    unit_type: str | None
    device: str | None
    vram_mib: int
    standing: str
    score: float
    accepted: int
    refused: int
    failed: int
    timed_out: int
    suspended: str | None
    suspended_until_ms: int | None
    is_banned: bool
    banned: str | None = Field(description="Why, in the operator's words.")
    endpoint: str | None


class SuspensionAnswer(BaseModel):
    """Why a provider gets no work for now."""

    reason: str | None
    until_ms: int


class OnChainAnswer(BaseModel):
    """What the chain's registry has counted of a provider, whichever hub it worked for."""

    receipts: int
    complaints: int = Field(description="Failures, lost disputes and breaches that attesters recorded with evidence.")


class ReputationAnswer(BaseModel):
    """What came of a provider's work here, and what follows from it: docs/hub.md."""

    address: str
    standing: str
    score: float = Field(description="0 to 1: the share that goes well, the old counting less.")
    accepted: int
    refused: int
    failed: int
    timed_out: int
    checks_passed: int
    units: float = Field(description="Of accepted work.")
    suspension: SuspensionAnswer | None
    banned: str | None = Field(description="Why it is banned, in the operator's words.")
    first_seen_at_ms: int
    last_seen_at_ms: int
    on_chain: OnChainAnswer | None = Field(description="Null where it is not registered, or the node is silent.")


class ProviderList(BaseModel):
    """All of them, by address."""

    items: list[ProviderAnswer]


class HubAnswer(BaseModel):
    """Who this hub is: what a client needs to sign a request."""

    hub_id: str
    chain_id: int
    genesis_hash: str
    attester: str
    hub_key: str = Field(description="Whose calls other hubs' attesters answer: it stands in their attesters.toml.")
    version: str
    signed_orders: str = Field(description="What is taken of clients without a key: `none`, `paid` or `all`.")
    providers: int = Field(description="That are connected to this process.")
    jobs_open: int
    pictures_waiting: int
