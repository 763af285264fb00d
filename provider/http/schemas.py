"""The JSON that clients send, checked before anything else sees it.

Strict: `true` is no number, "30" is no 30, NaN and infinity are refused, and so are fields that nobody defined.
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from provider.generation import DEFAULT_SCHEDULER, MAX_PICTURES, MAX_SEED, SCHEDULERS, SIZE_STEP_PIXELS

MIN_SIDE_PIXELS: Final = 256
MAX_SIDE_PIXELS: Final = 1024
MAX_PROMPT_CHARACTERS: Final = 10_000
"""The most that `prompt_max_characters` can allow."""
DEFAULT_STRENGTH: Final = 0.8
MAX_ATTESTATION_SIGNATURES: Final = 64
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _whole_steps(pixels: int) -> int:
    if pixels % SIZE_STEP_PIXELS:
        raise ValueError(f"must be a multiple of {SIZE_STEP_PIXELS}")
    return pixels


def _no_control_characters(text: str) -> str:
    if _CONTROL_CHARACTERS.search(text):
        raise ValueError("must hold no control characters but tab and line breaks")
    return text


def _not_blank(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("must not be empty")
    return prompt


def _known_scheduler(name: str) -> str:
    if name not in SCHEDULERS:
        raise ValueError(f"must be one of {', '.join(SCHEDULERS)}")
    return name


Pixels = Annotated[
    int,
    Field(ge=MIN_SIDE_PIXELS, le=MAX_SIDE_PIXELS, json_schema_extra={"multipleOf": SIZE_STEP_PIXELS}),
    AfterValidator(_whole_steps),
]
HexHash = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{64}$")]
HexSignature = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{130}$")]
Prompt = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS),
    AfterValidator(_no_control_characters),
    AfterValidator(_not_blank),
]
NegativePrompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_no_control_characters)]
SchedulerName = Annotated[
    str, Field(max_length=32, json_schema_extra={"enum": list(SCHEDULERS)}), AfterValidator(_known_scheduler)
]
ModelName = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class Strict(BaseModel):
    """What comes from outside."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ClientRequestBody(Strict):
    """The client's signature over what it asks for, with the most that it pays."""

    client: str = Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="Address that signed, in EIP-55 form.")
    salt: HexHash
    nonce: HexHash
    max_price: str = Field(pattern=r"^(0|[1-9][0-9]{0,77})$", description="Atoms.")
    expiry: int = Field(ge=0, le=2**40, description="Unix seconds.")
    signature: HexSignature


class PictureFields(Strict):
    """What describes pictures: the plan's fields, and what today's image servers have beside them."""

    prompt: Prompt
    steps: int = Field(30, ge=5, le=100, description="Denoising steps.")
    guidance: float = Field(7.5, ge=0, le=25, allow_inf_nan=False, description="How strictly the prompt is followed.")
    width: Pixels = Field(512, description="Pixels, a multiple of 8.")
    height: Pixels = Field(512, description="Pixels, a multiple of 8.")
    seed: Seed | None = Field(
        None,
        description="Of the first picture; the next have the next. Chosen by the provider and returned if omitted.",
    )
    negative_prompt: NegativePrompt = Field("", description="What should not be in the picture.")
    scheduler: SchedulerName = Field(DEFAULT_SCHEDULER, description="`default` is what the model's own folder names.")
    count: int = Field(1, ge=1, le=MAX_PICTURES, description="Pictures; the provider may take fewer at once.")
    model: ModelName | None = Field(None, description="One of `/v1/health`'s models; the first if omitted.")
    init_image: str | None = Field(
        None,
        min_length=1,
        description="Image-to-image: PNG, JPEG or WebP in base64, or as a data URL; it is scaled to width × height.",
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description=f"With init_image: 1 leaves nothing of it. {DEFAULT_STRENGTH} if omitted.",
    )
    output_format: Literal["png", "jpeg", "webp"] = Field("png", description="Format of the pictures.")
    quality: int = Field(90, ge=1, le=100, description="Of jpeg and webp.")

    @model_validator(mode="after")
    def _strength_needs_a_source(self) -> Self:
        if self.strength is not None and self.init_image is None:
            raise ValueError("strength has a meaning only with init_image")
        return self


class GenerateRequest(PictureFields):
    """The plan's request for a picture, and what clients with keys of their own add to it."""

    api_key: str = Field(min_length=1, max_length=256)
    client_request: ClientRequestBody | None = Field(None, description="Only for clients that sign.")


class GenerateAnswer(BaseModel):
    """Finished pictures and their signed receipt."""

    status: str = "ok"
    job_id: str
    image_base64: str = Field(description="A data URL of the first picture.")
    images: list[str] | None = Field(None, description="Data URLs of all pictures, where there are several.")
    duration_ms: int = Field(description="From the request's arrival to its answer, waiting included.")
    gpu_seconds: float = Field(description="Device time of the pipeline; wall time where the device is a CPU.")
    seed: int = Field(description="Of the first picture.")
    seeds: list[int]
    width: int
    height: int
    count: int
    scheduler: str
    device: str = Field(description="`cuda` or `cpu`.")
    gpu: str = Field(description="The hardware's own name.")
    model: str
    receipt: dict[str, object]
    receipt_hash: str
    provider_signature: str = Field(description="EIP-191 by the provider over the receipt's hash.")
    prompt_salt: str = Field(description="32 bytes: prompt_hash is SHA-256 of the salt and the prompt.")
    profiles: list[dict[str, object]] | None = Field(
        None, description="What a rerun needs to know, per picture; where the receipt has a trajectory_root."
    )


class AttestationRequest(Strict):
    """An attester's word for one receipt."""

    receipt_hash: HexHash
    attestation: str = Field(
        pattern=r"^0x([0-9a-fA-F]{130})+$",
        max_length=2 + 130 * MAX_ATTESTATION_SIGNATURES,
        description="As many signatures of 65 bytes as the chain asks for, ascending by address.",
    )


class AttestationAnswer(BaseModel):
    """How far the receipt has come."""

    receipt_hash: str
    state: str


class ReceiptEntry(BaseModel):
    """A receipt of the outbox, without the salt of its prompt."""

    receipt_hash: str
    hub_id: str
    job_id: str
    state: str
    reason: str | None
    attestation: str | None
    transaction_hash: str | None
    height: int | None
    provider_signature: str
    receipt: dict[str, object]
    created_at_ms: int
    updated_at_ms: int


class ReceiptPage(BaseModel):
    """Receipts, newest first."""

    items: list[ReceiptEntry]
    next_cursor: str | None


class Progress(BaseModel):
    """How far a job that waits or runs has come."""

    pictures_ahead: int
    step: int
    steps: int
    fraction: float
    remaining_s: float = Field(description="An estimate.")


class JobEntry(BaseModel):
    """A job, without its prompt, which is not kept."""

    job_id: str
    state: str = Field(description="queued, running, done, failed, cancelled or interrupted.")
    way_in: str
    model: str
    count: int
    reason: str | None
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    duration_ms: int | None
    gpu_seconds: float | None
    receipt_hash: str | None
    progress: Progress | None
    artifacts: list[str] = Field(description="Links to the pictures, good for a while and without an API key.")


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobEntry]
    next_cursor: str | None


class QueueReport(BaseModel):
    """How busy the provider is."""

    waiting: int = Field(description="Pictures that wait.")
    limit: int = Field(description="Pictures that may wait.")
    busy: bool


class ModelEntry(BaseModel):
    """A model and its price."""

    name: str
    loaded: bool
    price_per_unit: str
    vram_mib: int


class HubOutstanding(BaseModel):
    """What a hub may still want of this provider; where all are 0, it may go."""

    leases: int = Field(description="Without a result.")
    checks: int = Field(description="Of its results, without a verdict.")
    jobs: int = Field(description="With results of it, that have not ended.")
    attestations: int = Field(description="Not brought to it yet.")


class HubEntry(BaseModel):
    """How this provider stands with one of its hubs."""

    hub_id: str | None = Field(description="Null before it has answered for the first time.")
    state: str = Field(description="`connected`, `dialling`, `suspended`, `hub_draining`, or why it was left.")
    detail: str | None
    leases: int = Field(description="Parts of jobs that are under way for it.")
    outstanding: HubOutstanding | None = Field(description="As it says itself; null before a drain has asked it.")


class Health(BaseModel):
    """What the provider is and whether it takes jobs (`status` is `ok`)."""

    status: str
    gpu: str | None = Field(description="The hardware's own name.")
    model: str
    device: str | None
    vram_mib: int | None
    gpus: list[str] = Field(description="All devices that compute here.")
    models: list[ModelEntry]
    provider: str
    chain_id: int | None
    unit_type: str
    price_per_unit: str = Field(description="Atoms, of the first model.")
    max_pictures: int
    queue: QueueReport
    version: str
    detail: str | None
    hubs: list[HubEntry]
