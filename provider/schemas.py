"""The JSON that clients and hubs send, checked before anything else sees it.

Strict: `true` is no number, "30" is no 30, NaN and infinity are refused, and so are fields that nobody defined.
"""

import json
import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chain.primitives.hexadecimal import to_hex
from provider.generation import MAX_SEED, SIZE_STEP_PIXELS
from provider.outbox_rows import StoredReceipt

_IDENTIFIER: Final = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}$"
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
MAX_ATTESTATION_SIGNATURES: Final = 64


def _whole_steps(pixels: int) -> int:
    if pixels % SIZE_STEP_PIXELS:
        raise ValueError(f"must be a multiple of {SIZE_STEP_PIXELS}")
    return pixels


def _printable_prompt(prompt: str) -> str:
    if _CONTROL_CHARACTERS.search(prompt):
        raise ValueError("must hold no control characters but tab and line breaks")
    if not prompt.strip():
        raise ValueError("must not be empty")
    return prompt


Identifier = Annotated[str, Field(pattern=_IDENTIFIER)]
Pixels = Annotated[int, Field(ge=256, le=1024), AfterValidator(_whole_steps)]
HexHash = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{64}$")]
HexSignature = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{130}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class HubJob(_Strict):
    """What a hub says about a job that it passes on; it goes into the receipt."""

    hub_id: Identifier
    job_id: Identifier
    client: str = Field(pattern=r"^[\x21-\x7e]{1,256}$", description="The client's name, or its address if it signed.")
    request_hash: HexHash = Field(description="What the client asked the hub for, as the hub hashed it.")
    client_signature: HexSignature | None = Field(None, description="EIP-191 by `client` over the request hash.")
    nonce: Identifier


class GenerateRequest(_Strict):
    """The plan's request for one picture, and what a hub adds to it."""

    api_key: str = Field(min_length=1, max_length=256)
    prompt: Annotated[str, AfterValidator(_printable_prompt)] = Field(min_length=1, max_length=10_000)
    steps: int = Field(30, ge=5, le=100, description="Denoising steps.")
    guidance: float = Field(7.5, ge=0, le=25, allow_inf_nan=False, description="How strictly the prompt is followed.")
    width: Pixels = Field(512, description="Pixels, a multiple of 8.")
    height: Pixels = Field(512, description="Pixels, a multiple of 8.")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="Chosen by the provider and returned if omitted.")
    job: HubJob | None = Field(None, description="Only for hubs.")


class GenerateAnswer(BaseModel):
    """A finished picture and its signed receipt."""

    status: str = "ok"
    job_id: str
    image_base64: str = Field(description="A data URL of the PNG.")
    duration_ms: int = Field(description="From the request's arrival to its answer, waiting included.")
    gpu_seconds: float = Field(description="Device time of the pipeline; wall time where the device is a CPU.")
    seed: int
    device: str = Field(description="`cuda` or `cpu`.")
    gpu: str = Field(description="The hardware's own name.")
    model: str
    receipt: dict[str, object]
    receipt_hash: str
    provider_signature: str = Field(description="EIP-191 by the provider over the receipt's hash.")
    prompt_salt: str = Field(description="32 bytes: prompt_hash is SHA-256 of the salt and the prompt.")


class AttestationRequest(_Strict):
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


class QueueReport(BaseModel):
    """How busy the provider is."""

    waiting: int
    limit: int
    busy: bool


class Health(BaseModel):
    """What the provider is and whether it takes jobs (`status` is `ok`)."""

    status: str
    gpu: str | None
    model: str
    device: str | None
    vram_mib: int | None
    provider: str
    chain_id: int | None
    unit_type: str
    price_per_unit: str
    queue: QueueReport
    version: str
    detail: str | None


def receipt_entry(stored: StoredReceipt) -> ReceiptEntry:
    """A row of the outbox as JSON shows it."""
    return ReceiptEntry(
        receipt_hash=to_hex(stored.receipt_hash),
        hub_id=stored.hub_id,
        job_id=stored.job_id,
        state=stored.state,
        reason=stored.reason,
        attestation=None if stored.attestation is None else to_hex(stored.attestation),
        transaction_hash=None if stored.transaction_hash is None else to_hex(stored.transaction_hash),
        height=stored.height,
        provider_signature=to_hex(stored.provider_signature),
        receipt=json.loads(stored.receipt_json),
        created_at_ms=stored.created_ms,
        updated_at_ms=stored.updated_ms,
    )
